"""Sweeps over subsets of tilts: SIRT, OS-SART and SART are one loop with more and more subsets.

For each subset S of rays, with the path lengths A,

    x <- max(x + r C_S A_S' R_S (p_S - A_S x), 0),

where R_S and C_S are one over the row and column sums of A_S and r is the relaxation.

References
----------
Censor, Elfving, Herman, in Inherently Parallel Algorithms (2001), on SART with subsets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.projection import SystemMatrix
from echolith.forward.projection_kernels import residual, update

Array = npt.NDArray[np.float32]

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Some tilts, their matrix, and one over its row and column sums."""

    matrix: SystemMatrix
    rays: npt.NDArray[np.intp]
    per_ray: Array
    per_voxel: Array


def subsets(matrix: SystemMatrix, count: int) -> list[Subset]:
    """Deal the tilts out to subsets, in an order in which neighbours follow late."""
    count = min(count, matrix.tilts)
    order = np.argsort(np.arange(count) * GOLDEN % 1)
    return [_subset(matrix, np.arange(first, matrix.tilts, count)) for first in order]


def _subset(matrix: SystemMatrix, tilts: npt.NDArray[np.intp]) -> Subset:
    part = matrix.of_tilts(tilts)
    rays = (tilts[:, None] * matrix.pixels + np.arange(matrix.pixels)).ravel()
    return Subset(
        matrix=part,
        rays=rays,
        per_ray=_inverse(part.forward @ np.ones(part.forward.shape[1], dtype=np.float32)),
        per_voxel=_inverse(part.backward @ np.ones(part.forward.shape[0], dtype=np.float32)),
    )


def _inverse(sums: Array) -> Array:
    """One over sums; what is hardly seen is not blown up, what is not seen stays as it is."""
    floor = 0.1 * sums.max(initial=0)
    return np.divide(1, np.maximum(sums, floor), where=sums > 0, out=np.zeros_like(sums))


def sweeps(
    parts: list[Subset],
    data: Array,
    volume: Array,
    *,
    relaxation: float,
    lowest: float,
) -> Iterator[Array]:
    """Yield the volume (voxels, slices) after each sweep; it is changed in place.

    Parameters
    ----------
    parts : list of Subset
    data : array, (rays, slices)
    volume : array, (voxels, slices)
    relaxation : float
    lowest : float
        Least absorption, 1/Å.
    """
    chosen = [np.ascontiguousarray(data[part.rays]) for part in parts]
    room = [np.empty_like(rows) for rows in chosen]
    line = np.empty(data.shape[1], dtype=np.float32)
    scales = [np.float32(relaxation) * part.per_voxel for part in parts]
    while True:
        for part, rows, left, scale in zip(parts, chosen, room, scales, strict=True):
            a, b = part.matrix.forward, part.matrix.backward
            residual(a.indptr, a.indices, a.data, volume, rows, part.per_ray, left)
            update(b.indptr, b.indices, b.data, left, scale, np.float32(lowest), line, volume)
        yield volume
