"""What one Bragg peak is fitted to: the voxels of a rocking curve and the photons of one point."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]

FITTED, BEYOND = 1, 2
"""Marks of voxels: in the region, or good but outside of it; 0 is left out."""
NARROW = 0.5
"""Least width of a peak, in distances of slices of voxels."""
BINS = 128
"""Of the range of Q, in which a peak is looked for first."""


class Voxels(NamedTuple):
    """Voxels of a rocking curve, (eta, rows, columns).

    ``vectors`` (..., 3) is Q in 1/Å and ``volumes`` in 1/Å³; ``sensitivity`` is relative (the
    monitor); ``mark`` says which voxels are fitted. ``dark_vectors`` (n, 3) and ``dark_volumes``
    (n,) are voxels inside the region that were not measured: bad pixels, missing frames. A voxel
    that counted ``saturation`` counted that or more. ``slices`` (3, 3) are the distances from one
    slice of voxels to the next, eta, rows and columns, along their normals, 1/Å.
    """

    vectors: Array
    volumes: Array
    sensitivity: Array
    mark: npt.NDArray[np.uint8]
    dark_vectors: Array
    dark_volumes: Array
    saturation: float
    slices: Array


class Events(NamedTuple):
    """Voxels of one point that counted: their place, Q, volume, sensitivity and photons."""

    place: npt.NDArray[np.int64]
    vectors: Array
    volumes: Array
    sensitivity: Array
    photons: Array


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def room_for(voxels: Voxels) -> Events:
    """Return memory for the events of any point."""
    size = int((voxels.mark == FITTED).sum())
    return Events(
        np.empty(size, np.int64), np.empty((size, 3)), np.empty(size), np.empty(size),
        np.empty(size),
    )  # fmt: skip


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def collect(
    counts: Counts,
    row: int,
    column: int,
    moves: npt.NDArray[np.int64],
    voxels: Voxels,
    events: Events,
    there: npt.NDArray[np.bool_],
) -> tuple[int, float]:
    """Write the events of a point; return how many they are, and the photons beyond the region.

    The frame of eta e lies ``moves[e]`` before the point; ``there`` says which ones exist.
    """
    used, beyond = 0, 0.0
    etas, height, width = voxels.volumes.shape
    for e in range(etas):
        y, x = row - moves[e, 0], column - moves[e, 1]
        there[e] = 0 <= y < counts.shape[0] and 0 <= x < counts.shape[1]
        if not there[e]:
            continue
        frame = counts[y, x, e]
        for i in range(height):
            for j in range(width):
                if frame[i, j] == 0 or voxels.mark[e, i, j] == 0:
                    continue
                if voxels.mark[e, i, j] == BEYOND:
                    beyond += frame[i, j]
                    continue
                events.place[used] = (e * height + i) * width + j
                events.vectors[used] = voxels.vectors[e, i, j]
                events.volumes[used] = voxels.volumes[e, i, j]
                events.sensitivity[used] = voxels.sensitivity[e, i, j]
                events.photons[used] = frame[i, j]
                used += 1
    return used, beyond


def slices_of(vectors: Array) -> Array:
    """Return ``slices`` of `Voxels` in the middle of the frames, (3, 3), 1/Å."""
    middle = tuple(n // 2 for n in vectors.shape[:3])
    steps = np.stack([np.gradient(vectors, axis=axis)[middle] for axis in range(3)])
    # Columns of the inverse are normals over distances.
    normals = np.linalg.inv(steps)
    return np.asarray((normals / (normals**2).sum(axis=0)).T)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def keep_wide(voxels: Voxels, width: Array) -> None:
    """Make widths at least half of the distance of slices: less cannot be told from less still."""
    for k in range(3):
        axis = np.argmax(np.abs(voxels.slices[k]))
        width[axis] = max(width[axis], NARROW * math.sqrt((voxels.slices[k] ** 2).sum()))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def add_coarseness(voxels: Voxels, width: Array, covariance: Array) -> None:
    """Add to the covariance of a centre, (9,), what steps wider than the peak leave open.

    Where one slice of normal n sees a peak of the variances S, its middle may be anywhere within
    the step h along S n / (n S n): the variance of the place along n is h² / 12.
    """
    for k in range(3):
        step = math.sqrt((voxels.slices[k] ** 2).sum())
        if width[np.argmax(np.abs(voxels.slices[k]))] > NARROW * step * (1 + 1e-9):
            continue
        along = width**2 * voxels.slices[k] / step
        along /= (along * voxels.slices[k]).sum() / step
        for c in range(3):
            for d in range(3):
                covariance[3 * c + d] += step**2 / 12 * along[c] * along[d]


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def squared_distance(q: Array, centre: Array, width: Array) -> float:
    """Return the squared distance from the middle of a peak, in its widths."""
    square = 0.0
    for c in range(3):
        away = (q[c] - centre[c]) / width[c]
        square += away * away
    return square


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def peak_height(photons: float, width: Array) -> float:
    """Return the density of a peak in its middle, photons Å³."""
    return float(photons / ((2 * np.pi) ** 1.5 * width[0] * width[1] * width[2]))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def start(events: Events, centre: Array, width: Array) -> None:
    """Find the median of the photons along each axis, and their spread by quantiles."""
    line, places = np.zeros(BINS), np.zeros(3)
    total = events.photons.sum()
    for c in range(3):
        q = events.vectors[:, c]
        low, bin_width = q.min(), max((q.max() - q.min()) / BINS, 1e-9)
        line[:] = 0
        for k in range(len(q)):
            line[min(int((q[k] - low) / bin_width), BINS - 1)] += events.photons[k]
        running, mark = 0.0, 0
        for k in range(BINS):
            running += line[k]
            while mark < 3 and running >= (0.3 + 0.2 * mark) * total:
                places[mark] = low + (k + 0.5) * bin_width
                mark += 1
        centre[c] = places[1]
        # 30 to 70 percent of a normal distribution is 1.05 standard deviations.
        width[c] = max((places[2] - places[0]) / 1.05, bin_width)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def counted_or_more(mean: float, saturation: float) -> float:
    """Return the mean of a Poisson variable of which is known that it reached the saturation.

    By the normal tail: mean + s phi(a) / (1 - Phi(a)), a = (saturation - 1/2 - mean) / s.
    """
    spread = math.sqrt(mean)
    a = (saturation - 0.5 - mean) / max(spread, 1e-9)
    if a > 6:
        return saturation
    beyond = 0.5 * math.erfc(a / math.sqrt(2.0))
    return mean + spread * math.exp(-0.5 * a * a) / math.sqrt(2 * math.pi) / beyond
