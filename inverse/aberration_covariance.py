"""How well the overlaps determine each aberration, and which they do not determine at all."""

from dataclasses import dataclass

import numpy as np

from echolith.inverse.aberration_overlaps import FloatArray
from echolith.inverse.aberration_projection import UNKNOWN, Misfit

MISFIT = 3.0
"""Standard deviations of the reduced chi-squared beyond which the model is not the data's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Covariance:
    """Covariance and what it comes from, in rad at the rim.

    ``information`` (modes,): eigenvalues of the Fisher matrix, 1/rad², largest first; ``modes``
    (components, modes): its eigenvectors.
    """

    covariance: FloatArray
    information: FloatArray
    modes: FloatArray


def reduced_chi_squared(misfit: Misfit) -> tuple[float, float]:
    """Return F per degree of freedom, both complex, and its standard deviation for Poisson noise.

    2 F follows the chi-squared distribution of twice the freedom.
    """
    freedom = max(misfit.freedom, 1)
    return misfit.value / freedom, 1 / float(np.sqrt(freedom))


def misfits(misfit: Misfit) -> bool:
    """Say whether more is left in the overlaps than counting noise."""
    value, std = reduced_chi_squared(misfit)
    return value > misfit.floor + MISFIT * std


def covariance_of(misfit: Misfit) -> Covariance:
    """Return the covariance of the components at a solution.

    The inverse of the Fisher matrix; a direction known worse than `UNKNOWN` counts as that. Where
    the model is not the data's, the scatter of the Q about the common solution is added (sandwich,
    Huber 1967): each Q pulls with its own error of the model.
    """
    # Real and imaginary part have variance 1/2 each.
    values, modes = np.linalg.eigh(2 * misfit.information)
    values, modes = np.maximum(values[::-1], 0), modes[:, ::-1]
    variances = 1 / np.maximum(values, 1 / UNKNOWN**2)
    covariance = (modes * variances) @ modes.T
    number = len(misfit.scores)
    if misfits(misfit) and number > 1:
        scores = 2 * misfit.scores @ modes * np.where(values > 1 / UNKNOWN**2, variances, 0)
        scatter = modes @ (scores.T @ scores) @ modes.T
        covariance = covariance + scatter * number / (number - 1)
    return Covariance(covariance=covariance, information=values, modes=modes)
