"""How well the photons of one point look like the peak that was found."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.inverse.diffraction_voxels import (
    BEYOND,
    FITTED,
    Events,
    Voxels,
    counted_or_more,
    peak_height,
    squared_distance,
)

Array = npt.NDArray[np.float64]

FAR = 30.0
"""Squared distance, in widths, from which a peak has no photons: 2e-6 of them."""
LEAST = 0.5
"""Expected photons of a bin of a projection, from which it counts."""
FREE = 12
"""Numbers that three projections adjust to: background, photons, middle and width of each."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def sensitivity_of_lines(voxels: Voxels) -> Array:
    """Return the fitted voxels of rows and columns of every frame, (eta, rows + columns)."""
    etas, rows, columns = voxels.volumes.shape
    lines = np.zeros((etas, rows + columns))
    for e in range(etas):
        for i in range(rows):
            for j in range(columns):
                if voxels.mark[e, i, j] == FITTED:
                    lines[e, i] += voxels.sensitivity[e, i, j]
                    lines[e, rows + j] += voxels.sensitivity[e, i, j]
    return lines


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def describe(
    events: Events,
    voxels: Voxels,
    lines: Array,
    there: npt.NDArray[np.bool_],
    beyond: float,
    found: Array,
) -> None:
    """Write kurtosis, part inside, chi square, its spread, and excess of photons beyond."""
    centre, width, background = found[:3], found[3:6], found[20]
    height = peak_height(found[18], width)
    etas, rows, columns = voxels.volumes.shape
    expected = np.zeros(etas + rows + columns)
    held = 0.0
    for e in range(etas):
        if not there[e]:
            continue
        expected[e] += background * lines[e, :rows].sum()
        expected[etas:] += background * lines[e]
        for i in range(rows):
            for j in range(columns):
                square = squared_distance(voxels.vectors[e, i, j], centre, width)
                if square > FAR or voxels.mark[e, i, j] != FITTED:
                    continue
                bright = height * voxels.volumes[e, i, j] * math.exp(-0.5 * square)
                held += bright
                bright *= voxels.sensitivity[e, i, j]
                expected[e] += bright
                expected[etas + i] += bright
                expected[etas + rows + j] += bright
    for k in range(len(voxels.dark_volumes)):
        square = squared_distance(voxels.dark_vectors[k], centre, width)
        if square < FAR:
            held += height * voxels.dark_volumes[k] * math.exp(-0.5 * square)
    found[21] = _kurtosis(events, found, height)
    found[22] = held / found[18]
    _chi_square(events, voxels, expected, found)
    found[25] = excess(voxels, lines, there, beyond, background)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def excess(
    voxels: Voxels,
    lines: Array,
    there: npt.NDArray[np.bool_],
    beyond: float,
    background: float,
) -> float:
    """Return the photons beyond the region less the background, in standard deviations.

    The background is known from its photons in the region only.
    """
    rows, inner, outer = voxels.volumes.shape[1], 0.0, 0.0
    for e in range(len(there)):
        if there[e]:
            inner += background * lines[e, :rows].sum()
            outer += background * voxels.sensitivity[e, 0, 0] * (voxels.mark[e] == BEYOND).sum()
    return float((beyond - outer) / math.sqrt(1 + outer + outer**2 / max(inner, 1.0)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _kurtosis(events: Events, found: Array, height: float) -> float:
    """Return that of the worst axis, in its standard deviations: several peaks show."""
    centre, width, background = found[:3], found[3:6], found[20]
    fourth, photons = np.zeros(3), 0.0
    for k in range(len(events.photons)):
        square = squared_distance(events.vectors[k], centre, width)
        if square > FAR:
            continue
        bright = height * events.volumes[k] * math.exp(-0.5 * square)
        share = events.photons[k] * bright / (bright + background)
        photons += share
        for c in range(3):
            fourth[c] += share * ((events.vectors[k, c] - centre[c]) / width[c]) ** 4
    return float(np.abs(fourth / photons - 3).max() * math.sqrt(photons / 24))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _chi_square(events: Events, voxels: Voxels, expected: Array, found: Array) -> None:
    """Write Pearson's chi square of the projections per degree of freedom, and its spread.

    Of a Poisson count of mean m, (n - m)² / m has the mean 1 and the variance 2 + 1 / m.
    """
    etas, rows, columns = voxels.volumes.shape
    counted = np.zeros(len(expected))
    height = peak_height(found[18], found[3:6])
    for k in range(len(events.photons)):
        frame, column = divmod(events.place[k], columns)
        eta, row = divmod(frame, rows)
        n = events.photons[k]
        if n >= voxels.saturation:
            square = squared_distance(events.vectors[k], found[:3], found[3:6])
            mean = height * events.volumes[k] * math.exp(-0.5 * square) + found[20]
            n = counted_or_more(mean * events.sensitivity[k], n)
        counted[eta] += n
        counted[etas + row] += n
        counted[etas + rows + column] += n
    square, spread, bins = 0.0, 0.0, 0
    for k in range(len(expected)):
        if expected[k] >= LEAST:
            square += (counted[k] - expected[k]) ** 2 / expected[k]
            spread += 2 + 1 / expected[k]
            bins += 1
    freedom = max(bins - FREE, 1)
    found[23], found[24] = square / freedom, math.sqrt(spread) / freedom
