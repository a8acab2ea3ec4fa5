"""What every setting of a plan does to the precision, next to the settings it recommends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from echolith.validation.plan import Plan
from echolith.validation.plan_search import FELT, PlanPoint


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a setting does while the others, that solved for too, stay as recommended.

    Attributes
    ----------
    name : str
        Dotted name of the setting.
    spreads : mapping
        Value by value, the spread of the worst quantity by that at the recommended value.
    felt : bool
        False: over the whole plan this setting changes nothing.
    power : float, optional
        The spread is proportional to the setting to this power, between the recommended value and
        those next to it; None: no numbers above 0.
    """

    name: str
    spreads: Mapping[Any, float]
    felt: bool
    power: float | None


def effects(found: Plan, around: PlanPoint) -> list[Effect]:
    """Return the effect of every listed setting next to a point.

    Parameters
    ----------
    found : Plan
    around : PlanPoint
        One of its points.
    """
    return [_effect(found, name, around) for name in found.axes.values]


def _effect(found: Plan, name: str, around: PlanPoint) -> Effect:
    here = _spread(found, around)
    line = [p for p in found.points if _others(found, p, name) == _others(found, around, name)]
    spreads = {_key(p, name): _spread(found, p) / here for p in line if p.bound.bounds}
    power = _power(_key(around, name), spreads)
    return Effect(name=name, spreads=spreads, felt=_felt(found, name), power=power)


def _power(here: Any, spreads: Mapping[Any, float]) -> float | None:
    """Return the slope of the logarithms through the values on both sides, or the one there is."""
    numbers = [v for v in spreads if isinstance(v, int | float) and v > 0]
    known = sorted(v for v in numbers if np.isfinite(spreads[v]))
    if here not in known or len(known) < 2:
        return None
    n = known.index(here)
    low, high = known[max(0, n - 1)], known[min(len(known) - 1, n + 1)]
    return float(np.log(spreads[high] / spreads[low]) / np.log(high / low))


def _felt(found: Plan, name: str) -> bool:
    lines: dict[Any, list[float]] = {}
    for point in found.points:
        if point.bound.bounds:
            lines.setdefault(_others(found, point, name), []).append(_spread(found, point))
    return any(max(line) > min(line) * (1 + FELT) for line in lines.values())


def _spread(found: Plan, point: PlanPoint) -> float:
    """Return the excess at one value of the free setting, nothing having faded."""
    free = [float(point.bound.point[name]) for name in found.axes.free]
    useful = point.bound.useful if free else 1.0
    return float(point.excess * np.sqrt(np.prod(free) * useful))


def _others(found: Plan, point: PlanPoint, name: str) -> tuple[Any, ...]:
    return tuple(_key(point, other) for other in found.axes.values if other != name)


def _key(point: PlanPoint, name: str) -> Any:
    value = point.bound.point[name]
    return tuple(value) if isinstance(value, list) else value
