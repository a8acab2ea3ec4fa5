"""Volumes of two energies laid on each other, whatever their chemistry.

Where a particle is of one composition, one volume is a multiple of the other there. So over a small
window the second is fitted by a multiple of the first, and what is left tells the shift:
with G the mean over the window,

    r = V2 - V1 G(V1 V2) / G(V1²),

and the same for the derivatives of V2 with the shift. Windows that no multiple fits, where
compositions meet, count little: fronts have a side, and would pull the volumes apart.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, gaussian_filter

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

SMOOTHED = 0.7
"""Standard deviation of what both volumes are smoothed with, voxels."""
WINDOW = 1.0
"""Standard deviation of the window, voxels."""
STEPS = 6
FULL = 0.03
"""Share of the largest smoothed square below which a window is empty."""
BLOCKS = 4
"""Parts along each axis, left out in turn for the standard deviation."""


class Link(NamedTuple):
    """How the second volume lies: at ``(1 + growth) X + shift`` of the first."""

    shift: Floats
    """z, y, x in voxels."""
    growth: float
    std: Floats
    """Of shift and growth, (4,)."""


def volume_link(first: Array, second: Array) -> Link:
    """Return where the second volume lies against the first.

    Parameters
    ----------
    first, second : array, (z, y, x)
        Absorption at two energies.
    """
    first, second = (gaussian_filter(volume, SMOOTHED) for volume in (first, second))
    found = np.zeros(4)
    total = np.zeros((1, 4, 5))
    for _ in range(STEPS):
        total = _sums(first, _moved(second, found))
        step = _solved(total.sum(axis=0))
        found = found + step
        if np.abs(step * [1, 1, 1, max(first.shape) / 4]).max() < 1e-3:
            break
    whole = total.sum(axis=0)
    others = np.array([_solved(whole - part) for part in total]) - _solved(whole)
    std = np.sqrt((others**2).sum(axis=0) * (len(others) - 1) / len(others))
    return Link(shift=found[:3], growth=float(found[3]), std=std)


def _moved(volume: Array, motion: Floats) -> Array:
    if not motion.any():
        return volume
    centre = (np.array(volume.shape) - 1) / 2
    scale = 1 + motion[3]
    offset = centre + motion[:3] - scale * centre
    moved = affine_transform(volume, np.full(3, scale), offset, order=3, output=np.float32)
    return np.asarray(moved, dtype=np.float32)


def _sums(first: Array, second: Array) -> Floats:
    """Return the normal equations of every block, (blocks, 4, 5), the right side last."""
    square = gaussian_filter(first * first, WINDOW)
    inside = square > FULL * square.max()
    floor = np.where(inside, square, 1)

    def left(volume: Array) -> Array:
        share = gaussian_filter(first * volume, WINDOW) / floor
        return np.where(inside, volume - share * first, 0).astype(np.float32)

    along = [np.gradient(second, axis=k).astype(np.float32) for k in range(3)]
    places = [np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in first.shape]
    grids = np.meshgrid(*places, indexing="ij", sparse=True)
    grown = sum(at * slope for at, slope in zip(grids, along, strict=True))
    rest = left(second)
    misfit = gaussian_filter(rest * rest, WINDOW)
    typical = float(np.median(misfit[inside])) if inside.any() else 1.0
    # Once for the noise, once more against fronts: half of the windows have none.
    weight = inside * (typical / (typical + misfit)) ** 2
    slopes = [left(slope) for slope in (*along, np.asarray(grown))]
    columns = np.stack([*slopes, -rest]).reshape(5, -1)
    weighted = columns[:4] * weight.ravel()
    block = [np.minimum(np.arange(n) * BLOCKS // n, BLOCKS - 1) for n in first.shape]
    z, y, x = np.meshgrid(*block, indexing="ij", sparse=True)
    label = ((z * BLOCKS + y) * BLOCKS + x).ravel()
    parts = [
        np.bincount(label, weights=(one * other).astype(np.float64), minlength=BLOCKS**3)
        for one in weighted
        for other in columns
    ]
    sums = np.moveaxis(np.array(parts).reshape(4, 5, -1), 2, 0)
    return np.asarray(sums[sums[:, 0, 0] > 0]) if inside.any() else np.zeros((1, 4, 5))


def _solved(equations: Floats) -> Floats:
    matrix = equations[:, :4] + 1e-9 * np.diag(np.diag(equations[:, :4])) + 1e-30 * np.eye(4)
    return np.asarray(np.linalg.solve(matrix, equations[:, 4]))
