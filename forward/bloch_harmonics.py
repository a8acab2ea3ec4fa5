"""How the intensity behind a crystal depends on the probe position: its Fourier series.

A probe at R holds each incident wave k with the phase ``exp(-2 pi i k.R)``, so the intensity of a
crystal is ``I(R) = sum_h c_h exp(-2 pi i h.R)`` over the reciprocal lattice vectors h up to twice
the aperture, ``|h| <= 2 alpha / lambda``: the image is band limited, and periodic.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Beam
from echolith.forward.bloch_waves import CrystalSlices
from echolith.forward.optics import aperture

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
WaveArray = npt.NDArray[np.complex128]

ROUNDING = 1e-9
"""1/Å, so that vectors on a limit count as inside."""


@dataclass(frozen=True, kw_only=True)
class Harmonics:
    """The reciprocal lattice vectors of the incident waves, and of the intensity."""

    waves: IntArray
    """Integers (m1, m2) that some incident wave ``q + m.b`` of the aperture may have, (w, 2)."""
    index: IntArray
    """Which harmonic ``m_i - m_j`` is, (w, w); -1 where it is not kept."""
    vectors: FloatArray
    """Harmonics h, xy in 1/Å, (n, 2): zero first, then one of every pair h and -h."""

    @cached_property
    def _position_of(self) -> IntArray:
        reach = np.abs(self.waves).max(axis=0)
        table = np.full(tuple(2 * reach + 1), -1, dtype=np.int64)
        table[tuple((self.waves + reach).T)] = np.arange(len(self.waves))
        return table

    def positions_of(self, m: IntArray) -> IntArray:
        """Return where integers (n, 2) stand in `waves`."""
        reach = np.array(self._position_of.shape) // 2
        return np.asarray(self._position_of[tuple((m + reach).T)])

    def basis(self, positions: FloatArray) -> FloatArray:
        """Return the real terms of the series at positions (n, 2) xy in Å, (n, terms).

        1, then ``cos(2 pi h.R)`` and ``sin(2 pi h.R)`` of each harmonic; the last columns are
        zero, up to a multiple of 8.
        """
        count = 2 * len(self.vectors) - 1
        terms = np.zeros((len(positions), -(-count // 8) * 8))
        phase = 2 * np.pi * (positions @ self.vectors[1:].T)
        terms[:, 0] = 1
        terms[:, 1:count:2] = np.cos(phase)
        terms[:, 2:count:2] = np.sin(phase)
        return terms

    def source_response(self, spread: float) -> FloatArray:
        """Return what a Gaussian source leaves of each real term, ``exp(-2 pi² s² |h|²)``."""
        h2 = (self.vectors**2).sum(axis=1)
        response = np.exp(-2 * (np.pi * spread) ** 2 * h2)
        return np.concatenate([response[:1], np.repeat(response[1:], 2)])


def harmonics_of(slices: CrystalSlices, beam: Beam) -> Harmonics:
    """List the incident waves a beam may hold and the harmonics they make.

    Parameters
    ----------
    slices : CrystalSlices
    beam : Beam
    """
    radius = beam.semiangle * 1e-3 / beam.wavelength + ROUNDING
    waves = _lattice_within(radius + slices.largest_remainder, slices.grid.reciprocal)
    every = _lattice_within(2 * radius, slices.grid.reciprocal)
    half = every[(every[:, 0] > 0) | ((every[:, 0] == 0) & (every[:, 1] > 0))]
    kept = np.concatenate([np.zeros((1, 2), dtype=np.int64), half])
    difference = waves[:, None] - waves[None]
    reach = np.maximum(np.abs(difference).max(axis=(0, 1)), np.abs(kept).max(axis=0))
    table = np.full(tuple(2 * reach + 1), -1, dtype=np.int64)
    table[tuple((kept + reach).T)] = np.arange(len(kept))
    index = table[difference[..., 0] + reach[0], difference[..., 1] + reach[1]]
    return Harmonics(waves=waves, index=index, vectors=kept @ slices.grid.reciprocal)


def _lattice_within(radius: float, reciprocal: FloatArray) -> IntArray:
    # m_i = g.a_i, so |m_i| <= |g| |a_i|.
    lengths = np.linalg.norm(np.linalg.inv(reciprocal), axis=0)
    r1, r2 = (int(np.floor(radius * length)) for length in lengths)
    m = np.stack(
        np.meshgrid(np.arange(-r1, r1 + 1), np.arange(-r2, r2 + 1), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    return np.asarray(m[np.linalg.norm(m @ reciprocal, axis=1) <= radius])


def aperture_at(k: FloatArray, beam: Beam) -> WaveArray:
    """Return the aperture function at wave vectors (..., 2) xy in 1/Å."""
    return np.asarray(aperture(k[..., 0], k[..., 1], beam=beam), dtype=np.complex128)
