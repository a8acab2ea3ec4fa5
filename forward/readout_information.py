"""Fisher information of one pixel that counts, saturates, and is read out with Gaussian noise.

The value is ``y = min(k, saturation) + readout n``, k Poisson of mean mu, n normal:
``p(y) = sum_k P_k N(y - k; readout)`` and ``J(mu) = integral (dp/dmu)² / p dy``, in which
``dP_k/dmu = P_(k-1) - P_k``. Without read-out the integral is a sum over k, without saturation
either ``1/mu``.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.interpolate import CubicSpline

FloatArray = npt.NDArray[np.float64]

TAILS = 12.0
"""Standard deviations of the counts, and counts more."""
KERNEL = 9.0
"""Standard deviations of the read-out."""
FINE = 6.0
"""Points in a standard deviation of the read-out: the sum is the integral to rounding."""
SHARP = 0.03
"""Electrons. Below it peaks of the read-out do not meet (e^-140 of one reaches the next)."""
PER_DECADE = 48
FEW = 256
"""Means up to this many are computed one by one, more from a table."""
LARGE = 2e3
"""Mean beyond which counts are as good as normal: ``J = 1/(mu + readout²)`` to 1e-5."""


def pixel_information(mean: FloatArray, *, readout: float, saturation: float | None) -> FloatArray:
    """Return the information of pixels about their own means.

    Parameters
    ----------
    mean : array, (n,)
        Expected counts, 0 or more.
    readout : float
        Standard deviation, electrons.
    saturation : float or None
        Counts.

    Returns
    -------
    array, (n,)
        1/electrons²; infinite at 0 without read-out. Of many means drawn from a spline through 48
        a decade, within 2e-5 of the noise's own scale.
    """
    known = np.unique(mean)
    if len(known) <= FEW:
        own = np.array([_one(value, readout, saturation) for value in known])
        return np.asarray(own[np.searchsorted(known, mean)])
    if readout < SHARP and saturation is None:
        with np.errstate(divide="ignore"):
            return np.asarray(1 / mean)
    positive = known[known > 0]
    low, high = np.log(positive[0]) - 1e-9, np.log(positive[-1]) + 1e-9
    nodes = np.linspace(low, high, max(8, int((high - low) / np.log(10) * PER_DECADE) + 2))
    values = np.array([_one(float(np.exp(node)), readout, saturation) for node in nodes])
    # In the noise's own scale it varies slowly: between 0 and some units.
    scale = np.exp(nodes) + readout**2
    spline = CubicSpline(nodes, values * scale)
    at = np.log(np.where(mean > 0, mean, positive[0]))
    drawn = spline(at) / (np.exp(at) + readout**2)
    return np.where(mean > 0, drawn, _one(0.0, readout, saturation) if (mean == 0).any() else 0.0)


def _one(mean: float, readout: float, saturation: float | None) -> float:
    low = max(0, int(mean - TAILS * (np.sqrt(mean) + 1)))
    high = int(mean + TAILS * (np.sqrt(mean) + 1))
    clipped = saturation is not None and saturation <= high
    if mean == 0:
        return float(np.expm1(1 / readout**2)) if readout > SHARP else np.inf
    if not clipped and readout < SHARP:
        return 1 / mean
    if not clipped and mean > LARGE:
        return float(1 / (mean + readout**2))
    if clipped and saturation is not None:
        high, low = int(saturation), min(low, int(saturation))
    k = np.arange(low, high + 1)
    share = stats.poisson.pmf(k, mean)
    slope = stats.poisson.pmf(k - 1, mean) - share
    if clipped:
        share[-1], slope[-1] = stats.poisson.sf(high - 1, mean), stats.poisson.pmf(high - 1, mean)
    return _sum(share, slope) if readout < SHARP else _integral(share, slope, readout)


def _sum(share: FloatArray, slope: FloatArray) -> float:
    held = share > 1e-290
    return float((slope[held] ** 2 / share[held]).sum())


def _integral(share: FloatArray, slope: FloatArray, readout: float) -> float:
    points = max(1, int(np.ceil(FINE / readout)))
    reach = int(np.ceil(KERNEL * readout)) + 1
    total = 0.0
    for n in range(points):
        kernel = stats.norm.pdf(np.arange(-reach, reach + 1) + n / points, scale=readout)
        total += _sum(np.convolve(share, kernel), np.convolve(slope, kernel))
    return total / points
