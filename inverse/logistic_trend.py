"""Logistic regression on one covariate, finite also where the covariate parts the two groups."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ITERATIONS = 100
LARGEST_STEP = 2.0
"""In log odds."""
TOLERANCE = 1e-9


def logistic_slope(covariate: Floats, active: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Fit log odds = a + b x by the likelihood times Jeffreys' prior.

    The prior takes the bias of order 1 / n away and keeps the slope finite.

    Parameters
    ----------
    covariate : array (particles,)
    active : array of bool, (particles,)

    Returns
    -------
    slope, slope_std, ratio : float
        b, its standard deviation from the information, and twice the logarithm of the ratio of the
        penalised likelihoods with b and with b = 0 (chi-square with one degree of freedom).

    References
    ----------
    Firth, Biometrika 80 (1993) 27; Heinze & Schemper, Stat. Med. 21 (2002) 2409.
    """
    design = np.stack([np.ones(len(covariate)), covariate], axis=1)
    with_slope = _fitted(design, active, free=2)
    without = _fitted(design, active, free=1)
    information = _information(design, with_slope)
    ratio = 2 * (_penalised(design, active, with_slope) - _penalised(design, active, without))
    slope_std = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    return float(with_slope[1]), slope_std, max(float(ratio), 0.0)


def _chance(design: Floats, parameters: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-design @ parameters)))


def _information(design: Floats, parameters: Floats) -> Floats:
    chance = _chance(design, parameters)
    return np.asarray(design.T @ (design * (chance * (1 - chance))[:, None]))


def _penalised(design: Floats, active: npt.NDArray[np.bool_], parameters: Floats) -> float:
    odds = design @ parameters
    likelihood = float(np.sum(active * odds - np.logaddexp(0, odds)))
    return likelihood + float(np.linalg.slogdet(_information(design, parameters))[1]) / 2


def _fitted(design: Floats, active: npt.NDArray[np.bool_], *, free: int) -> Floats:
    """Return the parameters, the first ``free`` of them fitted and the others 0."""
    parameters = np.zeros(design.shape[1])
    reached = _penalised(design, active, parameters)
    for _ in range(ITERATIONS):
        score, curvature = _score(design, active, parameters)
        step = np.zeros_like(parameters)
        step[:free] = np.linalg.solve(curvature[:free, :free], score[:free])
        step *= min(1.0, LARGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        level = _penalised(design, active, parameters + step)
        while level < reached and np.abs(step).max() >= TOLERANCE:
            step /= 2
            level = _penalised(design, active, parameters + step)
        parameters, reached = parameters + step, level
        if np.abs(step).max() < TOLERANCE:
            break
    return parameters


def _score(
    design: Floats, active: npt.NDArray[np.bool_], parameters: Floats
) -> tuple[Floats, Floats]:
    """Return the slope of the penalised likelihood, and its curvature at a fixed leverage.

    The prior acts as ``leverage`` more particles, half of them active; without their curvature
    the step of a particle alone in its group is twice too long and never settles.
    """
    chance = _chance(design, parameters)
    weight = chance * (1 - chance)
    spread = np.linalg.inv(_information(design, parameters))
    leverage = weight * np.einsum("ij,jk,ik->i", design, spread, design)
    slope = design.T @ (active - chance + leverage * (0.5 - chance))
    return np.asarray(slope), design.T @ (design * (weight * (1 + leverage))[:, None])
