"""Round trips over seeds: bias, spread, efficiency and calibration against known truth."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.protocols import Solver
from echolith.validation.bounds import cramer_rao
from echolith.validation.case_store import CaseStore
from echolith.validation.residuals import case_residuals, joined, to_json
from echolith.validation.round_trip_summary import summed_up
from echolith.validation.run import Run, Stages, circumstances, run_on_mean
from echolith.validation.scenario import Scenario
from echolith.validation.solver_process import SolverProcess
from echolith.validation.statistics import Residuals, half_width

if TYPE_CHECKING:
    import pandas as pd

LEAST_CASES = 5
"""Before a precision is believed: fewer cases do not tell their own spread."""


class Vary(Enum):
    """What changes from seed to seed."""

    NOISE = "noise"
    """One specimen, simulated once; only the counts are drawn anew."""
    SPECIMEN = "specimen"
    """A new specimen and new counts for every seed."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """When to stop: the 95 % confidence interval of a quantity's bias is narrow enough."""

    quantity: str
    half_width: float
    """In the quantity's unit."""


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """The outcome over all seeds; ``failures`` maps a seed to what went wrong."""

    first: Run | None
    cases: dict[int, dict[str, Any]]
    failures: dict[int, str]
    summary: dict[str, Any]

    def table(self) -> "pd.DataFrame":
        """Return one row for every seed and quantity: truth, estimate, std, error, pull, unit."""
        import pandas as pd

        rows = [
            {"seed": seed, "quantity": name, **_row(entry)}
            for seed, case in self.cases.items()
            for name, entry in case["quantities"].items()
        ]
        columns = ["seed", "quantity", "truth", "estimate", "std", "error", "pull", "unit"]
        return pd.DataFrame(rows, columns=columns)

    def residuals(self) -> dict[str, Residuals]:
        """Return the errors of all cases by kind of value, one case after the other."""
        return joined(case_residuals(case) for case in self.cases.values())


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    truth, estimate, std = (
        np.nan if entry[name] is None else entry[name] for name in ("truth", "estimate", "std")
    )
    error = estimate - truth
    pull = error / std if std > 0 else np.nan
    return {**entry, "error": error, "pull": pull}


def round_trip(
    scenario: Scenario,
    *,
    seeds: Iterable[int] = range(20),
    solver: Solver | None = None,
    vary: Vary = Vary.NOISE,
    noise_free: bool = False,
    until: Precision | None = None,
    bound: bool = True,
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
        At least one; with ``until`` it may be endless, e.g. ``itertools.count()``.
    solver : callable, optional
        Measurement to estimate; the reference solver by default.
    vary : Vary
        `Vary.NOISE` keeps the specimen of the first seed.
    noise_free : bool
        Leave counting noise out.
    until : Precision, optional
        Stop as soon as the bias of a quantity is known this well, from the fifth case on.
    bound : bool
        Put the Cramér-Rao bound next to the spread where the scenario has one.
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
        If there is no seed, the specimen cannot be simulated, or the quantity is unknown.
    """
    _check_precision(scenario, until)
    chosen = iter(dict.fromkeys(seeds) if until is None else seeds)
    ahead = next(chosen, None)
    if ahead is None:
        raise BadInputError("seeds is empty; expected at least one integer of 0 or more")
    kept = CaseStore.open(
        store, decides(scenario, solver, vary, noise_free, ahead) if store else {}
    )
    job = _Job(
        scenario=scenario,
        solver=solver,
        vary=vary,
        noise_free=noise_free,
        first_seed=ahead,
        stages=Stages(announce=announce),
    )
    cases: dict[int, dict[str, Any]] = {}
    failures: dict[int, str] = {}
    tried: list[int] = []
    first: Run | None = None
    for position, seed in enumerate(_chain(ahead, chosen)):
        tried.append(seed)
        known = kept.read(seed)
        if known is not None and position > 0:
            cases[seed] = known
        else:
            announce(f"case {position + 1}, seed {seed}")
            outcome = job.run(seed)
            if isinstance(outcome, str):
                failures[seed] = outcome
            else:
                first = first or outcome
                cases[seed] = _case(scenario, outcome)
                kept.write(seed, cases[seed])
        if until is not None and _precise(cases, until):
            break
    limits = _bounds(scenario, tried[0], job.stages) if bound and not noise_free else None
    summary = {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "seed": tried[0],
        "seeds": tried,
        "vary": vary.value,
        "noise_free": noise_free,
        **summed_up(cases, same_specimen=vary is Vary.NOISE, limits=limits),
        "failures": {str(seed): why for seed, why in failures.items()},
        **circumstances(job.stages),
    }
    return RoundTrip(first=first, cases=cases, failures=failures, summary=summary)


def _chain(first: int, others: Iterable[int]) -> Iterable[int]:
    yield first
    yield from others


def _check_precision(scenario: Scenario, until: Precision | None) -> None:
    if until is None:
        return
    if until.quantity not in scenario.quantities:
        hint = near_match(until.quantity, scenario.quantities)
        raise BadInputError(f"unknown quantity {until.quantity!r}; {hint}")
    if not until.half_width > 0:
        raise BadInputError(f"half_width = {until.half_width:g}; expected more than 0")


def _precise(cases: dict[int, dict[str, Any]], until: Precision) -> bool:
    rows = [case["quantities"].get(until.quantity) for case in cases.values()]
    error = np.array(
        [r["estimate"] - r["truth"] for r in rows if r and None not in (r["estimate"], r["truth"])]
    )
    return len(error) >= LEAST_CASES and half_width(error) <= until.half_width


def decides(
    scenario: Scenario, solver: Solver | None, vary: Vary, noise_free: bool, first_seed: int
) -> dict[str, Any]:
    """Everything the cases of a store depend on."""
    from echolith import __version__

    return {
        "version": __version__,
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "solver": _solver_name(solver),
        "vary": vary.value,
        "noise_free": noise_free,
        "first_seed": first_seed if vary is Vary.NOISE else None,
    }


def _solver_name(solver: Solver | None) -> str:
    if solver is None:
        return "reference"
    if isinstance(solver, SolverProcess):
        return f"{solver!r} {solver.check()}"  # with its code: an edited solver is another one
    named = getattr(solver, "__qualname__", None)
    return f"{solver.__module__}:{named}" if named else repr(solver)


@dataclass(kw_only=True)
class _Job:
    """One case after the other; the mean is kept while the specimen stays."""

    scenario: Scenario
    solver: Solver | None
    vary: Vary
    noise_free: bool
    first_seed: int
    stages: Stages
    prepared: tuple[xr.Dataset, xr.Dataset] | None = None

    def run(self, seed: int) -> Run | str:
        """Return the finished case, or what went wrong with the solver or the specimen."""
        try:
            if self.prepared is None or self.vary is Vary.SPECIMEN:
                start = self.first_seed if self.vary is Vary.NOISE else seed
                self.prepared = self._prepare(start)
        except BadInputError:
            if seed == self.first_seed:
                raise
            return _reason()
        try:
            run = run_on_mean(
                self.scenario,
                *self.prepared,
                seed=seed,
                solver=self.solver,
                noise_free=self.noise_free,
                stages=Stages(),
            )
        except Exception:  # any solver may be plugged in; its failure is a result
            return _reason()
        return run

    def _prepare(self, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
        with self.stages.stage("build"):
            specimen = self.scenario.build(seed)
            truth = self.scenario.truth(specimen)
        with self.stages.stage("simulate"):
            mean = self.scenario.forward(specimen).compute()
        return mean, truth


def _reason() -> str:
    error = sys.exception()
    return f"{type(error).__name__}: {error}"


def _bounds(scenario: Scenario, seed: int, stages: Stages) -> xr.Dataset | None:
    if scenario.information is None:
        return None
    with stages.stage("bound"):
        return cramer_rao(scenario, seed=seed)


def _case(scenario: Scenario, run: Run) -> dict[str, Any]:
    assert run.truth is not None
    aligned = scenario.gauge(run.estimate, run.truth)
    return {
        "quantities": run.summary["quantities"],
        "scores": run.summary["scores"],
        "diagnosis": run.summary["diagnosis"],
        "timings": run.summary["timings"],
        "residuals": to_json(scenario.residuals(aligned, run.truth)),
    }
