"""What networks are trained on: pictures of the truth on the pixels of its measurement."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtr

from echolith.errors import BadInputError
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

IMAGES = (("scan_y", "scan_x"), ("y", "x"))
"""Axes of the images of scanning, and of all others."""
CHANNELS = (("M",), ("M", "O", "Li"), ("M", "O", "Li", "T"))
"""Species that a truth may hold: a sample without one of them has an empty map of it, so that the
channels of all samples are the same."""
NAMELESS = "column"
"""Of columns whose truth tells no species: all are of one."""


def column_heat_maps(
    truth: xr.Dataset,
    measurement: xr.Dataset,
    *,
    width: Angstrom,
    species: Sequence[str] | None = None,
) -> xr.DataArray:
    """Return how many columns of each species every pixel holds, each spread as a Gaussian.

    A Gaussian is integrated over the pixels, and what of it lies beyond the border is laid on the
    rest: a map sums to the number of columns inside.

    Parameters
    ----------
    truth : xarray.Dataset
        With ``x`` and ``y`` (column; Å) and, unless all are of one, ``species``.
    measurement : xarray.Dataset
        Its image has the axes ``scan_y`` and ``scan_x``, or ``y`` and ``x`` (Å, middles of pixels).
        Columns of a movie are where its mean frame shows them.
    width : float
        Standard deviation of the Gaussians, Å.
    species : sequence of str, optional
        The channels; by default one of `CHANNELS` that holds all of the truth's.

    Returns
    -------
    xarray.DataArray
        (species, y, x) or (species, scan_y, scan_x), float32.

    Raises
    ------
    BadInputError
        If the truth has no columns, the measurement no image, or the width is not positive.
    """
    if not 0 < width < np.inf:
        raise BadInputError(f"width = {width:g} Å of heat maps; expected one above 0, e.g. 0.4")
    if not holds_columns(truth):
        raise BadInputError("the truth holds no columns: expected x and y of each (column; Å)")
    axes = image_axes(measurement)
    kinds = truth["species"].values if "species" in truth else np.full(truth["x"].shape, NAMELESS)
    channels = list(_channels(kinds) if species is None else species)
    rows, columns = (
        _shares(truth[name].values, axis.values, width)
        for name, axis in zip(("y", "x"), axes, strict=True)
    )
    maps = [rows[kinds == kind].T @ columns[kinds == kind] for kind in channels]
    return xr.DataArray(
        np.stack(maps).astype(np.float32),
        dims=("species", *(axis.name for axis in axes)),
        coords={"species": channels, **{axis.name: axis for axis in axes}},
        name="heat_map",
        attrs={"units": "1", "long_name": "columns in a pixel", "width": width},
    )


def holds_columns(truth: xr.Dataset) -> bool:
    """Say whether a truth tells where columns are."""
    return all(name in truth and truth[name].dims == ("column",) for name in ("x", "y"))


def image_axes(measurement: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the coordinates of the rows and columns of a measurement's image, Å.

    Raises
    ------
    BadInputError
        If it has none.
    """
    for y, x in IMAGES:
        if {y, x} <= set(measurement.coords):
            return measurement[y].reset_coords(drop=True), measurement[x].reset_coords(drop=True)
    raise BadInputError(
        "the measurement has no image: expected coordinates scan_y and scan_x, or y and x (Å)"
    )


def _channels(kinds: npt.NDArray[np.str_]) -> Sequence[str]:
    found = {str(kind) for kind in kinds}
    return next((known for known in CHANNELS if found <= set(known)), sorted(found))


def _shares(places: Array, axis: Array, width: float) -> Array:
    """Return the share of Gaussians in pixels, (Gaussian, pixel); none of those beyond the border.

    Rows sum to 1 of those inside.
    """
    step = axis[1] - axis[0]
    borders = np.append(axis - step / 2, axis[-1] + step / 2)
    shares = np.diff(ndtr((borders - places[:, None]) / width), axis=1)
    shares[(places < borders[0]) | (places >= borders[-1])] = 0
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=shares, where=total > 0))
