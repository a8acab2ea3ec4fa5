"""Standard deviations of voxels from counting noise, by repeating the reconstruction.

Noise as of the data is added to them, the volume is reconstructed again in the same way, and the
squared differences are averaged over the draws and over those neighbours of each voxel that are as
full as it is, whose noise is the same but for its draw; a few voxels' worth of the average over all
as full as it keep it from 0. So positivity and variation act as they do on the data. What the model
cannot follow (edges within a voxel, missing tilts) is not in it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter

from echolith.forward.projection import as_images
from echolith.inverse.tomography_problem import Array, Problem
from echolith.seeds import stream

NEIGHBOURS = 3
"""Side, in voxels, of the box of neighbours."""
FULLNESS = (0.05, 0.5)
"""Absorption that parts empty, partly filled and full voxels, in units of that of full ones."""
SHARED = 3.0
"""Voxels' worth of the average over all as full."""


def noise_of_voxels(
    task: Problem,
    volume: Array,
    again: Callable[[Problem], Array],
    *,
    draws: int,
    seed: int,
) -> Array:
    """Return standard deviations, (z, y, x).

    Parameters
    ----------
    task : Problem
        With known noise.
    volume : array, (voxels, slices)
        Its solution.
    again : callable
        Solves a problem as the task was solved.
    draws : int
        1 or more.
    seed : int
    """
    assert task.std is not None
    total = np.zeros_like(volume)
    for draw in range(draws):
        noise = stream(seed, "noise of voxels", draw).standard_normal(
            task.data.shape, dtype=np.float32
        )
        noise *= task.std
        noise += task.data
        moved = again(replace(task, data=noise))
        moved -= volume
        moved *= moved
        total += moved
    width = task.matrix.shape[1]
    variance = _smoothed(as_images(total, width) / np.float32(draws), as_images(volume, width))
    return np.asarray(np.sqrt(variance), dtype=np.float32)


def _smoothed(variance: Array, volume: Array) -> Array:
    """Average over the neighbours that are as full."""
    squares = float(np.square(volume, dtype=np.float64).sum())
    full = squares / max(float(volume.sum(dtype=np.float64)), 1e-30)
    kinds = np.digitize(volume, np.multiply(FULLNESS, full))
    result = np.zeros_like(variance)
    for kind in range(len(FULLNESS) + 1):
        own = kinds == kind
        if not own.any():
            continue
        box = NEIGHBOURS**variance.ndim
        number = box * uniform_filter(own.astype(np.float32), NEIGHBOURS, mode="constant")
        total = box * uniform_filter(variance * own, NEIGHBOURS, mode="constant")
        mean = float(variance[own].mean(dtype=np.float64))
        # The running sums of the filter may end a rounding error below 0.
        all_of_them = np.maximum(total, 0) + SHARED * mean
        result[own] = (all_of_them / (np.maximum(number, 1) + SHARED))[own]
    return result
