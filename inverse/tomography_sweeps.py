"""Sweeps over subsets of tilts: SIRT, OS-SART and SART are one loop with more and more subsets.

For each subset S of rays, with the path lengths A,

    x <- max(x + r C_S A_S' R_S (p_S - A_S x), 0),

where R_S and C_S are one over the row and column sums of A_S and r is the relaxation. ART takes
every ray for itself, ``x <- max(x + r (p - a.x) a / a.a, 0)``.

References
----------
Censor, Elfving, Herman, in Inherently Parallel Algorithms (2001), on SART with subsets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.projection import SystemMatrix
from echolith.forward.projection_kernels import correct_by_rays, residual, update
from echolith.inverse.tomography_problem import Array, Iterates, Problem

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
    inverse = np.zeros_like(sums)
    np.divide(1, np.maximum(sums, floor), where=sums > 0, out=inverse)
    return inverse


def sweeps(task: Problem, parts: list[Subset], *, relaxation: float, lowest: float) -> Iterates:
    """Yield the volume after each pass over all subsets (SIRT, OS-SART, SART).

    Parameters
    ----------
    task : Problem
    parts : list of Subset
    relaxation : float
    lowest : float
        Least absorption, 1/Å.
    """
    volume = task.start.copy()
    chosen = [np.ascontiguousarray(task.data[part.rays]) for part in parts]
    room = [np.empty_like(rows) for rows in chosen]
    line = np.empty(task.slices, dtype=np.float32)
    scales = [np.float32(relaxation) * part.per_voxel for part in parts]
    while True:
        for part, rows, left, scale in zip(parts, chosen, room, scales, strict=True):
            a, b = part.matrix.forward, part.matrix.backward
            residual(a.indptr, a.indices, a.data, volume, rows, part.per_ray, left)
            update(b.indptr, b.indices, b.data, left, scale, np.float32(lowest), line, volume)
        yield volume


def ray_sweeps(task: Problem, parts: list[Subset], *, relaxation: float, lowest: float) -> Iterates:
    """Yield the volume after each pass over all rays, one by one (ART); parameters as `sweeps`."""
    volume = task.start.copy()
    line = np.empty(task.slices, dtype=np.float32)
    scales = [np.float32(relaxation) * _inverse(_squares(part.matrix)) for part in parts]
    while True:
        for part, scale in zip(parts, scales, strict=True):
            a, rows = part.matrix.forward, np.ascontiguousarray(task.data[part.rays])
            correct_by_rays(
                a.indptr, a.indices, a.data, rows, scale, np.float32(lowest), line, volume
            )
        yield volume


def _squares(matrix: SystemMatrix) -> Array:
    squared = matrix.forward.multiply(matrix.forward)
    return np.asarray(squared.sum(axis=1), dtype=np.float32).ravel()
