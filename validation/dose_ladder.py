"""One simulated specimen at several doses: drawn at the highest, thinned to the others.

The same electrons, fewer of them: doses, and whatever else the counts are proportional to, differ
by as little chance as they can.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.noise import thin
from echolith.protocols import Solver
from echolith.validation.case_store import CaseStore
from echolith.validation.dask_cases import as_finished
from echolith.validation.estimate_check import check_estimate
from echolith.validation.mean_store import kept_mean
from echolith.validation.residuals import to_json
from echolith.validation.round_trip import Vary, decides
from echolith.validation.run import plain, quantities
from echolith.validation.scenario import Scenario

Case = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DoseLadder:
    """Rungs that differ in one setting, to which all expected counts are proportional.

    Attributes
    ----------
    setting : str
        Its dotted name.
    base : (float, Scenario)
        A value of it, and the scenario whose mean is simulated.
    rungs : mapping of float to Scenario
        By value.
    top : float
        The value that counts are drawn at, not below any rung.
    solver : callable, optional
        That of each rung by default.
    store : Path, optional
        Folder for means (see `kept_mean`) and finished cases.
    """

    setting: str
    base: tuple[float, Scenario]
    rungs: Mapping[float, Scenario]
    top: float
    solver: Solver | None = None
    store: Path | None = None

    def cases(self, seed: int) -> dict[float, Case | str]:
        """Return the case of a seed at every rung, or why it failed; of one simulation."""
        value, scenario = self.base
        folder = None if self.store is None else self.store / "means"
        try:
            specimen = scenario.build(seed)
            mean = kept_mean(scenario, specimen, seed=seed, folder=folder)
        except BadInputError as error:
            return dict.fromkeys(self.rungs, f"{type(error).__name__}: {error}")
        brightest = self._restated(scaled(mean, self.top / value), self.top)
        counts = scenario.noise.sample(brightest, seed=seed).compute()
        return {
            v: self._case(rung, specimen, thinned(counts, v / self.top, seed=seed), v)
            for v, rung in self.rungs.items()
        }

    def thins(self, seed: int) -> bool:
        """Whether thinned counts say of themselves what a simulation at a rung says.

        The setting has to be stated under its own name or not at all: what else follows from it
        (times of frames) thinning does not mend.
        """
        value, scenario = self.base
        if not getattr(scenario.noise, "scales_with_dose", False):
            return False
        specimen, other = scenario.build(seed), next(v for v in self.rungs if v != value)
        mean = self._restated(scenario.forward(specimen), other)
        return _stated(mean) == _stated(self.rungs[other].forward(specimen))

    def _restated(self, data: xr.Dataset, value: float) -> xr.Dataset:
        return restated(data, {self.setting.rpartition(".")[2]: value})

    def _case(self, rung: Scenario, specimen: Any, counts: xr.Dataset, value: float) -> Case | str:
        try:
            measurement = self._restated(counts, value)
            return finished_case(rung, measurement, rung.truth(specimen), self.solver)
        except Exception as error:  # any solver may be plugged in; its failure is a result
            return f"{type(error).__name__}: {error}"


def run_ladder(
    ladder: DoseLadder,
    seeds: Iterable[int],
    *,
    announce: Callable[[str], None] = lambda _name: None,
) -> dict[float, dict[int, Case | str]]:
    """Return the cases of every rung by seed, or why they failed.

    Every seed has a specimen and counts of its own, the same at every rung. Finished cases are
    kept in the ladder's store as they end, and a later call takes them from there; where they are
    computed (see `as_finished`) changes no bit of them.
    """
    kept = {value: _store(ladder, value) for value in ladder.rungs}
    found: dict[float, dict[int, Case | str]] = {value: {} for value in ladder.rungs}
    missing = []
    for seed in seeds:
        known = {value: store.read(seed) for value, store in kept.items()}
        if None in known.values():
            missing.append(seed)
        for value, case in known.items():
            found[value][seed] = case or ""
    for done, (seed, cases) in enumerate(as_finished(ladder.cases, missing), 1):
        announce(f"case {done} of {len(missing)}")
        for value, outcome in cases.items():
            found[value][seed] = outcome
            if not isinstance(outcome, str):
                kept[value].write(seed, outcome)
    return found


def _store(ladder: DoseLadder, value: float) -> CaseStore:
    folder = None if ladder.store is None else ladder.store / "cases"
    decided = decides(ladder.rungs[value], ladder.solver, Vary.SPECIMEN, False, 0)
    base = ladder.base[1].settings.model_dump(mode="json")
    return CaseStore.open(folder, {**decided, "mean": base, "drawn_at": ladder.top})


def scaled(mean: xr.Dataset, factor: float) -> xr.Dataset:
    """Return expected counts times a factor."""
    counts = [n for n, v in mean.data_vars.items() if np.issubdtype(v.dtype, np.floating)]
    return mean.assign({name: mean[name].copy(data=mean[name].data * factor) for name in counts})


def thinned(counts: xr.Dataset, fraction: float, *, seed: int) -> xr.Dataset:
    """Return thinned counts; all of them are the counts themselves."""
    return counts if fraction == 1 else thin(counts, fraction=fraction, seed=seed).compute()


def restated(data: xr.Dataset, values: Mapping[str, Any]) -> xr.Dataset:
    """Return data that state other values of settings: single variables, attributes, their JSON.

    Examples
    --------
    >>> data = xr.Dataset({"incident": 100}, attrs={"taken": '{"incident":100,"energy":700.0}'})
    >>> restated(data, {"incident": 50}).attrs["taken"]
    '{"incident":50,"energy":700.0}'
    """
    changed = data.assign(
        {
            name: data[name].copy(data=np.asarray(value, dtype=data[name].dtype))
            for name, value in values.items()
            if name in data.variables and not data[name].ndim
        }
    )
    return changed.assign_attrs({name: _told(name, v, values) for name, v in data.attrs.items()})


def _told(name: Any, told: Any, values: Mapping[str, Any]) -> Any:
    """Return an attribute as it is with other values of settings."""
    if name in values:
        return values[name]
    content = _read(told)
    if not isinstance(content, dict) or not content.keys() & values.keys():
        return told
    content |= {key: type(content[key])(v) for key, v in values.items() if key in content}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _read(told: Any) -> Any:
    if not isinstance(told, str):
        return told
    try:
        return json.loads(told)
    except ValueError:
        return told


def _stated(data: xr.Dataset) -> dict[str, Any]:
    """Return all that data say besides their counts."""
    known = {n: v for n, v in data.variables.items() if n in data.coords or not v.ndim}
    return {
        "attributes": {str(name): _read(told) for name, told in data.attrs.items()},
        "variables": {str(name): np.asarray(v.values).tolist() for name, v in known.items()},
    }


def finished_case(
    scenario: Scenario, measurement: xr.Dataset, truth: xr.Dataset, solver: Solver | None
) -> Case:
    """Return one finished case, as `round_trip` keeps it."""
    estimate = (solver or scenario.solver)(measurement)
    check_estimate(estimate, quantities=scenario.quantities, truth=truth)
    scores = scenario.score(estimate, truth)
    return {
        "quantities": quantities(scenario.quantities, estimate, truth),
        "scores": {name: {"value": plain(s.value), "unit": s.unit} for name, s in scores.items()},
        "diagnosis": [],
        "residuals": to_json(scenario.residuals(scenario.gauge(estimate, truth), truth)),
    }
