"""The lattice of one frame: whether there is one, zone axis, spacing, rotation."""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.hrtem_acquisition import HrtemAcquisition, hrtem_acquisition_of
from echolith.inverse.image_filters import bragg_masked
from echolith.inverse.lattice_detection import Detection, Notches, detect, noise_power
from echolith.inverse.lattice_fit import LatticeFit, fit_lattice
from echolith.inverse.lattice_maps import Level
from echolith.units import Angstrom
from echolith.zone_axes import Zone, zone_reflections

Array = npt.NDArray[np.float64]

LEAST_NOISE = 0.2
"""Of the mean count. The variance of counts is their mean, times the square of the camera's
transfer function; where less is left nothing is transferred. Expected counts have no noise."""
ALL = "spacing, rotation, zone_axis"
CERTAIN = 0.95
"""Probability from which a zone axis is named."""
UNEXPLAINED = 1e-3
"""Part of a lattice's evidence that facets, edges and thickness of its own particle may feign: in
a particle of 30 nm at 320 e/Å² it was 2.5e-5."""
CLIPPED = 20
"""Pixels at the largest value from which a frame may be saturated."""


class Verdict(Enum):
    """What a frame holds."""

    LATTICE = "lattice"
    NOT_DETECTED = "not detected"
    OVERLAPPING = "two overlapping lattices"
    BLANK = "blank frame"
    SATURATED = "saturated frame"


class LatticeSearch(Settings):
    """What is looked for in a frame."""

    lattice: Annotated[Angstrom, Field(ge=2, le=8)] = 3.51
    """Edge of the body-centred cell, about."""
    tolerance: Annotated[float, Field(gt=0, le=0.1)] = 0.03
    """Largest relative deviation of the edge."""
    zone_axes: Annotated[tuple[Zone, ...], Field(min_length=1)] = ((0, 0, 1), (1, 1, 0), (1, 1, 1))
    """Candidates."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Largest probability that noise passes for a lattice."""
    smallest: Annotated[Angstrom, Field(ge=8)] = 15.0
    """Radius of the smallest part of a frame that is looked at by itself."""
    frame: Annotated[int, Field(ge=0)] = 0
    """Of the movie."""

    @field_validator("zone_axes")
    @classmethod
    def _directions(cls, value: tuple[Zone, ...]) -> tuple[Zone, ...]:
        for zone in value:
            zone_reflections(zone)
        return value


def recover_lattice(measurement: xr.Dataset, *, options: LatticeSearch | None = None) -> xr.Dataset:
    """Find the lattice of one frame.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, drawn.
    options : LatticeSearch, optional

    Returns
    -------
    xarray.Dataset
        Always ``noise_probability`` (a bound on the chance of as much from noise alone),
        ``second_probability`` (the same of a second lattice beside the first) and
        ``zone_probability`` (of every candidate). With one lattice ``spacing`` (Å, of the shortest
        reflection across the zone axis) and ``rotation`` (°, of that reflection from x towards y),
        each with ``_std``, and ``zone_axis``; none of them where several zone axes could be meant.
        Attribute ``verdict`` (a `Verdict`) and, where something is not determined,
        ``undetermined``: what, and why.

    Raises
    ------
    BadInputError
        If there is no such frame, or it holds what is no count.
    """
    options = options or LatticeSearch()
    acquisition = hrtem_acquisition_of(measurement)
    image = frame_image(measurement, options.frame)
    return lattice_dataset(find_lattice(image, acquisition=acquisition, options=options), options)


@dataclass(frozen=True, kw_only=True)
class FoundLattice:
    """What was found in an image; None where it was not looked for.

    Attributes
    ----------
    verdict : Verdict
    level : (array, array)
        Radii (1/Å) and power of the noise.
    first, second : Detection
        The best lattice, and the best beside it.
    fit : LatticeFit
    unusable : str
        Why nothing was looked for.
    """

    verdict: Verdict
    level: Level | None = None
    first: Detection | None = None
    second: Detection | None = None
    fit: LatticeFit | None = None
    unusable: str = ""


def find_lattice(
    image: Array, *, acquisition: HrtemAcquisition, options: LatticeSearch
) -> FoundLattice:
    """Look for a lattice in an image, and for a second one beside it.

    Parameters
    ----------
    image : array, (ny, nx)
    acquisition : HrtemAcquisition
    options : LatticeSearch
    """
    verdict, why = unusable(image)
    if verdict is not None:
        return FoundLattice(verdict=verdict, unusable=why)
    pixel = acquisition.pixel
    radii, power = noise_power(image, pixel)
    level = radii, np.maximum(power, LEAST_NOISE * image.mean())
    look = partial(_detected, pixel=pixel, level=level, options=options)
    first = look(image)
    if first.noise_probability > options.false_alarm:
        return FoundLattice(verdict=Verdict.NOT_DETECTED, level=level, first=first)
    fit = fit_lattice(image, acquisition=acquisition, level=level, start=first)
    taken = Notches(places=lattice_places(fit.reflections), radius=fit.width)
    rest = image - bragg_masked(image, pixel=pixel, reflections=taken.places, radius=taken.radius)
    second = look(rest, taken=taken)
    left = UNEXPLAINED * first.log_ratio
    alone = second.noise_probability > options.false_alarm or second.log_ratio < left
    return FoundLattice(
        verdict=Verdict.LATTICE if alone else Verdict.OVERLAPPING,
        level=level,
        first=first,
        second=second,
        fit=fit,
    )


def unusable(image: npt.NDArray[np.number]) -> tuple[Verdict | None, str]:
    """Say why an image holds nothing to look for: blank, or clipped at the top."""
    highest = image.max()
    if highest == image.min():
        return Verdict.BLANK, f"every pixel holds {highest:g}; the frame is dropped or the beam off"
    clipped = int((image == highest).sum())
    # Counts thin out towards their largest value, unless it is where the detector stops.
    below = image[image < highest].max()
    if clipped >= CLIPPED and clipped > (image == below).sum():
        return Verdict.SATURATED, (
            f"{100 * clipped / image.size:.2g} % of the pixels hold the largest value, "
            f"{highest:g}, more than any value next to it: the detector saturates there"
        )
    return None, ""


def lattice_dataset(found: FoundLattice, options: LatticeSearch) -> xr.Dataset:
    """Return what was found as `recover_lattice` does."""
    first, second, fit = found.first, found.second, found.fit
    result = _base(first, options).assign_attrs(verdict=found.verdict.value)
    if first is None:
        return result.assign_attrs(undetermined=f"{ALL}: {found.unusable}")
    if fit is None or second is None:
        return result.assign_attrs(
            undetermined=f"{ALL}: noise alone gives as much with a probability of up to "
            f"{first.noise_probability:.2g}",
        )
    result["second_probability"] = ((), second.noise_probability, {"units": "1"})
    if found.verdict is Verdict.OVERLAPPING:
        return result.assign_attrs(
            undetermined=f"{ALL}: a second lattice, at "
            f"{second.rotation:.1f}° beside {fit.rotation:.1f}°, shares the frame",
        )
    best = float(first.zones.max())
    if best < CERTAIN:
        return result.assign_attrs(
            undetermined=f"{ALL}: the likeliest zone axis has a probability of {best:.2f}, and "
            "another would give other numbers"
        )
    return result.assign(
        with_std("spacing", fit.spacing, fit.spacing_std, "Å")
        | with_std("rotation", fit.rotation, fit.rotation_std, "°")
        | {"zone_axis": xr.Variable("index", np.array(first.zone_axis), {"units": "1"})}
    )


def with_std(name: str, value: float, std: float, unit: str) -> dict[str, xr.Variable]:
    """Return a number and its standard deviation as variables."""
    return {
        name: xr.Variable((), value, {"units": unit}),
        f"{name}_std": xr.Variable((), std, {"units": unit}),
    }


def frame_counts(measurement: xr.Dataset, first: int) -> xr.DataArray:
    """Return the counts (frame, y, x) of a movie that has a frame ``first``."""
    if "counts" not in measurement or "frame" not in measurement["counts"].dims:
        raise BadInputError("the measurement has no counts (frame, y, x); expected a movie")
    counts = measurement["counts"].transpose("frame", "y", "x")
    if first >= counts.sizes["frame"]:
        raise BadInputError(
            f"frame = {first}; the movie has {counts.sizes['frame']}, counted from 0"
        )
    return counts


def frame_image(measurement: xr.Dataset, index: int) -> Array:
    """Return one frame of a movie, (y, x)."""
    counts = frame_counts(measurement, index)
    image = np.asarray(counts.isel(frame=index).values, dtype=float)
    if not np.isfinite(image).all():
        bad = int((~np.isfinite(image)).sum())
        raise BadInputError(
            f"{bad} pixels of frame {index} are not finite; replace them by the mean of their "
            "neighbours"
        )
    return image


def _detected(
    image: Array,
    *,
    pixel: float,
    level: tuple[Array, Array],
    options: LatticeSearch,
    taken: Notches | None = None,
) -> Detection:
    return detect(
        image,
        pixel=pixel,
        level=level,
        spacings=[
            (zone, options.lattice / float(np.linalg.norm(zone_reflections(zone)[0])))
            for zone in options.zone_axes
        ],
        tolerance=options.tolerance,
        smallest=options.smallest,
        taken=taken,
    )


def _base(first: Detection | None, options: LatticeSearch) -> xr.Dataset:
    names = ["[" + "".join(map(str, zone)) + "]" for zone in options.zone_axes]
    equal = np.full(len(names), 1 / len(names))
    return xr.Dataset(
        {
            "noise_probability": ((), first.noise_probability if first else 1.0, {"units": "1"}),
            "zone_probability": ("candidate", first.zones if first else equal, {"units": "1"}),
        },
        coords={"candidate": names},
    )


def lattice_places(reflections: Array) -> Array:
    """Return every place of the lattice in reciprocal space: also where sums of two waves fall."""
    first, other = basis(reflections)
    n = np.arange(-4, 5)
    i, j = (m.ravel() for m in np.meshgrid(n, n))
    places = i[:, None] * first + j[:, None] * other
    return np.asarray(places[(i > 0) | ((i == 0) & (j > 0))])


def basis(reflections: Array) -> Array:
    """Return two reflections that span all, (2, 2), rows xy."""
    first, second = reflections[0], reflections[1:]
    areas = np.abs(first[0] * second[:, 1] - first[1] * second[:, 0])
    other = second[int(np.argmax(np.isclose(areas, areas[areas > 1e-6].min())))]
    return np.stack([first, other])
