"""An image taken apart into the metal and the grains of oxide on it.

Grains are found one after the other, the least likely to be noise first: the power at the
reflections of a zone axis in windows (`echolith.inverse.grain_search`) tells where one is, its
fringes tell its outline (`echolith.inverse.grain_regions`), and what they explain is taken out
before the next is looked for. The metal is found the same way, before them; it lies under the
oxide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.forward.acquisition import Settings
from echolith.inverse.grain_fit import GrainFit
from echolith.inverse.grain_regions import Grain, RegionOptions, grown, parted, settled, shared
from echolith.inverse.grain_search import Found, Search
from echolith.inverse.grain_templates import Structure, Template, template
from echolith.inverse.lattice_detection import noise_power
from echolith.units import Angstrom
from echolith.zone_axes import Zone

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Window = Annotated[Angstrom, Field(ge=2, le=100)]

ROUNDS = 2
"""In which a grain takes the pixels it wins and is fitted to them."""
FAILURES = 4
"""Candidates in a row that win too little, after which no other is looked for."""
GAIN = 0.3
"""Part of its likelihood that a grain must add to what others explain in its pixels."""
FAINTEST = 0.15
"""Of the mean power of the other grains' fringes; fainter ones are what was left of those."""
ALIKE = 0.5
"""Correlation from which fringes are one grain's ..."""
SAME = 1.0
"""... if their rotations are as near, degree."""
KEPT = 0.95
"""Part of its pixels below which a grain is fitted anew."""


class OrientationSearch(Settings):
    """What is looked for in a movie, and how sure it must be."""

    oxide: Annotated[Angstrom, Field(ge=3, le=8)] = 4.619
    """Edge of the oxide's cubic cell."""
    zone_axes: Annotated[tuple[Zone, ...], Field(min_length=1)] = ((1, 1, 0),)
    """Of grains, candidates."""
    metal: Annotated[Angstrom, Field(ge=2, le=8)] = 3.5092
    """Edge of the metal's cubic cell."""
    metal_zone_axes: tuple[Zone, ...] = ((1, 1, 1), (1, 1, 0), (0, 0, 1))
    """Candidates; none: no metal is looked for."""
    tolerance: Annotated[float, Field(gt=0, le=0.05)] = 0.01
    """Standard deviation of the relative deviations of edges."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Largest probability that a pixel without oxide is taken for a grain, and that a frame
    without oxide shows one anywhere."""
    windows: Annotated[tuple[Window, ...], Field(min_length=1)] = (4.0, 7.0)
    """Standard deviations of the Gaussian windows that are searched."""
    least_area: Annotated[float, Field(gt=0)] = 60.0
    """Å². Smaller grains are left out."""
    blur: Annotated[Angstrom, Field(ge=0.5, le=20)] = 2.0
    """Standard deviation of the Gaussian under which pixels are told apart."""
    smooth: Annotated[Angstrom, Field(ge=2, le=100)] = 10.0
    """Length on which the amplitudes of fringes may vary inside a grain."""
    most: Annotated[int, Field(ge=1, le=500)] = 60
    """Candidates for grains that are tried."""

    @field_validator("zone_axes")
    @classmethod
    def _told_apart(cls, value: tuple[Zone, ...]) -> tuple[Zone, ...]:
        for zone in value:
            template(Structure.ANTIFLUORITE, zone, edge=1.0)
        return value


@dataclass(frozen=True, kw_only=True)
class Parts:
    """An image taken apart.

    Attributes
    ----------
    image : array, (ny, nx)
        Without its mean.
    metal : Grain or None
    grains : list of Grain
    log_probability : array, (ny, nx)
        Of as much as there is of oxide at a place from noise alone.
    options : RegionOptions
        With the power of the noise that is left.
    edge, oxide_edge : float
        Of the cells of metal and oxide, Å.
    """

    image: Array
    metal: Grain | None
    grains: list[Grain]
    log_probability: Array
    options: RegionOptions
    edge: float
    oxide_edge: float

    @property
    def oxide(self) -> Array:
        """What the grains show, each in its pixels."""
        return _shown(self.grains, self.image.shape)

    @property
    def rest(self) -> Array:
        """What is left of the image."""
        return (
            self.image - self.oxide - _shown([self.metal] if self.metal else [], self.image.shape)
        )

    @property
    def noise(self) -> float:
        """Power of the noise at the oxide's strongest reflection."""
        return float(np.interp(np.sqrt(3) / self.oxide_edge, *self.options.level))


def _shown(grains: Sequence[Grain], shape: tuple[int, ...]) -> Array:
    return np.asarray(sum((one.weight * one.shown for one in grains), np.zeros(shape)))


def take_apart(image: Array, *, pixel: float, options: OrientationSearch) -> Parts:
    """Find metal and grains in an image.

    Parameters
    ----------
    image : array, (ny, nx)
        Counts, summed over frames.
    pixel : float
        Å.
    options : OrientationSearch
    """
    state = _Apart(image, pixel=pixel, options=options)
    state.search_metal()
    state.search_grains()
    state.settle()
    return state.parts()


class _Apart:
    """The search as it goes on."""

    def __init__(self, image: Array, *, pixel: float, options: OrientationSearch) -> None:
        self.image = image - image.mean()
        self.floor = float(image.mean())
        self.pixel, self.options = pixel, options
        self.metal: Grain | None = None
        self.grains: list[Grain] = []

    def search_metal(self) -> None:
        zones = self.options.metal_zone_axes
        if not zones:
            return
        templates = [
            template(Structure.BODY_CENTRED, zone, edge=self.options.metal) for zone in zones
        ]
        rules = self._rules()
        found = self._search(templates, self.image, rules)[1]
        if not self._is_sure(found):
            return
        metal = self._started(found, self.image, rules)
        (self.metal,) = settled(self.image, [metal], rules) or (None,)

    def search_grains(self) -> None:
        """Add grains until nothing is left that noise would not show."""
        rest, rules = self._rest(), self._rules()
        failures = 0
        # A grain may take another's place, so it is candidates that are counted, not grains.
        for _ in range(self.options.most):
            if failures == FAILURES:
                break
            found = self._search(self._oxides(), rest, rules)[1]
            if not self._is_sure(found):
                break
            if self._added(found, rest, rules):
                rest, rules, failures = self._rest(), self._rules(), 0
            else:
                # What is no grain is blanked, so that the next is found.
                rest, failures = rest * (1 - self._window(found)), failures + 1

    def settle(self) -> None:
        """Fit metal and grains once more, each without the others."""
        for _ in range(ROUNDS):
            rules = self._rules()
            if self.metal is not None:
                (self.metal,) = settled(self.image - self._oxide(), [self.metal], rules) or (None,)
            if self.grains:
                grains = settled(self._without_metal(), self.grains, rules)
                self.grains = [one for one in grains if self._area(one) >= self.options.least_area]

    def _added(self, found: Found, rest: Array, rules: RegionOptions) -> bool:
        """Tell whether a new grain wins pixels enough; then it is one of them."""
        new = self._started(found, rest, rules)
        image = self._without_metal()
        for _ in range(ROUNDS):
            won = parted([*self.grains, new], rules) == len(self.grains) + 1
            if won.sum() * self.pixel**2 < self.options.least_area or self._is_known(new, won):
                return False
            if self._gain(new, won) < GAIN or self._power(new, won) < FAINTEST:
                return False
            new = grown(image, won.astype(float), new.fit, rules)
        after = shared([*self.grains, new], rules)
        # Those that it took pixels from had been fitted to what is not theirs.
        fitted = [
            grown(image, one.weight, one.fit, rules)
            if self._area(one) < KEPT * self._area(old)
            else one
            for one, old in zip(after, [*self.grains, new], strict=True)
            if self._area(one) >= self.options.least_area
        ]
        self.grains = shared(fitted, rules)
        return True

    def _power(self, new: Grain, won: Mask) -> float:
        """Return the power of a grain's fringes by the mean of the others'."""
        others = [float((one.shown[one.weight > 0] ** 2).mean()) for one in self.grains]
        return float((new.shown[won] ** 2).mean() / np.mean(others)) if others else 1.0

    def _gain(self, new: Grain, won: Mask) -> float:
        """Return which part of the likelihood of a grain the others have not."""
        before = np.max([np.zeros(won.shape), *(one.likelihood for one in self.grains)], axis=0)
        return 1 - float(before[won].sum() / new.likelihood[won].sum())

    def _is_known(self, new: Grain, won: Mask) -> bool:
        """Tell whether a grain's fringes are those of another that goes on into its pixels."""
        ours = new.shown[won]
        zone, period = new.fit.template.zone_axis, new.fit.template.period
        for one in self.grains:
            theirs = one.shown[won]
            turn = (new.fit.rotation - one.fit.rotation + period / 2) % period - period / 2
            alike = float(ours @ theirs) > ALIKE * np.linalg.norm(ours) * np.linalg.norm(theirs)
            if abs(turn) < SAME and alike and one.fit.template.zone_axis == zone:
                return True
        return False

    def _is_sure(self, found: Found) -> bool:
        """Tell whether noise would show as much anywhere in as few frames as asked."""
        places = self.image.size * (self.pixel / found.window) ** 2
        return bool(found.log_probability + np.log(places) < np.log(self.options.false_alarm))

    def _started(self, found: Found, image: Array, rules: RegionOptions) -> Grain:
        """Return a grain that has the pixels of the window it was found in."""
        first = GrainFit(
            template=found.template, rotation=found.rotation, rotation_std=np.nan, strain=0.0
        )
        return grown(image, self._window(found), first, rules)

    def _window(self, found: Found) -> Array:
        y, x = (
            np.exp(-0.5 * ((self.pixel * np.arange(n) - middle) / found.window) ** 2)
            for n, middle in zip(self.image.shape, found.place, strict=True)
        )
        return np.asarray(y[:, None] * x)

    def _area(self, grain: Grain) -> float:
        return float(grain.weight.sum()) * self.pixel**2

    def _oxide(self) -> Array:
        return _shown(self.grains, self.image.shape)

    def _without_metal(self) -> Array:
        return np.asarray(self.image - _shown([self.metal] if self.metal else [], self.image.shape))

    def _rest(self) -> Array:
        return np.asarray(self._without_metal() - self._oxide())

    def _rules(self) -> RegionOptions:
        radii, power = noise_power(self._rest(), self.pixel)
        # Never below that of the counts themselves.
        return RegionOptions(
            pixel=self.pixel,
            level=(radii, np.maximum(power, self.floor)),
            blur=self.options.blur,
            smooth=self.options.smooth,
            tolerance=self.options.tolerance,
        )

    def _oxides(self) -> list[Template]:
        return [
            template(Structure.ANTIFLUORITE, zone, edge=self.options.oxide)
            for zone in self.options.zone_axes
        ]

    def _search(
        self, templates: list[Template], image: Array, rules: RegionOptions
    ) -> tuple[Array, Found]:
        search = Search(templates=templates, windows=self.options.windows, pixel=self.pixel)
        return search.log_probabilities(image, rules.level)

    def parts(self) -> Parts:
        rules = self._rules()
        logs, _ = self._search(self._oxides(), self._without_metal(), rules)
        return Parts(
            image=self.image,
            metal=self.metal,
            grains=self.grains,
            log_probability=logs,
            options=rules,
            edge=self.options.metal,
            oxide_edge=self.options.oxide,
        )
