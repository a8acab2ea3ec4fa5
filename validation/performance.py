"""How well a solver did, seed by seed: errors pooled over columns, voxels or distances."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.validation.residuals import from_json
from echolith.validation.statistics import Residuals

Array = npt.NDArray[np.float64]
Cases = Mapping[int, Mapping[str, Any]]

ROUNDING = 1e-7
"""Of the true values: errors below it are rounding in single precision and count as this much."""
SMALLEST = 1e-12
"""Error that is counted where the size of the true values is not known, in the group's unit."""
LEAST_VALUES = 20
"""Errors over all seeds; fewer do not tell a spread."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Errors of one kind, pooled within each seed; arrays over the seeds.

    Attributes
    ----------
    unit : str
    elements : int
        Different true values found in any of the seeds.
    count : array of int
        Errors pooled in each seed.
    mean_square : array
        About the truth, unit²; NaN where nothing was found.
    variance : array
        About each value's own median over the seeds, unit²; NaN where it is not known.
    """

    unit: str
    elements: int
    count: npt.NDArray[np.int64]
    mean_square: Array
    variance: Array


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What a solver reached on a list of seeds.

    Attributes
    ----------
    seeds : tuple of int
    groups : dict
        By kind of value, e.g. ``column_o`` or a quantity.
    failures : dict
        Why a seed gave no estimate.
    false_columns : array, optional
        Columns that no true one explains, by seed; NaN where the case failed.
    """

    seeds: tuple[int, ...]
    groups: dict[str, Group]
    failures: dict[int, str]
    false_columns: Array | None = None


def performance(
    cases: Cases,
    *,
    seeds: Iterable[int],
    failures: Mapping[int, str] | None = None,
    truth: xr.Dataset | None = None,
    same_specimen: bool = True,
) -> Performance:
    """Pool the errors of the cases of a round trip.

    Parameters
    ----------
    cases : mapping
        By seed: ``residuals``, ``quantities``, ``scores``, as `round_trip` keeps them.
    seeds : iterable of int
        All that were tried.
    failures : mapping, optional
        By seed, why there is no case.
    truth : xarray.Dataset, optional
        Tells how large the true values are, and so which errors are but rounding.
    same_specimen : bool
        False where every seed has a specimen of its own: then no value has a spread.

    Returns
    -------
    Performance
    """
    tried = tuple(seeds)
    found = {seed: _errors(case) for seed, case in cases.items()}
    names = dict.fromkeys(name for kinds in found.values() for name in kinds)
    groups = {
        name: pooled(
            [found.get(seed, {}).get(name) for seed in tried], smallest=_floor(name, truth)
        )
        for name in names
    }
    if not same_specimen:
        unknown = np.full(len(tried), np.nan)
        groups = {name: replace(group, variance=unknown) for name, group in groups.items()}
    return Performance(
        seeds=tried,
        groups=groups,
        failures=dict(failures or {}),
        false_columns=_false_columns(cases, tried),
    )


def _errors(case: Mapping[str, Any]) -> dict[str, Residuals]:
    """Return the errors of a case by kind: its residuals, and the scalars they do not cover."""
    kinds = from_json(case["residuals"])
    for name, entry in case["quantities"].items():
        if name in kinds or entry["truth"] is None or entry["estimate"] is None:
            continue
        kinds[name] = Residuals(
            key=np.zeros(1, dtype=np.int64),
            error=np.array([entry["estimate"] - entry["truth"]], dtype=float),
            std=np.array([np.nan]),
            unit=entry["unit"],
        )
    return kinds


def _floor(name: str, truth: xr.Dataset | None) -> float:
    if truth is None:
        return SMALLEST
    if name not in truth or not np.issubdtype(truth[name].dtype, np.number):
        return ROUNDING  # positions and distances: of the order of one ångström
    values = truth[name].values.astype(float)
    size = float(np.sqrt(np.nanmean(values**2))) if np.isfinite(values).any() else 0.0
    return max(ROUNDING * size, SMALLEST)


def _false_columns(cases: Cases, seeds: Sequence[int]) -> Array | None:
    scores = [cases[s]["scores"].get("false_columns") if s in cases else None for s in seeds]
    values = [np.nan if score is None else score["value"] for score in scores]
    return None if all(score is None for score in scores) else np.array(values, dtype=float)


def pooled(cases: Sequence[Residuals | None], *, smallest: float = SMALLEST) -> Group:
    """Pool the errors of one kind within each seed.

    Parameters
    ----------
    cases : sequence of Residuals
        One for each seed; None where there is nothing.
    smallest : float
        Root mean squares are never counted as less.

    Returns
    -------
    Group
    """
    known = [case for case in cases if case is not None]
    keys = np.unique(np.concatenate([case.key for case in known]))
    error = np.full((len(cases), len(keys)), np.nan)
    for row, case in zip(error, cases, strict=True):
        if case is not None:
            row[np.searchsorted(keys, case.key)] = case.error
    error[~np.isfinite(error)] = np.nan
    return pooled_table(error, unit=known[0].unit, smallest=smallest)


def pooled_table(error: Array, *, unit: str, smallest: float = SMALLEST) -> Group:
    """Pool a table of errors, (seeds, values), NaN where a value was not found.

    The spread is taken about the median of a value over the seeds, not the mean: a single wild
    error moves the mean, and with it the deviations in every other seed.
    """
    finite = np.isfinite(error)
    count, seen = finite.sum(axis=1), finite.sum(axis=0)
    repeated = (seen > 1) & (finite.sum() >= LEAST_VALUES)
    square = np.zeros_like(error)
    part = error[:, repeated]
    middle = np.median if finite.all() else np.nanmedian  # the second is ten times slower
    square[:, repeated] = (part - middle(part, axis=0)) ** 2 / about_median(seen[repeated])
    comparable = finite & repeated
    return Group(
        unit=unit,
        elements=int((seen > 0).sum()),
        count=count.astype(np.int64),
        mean_square=_mean(np.where(finite, error, 0.0) ** 2, count, smallest),
        variance=_mean(np.where(comparable, square, 0.0), comparable.sum(axis=1), smallest),
    )


def about_median(n: npt.NDArray[np.int64]) -> Array:
    """Return the mean square about the median of n normal values, per variance.

    1 - 2/n + v with v the variance of the median, approximated. Within 0.5 % of simulated values
    for n from 3 to 20, 4 % for 2; where baseline and current are compared, it cancels.
    """
    return 1 - 2 / n + np.pi / (2 * n + np.where(n % 2 == 1, 1.0, 2.5))


def _mean(values: Array, count: npt.NDArray[np.int64], smallest: float) -> Array:
    mean = np.maximum(values.sum(axis=1) / np.maximum(count, 1), smallest**2)
    return np.where(count > 0, mean, np.nan)
