"""What the rings of candidate phases look like in a rotational average, for any camera constant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.special import voigt_profile, wofz

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.saed_lattice import ring_lines, ring_radius, spacing_at
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]

FINE = 0.05
"""Pixels, step of tables."""
REACH = 60.0
"""Pixels to which the tails of a line are followed."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A phase: radii of its rings at the nominal camera constant and their relative electrons."""

    name: str
    radius: Array
    strength: Array


@dataclass(frozen=True, kw_only=True)
class LineShape:
    """A Voigt line: standard deviation of its Gaussian, half width of its Lorentzian, pixels."""

    gaussian: float
    lorentzian: float

    def __call__(self, away: Array) -> Array:
        """Return the line at distances from its middle, 1/pixel."""
        return np.asarray(voigt_profile(away, self.gaussian, self.lorentzian))

    def with_slopes(self, away: Array) -> Array:
        """Return the line and its derivatives by place, Gaussian and Lorentzian, (4, ...)."""
        width = np.sqrt(2) * self.gaussian
        z = (away + 1j * self.lorentzian) / width
        value = wofz(z)
        slope = 2j / np.sqrt(np.pi) - 2 * z * value
        rows = [value, slope / width, -(value + slope * z) / self.gaussian, 1j * slope / width]
        return np.asarray(np.real(rows) / (np.sqrt(np.pi) * width))


def candidate_rings(
    phases: Sequence[CrystalPhase], *, energy: Electronvolt, distance: float, reach: float
) -> tuple[Candidate, ...]:
    """Return candidates with the rings within ``reach`` pixels."""
    d_min = float(spacing_at(np.array(1.05 * reach), energy=energy, distance=distance))
    found = []
    for phase in phases:
        spacings, strength = ring_lines(phase, energy=energy, d_min=d_min)
        radius = ring_radius(spacings, energy=energy, distance=distance)
        found.append(Candidate(name=phase.name, radius=radius, strength=strength / strength.sum()))
    return tuple(found)


def template(candidate: Candidate, shape: LineShape, scale: float, radius: Array) -> Array:
    """Return counts of a pixel for one electron in all rings, and three derivatives, (4, radii).

    By the camera constant ``scale``, by the Gaussian and by the Lorentzian of the line, which is a
    product in Fourier space.
    """
    length = next_fast_len(int((1.1 * radius[-1] + 2 * REACH) / FINE), real=True)
    places = scale * candidate.radius
    combs = [
        _comb(places, weight, length)
        for weight in (candidate.strength, candidate.strength * candidate.radius)
    ]
    lines, moments = rfft(combs, axis=-1)
    k = 2 * np.pi * rfftfreq(length, FINE)
    line = np.exp(-0.5 * (shape.gaussian * k) ** 2 - shape.lorentzian * k) / FINE
    by = [lines, -1j * k * moments, -shape.gaussian * k**2 * lines, -k * lines]
    curves = irfft(line * np.array(by), length, axis=-1)
    grid = FINE * np.arange(length)
    return np.array([np.interp(radius, grid, curve) for curve in curves]) / (2 * np.pi * radius)


def _comb(places: Array, weight: Array, length: int) -> Array:
    """Return weights put on the two points of the fine grid on either side of each place."""
    lower = (places / FINE).astype(np.intp)
    part = places / FINE - lower
    inside = lower < length - 1
    low, high = (
        np.bincount(at[inside], weights=(weight * share)[inside], minlength=length)
        for at, share in ((lower, 1 - part), (lower + 1, part))
    )
    return np.asarray(low + high)
