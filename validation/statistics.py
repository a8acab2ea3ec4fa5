"""Statistics of repeated estimates: bias, spread, efficiency, and whether error bars are true."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Errors of many values of one kind in one case, e.g. every column of a species.

    ``key`` names the same true value in every case, ``std`` the reported standard deviation (NaN
    where none is).
    """

    key: npt.NDArray[np.int64]
    error: Array
    std: Array
    unit: str


def moments(error: Array) -> dict[str, Any]:
    """Return bias with its 95 % confidence interval, spread and root mean square of errors.

    Parameters
    ----------
    error : array, (cases,)
        Estimate minus truth.
    """
    n = len(error)
    if not n:
        return {"bias": None, "bias_ci95": None, "spread": None, "rmse": None}
    bias = float(error.mean())
    if n == 1:
        return {"bias": bias, "bias_ci95": None, "spread": None, "rmse": abs(bias)}
    spread = float(error.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n))
    return {
        "bias": bias,
        "bias_ci95": [bias - half, bias + half],
        "spread": spread,
        "rmse": float(np.sqrt(np.mean(error**2))),
    }


def efficiency(spread: float | None, bound: float | None, freedom: int) -> dict[str, Any]:
    """Return (bound / spread)² and its 95 % confidence interval for normal errors.

    Parameters
    ----------
    spread : float, optional
        Measured standard deviation.
    bound : float, optional
        Smallest one possible, in the same unit.
    freedom : int
        Degrees of freedom of the spread.
    """
    if spread is None or bound is None or not spread > 0 or not np.isfinite(bound) or freedom < 1:
        return {"efficiency": None, "efficiency_ci95": None}
    value = (bound / spread) ** 2
    low, high = stats.chi2.ppf([0.025, 0.975], freedom) / freedom
    return {"efficiency": value, "efficiency_ci95": [value * float(low), value * float(high)]}


def calibration(error: Array, std: Array) -> dict[str, Any]:
    """Compare errors with the standard deviations reported for them.

    For true error bars and normal errors the pulls error / std have mean 0 and variance 1, and
    68.27 and 95.45 % of them lie within 1 and 2; here 68 and 95 % intervals are counted.

    Parameters
    ----------
    error, std : array, (values,)
        Values without a positive std are left out.

    Returns
    -------
    dict
        ``count``, ``pull_mean``, ``pull_variance`` (about zero), ``coverage68``, ``coverage95``
        and their binomial (Clopper-Pearson) intervals; None where nothing is known.
    """
    known = np.isfinite(std) & (std > 0) & np.isfinite(error)
    pull = error[known] / std[known]
    n = len(pull)
    if not n:
        return dict.fromkeys(
            ("pull_mean", "pull_variance", "coverage68", "coverage95", "coverage95_ci95")
        ) | {"count": 0}
    inside68, inside95 = (
        int((np.abs(pull) <= stats.norm.ppf(0.5 + p / 2)).sum()) for p in (0.68, 0.95)
    )
    interval = stats.binomtest(inside95, n).proportion_ci(0.95)
    return {
        "count": n,
        "pull_mean": float(pull.mean()),
        "pull_variance": float(np.mean(pull**2)),
        "coverage68": inside68 / n,
        "coverage95": inside95 / n,
        "coverage95_ci95": [float(interval.low), float(interval.high)],
    }


def within_groups(key: npt.NDArray[np.int64], value: Array) -> tuple[float | None, int]:
    """Return the standard deviation about each key's own mean, pooled, and its freedom."""
    if not len(value):
        return None, 0
    _, index = np.unique(key, return_inverse=True)
    count = np.bincount(index)
    residual = value - (np.bincount(index, weights=value) / count)[index]
    freedom = len(value) - len(count)
    if not freedom:
        return None, 0
    return float(np.sqrt(np.sum(residual**2) / freedom)), freedom


def single_moments(cases: list[Residuals], *, same_values: bool) -> dict[str, Any]:
    """Bias and spread of single values over cases.

    Parameters
    ----------
    cases : list of Residuals
        One for each case.
    same_values : bool
        True where all cases share the specimen: the spread is then that of each value over the
        cases, pooled; otherwise that of all errors.
    """
    error = np.concatenate([case.error for case in cases]) if cases else np.empty(0)
    key = np.concatenate([case.key for case in cases]) if cases else np.empty(0, np.int64)
    if len(error) < 2:
        return {"single_bias": None, "single_spread": None, "singles": len(error), "freedom": 0}
    spread, freedom = within_groups(key, error)
    if not same_values:
        spread, freedom = float(error.std(ddof=1)), len(error) - 1
    return {
        "single_bias": float(error.mean()),
        "single_spread": spread,
        "singles": len(error),
        "freedom": freedom,
    }


def half_width(error: Array) -> float:
    """Return half the width of the 95 % confidence interval of the bias; infinite for one case."""
    n = len(error)
    if n < 2:
        return float("inf")
    return float(stats.t.ppf(0.975, n - 1) * error.std(ddof=1) / np.sqrt(n))
