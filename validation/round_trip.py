"""Round trips over seeds: bias, spread and coverage against known truth."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.matching import match_columns
from echolith.validation.run import Run, Stages, circumstances, plain, run_on_mean
from echolith.validation.scenario import Scenario


class Vary(Enum):
    """What changes from seed to seed."""

    NOISE = "noise"
    """One specimen, simulated once; only the counts are drawn anew."""
    SPECIMEN = "specimen"
    """A new specimen and new counts for every seed."""


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """The outcome over all seeds; ``failures`` maps a seed to what went wrong."""

    first: Run | None
    cases: dict[int, dict[str, Any]]
    failures: dict[int, str]
    summary: dict[str, Any]


def round_trip(
    scenario: Scenario,
    *,
    seeds: Iterable[int] = range(20),
    solver: Solver | None = None,
    vary: Vary = Vary.NOISE,
    noise_free: bool = False,
    store: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> RoundTrip:
    """Run a scenario over seeds and sum up the statistics.

    A case that fails is recorded and the others go on. With a ``store``, every finished case is
    kept there as it ends, and a later call with the same settings takes it from there.

    Parameters
    ----------
    scenario : Scenario
    seeds : iterable of int
        At least one.
    solver : callable, optional
        Measurement to estimate; the reference solver by default.
    vary : Vary
        `Vary.NOISE` keeps the specimen of the first seed.
    noise_free : bool
        Leave counting noise out.
    store : Path, optional
        Folder for finished cases.
    announce : callable
        Told what begins.

    Returns
    -------
    RoundTrip

    Raises
    ------
    BadInputError
        If there is no seed.
    """
    chosen = list(dict.fromkeys(seeds))
    if not chosen:
        raise BadInputError("seeds is empty; expected at least one integer of 0 or more")
    kept = _Store.open(store, scenario, solver, vary, noise_free, chosen[0])
    cases: dict[int, dict[str, Any]] = {}
    failures: dict[int, str] = {}
    first: Run | None = None
    stages = Stages(announce=announce)
    prepared: tuple[xr.Dataset, xr.Dataset] | None = None
    for position, seed in enumerate(chosen):
        known = kept.read(seed)
        if known is not None and (first is not None or position > 0):
            cases[seed] = known
            continue
        announce(f"case {position + 1} of {len(chosen)}, seed {seed}")
        try:
            if prepared is None or vary is Vary.SPECIMEN:
                prepared = _prepare(scenario, chosen[0] if vary is Vary.NOISE else seed, stages)
            run = run_on_mean(
                scenario,
                *prepared,
                seed=seed,
                solver=solver,
                noise_free=noise_free,
                stages=Stages(),
            )
        except Exception as error:  # any solver may be plugged in; its failure is a result
            failures[seed] = f"{type(error).__name__}: {error}"
            continue
        first = first or run
        cases[seed] = _case(run)
        kept.write(seed, cases[seed])
    summary = _summary(scenario, chosen, cases, failures, vary, noise_free, stages)
    return RoundTrip(first=first, cases=cases, failures=failures, summary=summary)


def _prepare(scenario: Scenario, seed: int, stages: Stages) -> tuple[xr.Dataset, xr.Dataset]:
    with stages.stage("build"):
        specimen = scenario.build(seed)
        truth = scenario.truth(specimen)
    with stages.stage("simulate"):
        mean = scenario.forward(specimen).compute()
    return mean, truth


def _case(run: Run) -> dict[str, Any]:
    assert run.truth is not None
    return {
        "quantities": run.summary["quantities"],
        "scores": run.summary["scores"],
        "timings": run.summary["timings"],
        "single_errors": single_errors(run.estimate, run.truth),
    }


def single_errors(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, list[list[float]]]:
    """Return [index of the true pair, estimate minus truth in Å] of every single distance.

    By quantity, for the pairs both sides have; pairs are the same where both their columns match.
    """
    if "pair_name" not in estimate or "pair_name" not in truth:
        return {}
    match = match_columns(estimate, truth.drop_vars("edge", errors="ignore"))
    true_index = dict(zip(match.estimate.tolist(), match.truth.tolist(), strict=True))
    true_pair = {
        (str(name), frozenset((int(a), int(b)))): (index, float(d))
        for index, (name, a, b, d) in enumerate(_pairs(truth))
    }
    errors: dict[str, list[list[float]]] = {}
    for name, a, b, distance in _pairs(estimate):
        key = (str(name), frozenset((true_index.get(int(a), -1), true_index.get(int(b), -1))))
        if key in true_pair:
            index, length = true_pair[key]
            errors.setdefault(str(name), []).append([index, float(distance) - length])
    return errors


def _pairs(data: xr.Dataset) -> Iterable[tuple[Any, Any, Any, Any]]:
    columns = [data[f"pair_{part}"].values for part in ("name", "first", "second", "distance")]
    return zip(*columns, strict=True)


def _summary(
    scenario: Scenario,
    seeds: list[int],
    cases: dict[int, dict[str, Any]],
    failures: dict[int, str],
    vary: Vary,
    noise_free: bool,
    stages: Stages,
) -> dict[str, Any]:
    nothing: dict[str, Any] = {"quantities": {}, "scores": {}}
    first = next(iter(cases.values()), nothing)
    names = {
        name: entry["unit"] for case in cases.values() for name, entry in case["quantities"].items()
    }
    return {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "seed": seeds[0],
        "seeds": seeds,
        "vary": vary.value,
        "noise_free": noise_free,
        "quantities": first["quantities"],
        "scores": first["scores"],
        "score_means": _score_means(cases),
        "statistics": {name: _statistics(name, unit, cases, vary) for name, unit in names.items()},
        "failures": {str(seed): why for seed, why in failures.items()},
        **circumstances(stages),
    }


def _score_means(cases: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    means: dict[str, dict[str, Any]] = {}
    for case in cases.values():
        for name, score in case["scores"].items():
            means.setdefault(name, {"values": [], "unit": score["unit"]})["values"].append(
                score["value"]
            )
    return {
        name: {"value": _mean_of_known(entry["values"]), "unit": entry["unit"]}
        for name, entry in means.items()
    }


def _mean_of_known(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _statistics(
    name: str, unit: str, cases: dict[int, dict[str, Any]], vary: Vary
) -> dict[str, Any]:
    rows = [case["quantities"].get(name, {}) for case in cases.values()]
    usable = [r for r in rows if r.get("truth") is not None and r.get("estimate") is not None]
    error = np.array([r["estimate"] - r["truth"] for r in usable])
    std = np.array([np.nan if r["std"] is None else r["std"] for r in usable])
    found = [case["single_errors"].get(name) for case in cases.values()]
    single = [np.asarray(rows, dtype=float) for rows in found if rows]
    return {
        **_moments(error),
        # The bound comes with the Fisher information of the scenario.
        "bound": None,
        "efficiency": None,
        "coverage95": plain(_coverage(error, std)),
        **_single_moments(single, same_pairs=vary is Vary.NOISE),
        "unit": unit,
    }


def _moments(error: npt.NDArray[np.float64]) -> dict[str, Any]:
    n = len(error)
    if not n:
        return {"bias": None, "bias_ci95": None, "spread": None, "rmse": None}
    bias = float(error.mean())
    if n == 1:
        return {"bias": bias, "bias_ci95": None, "spread": None, "rmse": abs(bias)}
    spread = float(error.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * spread / np.sqrt(n)
    return {
        "bias": bias,
        "bias_ci95": [bias - half, bias + half],
        "spread": spread,
        "rmse": float(np.sqrt(np.mean(error**2))),
    }


def _coverage(error: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> float:
    known = np.isfinite(std)
    if not known.any():
        return float("nan")
    return float(np.mean(np.abs(error[known]) <= stats.norm.ppf(0.975) * std[known]))


def _single_moments(single: list[npt.NDArray[np.float64]], *, same_pairs: bool) -> dict[str, Any]:
    """Bias and spread of one distance between two columns.

    Where all cases share the specimen, the spread is that of each pair over the seeds, pooled;
    otherwise that of all errors.
    """
    rows = np.concatenate(single) if single else np.empty((0, 2))
    if len(rows) < 2:
        return {"single_bias": None, "single_spread": None, "singles": len(rows)}
    error = rows[:, 1]
    spread = _within_groups(rows[:, 0], error) if same_pairs else float(error.std(ddof=1))
    return {
        "single_bias": float(error.mean()),
        "single_spread": plain(spread),
        "singles": len(rows),
    }


def _within_groups(group: npt.NDArray[np.float64], value: npt.NDArray[np.float64]) -> float:
    """Return the standard deviation about each group's own mean, pooled over groups."""
    _, index = np.unique(group, return_inverse=True)
    count = np.bincount(index)
    residual = value - (np.bincount(index, weights=value) / count)[index]
    freedom = len(value) - len(count)
    return float(np.sqrt(np.sum(residual**2) / freedom)) if freedom else float("nan")


@dataclass(frozen=True, kw_only=True)
class _Store:
    """Finished cases on disk, one file a seed, tied to everything that decides them."""

    folder: Path | None
    digest: str

    @classmethod
    def open(
        cls,
        folder: Path | None,
        scenario: Scenario,
        solver: Solver | None,
        vary: Vary,
        noise_free: bool,
        first_seed: int,
    ) -> "_Store":
        from echolith import __version__

        named = getattr(solver, "__qualname__", repr(solver)) if solver else "reference"
        decides = {
            "version": __version__,
            "scenario": scenario.name,
            "settings": scenario.settings.model_dump(mode="json"),
            "solver": f"{getattr(solver, '__module__', '')}:{named}",
            "vary": vary.value,
            "noise_free": noise_free,
            "first_seed": first_seed if vary is Vary.NOISE else None,
        }
        text = json.dumps(decides, sort_keys=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return cls(folder=folder, digest=hashlib.blake2b(text.encode(), digest_size=8).hexdigest())

    def _path(self, seed: int) -> Path | None:
        return None if self.folder is None else self.folder / f"case-{self.digest}-{seed}.json"

    def read(self, seed: int) -> dict[str, Any] | None:
        path = self._path(seed)
        if path is None or not path.exists():
            return None
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def write(self, seed: int, case: dict[str, Any]) -> None:
        path = self._path(seed)
        if path is None:
            return
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(case), encoding="utf-8")
        os.replace(temporary, path)
