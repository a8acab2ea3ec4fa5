"""The peak of one point by moments in a box about it, less the background.

The box reaches `REACH` widths to either side of the middle. Of a normal distribution of that middle
and width it holds the part P along an axis, with the variance 1 - h, h = 2 k phi(k) / P. A box that
is d off sees its middle off by h d only, so what is found is divided by 1 - h; likewise widths.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.inverse.diffraction_voxels import (
    Events,
    Voxels,
    counted_or_more,
    peak_height,
    squared_distance,
    start,
)

Array = npt.NDArray[np.float64]

REACH = 2.75
HELD = math.erf(REACH / math.sqrt(2))
LOST = 2 * REACH * math.exp(-(REACH**2) / 2) / math.sqrt(2 * math.pi) / HELD
FOLLOWS = LOST * (REACH**2 + LOST - 1) / (2 * (1 - LOST))
"""Part of a change of the box's width by which the width found in it changes."""
LARGEST = 0.4
"""Part of the voxels that the box may hold."""
SETTLED = 1e-3


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def climb(
    events: Events, voxels: Voxels, total: float, steps: int, least: float, found: Array
) -> bool:
    """Write centre, width, counts, background and their uncertainty; False: no peak."""
    centre, width = found[:3], found[3:6]
    start(events, centre, width)
    photons = (events.photons / events.sensitivity).sum()
    found[18], found[20] = 0.7 * photons, 0.3 * photons / total
    volume, flat = events.volumes.mean(), 0.0
    for _ in range(steps):
        box = (2 * REACH) ** 3 * width[0] * width[1] * width[2] / volume
        if box > LARGEST * total:  # the background must be seen beside it
            width *= (LARGEST * total / box) ** (1 / 3)
            box = LARGEST * total
        sums = _sums(events, voxels, found)
        found[20] = max((photons - sums[7]) / max(total - box, 1.0), 1e-9)
        flat = min(found[20] * box, 0.9 * sums[0])
        found[18] = (sums[0] - flat) / HELD**3
        if found[18] < least:
            return False
        if _step(sums, flat, centre, width) < SETTLED:
            break
    _inform(events, found)
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _sums(events: Events, voxels: Voxels, found: Array) -> Array:
    """Return photons in the box, first and second moments, and those of them that were counted."""
    centre, width, background = found[:3], found[3:6], found[20]
    height, sums = peak_height(found[18], width), np.zeros(8)
    for k in range(len(events.photons)):
        if not _in_box(events.vectors[k], centre, width):
            continue
        n = events.photons[k]
        if n >= voxels.saturation:
            square = squared_distance(events.vectors[k], centre, width)
            mean = height * events.volumes[k] * math.exp(-0.5 * square) + background
            n = counted_or_more(mean * events.sensitivity[k], n)
        n /= events.sensitivity[k]
        sums[7] += n
        _add(n, events.vectors[k], centre, sums)
    for k in range(len(voxels.dark_volumes)):
        if _in_box(voxels.dark_vectors[k], centre, width):
            square = squared_distance(voxels.dark_vectors[k], centre, width)
            mean = height * voxels.dark_volumes[k] * math.exp(-0.5 * square) + background
            _add(mean, voxels.dark_vectors[k], centre, sums)
    return sums


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _in_box(q: Array, centre: Array, width: Array) -> bool:
    return bool(
        abs(q[0] - centre[0]) < REACH * width[0]
        and abs(q[1] - centre[1]) < REACH * width[1]
        and abs(q[2] - centre[2]) < REACH * width[2]
    )


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _add(n: float, q: Array, centre: Array, sums: Array) -> None:
    sums[0] += n
    for c in range(3):
        away = q[c] - centre[c]
        sums[1 + c] += n * away
        sums[4 + c] += n * away * away


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _step(sums: Array, flat: float, centre: Array, width: Array) -> float:
    """Move the peak to its moments; return by how much, the most of all axes, in widths."""
    most, weight = 0.0, sums[0] - flat
    for c in range(3):
        moved = sums[1 + c] / weight / (1 - LOST)
        square = (sums[4 + c] - flat * (REACH * width[c]) ** 2 / 3) / weight / (1 - LOST)
        grown = math.sqrt(max(square, 0.0)) / width[c]
        grown = min(max(1 + (grown - 1) / (1 - FOLLOWS), 0.5), 2.0)
        most = max(most, abs(moved) / width[c], abs(grown - 1))
        centre[c] += moved
        width[c] *= grown
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _inform(events: Events, found: Array) -> None:
    """Write the covariances of sums of Poisson counts, by the counts themselves."""
    centre, width = found[:3], found[3:6]
    products, squares, photons = np.zeros((3, 3)), np.zeros(3), 0.0
    away = np.empty(3)
    for k in range(len(events.photons)):
        if not _in_box(events.vectors[k], centre, width):
            continue
        n = events.photons[k] / events.sensitivity[k] ** 2
        photons += n
        for c in range(3):
            away[c] = (events.vectors[k, c] - centre[c]) / width[c]
            squares[c] += n * (away[c] ** 2 - (1 - LOST)) ** 2
        for c in range(3):
            for d in range(3):
                products[c, d] += n * away[c] * away[d]
    weight = found[18] * HELD**3
    for c in range(3):
        for d in range(3):
            scale = width[c] * width[d] / (weight * (1 - LOST)) ** 2
            found[6 + 3 * c + d] = products[c, d] * scale
        lengths = 2 * (1 - LOST) * (1 - FOLLOWS) * weight
        found[15 + c] = math.sqrt(squares[c]) / lengths * width[c]
    found[19] = math.sqrt(photons) / HELD**3
