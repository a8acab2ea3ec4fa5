"""Whether a solver keeps what a plan promises: round trips at the settings it recommends.

A solver stays behind the bound by a factor nobody knows beforehand. It is measured where the bound
puts the plan, the plan is made again with it, and so on until the share of cases that keep to the
target is not below what was promised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.plan import Plan, PlanPoint
from echolith.validation.plan_target import Target, case_error, share_interval
from echolith.validation.round_trip import Vary, round_trip
from echolith.validation.scenario import Scenario

ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Cases run at the settings of a point.

    Attributes
    ----------
    kept, cases : int
        Cases that keep to the target, of how many; a case whose solver failed does not.
    share : (float, float)
        95 % interval of their share.
    factor : float
        By how much the errors exceed the bound.
    """

    kept: int
    cases: int
    share: tuple[float, float]
    factor: float


def trial(
    scenario: Scenario,
    point: PlanPoint,
    target: Target,
    *,
    seeds: range,
    solver: Solver | None = None,
    store: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> Trial:
    """Run cases at the settings of a point, each with a specimen of its own.

    Parameters
    ----------
    scenario : Scenario
        With those settings.
    point : PlanPoint
    target : Target
    seeds : range
    solver : callable, optional
        The scenario's own by default.
    store : Path, optional
        Folder for finished cases.
    announce : callable

    Raises
    ------
    BadInputError
        If every case fails.
    """
    outcome = round_trip(
        scenario,
        seeds=seeds,
        solver=solver,
        vary=Vary.SPECIMEN,
        bound=False,
        store=store,
        announce=announce,
    )
    if not outcome.cases:
        raise BadInputError(f"every case failed, e.g. {next(iter(outcome.failures.values()))}")
    cases, n = list(outcome.cases.values()), len(seeds)
    kept = sum(target.kept(case) for case in cases)
    return Trial(
        kept=kept, cases=n, share=share_interval(kept, n), factor=_factor(cases, point, target)
    )


def _factor(cases: list[dict[str, Any]], point: PlanPoint, target: Target) -> float:
    """Return the worst error by its bound: root mean square of single values, quantile of many."""
    worst = 1.0
    for name in target.errors:
        errors = np.array([case_error(case, name) for case in cases])
        found = errors[np.isfinite(errors)]
        if len(found):
            many = name in target.many
            size = np.quantile(found, target.share) if many else np.sqrt(np.mean(found**2))
            worst = max(worst, float(size) / point.bound.bounds[name])
    return worst


def planned_and_tried(
    make_plan: Callable[[float], Plan],
    *,
    seeds: range,
    factor: float = 1.0,
    solver: Solver | None = None,
    store: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> tuple[Plan, Trial | None]:
    """Plan, try, and plan again with the factor that was found, until it stays.

    Parameters
    ----------
    make_plan : callable
        ``make_plan(factor) -> Plan``.
    seeds : range
    factor : float
        To begin with.
    solver : callable, optional
    store : Path, optional
    announce : callable

    Returns
    -------
    (Plan, Trial or None)
        The last plan, and the cases run at its recommendation; None where it recommends nothing.
    """
    known = 1 / np.sqrt(2 * len(seeds))  # relative error of a root mean square of so many
    for turn in range(ROUNDS):
        found = make_plan(factor)
        if found.recommended is None:
            return found, None
        announce(f"trial {turn + 1}")
        tried = trial(
            found.scenario_at(found.recommended),
            found.recommended,
            found.target,
            seeds=seeds,
            solver=solver,
            store=store,
            announce=announce,
        )
        if abs(tried.factor / factor - 1) <= known:
            break
        factor = tried.factor
    return found, tried
