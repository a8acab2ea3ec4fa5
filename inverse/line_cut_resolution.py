"""Resolution from the width of an edge along a line through an image or a volume.

The profile v(s) = low + (high - low) (1 + erf((s - s0) / (sigma sqrt 2))) / 2 is fitted by least
squares; the distance from 10 to 90 % of the step is 2.563 sigma, from 25 to 75 % 1.349 sigma. An
edge that crosses a voxel is spread by its width: 0.8 voxels from 10 to 90 % are no fault of the
measurement.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import map_coordinates
from scipy.optimize import curve_fit
from scipy.special import erf, ndtri

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]
Point = tuple[float, ...]

FEWEST = 6
"""Samples a fit of four numbers needs."""


class LineCut(Settings):
    """How an edge is cut."""

    sampling: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Distance of samples, in pixels. Those nearer than a pixel are not independent, which the
    uncertainties take into account."""


def line_cut_resolution(
    field: xr.DataArray, start: Point, end: Point, *, options: LineCut | None = None
) -> xr.Dataset:
    """Fit an edge to the values along a line, linear between pixels.

    Parameters
    ----------
    field : xarray.DataArray
        Two or three dims with even coordinates, Å.
    start, end : tuple of float
        Coordinates of the ends, Å, in the order of the dims; one on either side of one edge.
    options : LineCut, optional

    Returns
    -------
    xarray.Dataset
        ``edge_10_90`` and ``edge_25_75`` (widths), ``position`` (of the edge from the start), Å,
        each with its ``_std`` from the scatter about the fit; ``height`` of the step and its
        ``contrast`` (height over scatter).

    Raises
    ------
    BadInputError
        If the line leaves the field or is too short, a value is not finite, or no edge is there.

    Examples
    --------
    >>> x = np.arange(-20.0, 21.0)
    >>> field = xr.DataArray(
    ...     np.tile(0.5 + 0.5 * erf(x / 2 / 2**0.5), (9, 1)),
    ...     coords={"y": np.arange(9.0), "x": x},
    ... )
    >>> cut = line_cut_resolution(field, (4.0, -15.0), (4.0, 15.0))
    >>> round(float(cut.edge_10_90), 1)  # 2.563 times 2 Å, and the interpolation
    5.2
    """
    chosen = options or LineCut()
    distance, values, pixel = _samples(field, np.array(start), np.array(end), chosen.sampling)
    guess = _guess(distance, values)
    try:
        best, covariance = curve_fit(_edge, distance, values, p0=guess)
    except RuntimeError as unsettled:
        raise _no_edge(values, distance) from unsettled
    # Samples between pixels repeat what their pixels say.
    covariance = covariance / min(chosen.sampling, 1.0)
    position, sigma, height = float(best[2]), abs(float(best[3])), float(best[1] - best[0])
    scatter = float(np.std(values - _edge(distance, *best)))
    if not (0 < position < distance[-1] and sigma < distance[-1]) or abs(height) < 4 * scatter:
        raise _no_edge(values, distance)
    std = np.sqrt(np.diag(covariance))
    found = {"position": (position, std[2])}
    for name, share in (("edge_10_90", 0.9), ("edge_25_75", 0.75)):
        width = 2 * float(ndtri(share))
        found[name] = (width * sigma, width * std[3])
    variables = {name: ((), value, {"units": "Å"}) for name, (value, _) in found.items()}
    variables |= {
        f"{name}_std": ((), spread, {"units": "Å"}) for name, (_, spread) in found.items()
    }
    contrast = abs(height) / scatter if scatter else np.inf
    units = {"units": str(field.attrs.get("units", "1"))}
    variables |= {"height": ((), height, units), "contrast": ((), contrast, {"units": "1"})}
    return xr.Dataset(variables, attrs={"pixel": pixel})


def _edge(at: Array, low: float, high: float, position: float, sigma: float) -> Array:
    step = (at - position) / (max(abs(sigma), 1e-12) * np.sqrt(2))
    return np.asarray(low + (high - low) * (1 + erf(step)) / 2)


def _guess(distance: Array, values: Array) -> tuple[float, ...]:
    third = max(len(values) // 4, 1)
    low, high = float(values[:third].mean()), float(values[-third:].mean())
    beyond = (values - low) * np.sign(high - low) > abs(high - low) / 2
    first = int(np.argmax(beyond)) if beyond.any() else len(values) // 2
    return low, high, float(distance[first]), float(distance[-1]) / 10


def _samples(
    field: xr.DataArray, start: Array, end: Array, sampling: float
) -> tuple[Array, Array, float]:
    if field.ndim not in (2, 3) or start.shape != (field.ndim,) or end.shape != (field.ndim,):
        raise BadInputError(
            f"a line of {start.size} and {end.size} coordinates through {field.ndim} dims; "
            "expected two or three dims and as many coordinates, Å, for either end"
        )
    axes = [field[dim].values.astype(np.float64) for dim in field.dims]
    steps = np.array([axis[1] - axis[0] for axis in axes])
    ends = [(point - [axis[0] for axis in axes]) / steps for point in (start, end)]
    for place in ends:
        if (place < 0).any() or (place > np.array(field.shape) - 1).any():
            raise BadInputError(
                f"the line ends at index {np.round(place, 1).tolist()}; expected it inside "
                f"the field of {field.shape}; give coordinates in Å"
            )
    length, pixel = float(np.linalg.norm(end - start)), float(np.abs(steps).min())
    count = int(length / (sampling * pixel)) + 1
    if count < FEWEST:
        raise BadInputError(
            f"a line of {length:g} Å in pixels of {pixel:g} Å; expected "
            f"{FEWEST * sampling:g} pixels or more"
        )
    share = np.linspace(0, 1, count)
    places = ends[0][:, None] * (1 - share) + ends[1][:, None] * share
    values = map_coordinates(field.values.astype(np.float64), places, order=1)
    if not np.isfinite(values).all():
        raise BadInputError("values that are not finite along the line; choose another line")
    return length * share, values, pixel


def _no_edge(values: Array, distance: Array) -> BadInputError:
    return BadInputError(
        f"no single edge along a line of {distance[-1]:g} Å (values {values.min():.3g} to "
        f"{values.max():.3g}); expected one end outside and one inside a particle; move the ends"
    )
