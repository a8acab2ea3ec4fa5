"""What the physics leaves free, taken out before scoring."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.validation.matching import MATCH_RADIUS, match_columns

LARGEST_SHIFT = 3.0
"""Å; beyond, a lattice looks the same again. Coma of 50 nm displaces an image by 0.3 Å."""
ENOUGH = 0.8
"""Share of the true columns to match, above which no other shift is looked for."""
SAME_PLACE = 0.15
"""Å; shifts this near to each other are one."""


def nothing_free(estimate: xr.Dataset, _truth: xr.Dataset) -> xr.Dataset:
    """Return the estimate as it is: what is asked for has no freedom."""
    return estimate


def remove_shift(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Shift the recovered columns as a whole onto the true ones.

    A measurement does not fix where the scan's origin lies on the specimen, and aberrations
    displace the image. Where few columns match as they are, the shift within `LARGEST_SHIFT` that
    most pairs of one species have in common is taken first. Then the median over all matched
    columns, so that a few wrong columns cannot move it; distances between columns stay as they are.

    Parameters
    ----------
    estimate, truth : xarray.Dataset
        ``x``, ``y`` in Å over dim ``column``.

    Returns
    -------
    xarray.Dataset
        The estimate with ``x`` and ``y`` shifted; unchanged where nothing matches.
    """
    if "x" not in estimate or "x" not in truth:
        return estimate
    match = match_columns(estimate, truth)
    if len(match.truth) < ENOUGH * match.expected:
        estimate = max(
            (estimate, _moved(estimate, _common_shift(estimate, truth))),
            key=lambda one: len(match_columns(one, truth).truth),
        )
    match = match_columns(estimate, truth)
    if not len(match.estimate):
        return estimate
    return _moved(
        estimate,
        np.array(
            [
                np.median(estimate[axis].values[match.estimate] - truth[axis].values[match.truth])
                for axis in ("x", "y")
            ]
        ),
    )


def _moved(columns: xr.Dataset, shift: npt.NDArray[np.float64]) -> xr.Dataset:
    moved = columns.copy()
    for axis, by in zip(("x", "y"), shift, strict=True):
        moved[axis] = columns[axis] - float(by)
        moved[axis].attrs = dict(columns[axis].attrs)
    return moved


def _common_shift(estimate: xr.Dataset, truth: xr.Dataset) -> npt.NDArray[np.float64]:
    """Return the shift that most pairs have in common, the smallest of those nearly as common."""
    ours, theirs = (np.stack([c["x"].values, c["y"].values], axis=-1) for c in (estimate, truth))
    shifts = (ours[:, None] - theirs[None]).reshape(-1, 2)
    keep = np.hypot(*shifts.T) < LARGEST_SHIFT
    if "species" in estimate and "species" in truth:
        same = estimate["species"].values[:, None] == truth["species"].values[None]
        keep &= same.ravel()
    shifts = shifts[keep]
    if not len(shifts):
        return np.zeros(2)
    tree = cKDTree(shifts)
    near = tree.query_ball_point(shifts, SAME_PLACE, return_length=True)
    common = shifts[near > ENOUGH * near.max()]
    smallest = common[np.argmin(np.hypot(*common.T))]
    return np.asarray(shifts[tree.query_ball_point(smallest, MATCH_RADIUS / 2)].mean(axis=0))
