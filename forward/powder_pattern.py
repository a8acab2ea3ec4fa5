"""Powder diffraction patterns: mean counts of a mixture of phases against the scattering angle.

y(2 theta) = background + sum over phases, reflections and lines of the source of
v / V² m |F|² P L A Phi: parts of the volume v, cell volumes V, multiplicity m, preferred
orientation P, Lorentz and polarisation L, absorption A and the profile Phi.
"""

from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator, model_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase, symmetry_operations
from echolith.forward.powder_profile import (
    AxialDivergence,
    LineWidths,
    gaussian_width,
    line,
    lorentzian_width,
)
from echolith.forward.structure_factors import (
    Integers,
    allowed_reflections,
    reciprocal_metric,
    spacing,
    structure_factors,
)
from echolith.units import Angstrom, Degree

Array = npt.NDArray[np.float64]

COPPER = ((1.54056, 1.0), (1.54439, 0.5))
"""K alpha 1 and 2 of copper, Å, and their relative intensities."""


class PowderGeometry(Enum):
    """How the powder is held."""

    BRAGG_BRENTANO = "bragg-brentano"
    """A thick flat plate, reflecting."""
    CAPILLARY = "capillary"
    """A capillary in a parallel beam."""


class PowderPhase(Settings):
    """A phase in a powder: how much of it there is, and what its crystallites are like."""

    phase: CrystalPhase
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Relative to the other phases."""
    size: Annotated[Angstrom, Field(gt=10)] | None = None
    """Of crystallites; None: no line is widened by it."""
    strain: Annotated[float, Field(ge=0, le=0.05)] = 0.0
    """Spread of lattice spacings, part of them."""
    march: Annotated[float, Field(gt=0.05, le=20)] = 1.0
    """March-Dollase coefficient: below 1 for plates in reflection, 1 for none."""
    march_axis: tuple[int, int, int] = (0, 0, 1)
    """Normal of the plates (hkl)."""


class PowderAcquisition(Settings):
    """How a powder pattern is taken."""

    geometry: PowderGeometry = PowderGeometry.BRAGG_BRENTANO
    lines: tuple[tuple[Angstrom, float], ...] = COPPER
    """Wavelength and relative intensity of each line of the source."""
    start: Annotated[Degree, Field(gt=0)] = 10.0
    """2 theta."""
    stop: Annotated[Degree, Field(lt=180)] = 120.0
    step: Annotated[Degree, Field(gt=0)] = 0.02
    zero: Annotated[Degree, Field(ge=-2, le=2)] = 0.0
    """Added to every 2 theta."""
    displacement: Annotated[float, Field(ge=-0.02, le=0.02)] = 0.0
    """Of the sample over the goniometer's radius: along the plate's normal, across the beam for a
    capillary."""
    displacement_along: Annotated[float, Field(ge=-0.02, le=0.02)] = 0.0
    """The same along the beam; for a capillary only."""
    dispersive: bool = True
    """f' and f'' are counted; False only to show what leaving them out does."""
    polarization: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share polarised in the scattering plane: 0.5 for a tube, near 0 for a synchrotron's vertical
    plane, cos² / (1 + cos²) of 2 theta of a monochromator behind a tube."""
    absorption: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of a capillary: absorption coefficient times radius."""
    widths: LineWidths = LineWidths()
    divergence: AxialDivergence = AxialDivergence()
    peak_counts: Annotated[float, Field(gt=0)] = 3000.0
    """Above the background at the highest point of the pattern."""
    background: tuple[float, ...] = (100.0,)
    """Coefficients of Chebyshev polynomials over the range, counts."""

    @field_validator("lines")
    @classmethod
    def _plausible(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for wavelength, share in value:
            if not 0.1 <= wavelength <= 6:
                raise ValueError(f"wavelength = {wavelength:g} Å; expected 0.1 to 6 Å")
            if not share > 0:
                raise ValueError(f"intensity of a line = {share:g}; expected more than 0")
        if not value:
            raise ValueError("no line of the source; expected at least one wavelength")
        return value

    @model_validator(mode="after")
    def _range(self) -> "PowderAcquisition":
        if self.stop - self.start < 10 * self.step:
            raise ValueError(
                f"2 theta from {self.start:g} to {self.stop:g}° in steps of {self.step:g}°; "
                "expected at least ten steps upwards"
            )
        return self

    @property
    def angles(self) -> Array:
        """2 theta of every point, degree."""
        count = int(np.floor((self.stop - self.start) / self.step + 1e-9)) + 1
        return np.asarray(self.start + self.step * np.arange(count), dtype=np.float64)


def powder_mean(sample: tuple[PowderPhase, ...], *, acquisition: PowderAcquisition) -> xr.Dataset:
    """Return the mean counts of a powder pattern.

    Parameters
    ----------
    sample : tuple of PowderPhase
    acquisition : PowderAcquisition

    Returns
    -------
    xarray.Dataset
        ``counts`` (two_theta), float64; ``attrs["acquisition"]`` (JSON). Nothing is said of the
        phases, of offsets or of the profile.

    Raises
    ------
    BadInputError
        If there is no phase, no line in the range, or the background is negative somewhere.
    """
    if not sample:
        raise BadInputError("no phase in the powder; expected at least one")
    angles = acquisition.angles
    bragg = sum(
        (part * phase_pattern(p, acquisition) for p, part in _by_volume(sample)),
        start=np.zeros(len(angles)),
    )
    if not bragg.max() > 0:
        raise BadInputError(
            f"no reflection between 2 theta = {acquisition.start:g} and {acquisition.stop:g}°; "
            "widen the range or take a shorter wavelength"
        )
    background = np.polynomial.Chebyshev(acquisition.background, domain=[angles[0], angles[-1]])(
        angles
    )
    if (background < 0).any():
        raise BadInputError(
            f"background = {background.min():g} counts at 2 theta = "
            f"{angles[background.argmin()]:g}°; expected 0 or more everywhere"
        )
    counts = background + bragg * (acquisition.peak_counts / bragg.max())
    return xr.Dataset(
        {"counts": ("two_theta", counts, {"units": "photons"})},
        coords={"two_theta": ("two_theta", angles, {"units": "°"})},
        attrs={"lines": [float(v) for pair in acquisition.lines for v in pair]},
    )


def _by_volume(sample: tuple[PowderPhase, ...]) -> list[tuple[PowderPhase, float]]:
    volumes = np.array([p.weight / p.phase.density for p in sample])
    return list(zip(sample, (volumes / volumes.sum()).tolist(), strict=True))


def phase_pattern(part: PowderPhase, acquisition: PowderAcquisition) -> Array:
    """Return the pattern of one phase at the angles of the acquisition, per part of the volume."""
    angles, phase = acquisition.angles, part.phase
    shortest = min(wavelength for wavelength, _ in acquisition.lines)
    beyond = np.sin(np.radians(min(acquisition.stop + 2, 179.9) / 2))
    reflections = allowed_reflections(phase, d_min=shortest / (2 * beyond))
    spacings = spacing(phase.cell, reflections.hkl)
    oriented = march_dollase(part, reflections.hkl)
    total = np.zeros(len(angles))
    for wavelength, share in acquisition.lines:
        sine = wavelength / (2 * spacings)
        seen = sine < beyond
        two_theta = np.degrees(2 * np.arcsin(sine[seen]))
        factors = structure_factors(
            phase,
            reflections.hkl[seen],
            wavelength=wavelength,
            dispersive=acquisition.dispersive,
        )
        strength = share * reflections.multiplicity[seen] * np.abs(factors) ** 2 * oriented[seen]
        strength *= angle_factor(two_theta, acquisition) / phase.volume**2
        centres = two_theta + angle_shift(two_theta, acquisition)
        gaussian = gaussian_width(two_theta, acquisition.widths)
        lorentzian = lorentzian_width(
            two_theta, acquisition.widths, wavelength=wavelength, size=part.size, strain=part.strain
        )
        for height, *rest in zip(strength, centres, gaussian, lorentzian, strict=True):
            centre, g, w = (float(value) for value in rest)
            total += height * line(
                angles, centre, gaussian=g, lorentzian=w, divergence=acquisition.divergence
            )
    return total


def angle_factor(two_theta: Array, acquisition: PowderAcquisition) -> Array:
    """Return Lorentz, polarisation and absorption at 2 theta in degrees.

    ``((1 - K) + K cos² 2 theta) / (sin² theta cos theta)``; a capillary absorbs as in Hewat, Acta
    Cryst. A35 (1979) 248.
    """
    theta = np.radians(two_theta) / 2
    share = acquisition.polarization
    factor = ((1 - share) + share * np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    if acquisition.geometry is PowderGeometry.CAPILLARY:
        radius, sine = acquisition.absorption, np.sin(theta) ** 2
        factor = factor * np.exp(
            -(1.7133 - 0.0368 * sine) * radius + (0.0927 + 0.375 * sine) * radius**2
        )
    return np.asarray(factor)


def angle_shift(two_theta: Array, acquisition: PowderAcquisition) -> Array:
    """Return how far lines are from 2 theta, degree: zero, and displacement of the sample.

    -2 (s / R) cos theta for a plate lifted by s; (s cos 2 theta - t sin 2 theta) / R for a
    capillary that is off by s across and t along the beam.
    """
    angle = np.radians(two_theta)
    if acquisition.geometry is PowderGeometry.BRAGG_BRENTANO:
        shift = -2 * acquisition.displacement * np.cos(angle / 2)
    else:
        shift = acquisition.displacement * np.cos(angle)
        shift = shift - acquisition.displacement_along * np.sin(angle)
    return np.asarray(acquisition.zero + np.degrees(shift))


def march_dollase(part: PowderPhase, hkl: Integers) -> Array:
    """Return the mean of (r² cos² + sin² / r)^(-3/2) over equivalent reflections, (reflections,).

    References
    ----------
    Dollase, J. Appl. Cryst. 19 (1986) 267.
    """
    if part.march == 1:
        return np.ones(len(hkl))
    rotations, _ = symmetry_operations(part.phase.spacegroup)
    images = np.einsum("hi,oij->hoj", hkl.astype(float), np.unique(rotations, axis=0))
    metric = reciprocal_metric(part.phase.cell)
    axis = np.array(part.march_axis, dtype=float)
    if not axis.any():
        raise BadInputError("march_axis = (0, 0, 0); expected the indices of a plane")
    along = images @ metric @ axis
    length = np.einsum("hoi,ij,hoj->ho", images, metric, images) * (axis @ metric @ axis)
    cosine = along**2 / length
    value = part.march**2 * cosine + (1 - cosine) / part.march
    return np.asarray((value**-1.5).mean(axis=1))
