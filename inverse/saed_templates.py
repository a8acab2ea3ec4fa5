"""What the rings of candidate phases look like in a rotational average, for any camera constant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve
from scipy.special import voigt_profile

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


def templates(
    candidates: Sequence[Candidate], shape: LineShape, reach: float
) -> tuple[Array, Array]:
    """Return a fine grid of radii and the counts of a pixel on it, (candidates, radii).

    Each for one electron in all rings of the candidate.
    """
    grid = np.arange(0, 1.1 * reach + REACH, FINE)
    tail = np.arange(-REACH, REACH + FINE / 2, FINE)
    kernel = shape(tail)
    rows = []
    for one in candidates:
        place = one.radius / FINE
        lower = place.astype(np.intp)
        part = place - lower
        inside = lower < len(grid) - 1
        table = np.zeros(len(grid))
        np.add.at(table, lower[inside], (one.strength * (1 - part))[inside])
        np.add.at(table, lower[inside] + 1, (one.strength * part)[inside])
        rows.append(fftconvolve(table, kernel, mode="same"))
    return grid, np.array(rows) / (2 * np.pi * np.maximum(grid, 1.0))


def scaled(grid: Array, table: Array, radius: Array, scale: float) -> Array:
    """Return templates at radii where rings are ``scale`` times as wide, (radii, candidates)."""
    rows = [np.interp(radius / scale, grid, row) for row in table]
    return np.array(rows).reshape(len(rows), len(radius)).T
