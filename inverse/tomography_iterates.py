"""The iterates of every algorithm, by its name; slices in slabs where they do not depend on others.

`run` does a whole volume: slab after slab, or all slices together for total variation.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np

from echolith.forward.projection import SystemMatrix, slabs
from echolith.inverse.tomography_cgls import conjugate_gradients
from echolith.inverse.tomography_options import Algorithm, TomographyOptions
from echolith.inverse.tomography_problem import Array, Iterates, Problem
from echolith.inverse.tomography_sweeps import ray_sweeps, subsets, sweeps
from echolith.inverse.tomography_total_variation import total_variation

Method = Callable[[Problem], Iterates]
Report = Callable[[int, int], None]

WARM = 5
"""Sweeps of OS-SART that total variation starts from."""


def method_of(options: TomographyOptions, matrix: SystemMatrix, workers: int) -> Method:
    """Return what makes iterates of a problem with this matrix."""
    if options.algorithm is Algorithm.CGLS:
        return conjugate_gradients
    relaxation, lowest = options.relaxation, options.lowest
    counts = {Algorithm.SIRT: 1, Algorithm.SART: matrix.tilts, Algorithm.ART: matrix.tilts}
    parts = subsets(matrix, counts.get(options.algorithm, options.subsets))
    if options.algorithm is Algorithm.ART:
        return partial(ray_sweeps, parts=parts, relaxation=relaxation, lowest=lowest)
    swept = partial(sweeps, parts=parts, relaxation=relaxation, lowest=lowest)
    if options.algorithm is not Algorithm.TV:
        return swept

    def varied(task: Problem) -> Iterates:
        if not task.start.any():
            task = replace(task, start=_by_slabs(task, swept, WARM, None, workers))
        return total_variation(
            task, strength=options.strength, lowest=options.lowest, workers=workers
        )

    return varied


def run(
    task: Problem,
    method: Method,
    *,
    options: TomographyOptions,
    iterations: int,
    progress: Report | None,
    workers: int,
) -> Array:
    """Return the volume (voxels, slices) after some iterations."""
    if options.algorithm is not Algorithm.TV:
        return _by_slabs(task, method, iterations, progress, workers)
    return _last(method(task), iterations, lambda done: progress and progress(done, iterations))


def _by_slabs(
    task: Problem, method: Method, iterations: int, progress: Report | None, workers: int
) -> Array:
    pieces = slabs(task.slices, task.start.shape[0])
    result = np.empty_like(task.start)
    finished = count(1)

    def tell(_: int) -> None:
        if progress is not None:
            progress(next(finished), iterations * len(pieces))

    def one(piece: slice) -> None:
        part = task if len(pieces) == 1 else task.of_slices(piece)
        result[:, piece] = _last(method(part), iterations, tell)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, pieces))
    return result


def _last(iterates: Iterates, iterations: int, tell: Callable[[int], object]) -> Array:
    for done in range(1, iterations + 1):
        volume = next(iterates)
        tell(done)
    return volume
