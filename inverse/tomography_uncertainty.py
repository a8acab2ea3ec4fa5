"""Standard deviations of voxels from counting noise, by repeating the reconstruction.

Noise as of the data is added to them, the volume is reconstructed again in the same way, and the
squared differences are averaged over the draws and the neighbours of each voxel, whose noise is the
same but for its draw. So positivity and variation act as they do on the data. What the model cannot
follow (edges within a voxel, missing tilts) is not in it.
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
    variance = as_images(total, task.matrix.shape[1]) / draws
    near = uniform_filter(variance, NEIGHBOURS, mode="nearest")
    # The running sums of the filter may end a rounding error below 0.
    return np.asarray(np.sqrt(np.maximum(near, 0)), dtype=np.float32)
