"""Plan a measurement: the settings that reach a precision at the least dose, or the least time.

The Cramér-Rao bound decides at every point, in seconds and before anything is simulated; how far a
solver stays behind it is found by round trips at the settings that were chosen
(`echolith.validation.plan_trial`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from echolith.errors import BadInputError, near_match
from echolith.validation.plan_axes import Axes, Choice, Point, Range, axes, followed
from echolith.validation.plan_points import Bounds, PointBound, point_value
from echolith.validation.plan_target import SINGLE, Target
from echolith.validation.scenario import Scenario

Announce = Callable[[int, int], None]


class Least(Enum):
    """What a plan spends as little of as it can."""

    DOSE = "dose"
    TIME = "time"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a measurement may take; None: any amount, of the dose the published one.

    Attributes
    ----------
    dose : float, optional
        In the scenario's unit.
    seconds : float, optional
        Of the exposure.
    values : float, optional
        Numbers measured.
    """

    dose: float | None = None
    seconds: float | None = None
    values: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no measurement keeps to."""
        for name in ("dose", "seconds", "values"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise BadInputError(f"budget {name} = {value:g}; expected more than 0")

    def exceeded(self, found: PointBound) -> tuple[str, ...]:
        """Return what a point takes too much of, in words."""
        exposure = found.exposure
        if exposure is None:
            return ()
        dose = exposure.published if self.dose is None else self.dose
        whose = "published for this material" if self.dose is None else "allowed"
        told = []
        if exposure.dose > dose * (1 + 1e-9):
            told.append(
                f"dose {exposure.dose:.3g} {exposure.dose_unit}, more than the {dose:.3g} {whose}"
            )
        if self.seconds is not None and exposure.seconds > self.seconds * (1 + 1e-9):
            told.append(f"exposure of {exposure.seconds:.3g} s, more than {self.seconds:.3g} s")
        if self.values is not None and exposure.values > self.values:
            told.append(f"{exposure.values} values, more than {self.values:g}")
        return tuple(told)


@dataclass(frozen=True, kw_only=True)
class PlanPoint:
    """One point of a plan, its excess over the target and why it is not chosen, if so."""

    bound: PointBound
    excess: float
    """Worst spread by what it may be; at most 1: the target is met."""
    reasons: tuple[str, ...] = ()

    @property
    def fit(self) -> bool:
        """Whether the point meets target and budget."""
        return not self.reasons


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
    scenario_at: Callable[[PlanPoint], Scenario]
    """The scenario with the settings of a point."""


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
) -> Plan:
    """Find the settings that reach a target.

    Parameters
    ----------
    scenario : Scenario
        With an ``information``; settings not gone through stay as they are.
    over : mapping
        Settings by dotted name: a list of values, or a `Range`. A range of a setting to which the
        counts are proportional (``exposure.proportional``) is solved for, others are cut in steps.
    target : mapping of str to float
        Largest error of each quantity, in its unit (see `Target`).
    share : float
        Of measurements that are to keep to it.
    budget : Budget, optional
        By default no more dose than the published measurement gave.
    least : Least
        Dose or time.
    factor : float
        How many times the bound the solver's spread is; 1: that of an ideal solver.
    make : callable, optional
        ``make(settings) -> Scenario``; by default that of the catalogue.
    seed : int
        Of the specimen.
    store : Path, optional
        Folder for bounds, so that a plan broken off goes on where it was.
    announce : callable
        Told how many points are done, and of how many.

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        If a name or a value is wrong, or no point can be computed.
    """
    if not 1 <= factor < np.inf:
        raise BadInputError(f"factor = {factor:g}; expected 1 or more: no solver beats the bound")
    plain = scenario.settings.model_dump()
    for name in over:
        point_value(plain, name)
    bounds = Bounds(make=make or _made(scenario), base=scenario, seed=seed, store=store)
    exposure = scenario.exposure
    chosen = axes(over, proportional=() if exposure is None else exposure.proportional)
    many = frozenset(target) - frozenset(scenario.quantities)
    wanted = Target(errors=dict(target), share=share, many=many)
    _check_names(wanted, scenario, bounds)
    allowed = budget or Budget()
    follows = {} if exposure is None else exposure.follows
    corners = [followed(point, follows) for point in chosen.points()]
    found = []
    for n, point in enumerate(corners):
        announce(n, len(corners))
        found.append(_planned(bounds, point, chosen, wanted, allowed, factor))
    announce(len(corners), len(corners))
    _check_any(found)
    return Plan(
        scenario=scenario,
        target=wanted,
        budget=allowed,
        least=least,
        axes=chosen,
        factor=factor,
        points=tuple(found),
        recommended=_cheapest([p for p in found if p.fit], least),
        nearest=_nearest(found, allowed),
        scenario_at=lambda point: bounds.scenario(point.bound.point),
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


def _planned(
    bounds: Bounds, point: Point, chosen: Axes, target: Target, budget: Budget, factor: float
) -> PlanPoint:
    """Return a point, its free setting as small as the target allows."""
    if not chosen.free:
        return _judged(bounds.at(point), target, budget, factor)
    ((name, values),) = chosen.free.items()
    most = bounds.at({**point, name: values.high})
    if not most.bounds:
        return PlanPoint(bound=most, excess=np.inf, reasons=most.unfit)
    needed = values.high * (factor * target.excess(most.bounds)) ** 2 * (1 + 1e-9)
    value = float(np.clip(needed, values.low, max(values.low, _most(most, budget, values.high))))
    if isinstance(point_value(bounds.base.settings.model_dump(), name), int):
        value = np.ceil(value)
    return _judged(bounds.at({**point, name: value}), target, budget, factor)


def _most(found: PointBound, budget: Budget, value: float) -> float:
    """Return the largest value of a free setting, to which the dose is proportional too."""
    exposure = found.exposure
    if exposure is None:
        return value
    dose = exposure.published if budget.dose is None else budget.dose
    return value * min(1.0, dose / exposure.dose)


def _judged(found: PointBound, target: Target, budget: Budget, factor: float) -> PlanPoint:
    if not found.bounds:
        return PlanPoint(bound=found, excess=np.inf, reasons=found.unfit)
    excess = factor * target.excess(found.bounds)
    reasons = [*found.unfit, *budget.exceeded(found)]
    lacking = [name for name in target.errors if name not in found.bounds]
    if lacking:
        reasons.append(f"nothing of {', '.join(lacking)} is measured")
    elif excess > 1:
        missed = [
            f"{name}: {factor * found.bounds[name]:.3g}, may be {target.spread(name):.3g}"
            for name in target.errors
            if factor * found.bounds[name] > target.spread(name)
        ]
        reasons.append("spread of " + "; ".join(missed))
    return PlanPoint(bound=found, excess=excess, reasons=tuple(reasons))


def _check_any(points: Sequence[PlanPoint]) -> None:
    if not any(p.bound.bounds for p in points):
        reasons = dict.fromkeys(reason for p in points for reason in p.reasons)
        raise BadInputError(f"no point can be computed: {'; '.join(list(reasons)[:3])}")


def spent(point: PlanPoint, least: Least) -> float:
    """Return the dose or the seconds a point takes; 0 where its scenario does not tell."""
    exposure = point.bound.exposure
    if exposure is None:
        return 0.0
    value = exposure.dose if least is Least.DOSE else exposure.seconds
    return 0.0 if np.isnan(value) else value


def _cheapest(points: Sequence[PlanPoint], least: Least) -> PlanPoint | None:
    return min(points, key=lambda p: (spent(p, least), p.excess), default=None)


def _nearest(points: Sequence[PlanPoint], budget: Budget) -> PlanPoint | None:
    """Return the best point within the budget."""
    within = [
        p for p in points if p.bound.bounds and not p.bound.unfit and not budget.exceeded(p.bound)
    ]
    return min(within, key=lambda p: p.excess, default=None)


def best_points(found: Plan) -> list[PlanPoint]:
    """Return the points to choose from, the cheapest first.

    Where a setting was solved for, those that meet the target; otherwise those none of the others
    beats in both dose (or time) and precision.
    """
    usable = sorted(
        (p for p in found.points if p.bound.bounds and not p.bound.unfit),
        key=lambda p: (spent(p, found.least), p.excess),
    )
    if found.axes.free:
        return [p for p in usable if p.fit]
    best: list[PlanPoint] = []
    for point in usable:
        if not best or point.excess < best[-1].excess:
            best.append(point)
    return best
