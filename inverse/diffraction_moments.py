"""The peak of one point by moments in a box about it, less the background.

The box reaches `REACH` widths to either side of the middle, and fades out over `FADE` before and
after, so that a voxel does not tip over its edge. With the moments P, M2 and M4 of a normal
distribution in it (M2 and M4 over P), a peak that is d off its box is seen M2 d off, and one that
is wider by a part of w by (M4 - M2²) w / 2 M2: what is found is divided by that.
"""

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
    start,
)

Array = npt.NDArray[np.float64]

REACH, FADE = 2.75, 0.5


def _in_normal(power: int) -> float:
    """Return the integral over a normal distribution of the box times a power of the distance."""
    u = np.linspace(0, REACH + FADE, 20001)
    box = np.clip((REACH + FADE - u) / (2 * FADE), 0, 1)
    normal = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    return float(2 * np.trapezoid(box * normal * u**power, u))


HELD = _in_normal(0)
SECOND = _in_normal(2) / HELD
WIDENS = (_in_normal(4) / HELD - SECOND**2) / (2 * SECOND)
FLAT = (REACH**2 + FADE**2) / 3
"""Mean square distance of the background in the box, in widths."""
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
    volume, flat, sums = events.volumes.mean(), 0.0, np.zeros(12)
    for _ in range(steps):
        box = (2 * REACH) ** 3 * width[0] * width[1] * width[2] / volume
        if box > LARGEST * total:  # the background must be seen beside it
            width *= (LARGEST * total / box) ** (1 / 3)
            box = LARGEST * total
        sums = _sums(events, voxels, found)
        beside = photons - sums[7] - found[18] * (1 - HELD**3)
        found[20] = max(beside / max(total - box, 1.0), 1e-9)
        flat = min(found[20] * box, 0.9 * sums[0])
        found[18] = (sums[0] - flat) / HELD**3
        if found[18] < least:
            return False
        moved = _step(sums, flat, centre, width)
        keep_wide(voxels, width)
        if moved < SETTLED:
            break
    _inform(events, sums, flat, found)
    add_coarseness(voxels, width, found[6:15])
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _sums(events: Events, voxels: Voxels, found: Array) -> Array:
    """Return photons in the box, first and second moments in widths, and what was not counted.

    0: photons, 1 to 3: first, 4 to 6: second moments; 7: photons as counted; 8: photons of the
    peak in dark voxels, 9 to 11: their second moments.
    """
    centre, width, background = found[:3], found[3:6], found[20]
    height, sums, away = peak_height(found[18], width), np.zeros(12), np.empty(3)
    for k in range(len(events.photons)):
        part = _part(events.vectors[k], centre, width, away)
        if part == 0:
            continue
        n = events.photons[k]
        sums[7] += n * part / events.sensitivity[k]
        if n >= voxels.saturation:
            bright = height * events.volumes[k] * math.exp(-0.5 * (away**2).sum())
            n = counted_or_more((bright + background) * events.sensitivity[k], n)
        _add(n * part / events.sensitivity[k], away, sums)
    for k in range(len(voxels.dark_volumes)):
        part = _part(voxels.dark_vectors[k], centre, width, away)
        if part > 0:
            bright = height * voxels.dark_volumes[k] * math.exp(-0.5 * (away**2).sum())
            _add(part * (bright + background), away, sums)
            sums[8] += part * bright
            for c in range(3):
                sums[9 + c] += part * bright * away[c] ** 2
    return sums


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _part(q: Array, centre: Array, width: Array, away: Array) -> float:
    """Write the distance from the middle in widths; return the part of a voxel in the box."""
    part = 1.0
    for c in range(3):
        away[c] = (q[c] - centre[c]) / width[c]
        part *= min(max((REACH + FADE - abs(away[c])) / (2 * FADE), 0.0), 1.0)
    return part


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _add(n: float, away: Array, sums: Array) -> None:
    sums[0] += n
    for c in range(3):
        sums[1 + c] += n * away[c]
        sums[4 + c] += n * away[c] ** 2


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _step(sums: Array, flat: float, centre: Array, width: Array) -> float:
    """Move the peak to its moments; return by how much, the most of all axes, in widths."""
    most, weight = 0.0, sums[0] - flat
    for c in range(3):
        moved = sums[1 + c] / weight / SECOND
        grown = math.sqrt(max((sums[4 + c] - flat * FLAT) / weight / SECOND, 0.0))
        grown = min(max(1 + (grown - 1) / WIDENS, 0.5), 2.0)
        most = max(most, abs(moved), abs(grown - 1))
        centre[c] += moved * width[c]
        width[c] *= grown
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _inform(events: Events, sums: Array, flat: float, found: Array) -> None:
    """Write the covariances of sums of Poisson counts, by the counts themselves.

    What dark voxels would have counted follows the peak, and tells nothing: less is left to tell.
    """
    centre, width = found[:3], found[3:6]
    products, squares, photons = np.zeros((3, 3)), np.zeros(3), 0.0
    away = np.empty(3)
    for k in range(len(events.photons)):
        part = _part(events.vectors[k], centre, width, away)
        if part == 0:
            continue
        n = events.photons[k] * (part / events.sensitivity[k]) ** 2
        photons += n
        for c in range(3):
            squares[c] += n * (away[c] ** 2 - SECOND) ** 2
            for d in range(3):
                products[c, d] += n * away[c] * away[d]
    weight = sums[0] - flat
    tells = SECOND * weight - sums[9:12]
    seen = 1 - sums[8] / weight
    for c in range(3):
        for d in range(3):
            found[6 + 3 * c + d] = products[c, d] * width[c] * width[d] / (tells[c] * tells[d])
        found[15 + c] = math.sqrt(squares[c]) / (2 * SECOND * WIDENS * weight * seen) * width[c]
    found[19] = math.sqrt(photons) / HELD**3 / seen
