"""Weighted least squares with isotropic total variation in 3D and positivity.

Minimised is

    sum_i (A x - p)_i² / (2 sigma_i²) + lambda sum_j |grad x|_j,    x >= 0,

by FISTA: steps along the slope, each followed by the smallest change to a volume of less variation,
which is found from its dual (FGP) and goes on where the last one ended.

References
----------
Beck, Teboulle, SIAM J. Imaging Sci. 2 (2009) 183 (FISTA); IEEE Trans. Image Process. 18 (2009) 2419
(FGP).
"""

import numpy as np

from echolith.forward.projection import slabs
from echolith.forward.projection_kernels import multiply, residual
from echolith.inverse.least_variation import Spread, less_varied, momentum, spreading
from echolith.inverse.tomography_problem import Array, Iterates, Problem
from echolith.inverse.tomography_variation_kernels import dual_step, primal

INNER = 6
"""Dual steps for each step of FISTA."""


def total_variation(task: Problem, *, strength: float, lowest: float, workers: int) -> Iterates:
    """Yield the volume after each step of FISTA.

    Parameters
    ----------
    task : Problem
        With known noise.
    strength : float
        lambda in units of the root-mean-square slope that noise alone makes in a voxel.
    lowest : float
        Least absorption, 1/Å.
    workers : int
        Threads; the result does not depend on them.
    """
    if task.std is None:
        raise ValueError("the noise is unknown")
    weight = (1 / task.std**2).astype(np.float32)
    curvature, noise = _scales(task, weight)
    mu = strength * noise / curvature
    shape = (*task.matrix.shape, task.slices)
    dual = np.zeros((3, *shape), dtype=np.float32)
    ahead, volume, t = task.start.copy(), task.start.copy(), 1.0

    def above(near: Array, dual: Array, start: int, stop: int, out: Array) -> None:
        primal(near, dual, np.float32(mu), np.float32(lowest), start, stop, out)

    with spreading(workers) as spread:
        while True:
            ahead -= _slope(task, weight, ahead, spread) / np.float32(curvature)
            fresh = less_varied(
                ahead.reshape(shape),
                size=mu,
                dual=dual,
                inner=INNER,
                primal=above,
                dual_step=dual_step,
                spread=spread,
            ).reshape(volume.shape)
            further, t = momentum(t)
            change, volume = fresh - volume, fresh
            ahead = volume + further * change
            yield volume


def _scales(task: Problem, weight: Array) -> tuple[float, float]:
    """Return a bound of the curvature ``A' W A`` and the rms over voxels of its root diagonal.

    A has no negative entries, so that the largest row sum is a bound of the norm.
    """
    a = task.matrix.forward
    paths = np.asarray(a.sum(axis=1), dtype=np.float32).ravel()
    mean = weight.mean(axis=1)
    curvature = max(
        float((a.T @ (weight[:, part] * paths[:, None])).max())
        for part in slabs(task.slices, a.shape[1])
    )
    noise = float(np.sqrt((a.multiply(a).T @ mean).mean()))
    return curvature, noise


def _slope(task: Problem, weight: Array, volume: Array, spread: Spread) -> Array:
    """Return ``A' W (A x - p)``."""
    a, b = task.matrix.forward, task.matrix.backward
    less = np.full(a.shape[0], -1, dtype=np.float32)
    result = np.empty_like(volume)

    def one(part: slice) -> None:
        data = np.ascontiguousarray(task.data[:, part])
        left = np.empty_like(data)
        block = np.ascontiguousarray(volume[:, part])
        residual(a.indptr, a.indices, a.data, block, data, less, left)
        left *= weight[:, part]
        slope = np.empty_like(block)
        multiply(b.indptr, b.indices, b.data, left, slope)
        result[:, part] = slope

    spread(one, slabs(task.slices, a.shape[1]))
    return result
