"""Positions of bright columns on a registered series of frames, from the counts themselves.

The registered mean image is for the eye: its pixels are spread and share noise. Columns are fitted
to the counts of all frames where these were really taken, by maximum likelihood for Poisson counts:
``mu = b + a exp(-|R - r|²/(2 w²))`` within a window around every column by itself. Neighbours at +v
and -v do not move a column between them.
"""

from typing import Annotated, Any

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_maxima import BandPass, maxima, separated
from echolith.inverse.column_problem import interior
from echolith.inverse.whitening import scan_step
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

PARAMETERS = 5
"""Amplitude, x, y, width, background."""
LEAST_COUNTS = 0.02
"""Of the amplitude: smallest expectation that a count is weighted by."""


class BrightColumns(Settings):
    """Options of the search for bright columns and of their fit."""

    blur: Annotated[Angstrom, Field(gt=0)] = 0.4
    """Standard deviation of the smoothing for the search."""
    separation: Annotated[Angstrom, Field(gt=0)] = 1.6
    """No two columns are nearer; above the distance from M to O, below that of M to M."""
    brightness: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Faintest column kept, relative to the median of the bright half. O beside transition metals
    is below 0.2, an M column of one Li for two metals above 0.6."""
    radius: Annotated[Angstrom, Field(gt=0)] = 0.8
    """Of the windows."""
    margin: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns nearer to the border of what all frames show are flagged ``edge``."""
    iterations: Annotated[int, Field(ge=1)] = 30


def fit_bright_columns(
    measurement: xr.Dataset,
    registered: xr.Dataset,
    *,
    name: str = "haadf",
    options: BrightColumns | None = None,
) -> xr.Dataset:
    """Find the bright columns of a registered series and fit them to the counts of all frames.

    Parameters
    ----------
    measurement : xarray.Dataset
        Counts ``<name>`` (frame, scan_y, scan_x).
    registered : xarray.Dataset
        What `register_frames` makes of them.
    name : str
    options : BrightColumns, optional

    Returns
    -------
    xarray.Dataset
        Over dim ``column``: ``x``, ``y``, ``x_std``, ``y_std`` (Å), ``xy_covariance`` (column,
        axis, axis_) in Å² (of counting alone), ``amplitude``, ``background`` (counts of a sample),
        ``width`` (Å), ``species`` ("M") and ``edge``.

    Raises
    ------
    BadInputError
        If no columns stand out.
    """
    options = options or BrightColumns()
    image, step = registered[name].transpose("scan_y", "scan_x"), scan_step(registered[name])
    start = _bright(image, step, options)
    frames = np.ascontiguousarray(
        measurement[name].transpose("frame", "scan_y", "scan_x").values, dtype=np.float32
    )
    shifts = np.stack(
        [
            registered[f"displacement_{axis}"].transpose("frame", "scan_y").values / d
            for axis, d in (("x", step[1]), ("y", step[0]))
        ],
        axis=-1,
    )
    windows = _windows(start, image.shape, step, options.radius)
    p, information = _fitted(frames, shifts, windows, start, image, step, options)
    covariance = np.linalg.inv(information)
    x = p[:, 1] * step[1] + float(image["scan_x"].values[0])
    y = p[:, 2] * step[0] + float(image["scan_y"].values[0])
    pixel = np.array([step[1], step[0]])
    xy_covariance = covariance[:, 1:3, 1:3] * np.outer(pixel, pixel)
    variables: dict[str, Any] = {
        "x": ("column", x, {"units": "Å"}),
        "y": ("column", y, {"units": "Å"}),
        "x_std": ("column", np.sqrt(xy_covariance[:, 0, 0]), {"units": "Å"}),
        "y_std": ("column", np.sqrt(xy_covariance[:, 1, 1]), {"units": "Å"}),
        "xy_covariance": (("column", "axis", "axis_"), xy_covariance, {"units": "Å²"}),
        "amplitude": ("column", p[:, 0], {"units": "1"}),
        "amplitude_std": ("column", np.sqrt(covariance[:, 0, 0]), {"units": "1"}),
        "width": ("column", p[:, 3], {"units": "Å"}),
        "background": ("column", p[:, 4], {"units": "1"}),
        "species": ("column", np.full(len(x), "M"), {"units": "1"}),
        "edge": ("column", _edge(registered, x, y, options.margin), {"units": "1"}),
    }
    return xr.Dataset(variables)


def _bright(image: xr.DataArray, step: tuple[float, float], options: BrightColumns) -> Array:
    """Return the maxima of the smoothed image, (column, 2) xy in pixels."""
    values = np.asarray(image.values, dtype=float)
    known = np.where(np.isfinite(values), values, np.nanmean(values))
    filtered = BandPass.of(known, step, options.blur, None).image
    row, column, height = maxima(filtered, step, options.separation)
    # On noise alone heights of maxima and depths of minima are alike.
    if not len(height) or height.max() < 1.6 * -float(np.quantile(filtered, 0.001)):
        raise _none_found()
    bright = float(np.median(height[height > 0.5 * np.quantile(height, 0.95)]))
    keep = height > options.brightness * bright
    x, y = column[keep] * step[1], row[keep] * step[0]
    x, y, _ = separated(x, y, height[keep], options.separation)
    if len(x) < 4:
        raise _none_found()
    return np.stack([x / step[1], y / step[0]], axis=-1)


def _none_found() -> BadInputError:
    return BadInputError(
        "the registered image shows no bright columns; expected 4 or more maxima above the dark "
        "between them; check the registration, the focus and the zone axis"
    )


def _windows(
    start: Array, shape: tuple[int, ...], step: tuple[float, float], radius: float
) -> npt.NDArray[np.int32]:
    """Label every pixel with the column it belongs to, -1 where there is none near."""
    y, x = np.meshgrid(np.arange(shape[0]) * step[0], np.arange(shape[1]) * step[1], indexing="ij")
    distance, nearest = cKDTree(start * [step[1], step[0]]).query(np.stack([x, y], axis=-1))
    return np.where(distance <= radius, nearest, -1).astype(np.int32)


def _fitted(
    frames: npt.NDArray[np.float32],
    shifts: Array,
    windows: npt.NDArray[np.int32],
    start: Array,
    image: xr.DataArray,
    step: tuple[float, float],
    options: BrightColumns,
) -> tuple[Array, Array]:
    """Fisher scoring of all columns side by side; parameters and information per column.

    Positions in pixels, widths in Å. Wide priors (0.5 Å on positions, 0.3 Å on widths, the whole
    range on amplitudes) hold windows cut by the border.
    """
    low, high = np.nanquantile(image.values, [0.1, 0.98])
    n, scale = len(start), float(max(high - low, 1e-6))
    first = np.column_stack(
        [np.full(n, scale), start, np.full(n, 0.42), np.full(n, max(low, 1e-3 * scale))]
    )
    std = np.array([scale, 0.5 / step[1], 0.5 / step[0], 0.3, scale])
    p = first.copy()
    for _ in range(options.iterations):
        score, information = np.zeros((n, 5)), np.zeros((n, 5, 5))
        _score(frames, shifts, windows, p, np.array(step), LEAST_COUNTS * scale, score, information)
        information += np.diag(1 / std**2)
        score -= (p - first) / std**2
        move = np.linalg.solve(information, score[..., None])[..., 0]
        limit = np.array([scale, 0.3 / step[1], 0.3 / step[0], 0.1, scale])
        p = p + np.clip(move, -limit, limit)
        p[:, 0] = np.maximum(p[:, 0], 1e-2 * scale)
        p[:, 3] = np.clip(p[:, 3], 0.15, 1.5)
        p[:, 4] = np.maximum(p[:, 4], 0)
        if np.abs(move[:, 1:3]).max() < 1e-3:
            break
    return p, information


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _score(
    frames: npt.NDArray[np.float32],
    shifts: Array,
    windows: npt.NDArray[np.int32],
    p: Array,
    step: Array,
    floor: float,
    score: Array,
    information: Array,
) -> None:
    """Add slopes of the log-likelihood and its information, column by column."""
    count, ny, nx = frames.shape
    g = np.empty(5)
    for f in range(count):
        for n in range(ny):
            v = n + shifts[f, n, 1]
            row = int(np.floor(v + 0.5))
            if row < 0 or row >= ny:
                continue
            for m in range(nx):
                u = m + shifts[f, n, 0]
                at = int(np.floor(u + 0.5))
                if at < 0 or at >= nx:
                    continue
                k = windows[row, at]
                if k < 0:
                    continue
                a, w = p[k, 0], p[k, 3]
                dx, dy = (u - p[k, 1]) * step[1], (v - p[k, 2]) * step[0]
                r2 = dx * dx + dy * dy
                shape = np.exp(-r2 / (2 * w * w))
                mean = max(p[k, 4] + a * shape, floor)
                g[0] = shape
                g[1] = a * shape * dx / (w * w) * step[1]
                g[2] = a * shape * dy / (w * w) * step[0]
                g[3] = a * shape * r2 / (w * w * w)
                g[4] = 1.0
                left = (frames[f, n, m] - mean) / mean
                for i in range(5):
                    score[k, i] += g[i] * left
                    for j in range(5):
                        information[k, i, j] += g[i] * g[j] / mean


def _edge(registered: xr.Dataset, x: Array, y: Array, margin: float) -> npt.NDArray[np.bool_]:
    """Say which columns lie within the margin of the border of what nearly all frames show."""
    weight = registered["weight"].transpose("scan_y", "scan_x")
    seen = weight.values > 0.7 * np.median(weight.values)
    rows = np.flatnonzero(seen.mean(axis=1) > 0.8)
    columns = np.flatnonzero(seen.mean(axis=0) > 0.8)
    inner = weight.isel(
        scan_y=slice(rows[0], rows[-1] + 1), scan_x=slice(columns[0], columns[-1] + 1)
    )
    return ~interior(inner, x, y, margin)
