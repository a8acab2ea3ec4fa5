"""How well the overlaps determine each aberration, and which they do not determine at all."""

from dataclasses import dataclass, replace

import numpy as np

from echolith.inverse.aberration_basis import components
from echolith.inverse.aberration_overlaps import FloatArray
from echolith.inverse.aberration_projection import UNKNOWN, Misfit

MISFIT = 3.0
"""Standard deviations of the reduced chi-squared beyond which the model is not the data's."""
EVEN_BIAS, ODD_BIAS = 0.1, 0.03
"""rad at the rim for an absorbed share of 1, on each component even or odd in K. About the rms
errors of simulated Li-rich oxide of 1 to 3 nm (`docs/aberrations.md`), which no dose lessens."""


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


def with_systematic(spread: Covariance, absorbed: float, order: int) -> Covariance:
    """Add what scattering more than once leaves as a bias common to all Q.

    It is mostly even in K, as multiple scattering in a nearly centrosymmetric projection is, and
    grows with the modulus of the absorption, ``sqrt(absorbed)``.

    Parameters
    ----------
    spread : Covariance
    absorbed : float
        Share of the signal that a phase object without absorption does not explain.
    order : int
    """
    rms = np.array([EVEN_BIAS if c.order % 2 else ODD_BIAS for c in components(order)])
    return replace(spread, covariance=spread.covariance + np.diag(rms**2 * absorbed))


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
