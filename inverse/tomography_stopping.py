"""When to stop: by the error predicted from data put aside, or by agreement within the noise.

Both are decided on some slices and then hold for all. For the prediction the data are split into
two with independent noise,

    p_1 = p + a s,    p_2 = p - s / a,    s ~ N(0, sigma²),

the first is reconstructed, and the second, which knows nothing of its noise, judges: by Parseval
for parallel beams

    |x - x_0|² = d_theta / h² sum |w| |P(A x) / T(w) - P p_0|²,    T = |sinc(w h)|^q,

P being the Fourier transform along x of pixels of width h, w the frequency. The division undoes the
linear interpolation of Joseph's rays, which no detector does; without it, volumes that are too
sharp seem best. The interpolation alone has q = 2, and stops too early: directions that are
missing, which the sum does not see, go on improving. q = 0.8 was set on plates and spheres of 80
and 48 voxels. What the noise of p_2 adds on average is known and taken off.

References
----------
Morozov, *Methods for Solving Incorrectly Posed Problems* (1984); Oliveira, Lei, Tibshirani,
Stat. Sin. (2024) (splitting); Natterer, *The Mathematics of Computerized Tomography* (2001)
(Parseval).
"""

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.projection import SystemMatrix
from echolith.forward.projection_kernels import residual
from echolith.inverse.tomography_iterates import Method
from echolith.inverse.tomography_options import Algorithm, Stopping, TomographyOptions
from echolith.inverse.tomography_problem import Array, Problem
from echolith.seeds import stream

SAMPLED = 32
"""Slices the rule is decided on."""
JUDGED = 1_000_000
"""Pixels that make the prediction steady; fewer are split repeatedly."""
ASIDE = 0.3
"""The a above: noise of the reconstructed part is larger by the root of 1 + a², 4 %."""
BLUR = 0.8
"""The q above."""
Decision = tuple[int, float, float]
"""Iterations, mean squared error of a voxel and its standard deviation, (1/Å)²."""
PATIENCE = 8
"""Iterations without a smaller predicted error after which the search ends."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """After how many iterations, and the error predicted there."""

    iterations: int
    rule: Stopping
    error: float
    """Root-mean-square error of a voxel, 1/Å; NaN where it is not known."""
    error_std: float
    """Of the error, from the noise of the judging data; NaN where it is not known."""


def stop(task: Problem, method: Method, *, options: TomographyOptions) -> Stop:
    """Return how many iterations to do.

    Parameters
    ----------
    task : Problem
    method : callable
        Makes iterates of a problem.
    options : TomographyOptions
        With the rule, the largest number of iterations and the seed.
    """
    known = task.std is not None and options.algorithm is not Algorithm.TV
    rule = options.stopping or (Stopping.PREDICTED_ERROR if known else Stopping.LAST)
    if rule is Stopping.LAST:
        return Stop(iterations=options.most, rule=rule, error=np.nan, error_std=np.nan)
    sample = task.of_slices(sampled(task.slices, whole=options.algorithm is Algorithm.TV))
    decide = _agreement if rule is Stopping.DISCREPANCY else _least_error
    iterations, squared, scatter = decide(sample, method, options)
    error = max(squared, 0.0) ** 0.5
    # Of a root, and of what is hardly more than nothing.
    std = min(scatter / max(2 * error, 1e-30), scatter**0.5)
    return Stop(iterations=iterations, rule=rule, error=error, error_std=std)


def sampled(slices: int, *, whole: bool) -> npt.NDArray[np.intp]:
    """Return the slices the rule is decided on: spread out, or neighbours in the middle."""
    count = min(slices, SAMPLED)
    if whole:
        return np.arange(count) + (slices - count) // 2
    return np.unique(np.linspace(0, slices - 1, count).round().astype(np.intp))


def _agreement(task: Problem, method: Method, options: TomographyOptions) -> Decision:
    assert task.std is not None
    for done, volume in enumerate(islice(method(task), options.most), 1):
        left = misfit(task.matrix, volume, task.data) / task.std
        if float(np.mean(left**2)) <= 1:
            return done, np.nan, np.nan
    return options.most, np.nan, np.nan


def _least_error(task: Problem, method: Method, options: TomographyOptions) -> Decision:
    first, second = _split(_repeated(task, options), options.seed)
    best, least, scatter = 0, float("inf"), float("inf")
    for done, volume in enumerate(islice(method(first), options.most), 1):
        squared, std = _squared_error(second, volume)
        if squared < least:
            best, least, scatter = done, squared, std
        elif done - best >= PATIENCE:
            break
    return best, least, scatter


def _repeated(task: Problem, options: TomographyOptions) -> Problem:
    """Take slices several times, to be split with other noise, where there are few pixels."""
    if options.algorithm is Algorithm.TV:  # neighbours matter
        return task
    times = int(np.clip(JUDGED // task.data.size, 1, 8))
    return task.of_slices(np.tile(np.arange(task.slices), times))


def _split(task: Problem, seed: int) -> tuple[Problem, Problem]:
    assert task.std is not None
    noise = stream(seed, "put aside").standard_normal(task.data.shape, dtype=np.float32) * task.std
    second = np.float32(np.sqrt(1 + ASIDE**-2))
    return (
        replace(task, data=task.data + np.float32(ASIDE) * noise),
        replace(task, data=task.data - noise / np.float32(ASIDE), std=second * task.std),
    )


def _squared_error(judge: Problem, volume: Array) -> tuple[float, float]:
    """Mean squared error of a voxel, (1/Å)², as the judging data tell it, and its noise."""
    assert judge.std is not None
    matrix = judge.matrix
    length = fft.next_fast_len(2 * matrix.pixels, real=True)
    frequency = fft.rfftfreq(length)

    def spectrum(block: Array) -> Any:
        return fft.rfft(block.reshape(matrix.tilts, matrix.pixels, -1), n=length, axis=1)

    found = spectrum(judge.data - misfit(matrix, volume, judge.data))
    found /= (np.sinc(frequency) ** BLUR)[:, None].astype(np.float32)
    found -= spectrum(judge.data)
    power = np.einsum("tks,tks->k", found, found.conj()).real
    noise = float(np.sum(judge.std.astype(np.float64) ** 2))
    # A ray along an axis crosses each voxel with its whole width.
    width = float(matrix.forward.data.max()) / np.sqrt(2)
    twice = np.where((frequency == 0) | (frequency == 0.5), 1, 2)
    ramp = twice * frequency / length * np.pi / matrix.tilts / width**2 / volume.size
    # Power of noise scatters by its mean; padding makes two neighbouring frequencies one.
    independent = matrix.tilts * volume.shape[1] * matrix.pixels / length
    scatter = noise * float(np.sqrt((ramp**2).sum() / independent))
    return float((power - noise) @ ramp), scatter


def misfit(matrix: SystemMatrix, volume: Array, data: Array) -> Array:
    """Return data less projections, (rays, slices)."""
    a = matrix.forward
    left = np.empty_like(data)
    residual(a.indptr, a.indices, a.data, volume, data, np.ones(a.shape[0], dtype=np.float32), left)
    return left
