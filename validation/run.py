"""Run one case of a scenario, or invert a recorded measurement, and sum it up for machines."""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from echolith.inverse.staged_solver import PiecewiseSolver, StagedSolver
from echolith.protocols import Solver
from echolith.validation.estimate_check import check_estimate
from echolith.validation.mean_store import kept_counts, kept_mean
from echolith.validation.scenario import Scenario
from echolith.validation.stage_store import solve

VERSIONS_OF = ("echolith", "abtem", "ase", "numpy", "scipy", "xarray")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One case: what was measured, estimated and true, and the summary for machines."""

    measurement: xr.Dataset
    estimate: xr.Dataset
    truth: xr.Dataset | None
    summary: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Times each stage and says which one begins."""

    announce: Callable[[str], None] = lambda _name: None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage under its name."""
        self.announce(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_once(
    scenario: Scenario,
    *,
    seed: int = 0,
    solver: Solver | None = None,
    noise_free: bool = False,
    keep: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> Run:
    """Simulate, invert and score one case.

    Parameters
    ----------
    scenario : Scenario
    seed : int
        The one seed of the case.
    solver : callable, optional
        Measurement to estimate; the scenario's reference solver by default.
    noise_free : bool
        Leave counting noise out.
    keep : Path, optional
        Folder for the stages of a staged solver, to go on from after a break, and for the
        measurement and the pieces of one that works in pieces; nothing is kept for other solvers.
    announce : callable
        Told the name of each stage as it begins.

    Returns
    -------
    Run
    """
    stages = Stages(announce=announce)
    chosen = solver or scenario.solver
    folder = keep if isinstance(chosen, StagedSolver | PiecewiseSolver) else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with stages.stage("build"):
        specimen = scenario.build(seed)
        truth = scenario.truth(specimen)
    if folder is not None and isinstance(chosen, PiecewiseSolver):
        with stages.stage("simulate"):
            counts = kept_counts(
                scenario, specimen, seed=seed, noise_free=noise_free, folder=folder
            )
        return run_on_counts(
            scenario,
            counts,
            truth,
            seed=seed,
            solver=solver,
            noise_free=noise_free,
            keep=folder,
            stages=stages,
        )
    with stages.stage("simulate"):
        mean = kept_mean(scenario, specimen, seed=seed, folder=folder)
    return run_on_mean(
        scenario,
        mean,
        truth,
        seed=seed,
        solver=solver,
        noise_free=noise_free,
        keep=folder,
        stages=stages,
    )


def run_on_mean(
    scenario: Scenario,
    mean: xr.Dataset,
    truth: xr.Dataset,
    *,
    seed: int,
    stages: Stages,
    solver: Solver | None = None,
    noise_free: bool = False,
    keep: Path | None = None,
) -> Run:
    """Draw counts from a kept mean, invert and score (arguments as for `run_once`)."""
    with stages.stage("count"):
        measurement = mean if noise_free else scenario.noise.sample(mean, seed=seed).compute()
    return run_on_counts(
        scenario,
        measurement,
        truth,
        seed=seed,
        solver=solver,
        noise_free=noise_free,
        keep=keep,
        stages=stages,
    )


def run_on_counts(
    scenario: Scenario,
    measurement: xr.Dataset,
    truth: xr.Dataset,
    *,
    seed: int,
    stages: Stages,
    solver: Solver | None,
    noise_free: bool,
    keep: Path | None,
) -> Run:
    """Invert and score a simulated measurement (arguments as for `run_once`)."""
    with stages.stage("solve"):
        estimate = solve(
            solver or scenario.solver, measurement, folder=keep, announce=stages.announce
        )
        check_estimate(estimate, quantities=scenario.quantities, truth=truth)
    with stages.stage("score"):
        scores = scenario.score(estimate, truth)
    summary = {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "seed": seed,
        "noise_free": noise_free,
        "quantities": quantities(scenario.quantities, estimate, truth),
        "scores": {name: {"value": plain(s.value), "unit": s.unit} for name, s in scores.items()},
        "diagnosis": diagnosis(scenario, estimate, truth),
        **conclusion(estimate),
        **circumstances(stages),
    }
    return Run(measurement=measurement, estimate=estimate, truth=truth, summary=summary)


def invert(
    scenario: Scenario,
    measurement: xr.Dataset,
    *,
    solver: Solver | None = None,
    keep: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> Run:
    """Invert a recorded measurement: no truth, so no scores (`keep` as in `run_once`)."""
    stages = Stages(announce=announce)
    with stages.stage("solve"):
        estimate = solve(solver or scenario.solver, measurement, folder=keep, announce=announce)
        check_estimate(estimate, quantities=scenario.quantities)
    summary = {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "seed": None,
        "quantities": quantities(scenario.quantities, estimate, None),
        "scores": {},
        **conclusion(estimate),
        **circumstances(stages),
    }
    return Run(measurement=measurement, estimate=estimate, truth=None, summary=summary)


def conclusion(estimate: xr.Dataset) -> dict[str, str]:
    """Return what an estimate says in words, where it does (its attribute ``conclusion``)."""
    words = estimate.attrs.get("conclusion")
    return {"conclusion": str(words)} if words else {}


def diagnosis(scenario: Scenario, estimate: xr.Dataset, truth: xr.Dataset) -> list[dict[str, Any]]:
    """Return what is wrong with an estimate as a whole: words, and numbers where there are any."""
    if scenario.diagnose is None:
        return []
    return [vars(finding) for finding in scenario.diagnose(estimate, truth)]


def quantities(
    names: tuple[str, ...], estimate: xr.Dataset, truth: xr.Dataset | None
) -> dict[str, dict[str, Any]]:
    """Return truth, estimate, standard error and unit of each scalar quantity, by name."""
    return {
        name: {
            "truth": scalar(truth, name),
            "estimate": scalar(estimate, name),
            "std": scalar(estimate, f"{name}_std"),
            "unit": _unit(name, estimate, truth),
        }
        for name in names
        if name in estimate or (truth is not None and name in truth)
    }


def scalar(data: xr.Dataset | None, name: str) -> float | None:
    """Return one scalar variable, None where it is absent or not finite."""
    return plain(float(data[name])) if data is not None and name in data else None


def plain(value: float) -> float | None:
    """Return a finite number; JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def _unit(name: str, *datasets: xr.Dataset | None) -> str:
    for data in datasets:
        if data is not None and name in data:
            return str(data[name].attrs.get("units", "1"))
    return "1"


def circumstances(stages: Stages) -> dict[str, Any]:
    """Return timings, peak memory of this process and versions."""
    return {
        "timings": dict(stages.seconds),
        "peak_memory_bytes": peak_memory(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in VERSIONS_OF},
        },
    }


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
