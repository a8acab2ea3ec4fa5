"""What every setting of a plan does to the precision, next to the settings it recommends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from echolith.validation.plan import Plan, PlanPoint

NONE = 1e-6
"""Relative change of the spread below which a setting has no effect."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a setting does while the others, the dose too, stay as recommended.

    Attributes
    ----------
    name : str
        Dotted name of the setting.
    spreads : mapping
        Value by value, the spread of the worst quantity by that at the recommended value.
    felt : bool
        False: over the whole plan this setting changes nothing.
    """

    name: str
    spreads: Mapping[Any, float]
    felt: bool


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
    return Effect(name=name, spreads=spreads, felt=_felt(found, name))


def _felt(found: Plan, name: str) -> bool:
    lines: dict[Any, list[float]] = {}
    for point in found.points:
        if point.bound.bounds:
            lines.setdefault(_others(found, point, name), []).append(_spread(found, point))
    return any(max(line) > min(line) * (1 + NONE) for line in lines.values())


def _spread(found: Plan, point: PlanPoint) -> float:
    """Return the excess at one value of the free setting."""
    free = [float(point.bound.point[name]) for name in found.axes.free]
    return float(point.excess * np.sqrt(np.prod(free)))


def _others(found: Plan, point: PlanPoint, name: str) -> tuple[Any, ...]:
    return tuple(_key(point, other) for other in found.axes.values if other != name)


def _key(point: PlanPoint, name: str) -> Any:
    value = point.bound.point[name]
    return tuple(value) if isinstance(value, list) else value
