"""Poisson maximum likelihood of a powder pattern by damped Fisher scoring."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Model = Callable[..., tuple[Array, Array]]
"""Mean and Jacobian of a vector: ``model(vector, free=free)``, as `PatternModel`."""

LEAST_MEAN = 0.1
"""Counts; a background that a step takes below it is taken as this."""
ITERATIONS = 60
ENOUGH = 1e-3
"""Decrease of the deviance; moving a parameter by its standard deviation changes it by 1."""
MOST_DAMPING = 1e6


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where a fit ended.

    Attributes
    ----------
    vector : array, (parameters,)
    mean : array, (points,)
    information : array, (parameters, parameters)
        Fisher's, 0 for what was not free.
    deviance : float
        2 sum of n log(n / mean) - (n - mean).
    converged : bool
    """

    vector: Array
    mean: Array
    information: Array
    deviance: float
    converged: bool


def deviance(counts: Array, mean: Array) -> float:
    """Return twice the log likelihood ratio to the saturated model."""
    mean = np.maximum(mean, LEAST_MEAN)
    ratio = np.log(np.maximum(counts, 1e-12) / mean)
    return float(2 * (np.where(counts > 0, counts * ratio, 0.0) - counts + mean).sum())


def fit(
    model: Model,
    counts: Array,
    vector: Array,
    *,
    free: npt.NDArray[np.bool_],
    limits: tuple[Array, Array],
    iterations: int = ITERATIONS,
    enough: float = ENOUGH,
) -> Fit:
    """Minimise the deviance over the free parameters within limits.

    Parameters
    ----------
    model : callable
        E.g. `echolith.inverse.powder_model.PatternModel`.
    counts : array, (points,)
    vector : array, (parameters,)
        Where to start.
    free : array of bool, (parameters,)
    limits : pair of arrays, (parameters,)
        Lowest and highest.
    iterations : int
    enough : float
        Decrease of the deviance that is not worth another step.

    Returns
    -------
    Fit
    """
    vector = np.clip(vector, *limits)
    damping, converged = 1e-2, False
    mean, jacobian = model(vector, free=free)
    best = deviance(counts, mean)
    for _ in range(iterations):
        information, gradient = _scores(counts, mean, jacobian, free)
        gain = 0.0
        while damping < MOST_DAMPING:
            step = _step(
                information, gradient, damping, free, (limits[0] - vector, limits[1] - vector)
            )
            trial = vector + step
            if abs(gradient @ (trial - vector)) < enough:
                break
            found = model(trial, free=free)
            value = deviance(counts, found[0])
            if value < best:
                gain, best = best - value, value
                vector, (mean, jacobian) = trial, found
                damping = max(damping / 10, 1e-7)
                break
            damping *= 8
        if gain < enough:
            converged = True
            break
    information, _ = _scores(counts, mean, jacobian, free)
    return Fit(
        vector=vector, mean=mean, information=information, deviance=best, converged=converged
    )


def _scores(
    counts: Array, mean: Array, jacobian: Array, free: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    safe = np.maximum(mean, LEAST_MEAN)
    weighted = jacobian * free / safe[:, None]
    return jacobian.T @ weighted * free[:, None], weighted.T @ (counts - safe)


def _step(
    information: Array,
    gradient: Array,
    damping: float,
    free: npt.NDArray[np.bool_],
    limits: tuple[Array, Array],
) -> Array:
    """Solve the damped normal equations in units of each parameter's own information.

    What would pass a limit goes as far as it, and the others are solved for again: cut off
    afterwards, the step would no longer lead downwards.
    """
    step = np.zeros(len(gradient))
    usable = free & (np.diag(information) > 0)
    while usable.any():
        unit = np.sqrt(np.diag(information)[usable])
        matrix = information[np.ix_(usable, usable)] / unit[:, None] / unit
        matrix[np.diag_indices(len(unit))] += damping
        rest = gradient[usable] - information[np.ix_(usable, ~usable)] @ step[~usable]
        step[usable] = np.linalg.solve(matrix, rest / unit) / unit
        passed = usable & ((step < limits[0]) | (step > limits[1]))
        if not passed.any():
            break
        step = np.clip(step, *limits)
        usable &= ~passed
    return step
