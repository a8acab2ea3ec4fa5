"""The peak of one point by Poisson maximum likelihood, and what its photons tell of it."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.inverse.diffraction_voxels import (
    Events,
    Voxels,
    add_coarseness,
    counted_or_more,
    keep_wide,
    peak_height,
    squared_distance,
    start,
)

Array = npt.NDArray[np.float64]

SETTLED = 2e-4
"""Part of a width by which a step that ends the climb may still move the peak."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def climb(
    events: Events, voxels: Voxels, total: float, steps: int, least: float, found: Array
) -> bool:
    """Write centre, width, counts and background by expectation maximisation; False: no peak."""
    centre, width, sums, squares = found[:3], found[3:6], np.zeros(3), np.zeros(3)
    start(events, centre, width)
    photons = (events.photons / events.sensitivity).sum()
    peak, background = 0.7 * photons, 0.3 * photons / total
    for _ in range(steps):
        sums[:] = 0
        squares[:] = 0
        height = peak_height(peak, width)
        weight, flat = 0.0, 0.0
        for k in range(len(events.photons)):
            bright = _bright(events.vectors[k], events.volumes[k], centre, width, height)
            n = events.photons[k]
            if n >= voxels.saturation:
                n = counted_or_more((bright + background) * events.sensitivity[k], n)
            n /= events.sensitivity[k]
            share = n * bright / (bright + background)
            flat += n - share
            weight += share
            _add(share, events.vectors[k], centre, sums, squares)
        for k in range(len(voxels.dark_volumes)):
            share = _bright(voxels.dark_vectors[k], voxels.dark_volumes[k], centre, width, height)
            if share > 0:
                weight += share
                _add(share, voxels.dark_vectors[k], centre, sums, squares)
        if weight < least:
            return False
        peak, background = weight, max(flat / total, 1e-9)
        moved = _step(sums, squares, weight, centre, width)
        keep_wide(voxels, width)
        if moved < SETTLED:
            break
    found[18], found[20] = peak, background
    return True


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _bright(q: Array, volume: float, centre: Array, width: Array, height: float) -> float:
    """Return the photons that the peak sends to a voxel."""
    square = squared_distance(q, centre, width)
    return height * volume * math.exp(-0.5 * square) if square < 40 else 0.0


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _add(share: float, q: Array, centre: Array, sums: Array, squares: Array) -> None:
    for c in range(3):
        away = q[c] - centre[c]
        sums[c] += share * away
        squares[c] += share * away * away


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _step(sums: Array, squares: Array, weight: float, centre: Array, width: Array) -> float:
    """Move the peak to its moments; return by how much, the most of all axes, in widths."""
    most = 0.0
    for c in range(3):
        moved = sums[c] / weight
        wide = math.sqrt(max(squares[c] / weight - moved * moved, 1e-16))
        most = max(most, abs(moved) / wide, abs(wide / width[c] - 1))
        centre[c] += moved
        width[c] = wide
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def inform(events: Events, voxels: Voxels, found: Array) -> None:
    """Write the covariance of the centre, and the standard deviations of widths and counts.

    From the observed Fisher information on centre, widths, counts and background. Where the
    sensitivity differs, photons are weighted by its inverse: the covariance grows accordingly.
    """
    centre, width = found[:3], found[3:6]
    background, height = found[20], peak_height(found[18], width)
    information, slope = np.zeros((8, 8)), np.empty(8)
    moments = np.zeros(3)
    for k in range(len(events.photons)):
        n, s = events.photons[k], events.sensitivity[k]
        if n >= voxels.saturation:
            continue
        bright = _bright(events.vectors[k], events.volumes[k], centre, width, height)
        if bright == 0:
            information[7, 7] += n
            continue
        part = bright / (bright + background)
        for c in range(3):
            away = (events.vectors[k, c] - centre[c]) / width[c]
            slope[c] = part * away
            slope[3 + c] = part * (away * away - 1)
        slope[6], slope[7] = part, 1 - part
        for a in range(8):
            for b in range(a, 8):
                information[a, b] += n * slope[a] * slope[b]
        moments[0] += n * part
        moments[1] += n * part / s
        moments[2] += n * part / (s * s)
    for a in range(8):
        information[a, a] = information[a, a] * (1 + 1e-9) + 1e-9
        for b in range(a):
            information[a, b] = information[b, a]
    covariance = np.linalg.inv(information) * (moments[0] * moments[2] / moments[1] ** 2)
    for c in range(3):
        for d in range(3):
            found[6 + 3 * c + d] = covariance[c, d] * width[c] * width[d]
        found[15 + c] = math.sqrt(covariance[3 + c, 3 + c]) * width[c]
    found[19] = math.sqrt(covariance[6, 6]) * found[18]
    add_coarseness(voxels, width, found[6:15])
