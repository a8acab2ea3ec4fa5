"""What the physics leaves free, taken out before scoring."""

import numpy as np
import xarray as xr

from echolith.validation.matching import match_columns


def remove_shift(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Shift the recovered columns as a whole onto the true ones.

    A measurement does not fix where the scan's origin lies on the specimen. The shift is the
    median over all matched columns, so that a few wrong columns cannot move it; the distances
    between columns stay as they are.

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
    if not len(match.estimate):
        return estimate
    shifted = estimate.copy()
    for axis in ("x", "y"):
        error = estimate[axis].values[match.estimate] - truth[axis].values[match.truth]
        shifted[axis] = estimate[axis] - float(np.median(error))
        shifted[axis].attrs = dict(estimate[axis].attrs)
    return shifted
