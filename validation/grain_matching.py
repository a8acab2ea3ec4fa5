"""Found grains by the numbers of the true ones, and scores of maps of grains."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

Array = npt.NDArray[np.float64]

CLEAR = 3.0
"""Å."""
LEAST = 0.3
"""Part of the union of two grains that is in both, from which they are one."""


def grain_overlaps(ours: npt.NDArray[np.int32], true: npt.NDArray[np.int32]) -> Array:
    """Return the intersections of found and true grains by their unions, (true, found).

    Parameters
    ----------
    ours, true : array of int, (ny, nx)
        Numbers from 1, 0 for none.

    Examples
    --------
    >>> grain_overlaps(np.array([[1, 1, 0]]), np.array([[1, 2, 2]])).tolist()
    [[0.5], [0.3333333333333333]]
    """
    count = int(true.max()) + 1, int(ours.max()) + 1
    both = np.bincount(true.ravel() * count[1] + ours.ravel(), minlength=count[0] * count[1])
    both = both.reshape(count).astype(float)
    union = both.sum(axis=1)[:, None] + both.sum(axis=0) - both
    return np.asarray(both[1:, 1:] / np.maximum(union[1:, 1:], 1))


def named_grains(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Give found grains the numbers of true ones.

    Adds, over ``true_grain``, ``grain_iou`` (0 where nothing was found), ``grain_rotation`` with
    ``_std`` (°, of the period next to the truth; NaN where nothing was found) and
    ``first_rotation`` of the largest true grain; ``grain`` numbers as the truth does, with the
    false ones last.
    """
    if "grain" not in estimate or "found_rotation" not in estimate or "grain_iou" in estimate:
        return estimate
    ours, true = estimate["grain"].values, truth["grain"].values
    count = truth.sizes["true_grain"]
    overlaps = np.zeros((count, estimate.sizes["found_grain"]))
    told = grain_overlaps(ours, true)
    overlaps[: told.shape[0], : told.shape[1]] = told
    rows, columns = linear_sum_assignment(-overlaps)
    real = overlaps[rows, columns] > LEAST
    rows, columns = rows[real], columns[real]
    iou, rotation, std = np.zeros(count), np.full(count, np.nan), np.full(count, np.nan)
    iou[rows] = overlaps[rows, columns]
    std[rows] = estimate["found_rotation_std"].values[columns]
    meant = truth["grain_rotation"].values[rows]
    # One zone axis is meant by the truth; all here repeat after a half turn at least.
    period = float(truth["rotation_period"])
    away = estimate["found_rotation"].values[columns] - meant
    rotation[rows] = meant + away - period * np.rint(away / period)
    number = np.zeros(overlaps.shape[1] + 1, dtype=np.int32)
    number[columns + 1] = rows + 1
    spare = np.setdiff1d(np.arange(overlaps.shape[1]), columns)
    number[spare + 1] = count + 1 + np.arange(len(spare))
    first = int(truth["grain_area"].values.argmax())
    units = {"units": "°"}
    return estimate.assign(
        grain=(("y", "x"), number[ours], {"units": "1"}),
        grain_iou=("true_grain", iou, {"units": "1"}),
        grain_rotation=("true_grain", rotation, units),
        grain_rotation_std=("true_grain", std, units),
        first_rotation=((), rotation[first], units),
        first_rotation_std=((), std[first], units),
    )


def mean_iou(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the mean intersection over union of the true grains; missed ones count 0."""
    maps = _maps(estimate, truth)
    if maps is None or not (maps[1] > 0).any():
        return float("nan")
    overlaps = grain_overlaps(*maps)
    rows, columns = linear_sum_assignment(-overlaps)
    seen = np.unique(maps[1][maps[1] > 0])
    return float(overlaps[rows, columns].sum() / len(seen))


def false_pixels(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return which part of the pixels clear of oxide is taken for a grain, %.

    Nearer than `CLEAR` to a true grain a false pixel is an error of an outline, which `mean_iou`
    counts.
    """
    maps = _maps(estimate, truth)
    if maps is None:
        return float("nan")
    pixel = float(truth["y"][1] - truth["y"][0])
    away = pixel * ndimage.distance_transform_edt(maps[1] == 0)
    bare = away > CLEAR if maps[1].any() else np.ones_like(away, dtype=bool)
    return 100 * float((maps[0][bare] > 0).mean()) if bare.any() else float("nan")


def rotation_rms(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the root-mean-square error of the rotations of the grains that were found, degree."""
    name = "grain_rotation"
    if name not in estimate or estimate[name].sizes != truth[name].sizes:
        return float("nan")
    error = (estimate[name] - truth[name]).values
    known = error[np.isfinite(error)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def _maps(
    estimate: xr.Dataset, truth: xr.Dataset
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
    if "grain" not in estimate or estimate["grain"].sizes != truth["grain"].sizes:
        return None
    return estimate["grain"].values, truth["grain"].values
