"""Evidence of one set of phases: the best values of all that it leaves free, and their volume.

References
----------
MacKay, *Information Theory, Inference, and Learning Algorithms* (2003), chapters 27 and 28
(Laplace's method, evidence).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.special import gammaln, log_ndtr

from echolith.inverse.saed_ring_model import (
    RingProblem,
    RingState,
    mean_and_slopes,
    model_errors,
)

Array = npt.NDArray[np.float64]

STEPS = 6
HALVINGS = 3
SLACK = 1.0
"""Nats by which a step may lower the evidence: the volume changes on the way."""
SETTLED = 0.02
"""Of a standard deviation, below which a step is the last."""
DECADES = 3.0
"""Over which the mean of the electrons in single rings may lie, before the pattern is seen."""
CELL, LEFT = 6, 0.15
"""Rings of an unknown phase that fix its lattice, and the part of the range that its lines leave to
the others: these may lie anywhere in it."""
MOST_SINGLE = 40
"""Rings of an unknown phase that are taken in."""
FARTHEST = 3.5
"""Standard deviations by which the camera constant may differ from that told.

Beyond, a lattice of the same kind and another size would be taken for a candidate's.
"""
LEAST_MEAN = 0.02
"""Electrons in a pixel, for the variance of counting."""


@dataclass(frozen=True, kw_only=True)
class Whitening:
    """The covariance of counting and of the model's errors, D + E E^T, as a scalar product."""

    noise: Array
    errors: Array
    factor: Array

    @classmethod
    def of(cls, noise: Array, errors: Array) -> "Whitening":
        """Return that of standard deviations (bins,) and errors (bins, errors)."""
        scaled = errors / noise[:, None]
        inner = np.eye(scaled.shape[1]) + scaled.T @ scaled
        return cls(noise=noise, errors=scaled, factor=cholesky(inner, lower=True))

    def __call__(self, columns: Array) -> tuple[Array, Array]:
        """Return columns (bins, n) in two parts; products are those of the first less the last."""
        first = columns / self.noise[:, None]
        return first, solve_triangular(self.factor, self.errors.T @ first, lower=True)

    def product(self, left: Array, right: Array) -> Array:
        """Return left^T (D + E E^T)^-1 right."""
        (a, b), (c, d) = self(left), self(right)
        return np.asarray(a.T @ c - b.T @ d)

    @property
    def log_volume(self) -> float:
        """Logarithm of the root of the determinant."""
        return float(np.log(self.noise).sum() + np.log(np.diag(self.factor)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class RingFit:
    """A set of phases with its best values.

    Attributes
    ----------
    state : RingState
    evidence : float
        Logarithm, up to what all sets have in common.
    covariance : array, (values, values)
        Of the values, in the order of `mean_and_slopes`.
    calculated : array, (bins,)
    slopes : array, (bins, values)
    whitening : Whitening
    """

    state: RingState
    evidence: float
    covariance: Array
    calculated: Array
    slopes: Array
    whitening: Whitening

    @property
    def amount_stds(self) -> Array:
        """Standard deviations of the electrons of each phase."""
        n = len(self.state.chosen)
        return np.asarray(np.sqrt(np.diag(self.covariance))[n + 3 : 2 * n + 3])


def fit_rings(problem: RingProblem, state: RingState, *, steps: int = STEPS) -> RingFit:
    """Fit everything a set of phases leaves free from a state nearby, by Gauss-Newton."""
    fit = _at(problem, state)
    for _ in range(steps):
        change, size = _newton_step(problem, fit)
        if size < SETTLED:
            break
        trial = _at(problem, fit.state.moved(change))
        for _ in range(HALVINGS):
            if trial.evidence > fit.evidence - SLACK:
                break
            change = change / 2
            trial = _at(problem, fit.state.moved(change))
        if trial.evidence < fit.evidence - SLACK:
            break
        fit = trial
    return fit


def _at(problem: RingProblem, state: RingState) -> RingFit:
    """Return the evidence as it would be if a state were the best."""
    mean, slopes = mean_and_slopes(problem, state)
    noise = np.sqrt(np.maximum(mean, LEAST_MEAN) * problem.profile.per_count)
    whitening = Whitening.of(noise, model_errors(problem, state, noise))
    away, precision = state.prior_pulls(problem.options)
    normal = whitening.product(slopes, slopes) + np.diag(precision)
    unit = 1 / np.sqrt(np.diag(normal))
    factor = cho_factor(normal * unit * unit[:, None] + 1e-10 * np.eye(len(unit)), lower=True)
    covariance = cho_solve(factor, np.eye(len(unit))) * unit * unit[:, None]
    rest = (problem.profile.mean - mean)[:, None]
    chi_squared = float(whitening.product(rest, rest)[0, 0] + precision @ away**2)
    volume = np.log(unit).sum() - np.log(np.diag(factor[0])).sum()
    prior = _log_prior(problem, state, precision, covariance)
    return RingFit(
        state=state,
        evidence=-0.5 * chi_squared - whitening.log_volume + volume + prior,
        covariance=covariance,
        calculated=mean,
        slopes=slopes,
        whitening=whitening,
    )


def _newton_step(problem: RingProblem, fit: RingFit) -> tuple[Array, float]:
    """Return a step towards the best values, cut to what is safe, and its whole length.

    The length is in standard deviations.
    """
    away, precision = fit.state.prior_pulls(problem.options)
    rest = (problem.profile.mean - fit.calculated)[:, None]
    gradient = fit.whitening.product(fit.slopes, rest)[:, 0] - precision * away
    step = fit.covariance @ gradient
    n, m = len(fit.state.chosen), len(fit.state.places)
    limits = np.array([problem.options.camera_std, *[0.4] * (n + 2), *[np.inf] * n, *[1.0] * m])
    longest = np.maximum(np.abs(step[: len(limits)]), 1e-12)
    size = float(np.sqrt(max(float(gradient @ step), 0.0)))
    return step * min(1.0, float((limits / longest).min())), size


def _log_prior(
    problem: RingProblem, state: RingState, precision: Array, covariance: Array
) -> float:
    """Return the logarithm of what priors are at their middle, and of amounts being positive."""
    if abs(state.scale - 1) > FARTHEST * problem.options.camera_std:
        return -np.inf
    n, m = len(state.chosen), len(state.places)
    proper = precision > 0
    value = 0.5 * np.log(precision[proper]).sum() + 0.5 * np.log(2 * np.pi) * (~proper).sum()
    value -= n * np.log(problem.most)
    value += _single_prior(problem, state.heights)
    stds = np.sqrt(np.diag(covariance))
    amounts = np.concatenate([state.amounts, state.heights])
    spread = np.concatenate([stds[n + 3 : 2 * n + 3], stds[2 * n + 3 + m : 2 * n + 3 + 2 * m]])
    value += log_ndtr(amounts / spread).sum()
    prior = problem.options.prior
    return float(value + n * np.log(prior / (1 - prior)))


def _single_prior(problem: RingProblem, heights: Array) -> float:
    """Return the logarithm of the prior density of places and heights of single rings.

    They have no order, and any number up to the most is as likely. The first few may lie anywhere,
    the others on the lines of the lattice that these fix. Heights are exponential about a mean of
    which no more is known than `DECADES`: integrated over it.
    """
    m, total = len(heights), float(np.maximum(heights, 0).sum())
    if not m:
        return 0.0
    value = gammaln(m + 1) - m * np.log(np.ptp(problem.profile.radius)) - np.log(MOST_SINGLE)
    value -= max(m - CELL, 0) * np.log(LEFT)
    value += gammaln(m) - m * np.log(max(total, 1.0)) - np.log(DECADES * np.log(10))
    return float(value)
