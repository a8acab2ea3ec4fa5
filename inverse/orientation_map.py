"""Orientation map of a polycrystalline oxide, on metal or not, from one image or a movie's sum.

Grains are found one after the other, the least likely to be noise first: the power at the
reflections of a zone axis in windows (`echolith.inverse.grain_search`) tells where one is, its
fringes tell its outline (`echolith.inverse.grain_regions`), and what they explain is taken out
before the next is looked for. The metal is found the same way; it lies under the oxide.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.grain_fit import GrainFit
from echolith.inverse.grain_regions import Grain, RegionOptions, grown, settled
from echolith.inverse.grain_search import Found, Search
from echolith.inverse.grain_templates import Structure, template
from echolith.inverse.lattice_detection import noise_power
from echolith.units import Angstrom
from echolith.zone_axes import Zone

Array = npt.NDArray[np.float64]


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
    """Largest probability that a pixel without oxide is taken for a grain."""
    windows: Annotated[tuple[Annotated[Angstrom, Field(ge=2, le=100)], ...], Field(min_length=1)] = (
        4.0,
        7.0,
    )
    """Standard deviations of the Gaussian windows that are searched."""
    least_area: Annotated[float, Field(gt=0)] = 60.0
    """Å². Smaller grains are left out."""
    blur: Annotated[Angstrom, Field(ge=0.5, le=20)] = 2.0
    """Standard deviation of the Gaussian under which pixels are told apart."""
    smooth: Annotated[Angstrom, Field(ge=2, le=100)] = 10.0
    """Length on which the amplitudes of fringes may vary inside a grain."""
    most: Annotated[int, Field(ge=1, le=500)] = 60
    """Grains."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """An image taken apart: metal (or None), grains of oxide, and the log probability of noise."""

    metal: Grain | None
    grains: list[Grain]
    log_probability: Array
    options: RegionOptions

    @property
    def oxide(self) -> Array:
        """What the grains show, each in its pixels."""
        return sum((g.weight * g.shown for g in self.grains), np.zeros(self.log_probability.shape))


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
        if found.log_probability > np.log(self.options.false_alarm):
            return
        metal = self._started(found, self.image, rules)
        (self.metal,) = settled(self.image, [metal], rules) or (None,)

    def search_grains(self) -> None:
        """Add grains until nothing is left that noise would not show."""
        rest, rules = self._rest(), self._rules()
        failures = 0
        while len(self.grains) < self.options.most and failures < 4:
            found = self._search(self._oxides(), rest, rules)[1]
            if found.log_probability > np.log(self.options.false_alarm):
                break
            if self._added(found, rest, rules):
                rest, rules, failures = self._rest(), self._rules(), 0
            else:
                # What is no grain is blanked, so that the next is found.
                rest, failures = rest * (1 - self._window(found)), failures + 1

    def _added(self, found: Found, rest: Array, rules: RegionOptions) -> bool:
        """Tell whether a new grain wins pixels enough; then it is one of them."""
        image = self._without_metal()
        new = self._started(found, rest, rules)
        grains = settled(image, [*self.grains, new], rules)
        # All keep their order; the new one is the last, if it is there still.
        if len(grains) <= len(self.grains) or self._area(grains[-1]) < self.options.least_area:
            return False
        self.grains = [one for one in grains if self._area(one) >= self.options.least_area]
        if self.metal is not None:
            (self.metal,) = settled(self.image - self._oxide(), [self.metal], rules) or (None,)
        return True

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
        return sum((g.weight * g.shown for g in self.grains), np.zeros(self.image.shape))

    def _without_metal(self) -> Array:
        return self.image if self.metal is None else self.image - self.metal.weight * self.metal.shown

    def _rest(self) -> Array:
        return self._without_metal() - self._oxide()

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

    def _oxides(self) -> list:
        return [
            template(Structure.ANTIFLUORITE, zone, edge=self.options.oxide)
            for zone in self.options.zone_axes
        ]

    def _search(self, templates: list, image: Array, rules: RegionOptions) -> tuple[Array, Found]:
        search = Search(templates=templates, windows=self.options.windows, pixel=self.pixel)
        return search.log_probabilities(image, rules.level)

    def parts(self) -> Parts:
        rules = self._rules()
        logs, _ = self._search(self._oxides(), self._without_metal(), rules)
        return Parts(
            metal=self.metal, grains=self.grains, log_probability=logs, options=rules
        )
