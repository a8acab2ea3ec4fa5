"""Points of a plan, one after the other: a dose solved for, a range narrowed about its best."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from echolith.validation.damage import dose_for
from echolith.validation.plan_axes import Axes, Point, followed
from echolith.validation.plan_budget import Budget
from echolith.validation.plan_points import Bounds, PointBound
from echolith.validation.plan_target import Target
from echolith.validation.settings import setting_value

GOLDEN = (3 - math.sqrt(5)) / 2
REFINEMENTS = 8
"""Bounds computed at most to narrow one range: the best of its steps is then known to 3 % of it."""
FINE = 0.01
"""Relative distance of two values that are not told apart."""
FELT = 1e-6
"""Relative change of dose, time or spread below which a setting has no effect."""


class Least(Enum):
    """What a plan spends as little of as it can."""

    DOSE = "dose"
    TIME = "time"


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


def spent(point: PlanPoint, least: Least) -> float:
    """Return the dose or the seconds a point takes; 0 where its scenario does not tell."""
    exposure = point.bound.exposure
    if exposure is None:
        return 0.0
    value = exposure.dose if least is Least.DOSE else exposure.seconds
    return 0.0 if np.isnan(value) else value


def order(point: PlanPoint, least: Least) -> tuple[float, ...]:
    """Return what sorts points, the cheapest first; of equal ones the quicker and smaller."""
    exposure = point.bound.exposure
    rest = (0.0, 0) if exposure is None else (exposure.seconds, exposure.values)
    first = (_digits(spent(point, least)), _digits(point.excess))
    return (*first, *(0.0 if np.isnan(v) else float(v) for v in rest))


def _digits(value: float) -> float:
    """Return a value without its rounding errors."""
    return float(f"{value:.6g}")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What decides how good a point is (attributes as the parameters of `plan`)."""

    bounds: Bounds
    axes: Axes
    target: Target
    budget: Budget
    least: Least
    factor: float
    follows: Mapping[str, Callable[[Any], Mapping[str, Any]]]

    def whole(self, point: Point) -> Point:
        """Return a point with the settings that follow from its own."""
        return followed(point, self.follows)

    def at(self, point: Point) -> PlanPoint:
        """Return a point, its free setting as small as the target allows."""
        complete = self.whole(point)
        if not self.axes.free:
            return self._judged(self.bounds.at(complete))
        ((name, values),) = self.axes.free.items()
        most = self.bounds.at({**complete, name: values.high})
        if not most.bounds:
            return PlanPoint(bound=most, excess=np.inf, reasons=most.unfit)
        exposure = most.exposure
        assert exposure is not None  # it says what is proportional
        worth = exposure.dose * most.useful * (self.factor * self.target.excess(most.bounds)) ** 2
        needed = dose_for(worth * (1 + 1e-9), critical=self.bounds.critical_dose) / exposure.dose
        high = max(values.low, values.high * self.budget.share(exposure))
        value = float(np.clip(values.high * needed, values.low, high))
        if isinstance(setting_value(self.bounds.base.settings.model_dump(), name), int):
            value = np.ceil(value)
        return self._judged(self.bounds.at({**complete, name: value}))

    def _judged(self, found: PointBound) -> PlanPoint:
        if not found.bounds:
            return PlanPoint(bound=found, excess=np.inf, reasons=found.unfit)
        excess = self.factor * self.target.excess(found.bounds)
        reasons = [*found.unfit, *self.budget.exceeded(found.exposure)]
        lacking = [name for name in self.target.errors if name not in found.bounds]
        if lacking:
            reasons.append(f"nothing of {', '.join(lacking)} is measured")
        elif excess > 1:
            missed = [
                f"{name}: {self.factor * found.bounds[name]:.3g}, may be {allowed:.3g}"
                for name in self.target.errors
                if self.factor * found.bounds[name] > (allowed := self.target.spread(name))
            ]
            reasons.append("spread of " + "; ".join(missed))
        return PlanPoint(bound=found, excess=excess, reasons=tuple(reasons))

    def usable(self, point: PlanPoint) -> bool:
        """Whether a point keeps to the budget, whatever it tells."""
        found = point.bound
        within = not found.unfit and not self.budget.exceeded(found.exposure)
        return bool(found.bounds) and within

    def rank(self, point: PlanPoint) -> tuple[float, ...]:
        """Return what sorts points, the best first: the target met, at least expense."""
        expense, excess, *rest = order(point, self.least)
        if point.fit:
            return 0.0, expense, excess, *rest
        return 1.0 if self.usable(point) else 2.0, excess, expense, *rest

    def refined(self, points: Iterable[PlanPoint]) -> list[PlanPoint]:
        """Return further points about the best one, range by range."""
        known, new = list(points), list[PlanPoint]()
        for name in self.axes.stepped:
            new += self._narrowed(name, [*known, *new])
        return new

    def _narrowed(self, name: str, points: list[PlanPoint]) -> list[PlanPoint]:
        """Return points by golden section between the neighbours of the best value of a range."""
        best = min(points, key=self.rank)
        others = {n: best.bound.point[n] for n in self.axes.values if n != name}
        line = [p for p in points if all(p.bound.point[n] == v for n, v in others.items())]
        if self.rank(best)[0] > 1 or not _felt([self.rank(p) for p in line if p.bound.bounds]):
            return []
        values = [p.bound.point[name] for p in line]
        here = best.bound.point[name]
        low = max((v for v in values if v < here), default=here)
        high = min((v for v in values if v > here), default=here)
        new: list[PlanPoint] = []
        for _ in range(REFINEMENTS):
            probe = _between(here, low, high, whole=isinstance(here, int))
            if abs(probe - here) <= FINE * abs(here) or probe in (low, high):
                break
            new.append(self.at({**others, name: probe}))
            if self.rank(new[-1]) < self.rank(best):
                low, high = (here, high) if probe > here else (low, here)
                best, here = new[-1], probe
            elif probe > here:
                high = probe
            else:
                low = probe
        return new


def _felt(ranks: list[tuple[float, ...]]) -> bool:
    """Whether anything changes along a line of points."""
    lowest, highest = np.min(ranks, axis=0), np.max(ranks, axis=0)
    return bool(np.any(highest > lowest + FELT * np.abs(lowest)))


def _between(here: float, low: float, high: float, *, whole: bool) -> float:
    """Return a value towards the more distant neighbour, in proportion where all are positive."""
    scale, back = (math.log, math.exp) if low > 0 else (float, float)
    centre, ends = scale(here), (scale(low), scale(high))
    far = max(ends, key=lambda end: abs(end - centre))
    probe = back(centre + GOLDEN * (far - centre))
    return round(probe) if whole else float(f"{probe:.4g}")
