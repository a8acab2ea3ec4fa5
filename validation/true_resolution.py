"""Resolution of an estimate against the truth, comparable with that of two halves of the data.

A volume of signal-to-noise ratio s correlates with the truth as C = sqrt(s / (1 + s)), halves of
its data with each other as (s / 2) / (1 + s / 2) = C² / (2 - C²): the correlation with the truth is
put on the scale of halves, and held against the same threshold.

References
----------
Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003).
"""

from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.resolution import ShellCorrelation, shell_correlation
from echolith.validation.metrics import NamedMetric

Array = npt.NDArray[np.float64]


def true_half_period(variable: str) -> NamedMetric:
    """Half period down to which a variable (z, y, x) is resolved, nm; one voxel at the least."""
    return NamedMetric(
        name=f"{variable}_half_period", unit="nm", function=partial(_half_period, variable)
    )


def _half_period(variable: str, estimate: xr.Dataset, truth: xr.Dataset) -> float:
    if variable not in estimate:
        return float("nan")
    found, known = xr.align(estimate[variable], truth[variable], join="inner")
    if not np.isfinite(found.values).all():
        return float("nan")
    return half_period_of_truth(found, known) / 10


def half_period_of_truth(
    estimate: xr.DataArray, truth: xr.DataArray, *, options: ShellCorrelation | None = None
) -> float:
    """Return the half period, Å, down to which an estimate is resolved.

    Parameters
    ----------
    estimate, truth : xarray.DataArray
        As for `shell_correlation`.
    options : ShellCorrelation, optional

    Returns
    -------
    float
        One voxel where the correlation stays above the threshold up to the Nyquist frequency,
        infinite where it is nowhere above it.
    """
    shells = shell_correlation(estimate, truth.transpose(*estimate.dims), options=options)
    with_truth = shells["correlation"].values
    halves = with_truth * np.abs(with_truth) / (2 - with_truth**2)
    edge = _crossing(shells["frequency"].values, halves - shells["threshold"].values)
    return 0.5 / edge if edge else float("inf")


def _crossing(frequency: Array, excess: Array) -> float:
    """Return where the excess first stays below 0 for two shells; the last frequency if nowhere."""
    above = np.flatnonzero(excess > 0)
    if not len(above):
        return 0.0
    for k in range(int(above[0]) + 1, len(excess) - 1):
        if excess[k] < 0 and excess[k + 1] < 0:
            back = excess[k] / (excess[k] - excess[k - 1]) * (frequency[k] - frequency[k - 1])
            return float(frequency[k] - back)
    return float(frequency[-1])
