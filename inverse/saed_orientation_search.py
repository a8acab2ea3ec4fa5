"""Compiled: tilts and thicknesses tried one by one against the electrons of spots.

Minima are a tenth of a degree wide and there are thousands: single spots say where to look, many
beams from where to fit.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.inverse.saed_orientation_fit import Beams, excitation_errors, soft_misfit, waves

Array = npt.NDArray[np.float64]

THINNEST, COARSE, FINE = 50.0, 15.0, 10.0
"""Å, the first thickness that is tried, and steps."""
THICKEST = 420.0
STEP = np.radians(0.075)
"""Of the grid of tilts."""


def tilt_grid(reach: float) -> Array:
    """Return tilts about x and y up to ``reach``, rad, (n, 2)."""
    count = int(np.ceil(reach / STEP))
    axis = STEP * np.arange(-count, count + 1)
    tilts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return np.ascontiguousarray(tilts[np.hypot(tilts[:, 0], tilts[:, 1]) < reach])


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def coarse_misfits(beams: Beams, tilts: Array, error: float) -> Array:
    """Return for every tilt the soft misfit of the best thickness, each spot by itself, (n,)."""
    mine = np.nonzero(beams.owner >= 0)[0]
    turned = beams.turned[mine]
    coupling = np.empty(len(mine))
    for c in range(len(mine)):
        coupling[c] = abs(beams.matrix[0, mine[c] + 1])
    sine, cosine, more_sine, more_cosine, height = np.empty((5, len(mine)))
    places = len(beams.electrons)
    amplitude, rest = np.empty(places), np.empty(places)
    best = np.full(len(tilts), np.inf)
    for n in range(len(tilts)):
        s = excitation_errors(turned, tilts[n, 0], tilts[n, 1], beams.k)
        for c in range(len(mine)):
            root = np.sqrt((np.pi * s[c]) ** 2 + coupling[c] ** 2)
            height[c] = coupling[c] / root
            sine[c], cosine[c] = np.sin(root * THINNEST), np.cos(root * THINNEST)
            more_sine[c], more_cosine[c] = np.sin(root * COARSE), np.cos(root * COARSE)
        for _ in range(int((THICKEST - THINNEST) / COARSE) + 1):
            amplitude[:] = 0.0
            for c in range(len(mine)):
                amplitude[beams.owner[mine[c]]] += height[c] * abs(sine[c])
                turn = sine[c] * more_cosine[c] + cosine[c] * more_sine[c]
                cosine[c] = cosine[c] * more_cosine[c] - sine[c] * more_sine[c]
                sine[c] = turn
            best[n] = min(best[n], soft_misfit(amplitude, beams, error, rest))
    return best


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def _best_thickness(
    values: Array, vectors: Any, mine: Any, beams: Beams, error: float
) -> tuple[float, float]:
    """Return the soft misfit of the best thickness, and this, from the waves in the crystal."""
    count = len(values)
    part = np.empty((len(mine), count), dtype=vectors.dtype)
    for c in range(len(mine)):
        for j in range(count):
            part[c, j] = vectors[mine[c] + 1, j] * np.conj(vectors[0, j])
    phase, more = np.exp(1j * values * THINNEST), np.exp(1j * values * FINE)
    places = len(beams.electrons)
    amplitude, rest = np.empty(places), np.empty(places)
    best, thickness = np.inf, THINNEST
    for m in range(int((THICKEST - THINNEST) / FINE) + 1):
        amplitude[:] = 0.0
        for c in range(len(mine)):
            psi = 0j
            for j in range(count):
                psi += part[c, j] * phase[j]
            amplitude[beams.owner[mine[c]]] += psi.real**2 + psi.imag**2
        chi = soft_misfit(np.sqrt(amplitude), beams, error, rest)
        if chi < best:
            best, thickness = chi, THINNEST + m * FINE
        phase *= more
    return best, thickness


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def likely_tilts(beams: Beams, tilts: Array, away: Array, error: float, starts: int) -> Array:
    """Return tilts (rad) and log thicknesses from which to fit, best first, (starts, 3).

    All beams are tried at each of ``tilts``; ``away`` is chi squared of their places.
    """
    mine = np.nonzero(beams.owner >= 0)[0]
    tried, misfits = np.empty((len(tilts), 3)), np.empty(len(tilts))
    for n in range(len(tilts)):
        tried[n, :2] = tilts[n]
        values, vectors = waves(beams, tried[n, 0], tried[n, 1])
        chi, thickness = _best_thickness(values, vectors, mine, beams, error)
        tried[n, 2], misfits[n] = np.log(thickness), chi + away[n]
    return tried[np.argsort(misfits)[:starts]]
