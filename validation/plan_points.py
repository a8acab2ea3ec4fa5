"""The bound at every point of a plan: computed once where it can be, kept, and scaled."""

import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from echolith import __version__
from echolith.errors import BadInputError
from echolith.validation.bounds import bound_of
from echolith.validation.case_store import CaseStore
from echolith.validation.damage import share_left
from echolith.validation.exposure import Exposure, Prepared, PreparedInformation
from echolith.validation.information import Information
from echolith.validation.mean_store import code_of
from echolith.validation.plan_axes import Point
from echolith.validation.scenario import Scenario
from echolith.validation.settings import resolve, setting_value, with_values

BOUNDING = ("echolith.validation", "echolith.forward", "echolith.structures")
"""Rooms of echolith whose code decides a bound."""


@dataclass(frozen=True, kw_only=True)
class PointBound:
    """What is known of one point.

    Attributes
    ----------
    point : mapping
        Values of the settings by dotted name.
    bounds : mapping of str to float
        Smallest standard deviation of every quantity; infinite where the data do not tell it.
    exposure : Exposure, optional
    unfit : tuple of str
        Why these settings cannot be used; empty: they can.
    useful : float
        Share of the dose that tells about the specimen as it was before the beam came.
    """

    point: Point
    bounds: Mapping[str, float] = field(default_factory=dict)
    exposure: Exposure | None = None
    unfit: tuple[str, ...] = ()
    useful: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one bound took to compute.

    Attributes
    ----------
    dear : bool
        Whether a step was done that serves other settings too (`PreparedInformation`).
    seconds : float
    """

    dear: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of a scenario at other settings than its own.

    Attributes
    ----------
    make : callable
        ``make(settings) -> Scenario``.
    base : Scenario
        What a plan starts from.
    seed : int
        Of the specimen.
    store : Path, optional
        Folder for bounds, so that a plan broken off goes on where it was.
    critical_dose : float
        Of the specimen, in the unit of its dose (`echolith.validation.damage`).
    """

    make: Callable[[Any], Scenario]
    base: Scenario
    seed: int = 0
    store: Path | None = None
    critical_dose: float = np.inf
    spent: list[Spent] = field(default_factory=list)
    """What every bound computed so far took."""
    _prepared: Prepared = field(default_factory=Prepared, repr=False)
    _done: set[Hashable] = field(default_factory=set, repr=False)
    _known: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)

    def at(self, point: Point) -> PointBound:
        """Return the bound at a point, settings that do not fit together told as a reason."""
        try:
            scenario = self.scenario(point)
            key, factor = self._reference(scenario, point)
            known = self._bound(key)
        except BadInputError as error:
            return PointBound(point=point, unfit=(str(error),))
        exposure = scenario.exposure
        useful = 1.0 if exposure is None else share_left(exposure.dose, critical=self.critical_dose)
        return PointBound(
            point=point,
            bounds={name: value / np.sqrt(factor * useful) for name, value in known.items()},
            exposure=exposure,
            unfit=() if exposure is None else exposure.limits,
            useful=useful,
        )

    def together(self, points: Sequence[Point]) -> list[int]:
        """Return the numbers of points, those that share dear steps one after the other."""
        seen: dict[Hashable, int] = {}

        def place(n: int) -> list[int]:
            try:
                information = self.scenario(points[n]).information
            except BadInputError:
                return []
            steps = information.steps if isinstance(information, PreparedInformation) else ()
            return [seen.setdefault((level, s.key), len(seen)) for level, s in enumerate(steps)]

        return sorted(range(len(points)), key=place)

    def missing(self, points: Iterable[Point]) -> tuple[int, int, int]:
        """Return how many bounds are to be computed, how many with a dear step, and of what size.

        The size is that of the largest measurement, in values.
        """
        keys: set[str] = set()
        known = set(self._done)
        dear = values = 0
        for point in points:
            try:
                scenario = self.scenario(point)
                key, _ = self._reference(scenario, point)
            except BadInputError:
                continue
            text = _text(key)
            if text in keys or text in self._known or self._kept(text).read(0) is not None:
                continue
            keys.add(text)
            dear += not _steps(scenario) <= known
            known |= _steps(scenario)
            if scenario.exposure is not None:
                values = max(values, scenario.exposure.values)
        return len(keys), dear, values

    def information(self, point: Point) -> Information:
        """Return all that a measurement at a point tells, at the base's proportional settings.

        Raises
        ------
        BadInputError
            If the settings do not fit together, or the scenario has no information.
        """
        key, _ = self._reference(self.scenario(point), point)
        return self._told(self.scenario(key))

    def scenario(self, point: Point) -> Scenario:
        """Return the scenario at a point.

        Raises
        ------
        BadInputError
            If the settings are implausible or do not fit together.
        """
        plain = with_values(self.base.settings.model_dump(), point)
        return self.make(resolve(type(self.base.settings), plain))

    def _reference(self, scenario: Scenario, point: Point) -> tuple[Point, float]:
        """Return the point with proportional settings as in the base, and what that changes."""
        exposure = scenario.exposure
        free = set() if exposure is None else set(exposure.proportional) & set(point)
        key = {name: value for name, value in point.items() if name not in free}
        own = self.base.settings.model_dump()
        return key, float(
            np.prod([float(point[name]) / float(setting_value(own, name)) for name in free])
        )

    def _bound(self, key: Point) -> dict[str, float]:
        text = _text(key)
        if text not in self._known:
            kept = self._kept(text)
            found = kept.read(0)
            if found is None:
                found = {name: _plain(v) for name, v in self._compute(key).items()}
                kept.write(0, found)
            self._known[text] = {
                name: np.inf if value is None else float(value) for name, value in found.items()
            }
        return self._known[text]

    def _compute(self, key: Point) -> dict[str, float]:
        scenario = self.scenario(key)
        dear, start = not _steps(scenario) <= self._done, time.perf_counter()
        bound = bound_of(self._told(scenario))
        self.spent.append(Spent(dear=dear, seconds=time.perf_counter() - start))
        self._done.update(_steps(scenario))
        return {str(n): float(v) for n, v in bound.data_vars.items() if not v.ndim}

    def _told(self, scenario: Scenario) -> Information:
        information = scenario.information
        if information is None:
            raise BadInputError(
                f"scenario {scenario.name!r} has no information to plan by; expected one that "
                "'echolith bound' takes"
            )
        specimen = scenario.build(self.seed)
        if isinstance(information, PreparedInformation):
            return information.known(specimen, self._prepared)
        return information(specimen)

    @cached_property
    def _code(self) -> str:
        return hashlib.blake2b(b"".join(code_of(BOUNDING)), digest_size=8).hexdigest()

    def _kept(self, text: str) -> CaseStore:
        decides = {
            "version": __version__,
            "code": self._code,
            "scenario": self.base.name,
            "settings": self.base.settings.model_dump(mode="json"),
            "point": text,
            "seed": self.seed,
        }
        return CaseStore.open(self.store, decides)


def _steps(scenario: Scenario) -> set[Hashable]:
    """Return the keys of what other settings may share."""
    information = scenario.information
    if not isinstance(information, PreparedInformation):
        return set()
    return {(n, step.key) for n, step in enumerate(information.steps)}


def _text(point: Point) -> str:
    return json.dumps(point, sort_keys=True)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
