"""The lattice of one frame: whether there is one, zone axis, spacing, rotation."""

from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.image_filters import bragg_masked
from echolith.inverse.lattice_detection import Detection, Notches, detect, noise_power
from echolith.inverse.lattice_fit import fit_lattice
from echolith.units import Angstrom
from echolith.zone_axes import Zone, zone_reflections

Array = npt.NDArray[np.float64]

LEAST_NOISE = 0.2
"""Of the mean count. The variance of counts is their mean, times the square of the camera's
transfer function; where less is left nothing is transferred. Expected counts have no noise."""
ALL = "spacing, rotation, zone_axis"
CERTAIN = 0.95
"""Probability from which a zone axis is named."""


class Verdict(Enum):
    """What a frame holds."""

    LATTICE = "lattice"
    NOT_DETECTED = "not detected"
    OVERLAPPING = "two overlapping lattices"


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
    pixel = acquisition.pixel
    image = _frame(measurement, options.frame)
    radii, power = noise_power(image, pixel)
    level = radii, np.maximum(power, LEAST_NOISE * image.mean())
    look = partial(_detected, pixel=pixel, level=level, options=options)
    first = look(image)
    found = _base(first, options)
    if first.noise_probability > options.false_alarm:
        return found.assign_attrs(
            verdict=Verdict.NOT_DETECTED.value,
            undetermined=f"{ALL}: noise alone gives as much with a probability of up to "
            f"{first.noise_probability:.2g}",
        )
    fit = fit_lattice(image, acquisition=acquisition, level=level, start=first)
    taken = Notches(places=_all_places(fit.reflections), radius=fit.width)
    rest = image - bragg_masked(image, pixel=pixel, reflections=taken.places, radius=taken.radius)
    second = look(rest, taken=taken)
    found["second_probability"] = ((), second.noise_probability, {"units": "1"})
    if second.noise_probability <= options.false_alarm:
        return found.assign_attrs(
            verdict=Verdict.OVERLAPPING.value,
            undetermined=f"{ALL}: a second lattice, at "
            f"{second.rotation:.1f}° beside {fit.rotation:.1f}°, shares the frame",
        )
    found = found.assign_attrs(verdict=Verdict.LATTICE.value)
    best = float(first.zones.max())
    if best < CERTAIN:
        return found.assign_attrs(
            undetermined=f"{ALL}: the likeliest zone axis has a probability of {best:.2f}, and "
            "another would give other numbers"
        )
    return found.assign(
        _with_std("spacing", fit.spacing, fit.spacing_std, "Å")
        | _with_std("rotation", fit.rotation, fit.rotation_std, "°")
        | {"zone_axis": xr.Variable("index", np.array(first.zone_axis), {"units": "1"})}
    )


def _with_std(name: str, value: float, std: float, unit: str) -> dict[str, xr.Variable]:
    return {
        name: xr.Variable((), value, {"units": unit}),
        f"{name}_std": xr.Variable((), std, {"units": unit}),
    }


def _frame(measurement: xr.Dataset, index: int) -> Array:
    if "counts" not in measurement or "frame" not in measurement["counts"].dims:
        raise BadInputError("the measurement has no counts (frame, y, x); expected a movie")
    counts = measurement["counts"]
    if index >= counts.sizes["frame"]:
        raise BadInputError(
            f"frame = {index}; the movie has {counts.sizes['frame']}, counted from 0"
        )
    image = np.asarray(counts.isel(frame=index).transpose("y", "x").values, dtype=float)
    if not np.isfinite(image).all():
        bad = int((~np.isfinite(image)).sum())
        raise BadInputError(
            f"{bad} pixels of frame {index} are not finite; replace them by the mean of their "
            "neighbours"
        )
    if not np.ptp(image):
        raise BadInputError(
            f"every pixel of frame {index} holds {image.flat[0]:g}; is the beam on?"
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


def _base(first: Detection, options: LatticeSearch) -> xr.Dataset:
    names = ["[" + "".join(map(str, zone)) + "]" for zone in options.zone_axes]
    return xr.Dataset(
        {
            "noise_probability": ((), first.noise_probability, {"units": "1"}),
            "zone_probability": ("candidate", first.zones, {"units": "1"}),
        },
        coords={"candidate": names},
    )


def _all_places(reflections: Array) -> Array:
    """Return every place of the lattice in reciprocal space: also where sums of two waves fall."""
    first, second = reflections[0], reflections[1:]
    areas = np.abs(first[0] * second[:, 1] - first[1] * second[:, 0])
    other = second[int(np.argmax(np.isclose(areas, areas[areas > 1e-6].min())))]
    n = np.arange(-4, 5)
    i, j = (m.ravel() for m in np.meshgrid(n, n))
    places = i[:, None] * first + j[:, None] * other
    return np.asarray(places[(i > 0) | ((i == 0) & (j > 0))])
