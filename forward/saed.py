"""Selected-area electron diffraction: mean counts of spots on rings behind a beam stop.

Spots of single crystals and rings of polycrystals lie on an inelastic background; the projector
lens makes circles ellipses. A ring is that of randomly turned crystallites: integrating the
kinematic intensity (lambda |F| / V)² sin²(pi t s) / (pi s)² over s and orientations leaves
m (lambda |F| / V)² t d / 2 of the beam.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator, model_validator
from scipy.special import erf, voigt_profile

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import (
    INSTRUMENT,
    ring_lines,
    ring_radius,
    spacing_at,
    told_distance,
)
from echolith.forward.saed_spots import SingleCrystal, add_spots, crystal_spots
from echolith.units import Angstrom, Degree, Electronvolt, Unit

Array = npt.NDArray[np.float64]

FINE = 0.05
"""Pixels, step in which rings are tabulated."""
SCHERRER = 0.9


class Polycrystal(Settings):
    """A phase of many small crystallites in all orientations."""

    phase: CrystalPhase
    thickness: Annotated[Angstrom, Field(gt=0, le=5000)] = 50.0
    """Of the phase alone along the beam, on average."""
    size: Annotated[Angstrom, Field(gt=10)] = 300.0
    """Of crystallites; it widens rings (Scherrer)."""


class SaedSpecimen(Settings):
    """What the selected area holds."""

    polycrystals: tuple[Polycrystal, ...] = ()
    crystals: tuple[SingleCrystal, ...] = ()


class BeamStop(Settings):
    """A disc on a bar that comes in from the edge of the detector."""

    radius: Annotated[float, Field(ge=0)] = 14.0
    """Pixels."""
    width: Annotated[float, Field(ge=0)] = 8.0
    """Of the bar, pixels."""
    direction: Annotated[Degree, Field(ge=-360, le=360)] = 200.0
    """Where the bar comes from, from x (columns) towards y (rows)."""
    offset: tuple[float, float] = (3.0, -2.0)
    """Of the disc from the centre of the pattern, pixels (x, y)."""


class SaedAcquisition(Settings):
    """How a pattern is taken."""

    energy: Electronvolt = 200e3
    camera_length: Annotated[float, Unit("mm"), Field(gt=10, le=1e4)] = 690.0
    camera_error: Annotated[float, Field(ge=-0.05, le=0.05)] = 0.0
    """By how much the true camera length is longer than that told, part of it."""
    pixel_size: Annotated[float, Unit("µm"), Field(gt=0.5, le=1000)] = 60.0
    shape: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = (512, 512)
    """Of the detector (rows, columns)."""
    centre: tuple[float, float] | None = None
    """Of the pattern, pixels (x, y) from the middle of the first; by default the detector's."""
    stretch: tuple[
        Annotated[float, Field(ge=-0.05, le=0.05)], Annotated[float, Field(ge=-0.05, le=0.05)]
    ] = (0.0, 0.0)
    """(p, q): a circle is stretched by the matrix 1 + [[p, q], [q, -p]]; it is an ellipse whose
    axes differ by 2 hypot(p, q), part of them."""
    electrons: Annotated[float, Field(gt=0)] = 2e7
    """In the beam, during the exposure."""
    width: Annotated[float, Field(ge=0.5, le=10)] = 1.1
    """Standard deviation of the beam and of the camera's response, pixels."""
    background: tuple[tuple[float, float], ...] = ((3e-5, 0.06), (1.5e-6, 0.5))
    """Exponentials that decay from the centre: part of the beam in a pixel there, and the length
    in 1/Å over which it falls to 1/e."""
    dark: Annotated[float, Field(ge=0)] = 0.2
    """Counts in every pixel, behind the beam stop too."""
    beam_stop: BeamStop | None = BeamStop()
    saturation: Annotated[int, Field(ge=1)] | None = 65535
    """Electrons a pixel counts at most."""

    @field_validator("energy")
    @classmethod
    def _plausible(cls, value: float) -> float:
        if not 1e4 <= value <= 3e6:
            hint = f"did you mean {value:g}e3 eV?" if 10 <= value <= 3000 else "give it in eV"
            raise ValueError(f"energy = {value:g} eV; expected 10e3 to 3e6 eV; {hint}")
        return value

    @model_validator(mode="after")
    def _inside(self) -> "SaedAcquisition":
        size = self.shape[::-1]
        if any(not 0 <= x <= n - 1 for x, n in zip(self.middle, size, strict=True)):
            raise ValueError(
                f"centre = {self.middle} pixels (x, y); expected a place on the detector of "
                f"{size} pixels"
            )
        return self

    @property
    def middle(self) -> tuple[float, float]:
        """The centre of the pattern, pixels (x, y)."""
        return self.centre or ((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)

    @property
    def distance(self) -> float:
        """From specimen to detector as it truly is, in pixels."""
        return told_distance(self.camera_length, self.pixel_size) * (1 + self.camera_error)

    @property
    def reach(self) -> float:
        """The farthest corner from the centre, pixels."""
        x, y = self.middle
        return float(np.hypot(max(x, self.shape[1] - 1 - x), max(y, self.shape[0] - 1 - y)))


def saed_mean(specimen: SaedSpecimen, *, acquisition: SaedAcquisition) -> xr.Dataset:
    """Return the mean counts of a diffraction pattern.

    Parameters
    ----------
    specimen : SaedSpecimen
    acquisition : SaedAcquisition

    Returns
    -------
    xarray.Dataset
        ``counts`` (detector_y, detector_x), electrons, before saturation; attributes ``energy``
        (eV), ``camera_length`` (mm, as told), ``pixel_size`` (µm) and ``saturation``. Nothing is
        said of the specimen, of the centre or of the ellipse.
    """
    radius = undistorted_radius(acquisition)
    counts = background(radius, acquisition)
    for part in specimen.polycrystals:
        counts = counts + rings(part, radius, acquisition)
    for crystal in specimen.crystals:
        spots = crystal_spots(
            crystal,
            energy=acquisition.energy,
            reach=np.arctan(1.1 * acquisition.reach / acquisition.distance),
        )
        places = detector_places(spots.tangent * acquisition.distance, acquisition)
        counts = add_spots(
            counts, places, acquisition.electrons * spots.share, width=acquisition.width
        )
    counts = counts * transmission(acquisition) + acquisition.dark
    attrs = {name: float(getattr(acquisition, name)) for name in INSTRUMENT}
    if acquisition.saturation is not None:
        attrs["saturation"] = float(acquisition.saturation)
    axes = {
        name: (name, np.arange(n), {"units": "pixel"})
        for name, n in zip(("detector_y", "detector_x"), acquisition.shape, strict=True)
    }
    return xr.Dataset(
        {"counts": (("detector_y", "detector_x"), counts, {"units": "electrons"})},
        coords=axes,
        attrs=attrs,
    )


def stretch_matrix(stretch: tuple[float, float]) -> Array:
    """Return 1 + [[p, q], [q, -p]], what a circle of the pattern becomes, (2, 2)."""
    p, q = stretch
    return np.array([[1 + p, q], [q, 1 - p]])


def detector_places(vectors: Array, acquisition: SaedAcquisition) -> Array:
    """Return where points of an undistorted pattern about (0, 0) are seen, pixels (x, y)."""
    seen = np.asarray(vectors) @ stretch_matrix(acquisition.stretch).T
    return np.asarray(seen + np.array(acquisition.middle))


def undistorted_radius(acquisition: SaedAcquisition) -> Array:
    """Return the distance of every pixel from the centre in the undistorted pattern, pixels."""
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in acquisition.shape), indexing="ij")
    away = np.stack([x, y], axis=-1) - np.array(acquisition.middle)
    back = np.linalg.inv(stretch_matrix(acquisition.stretch))
    return np.asarray(np.linalg.norm(away @ back.T, axis=-1))


def rings(part: Polycrystal, radius: Array, acquisition: SaedAcquisition) -> Array:
    """Return mean counts of the rings of a phase at radii of the undistorted pattern."""
    reach = acquisition.reach * 1.1
    d_min = float(
        spacing_at(np.array(reach), energy=acquisition.energy, distance=acquisition.distance)
    )
    spacings, strength = ring_lines(part.phase, energy=acquisition.energy, d_min=d_min)
    if not len(spacings):
        raise BadInputError(
            f"{part.phase.name} has no ring on the detector; take a shorter camera length"
        )
    radii = ring_radius(spacings, energy=acquisition.energy, distance=acquisition.distance)
    half_width = SCHERRER * wavelength(acquisition.energy) * acquisition.distance / part.size / 2
    grid = np.arange(FINE, reach, FINE)
    table = np.zeros_like(grid)
    for centre, height in zip(radii, strength, strict=True):
        line = voigt_profile(grid - centre, acquisition.width, half_width)
        table += height * line
    table *= acquisition.electrons * part.thickness / (2 * np.pi * grid)
    return np.asarray(np.interp(radius, grid, table))


def background(radius: Array, acquisition: SaedAcquisition) -> Array:
    """Return the mean counts of what is scattered inelastically."""
    per_pixel = 1 / (wavelength(acquisition.energy) * acquisition.distance)
    counts = np.zeros_like(radius)
    for share, length in acquisition.background:
        counts += acquisition.electrons * share * np.exp(-radius * per_pixel / length)
    return counts


def transmission(acquisition: SaedAcquisition) -> Array:
    """Return what of the electrons passes the beam stop in every pixel, 0 to 1."""
    stop = acquisition.beam_stop
    if stop is None:
        return np.ones(acquisition.shape)
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in acquisition.shape), indexing="ij")
    x, y = (v - m - o for v, m, o in zip((x, y), acquisition.middle, stop.offset, strict=True))
    turn = np.radians(stop.direction)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = np.abs(y * np.cos(turn) - x * np.sin(turn))
    outside_disc = np.hypot(x, y) - stop.radius
    outside_bar = np.where(along > 0, across - stop.width / 2, np.hypot(along, across))
    outside = np.minimum(outside_disc, outside_bar)
    return np.asarray(0.5 * (1 + erf(outside / acquisition.width)))
