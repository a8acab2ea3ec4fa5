"""Run a solver on the seeds of its baseline and compare; or make the baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.baselines import (
    Baseline,
    check_belongs,
    make_baseline,
    read_baseline,
    write_baseline,
)
from echolith.validation.mean_store import Simulated, simulate_once
from echolith.validation.paired_test import LEAST_SEEDS
from echolith.validation.performance import Performance, performance
from echolith.validation.regression import compare
from echolith.validation.regression_power import Aim, Plan, plan
from echolith.validation.round_trip import round_trip
from echolith.validation.scenario import Scenario
from echolith.validation.verdict import Verdict

PILOT_SEEDS = 8
"""Run to learn how errors scatter, before the number of seeds is proposed."""
MOST_PROPOSED = 200
"""More seeds than this are run only where they are asked for."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a regression test asks.

    Attributes
    ----------
    scenario : Scenario
    seeds : tuple of int, optional
        Those of the baseline by default; for a new baseline, as many as `plan` proposes.
    aim : Aim
    folder : Path, optional
        Keeps simulated means; for scenarios of the catalogue only.
    tell : callable
        Told in words what is about to happen, and what became of a new baseline.
    record : callable
        Told the plan as plain values before the cases run.
    """

    scenario: Scenario
    seeds: tuple[int, ...] | None = None
    aim: Aim = field(default_factory=Aim)
    folder: Path | None = None
    tell: Callable[[str], None] = lambda _line: None
    record: Callable[[dict[str, Any]], None] = lambda _plan: None

    def __post_init__(self) -> None:
        if self.seeds is not None and len(set(self.seeds)) < LEAST_SEEDS:
            raise BadInputError(
                f"{len(set(self.seeds))} seeds do not tell how much differences scatter; expected "
                f"at least {LEAST_SEEDS}, or none given to have them proposed"
            )


def check_against(path: Path, solver: Solver | None, question: Question) -> Verdict:
    """Compare a solver with its baseline; the power is told before it runs.

    Parameters
    ----------
    path : Path
        The baseline.
    solver : callable, optional
        The scenario's reference solver by default.
    question : Question

    Returns
    -------
    Verdict

    Raises
    ------
    BadInputError
        If the baseline is missing, damaged, or belongs to something else.
    """
    baseline = read_baseline(path)
    check_belongs(baseline, question.scenario, seeds=question.seeds)
    seeds = baseline.performance.seeds
    _tell_plan(plan(baseline.performance, seeds=len(seeds), aim=question.aim), question)
    bench = _Bench.set_up(question, seeds[0])
    check_belongs(baseline, question.scenario, mean=bench.simulated.mean)
    return _compare(baseline.performance, bench.measure(solver, seeds), question.aim)


def update_baseline(path: Path, solver: Solver | None, question: Question) -> Baseline:
    """Run a solver and write its baseline, in place of one that is there.

    Without seeds, `PILOT_SEEDS` are run, then as many as it takes for the power aimed at, up to
    `MOST_PROPOSED`.

    Parameters
    ----------
    path : Path
    solver : callable, optional
        The scenario's reference solver by default.
    question : Question

    Returns
    -------
    Baseline

    Raises
    ------
    BadInputError
        If no case has an estimate.
    """
    seeds = question.seeds or tuple(range(PILOT_SEEDS))
    bench = _Bench.set_up(question, seeds[0])
    measured = bench.measure(solver, seeds)
    while question.seeds is None and measured.groups:
        proposed = min(plan(measured, aim=question.aim).seeds, MOST_PROPOSED)
        if proposed <= len(measured.seeds):
            break
        measured = bench.measure(solver, range(proposed))
    if not measured.groups:
        first, why = next(iter(measured.failures.items()))
        raise BadInputError(f"every case failed (seed {first}: {why}); no baseline is made of that")
    baseline = make_baseline(question.scenario, bench.simulated.mean, measured)
    _tell_plan(plan(baseline.performance, seeds=len(measured.seeds), aim=question.aim), question)
    _tell_all([f"seed {seed} failed: {why}" for seed, why in measured.failures.items()], question)
    _tell_all(_against_old(path, baseline, question), question)
    write_baseline(baseline, path)
    question.tell(f"baseline written to {path}: {len(measured.seeds)} seeds")
    return baseline


def _against_old(path: Path, new: Baseline, question: Question) -> list[str]:
    """Say how a new baseline compares with the one it replaces, where that can be said."""
    try:
        old = read_baseline(path)
        check_belongs(old, question.scenario, seeds=new.performance.seeds)
    except BadInputError:
        return []
    told = _compare(old.performance, new.performance, question.aim).lines
    return ["the baseline that it replaces:", *told] if old.measurement == new.measurement else []


def _compare(baseline: Performance, current: Performance, aim: Aim) -> Verdict:
    return compare(baseline, current, margin=aim.margin, false_alarm=aim.false_alarm)


def _tell_plan(made: Plan, question: Question) -> None:
    _tell_all(made.lines, question)
    question.record(made.as_dict())


def _tell_all(lines: Sequence[str], question: Question) -> None:
    for line in lines:
        question.tell(line)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """One simulated specimen, and the cases already run on it."""

    simulated: Simulated
    cases: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    @classmethod
    def set_up(cls, question: Question, seed: int) -> "_Bench":
        return cls(simulated=simulate_once(question.scenario, seed=seed, folder=question.folder))

    def measure(self, solver: Solver | None, seeds: Sequence[int]) -> Performance:
        """Run the seeds that were not run yet, and pool the errors of those asked for."""
        left = [seed for seed in seeds if seed not in self.cases and seed not in self.failures]
        if left:
            outcome = round_trip(self.simulated.scenario, seeds=left, solver=solver, bound=False)
            self.cases.update(outcome.cases)
            self.failures.update(outcome.failures)
        return performance(
            {seed: self.cases[seed] for seed in seeds if seed in self.cases},
            seeds=seeds,
            failures={seed: self.failures[seed] for seed in seeds if seed in self.failures},
            truth=self.simulated.truth,
        )
