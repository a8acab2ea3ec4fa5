"""Plan a measurement: the settings that reach a precision at the least dose, or the least time.

The Cramér-Rao bound decides at every point, in seconds and before anything is simulated; how far a
solver stays behind it is found by round trips at the settings that were chosen
(`echolith.validation.plan_trial`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echolith.errors import BadInputError, near_match
from echolith.validation.information import Information
from echolith.validation.plan_axes import Axes, Choice, Range, axes
from echolith.validation.plan_budget import Budget
from echolith.validation.plan_points import Bounds
from echolith.validation.plan_search import REFINEMENTS, Least, PlanPoint, Search, order, spent
from echolith.validation.plan_target import SINGLE, Target
from echolith.validation.plan_work import Forecast, Work
from echolith.validation.scenario import Scenario
from echolith.validation.settings import setting_value

__all__ = ["Budget", "Least", "Plan", "PlanPoint", "best_points", "plan", "spent"]

Announce = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was gone through, and what came out.

    Attributes
    ----------
    scenario : Scenario
        What the plan started from.
    target : Target
    budget : Budget
    least : Least
    axes : Axes
    factor : float
        Times a solver's spread is taken to exceed the bound.
    points : tuple of PlanPoint
    recommended : PlanPoint, optional
        None: no point meets target and budget.
    nearest : PlanPoint, optional
        The best that the budget allows; None: no point could be computed within it.
    """

    scenario: Scenario
    target: Target
    budget: Budget
    least: Least
    axes: Axes
    factor: float
    points: tuple[PlanPoint, ...]
    recommended: PlanPoint | None
    nearest: PlanPoint | None
    work: Work
    """What was to be computed at first."""
    scenario_at: Callable[[PlanPoint], Scenario]
    """The scenario with the settings of a point."""
    information_at: Callable[[PlanPoint], Information]
    """All that a measurement there tells; takes as long as a bound."""


def plan(
    scenario: Scenario,
    *,
    over: Mapping[str, Choice | Range],
    target: Mapping[str, float],
    share: float = 0.9,
    budget: Budget | None = None,
    least: Least = Least.DOSE,
    factor: float = 1.0,
    make: Callable[[Any], Scenario] | None = None,
    seed: int = 0,
    store: Path | None = None,
    announce: Announce = lambda _done, _total: None,
    tell: Callable[[Work], None] = lambda _work: None,
) -> Plan:
    """Find the settings that reach a target.

    Parameters
    ----------
    scenario : Scenario
        With an ``information``; settings not gone through stay as they are.
    over : mapping
        Settings by dotted name: a list of values, or a `Range`. A range of a setting to which the
        counts are proportional (``exposure.proportional``) is solved for; others are cut in steps,
        then narrowed about the best of them.
    target : mapping of str to float
        Largest error of each quantity, in its unit (see `Target`).
    share : float
        Of measurements that are to keep to it.
    budget : Budget, optional
        By default no more dose than the published measurement gave. With a critical dose the
        bounds are those of a specimen that fades.
    least : Least
        Dose or time.
    factor : float
        How many times the bound the solver's spread is; 1: that of an ideal solver; below: one
        that is not unbiased.
    make : callable, optional
        ``make(settings) -> Scenario``; by default that of the catalogue.
    seed : int
        Of the specimen.
    store : Path, optional
        Folder for bounds, so that a plan broken off goes on where it was.
    announce : callable
        Told how many points are done, and of how many.
    tell : callable
        Told what is to be computed before anything is, and again with the time it will take.

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        If a name or a value is wrong, no point can be computed, or the computation would take more
        than the budget.
    """
    if not 0 < factor < np.inf:
        raise BadInputError(f"factor = {factor:g}; expected more than 0; 1: an ideal solver")
    allowed = budget or Budget()
    exposure = scenario.exposure
    allowed.check(exposure)
    if least is Least.TIME and (exposure is None or np.isnan(exposure.seconds)):
        raise BadInputError("least = time, but the scenario does not tell the time; use dose")
    plain = scenario.settings.model_dump()
    kinds = {name: type(setting_value(plain, name)) for name in over}
    bounds = Bounds(
        make=make or _made(scenario),
        base=scenario,
        seed=seed,
        store=store,
        critical_dose=allowed.critical,
    )
    many = frozenset(target) - frozenset(scenario.quantities)
    search = Search(
        bounds=bounds,
        axes=axes(
            over,
            proportional=() if exposure is None else exposure.proportional,
            integers=[name for name, kind in kinds.items() if kind is int],
        ),
        target=Target(errors=dict(target), share=share, many=many),
        budget=allowed,
        least=least,
        factor=factor,
        follows={} if exposure is None else exposure.follows,
    )
    forecast = _forecast(search)
    watch = _Watch(forecast=forecast, search=search, tell=tell, start=time.perf_counter())
    watch()
    _check_names(search.target, scenario, bounds)
    corners = search.axes.points()
    done: dict[int, PlanPoint] = {}
    for at in bounds.together(corners):
        announce(len(done), len(corners))
        done[at] = search.at(corners[at])
        watch()
    found = [done[at] for at in range(len(corners))]
    found += search.refined(found)
    announce(len(corners), len(corners))
    _check_any(found)
    fit = [p for p in found if p.fit]
    usable = [p for p in found if search.usable(p)]
    return Plan(
        scenario=scenario,
        target=search.target,
        budget=allowed,
        least=least,
        axes=search.axes,
        factor=factor,
        points=tuple(found),
        recommended=min(fit, key=search.rank, default=None),
        nearest=min(usable, key=lambda p: p.excess, default=None),
        work=forecast.left(()),
        scenario_at=lambda point: bounds.scenario(point.bound.point),
        information_at=lambda point: bounds.information(point.bound.point),
    )


@dataclass(kw_only=True)
class _Watch:
    """Tells what is left as soon as it is known, and stops what is beyond the budget."""

    forecast: Forecast
    search: Search
    tell: Callable[[Work], None]
    start: float
    told: int = 0

    def __call__(self) -> None:
        left = self.forecast.left(self.search.bounds.spent)
        # At first by numbers alone, then once more with the time it will take.
        if not self.told or (self.told == 1 and left.seconds):
            self.told += 1
            self.tell(left)
        left.check(self.search.budget, used=time.perf_counter() - self.start)


def _forecast(search: Search) -> Forecast:
    points = [search.whole(point) for point in search.axes.points()]
    bounds, dear, values = search.bounds.missing(points)
    return Forecast(
        points=len(points),
        bounds=bounds,
        dear=dear,
        refinements=REFINEMENTS * len(search.axes.stepped),
        values=values,
        kept=search.bounds.store is not None,
    )


def _check_names(target: Target, scenario: Scenario, bounds: Bounds) -> None:
    """Refuse a quantity that the scenario has no bound of, as soon as that can be told."""
    plain = {name.removesuffix(SINGLE) for name in target.errors}
    if plain <= set(scenario.quantities):
        return
    known = bounds.at({})
    if known.unfit and not known.bounds:
        raise BadInputError(known.unfit[0])
    for name in target.errors:
        if name not in known.bounds:
            raise BadInputError(f"unknown target '{name}'; {near_match(name, known.bounds)}")


def _made(scenario: Scenario) -> Callable[[Any], Scenario]:
    from echolith.validation.catalogue import entry

    return entry(scenario.name).make


def _check_any(points: Sequence[PlanPoint]) -> None:
    if not any(p.bound.bounds for p in points):
        reasons = dict.fromkeys(reason for p in points for reason in p.reasons)
        raise BadInputError(f"no point can be computed: {'; '.join(list(reasons)[:3])}")


def best_points(found: Plan) -> list[PlanPoint]:
    """Return the points to choose from, the cheapest first.

    Where a setting was solved for, those that meet the target; otherwise those none of the others
    beats in both dose (or time) and precision.
    """
    usable = [p for p in found.points if p.bound.bounds and not p.bound.unfit]
    if found.axes.free:
        return sorted((p for p in usable if p.fit), key=lambda p: order(p, found.least))
    usable.sort(key=lambda p: (spent(p, found.least), p.excess))
    best: list[PlanPoint] = []
    for point in usable:
        if not best or point.excess < best[-1].excess:
            best.append(point)
    return best
