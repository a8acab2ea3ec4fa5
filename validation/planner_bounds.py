"""Bounds that are known already, answered at once; those that are not, computed in a process.

Which are known is kept here, what they are in the store that plans and processes share.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echolith.validation.plan_axes import Choice, Point, Range, followed
from echolith.validation.plan_points import Bounds, PointBound
from echolith.validation.planner_jobs import Job, Jobs, State
from echolith.validation.planner_reading import Wish
from echolith.validation.planner_work import Base, bounds_at

BASES = 32
"""Sets of settings whose bounds are held ready."""
POINTS = 10000
"""Points remembered to have no bound."""


@dataclass(kw_only=True)
class Known:
    """Bounds that cost nothing.

    Attributes
    ----------
    units : dict
        Of the quantities, by scenario.
    """

    units: dict[str, dict[str, str]] = field(default_factory=dict)
    _bases: OrderedDict[Base, Bounds] = field(default_factory=OrderedDict)
    _unfit: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, base: Base, point: Point) -> PointBound | None:
        """Return the bound at a point, None where it has to be computed."""
        with self._lock:
            bounds, unfit = self._bounds(base), self._unfit.get(_key(base, point), ())
            if unfit:
                return PointBound(point=point, unfit=unfit)
            missing, _, _ = bounds.missing([point])
            return None if missing else bounds.at(point)

    def refuse(self, base: Base, point: Point, why: tuple[str, ...]) -> None:
        """Remember why a point has no bound."""
        with self._lock:
            self._unfit[_key(base, point)] = why
            while len(self._unfit) > POINTS:
                self._unfit.popitem(last=False)

    def _bounds(self, base: Base) -> Bounds:
        if base not in self._bases:
            self._bases[base] = base.bounds()
        self._bases.move_to_end(base)
        while len(self._bases) > BASES:
            self._bases.popitem(last=False)
        return self._bases[base]


def _key(base: Base, point: Point) -> str:
    return json.dumps([base.key, point], sort_keys=True, default=str)


def lines(wish: Wish) -> dict[str, list[Any]]:
    """Return the values of every setting gone through at which the bound is shown.

    Along a setting that the information is proportional to the ends tell all.
    """
    exposure = wish.scenario.exposure
    free = () if exposure is None else exposure.proportional
    return {name: _values(wanted, name in free) for name, wanted in wish.over.items()}


def _values(wanted: Choice | Range, free: bool) -> list[Any]:
    if not isinstance(wanted, Range):
        return list(wanted)
    return [wanted.low, wanted.high] if free else wanted.steps()


def live_bound(known: Known, jobs: Jobs, base: Base, wish: Wish, *, page: str) -> dict[str, Any]:
    """Return what is known of the bound at the present point and along every setting.

    What is not is computed in a process, the present point first; the same request later finds
    more. A process that computes all that is asked for is left alone, another is superseded.
    """
    exposure = wish.scenario.exposure
    follows = {} if exposure is None else exposure.follows
    here = followed(wish.point, follows)
    along = {
        name: [followed({**wish.point, name: value}, follows) for value in values]
        for name, values in lines(wish).items()
    }
    points = [here, *(point for line in along.values() for point in line)]
    found = [known.at(base, point) for point in points]
    missing = [p for p, bound in zip(points, found, strict=True) if bound is None]
    job = _computing(known, jobs, f"{page}/bound", base, missing) if missing else None
    answers = iter(found[1:])
    return {
        "job": None if job is None else status(job),
        "here": None if found[0] is None else told(found[0], known.units.get(base.name, {}), wish),
        "lines": {
            name: [{"value": value, **_spreads(next(answers))} for value in values]
            for name, values in lines(wish).items()
        },
    }


def _computing(known: Known, jobs: Jobs, key: str, base: Base, missing: list[Point]) -> Job:
    """Return the job that computes what is missing."""
    job = jobs.current(key)
    if job is not None and job.state is not State.ENDED:
        computed, points = job.wants
        if computed == base and all(point in points for point in missing):
            return job

    def take_in(result: dict[str, Any]) -> None:
        known.units[base.name] = {**known.units.get(base.name, {}), **result["units"]}
        for point, why in zip(missing, result["unfit"], strict=True):
            if why:
                known.refuse(base, point, tuple(why))

    return jobs.start(key, bounds_at, base, missing, wants=(base, missing), told=take_in)


def status(job: Job) -> dict[str, Any]:
    """Return how far a job is, as plain values."""
    stage, done, total = job.progress
    return {
        "name": job.name,
        "state": job.state.value,
        "stage": stage,
        "done": done,
        "total": total,
        "message": job.message,
        "notes": list(job.notes),
    }


def told(found: PointBound, units: Mapping[str, str], wish: Wish) -> dict[str, Any]:
    """Return a bound as plain values, what it costs, and by how much it misses the target."""
    exposure, target = found.exposure, wish.target
    return {
        "bounds": {
            name: {"value": _number(value), "unit": units.get(name, "")}
            for name, value in found.bounds.items()
        },
        "allowed": {}
        if target is None
        else {name: target.spread(name) / wish.factor for name in target.errors},
        "unfit": list(found.unfit),
        "exposure": None
        if exposure is None
        else {
            "dose": _number(exposure.dose),
            "dose_unit": exposure.dose_unit,
            "seconds": _number(exposure.seconds),
            "values": exposure.values,
            "published": _number(exposure.published),
            "source": exposure.source,
            "over": list(wish.budget.exceeded(exposure)),
        },
    }


def _spreads(found: PointBound | None) -> dict[str, Any]:
    if found is None:
        return {"known": False, "spreads": {}, "dose": None}
    dose = None if found.exposure is None else _number(found.exposure.dose)
    spreads = {name: _number(value) for name, value in found.bounds.items()}
    return {"known": True, "spreads": spreads, "dose": dose}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
