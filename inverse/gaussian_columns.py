"""The classic fit: one circular Gaussian on a constant background per column.

Every column is fitted by itself, ``p + a exp(-|R - r|² / 2 w²)`` to the pixels of the plain phase
image within `RADIUS`; tails of neighbours are not modelled, so that positions are biased towards
bright neighbours. Kept as the common practice to compare with.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.column_problem import interior
from echolith.inverse.scan_raster import raster_of
from echolith.inverse.whitening import scan_step

Array = npt.NDArray[np.float64]

RADIUS = 0.6
"""Å; less than half of the distance between M and O columns (1.34 Å)."""
LEAST_PIXELS = 9
"""Pixels in a window; five parameters are fitted."""


def fit_gaussians(
    reconstruction: xr.Dataset, columns: xr.Dataset, *, margin: float, radius: float = RADIUS
) -> xr.Dataset:
    """Fit a Gaussian to every column by itself (arguments and result as for `fit_columns`).

    The covariance is that of correlated image noise carried through the fit where ``weight`` is
    given, otherwise that of white noise of the size of the residual. Gaussians are circular on the
    true raster; positions come back on the raster as it was meant.
    """
    phase = reconstruction["phase"].transpose("scan_y", "scan_x")
    step, raster = scan_step(phase), raster_of(reconstruction)
    stretch = np.eye(2) if raster is None else raster.stretch(step)
    windows = _Windows.of(phase, columns, step, radius, stretch)
    p = _levenberg_marquardt(windows)
    covariance = _covariance(windows, p, reconstruction)
    residual = windows.keep * (windows.value - _model(windows, p)[0])
    back = np.linalg.inv(stretch)
    p[:, 1:3] = p[:, 1:3] @ back.T
    covariance[:, 1:3, 1:3] = back @ covariance[:, 1:3, 1:3] @ back.T
    x0, y0 = float(phase["scan_x"].values[0]), float(phase["scan_y"].values[0])
    x, y = p[:, 1] + x0, p[:, 2] + y0
    variance = np.einsum("kii->ki", covariance)
    edge = ~interior(phase, x, y, margin)
    variables = {
        "x": ("column", x, {"units": "Å"}),
        "y": ("column", y, {"units": "Å"}),
        "x_std": ("column", np.sqrt(variance[:, 1]), {"units": "Å"}),
        "y_std": ("column", np.sqrt(variance[:, 2]), {"units": "Å"}),
        "xy_covariance": (("column", "axis", "axis_"), covariance[:, 1:3, 1:3], {"units": "Å²"}),
        "amplitude": ("column", p[:, 0], {"units": "rad"}),
        "amplitude_std": ("column", np.sqrt(variance[:, 0]), {"units": "rad"}),
        "width": ("column", p[:, 3], {"units": "Å"}),
        "background": ("column", p[:, 4], {"units": "rad"}),
        "species": ("column", columns["species"].values, {"units": "1"}),
        "edge": ("column", edge, {"units": "1"}),
    }
    return xr.Dataset(
        variables,
        attrs={
            "profile": "gaussian",
            "residual_rms": float(
                np.sqrt((residual[~edge] ** 2).sum() / windows.keep[~edge].sum())
            ),
            "margin": margin,
            "noise": "weight" if "weight" in reconstruction else "residual",
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """Pixels around every column, (columns, pixels), and the start (x, y) in Å from pixel 0."""

    x: Array
    y: Array
    value: Array
    keep: Array
    row: npt.NDArray[np.intp]
    column: npt.NDArray[np.intp]
    start: Array

    @classmethod
    def of(
        cls,
        phase: xr.DataArray,
        columns: xr.Dataset,
        step: tuple[float, float],
        radius: float,
        stretch: Array,
    ) -> "_Windows":
        image = np.asarray(phase.values, dtype=float)
        x = np.asarray(columns["x"].values, dtype=float) - float(phase["scan_x"].values[0])
        y = np.asarray(columns["y"].values, dtype=float) - float(phase["scan_y"].values[0])
        reach = [int(np.ceil(radius / d)) + 1 for d in step]
        dy, dx = (
            d.ravel() for d in np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
        )
        row = np.rint(y / step[0]).astype(int)[:, None] + dy
        column = np.rint(x / step[1]).astype(int)[:, None] + dx
        on = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
        px, py = np.moveaxis(
            np.stack([column * step[1], row * step[0]], axis=-1) @ stretch.T, -1, 0
        )
        start = np.stack([x, y], axis=-1) @ stretch.T
        keep = on & (np.hypot(px - start[:, :1], py - start[:, 1:]) <= radius)
        few = int(keep.sum(axis=1).max(initial=0))
        if few < LEAST_PIXELS:
            raise BadInputError(
                f"a window of {radius:g} Å radius holds {few} scan positions at steps of "
                f"{step[0]:g} and {step[1]:g} Å; expected {LEAST_PIXELS} or more for a Gaussian: "
                "use Profile.FORM_FACTOR or a finer scan"
            )
        row, column = np.clip(row, 0, image.shape[0] - 1), np.clip(column, 0, image.shape[1] - 1)
        return cls(
            x=np.asarray(px, dtype=np.float64),
            y=np.asarray(py, dtype=np.float64),
            value=image[row, column],
            keep=keep.astype(float),
            row=row,
            column=column,
            start=start,
        )


def _model(windows: _Windows, p: Array) -> tuple[Array, Array]:
    """Gaussians (columns, pixels) and derivatives (columns, pixels, 5): a, x, y, w, background."""
    a, x, y, w, background = (p[:, i, None] for i in range(5))
    dx, dy = windows.x - x, windows.y - y
    r2 = dx**2 + dy**2
    shape = np.exp(-r2 / (2 * w**2))
    slope = [shape, a * shape * dx / w**2, a * shape * dy / w**2, a * shape * r2 / w**3, 1 + 0 * r2]
    return background + a * shape, np.stack(slope, axis=-1) * windows.keep[..., None]


def _levenberg_marquardt(windows: _Windows, iterations: int = 60) -> Array:
    """Fit all windows side by side, each with its own damping and with wide priors.

    The priors (position 0.3 Å, width 0.3 Å around 0.3 Å, each against a hundredth of the window's
    own brightness) hold columns cut by the border, and move whole windows by less than 1e-3 pm.
    """
    inside = np.where(windows.keep > 0, windows.value, np.nan)
    with np.errstate(all="ignore"):
        low = np.where(
            windows.keep.any(axis=1), np.nanmin(np.nan_to_num(inside, nan=np.inf), axis=1), 0
        )
        high = np.where(
            windows.keep.any(axis=1), np.nanmax(np.nan_to_num(inside, nan=-np.inf), axis=1), 0
        )
    scale = np.maximum(high - low, 1e-12)
    start = np.column_stack([scale, windows.start, np.full(len(low), 0.3), low])
    prior = (
        1e-6 * scale[:, None] ** 2 / np.column_stack([scale, *3 * [0.3 + 0 * scale], scale]) ** 2
    )
    p, damping = start.copy(), np.full(len(start), 1e-2)

    def cost(p: Array) -> Array:
        left = windows.keep * (windows.value - _model(windows, p)[0])
        return np.asarray((left**2).sum(axis=1) + (prior * (p - start) ** 2).sum(axis=1))

    now = cost(p)
    for _ in range(iterations):
        model, slope = _model(windows, p)
        left = windows.keep * (windows.value - model)
        downhill = np.einsum("kpi,kp->ki", slope, left) - prior * (p - start)
        normal = np.einsum("kpi,kpj->kij", slope, slope)
        diagonal = np.einsum("kii->ki", normal)
        damped = normal + np.eye(5) * (prior + damping[:, None] * diagonal)[:, None, :]
        step = np.linalg.solve(damped, downhill[..., None])[..., 0]
        trial = p + np.clip(step, -0.2 * np.abs(scale[:, None]) - 0.2, 0.2 * scale[:, None] + 0.2)
        trial[:, 3] = np.clip(trial[:, 3], 0.05, 2.0)
        then = cost(trial)
        better = then <= now
        p, now = np.where(better[:, None], trial, p), np.where(better, then, now)
        damping = np.where(better, damping / 10, np.minimum(damping * 10, 1e6))
        if np.abs(step[:, 1:3]).max() < 1e-8:
            break
    return p


def _covariance(windows: _Windows, p: Array, reconstruction: xr.Dataset) -> Array:
    """N^-1 J^T S J N^-1 with S the covariance of the pixels."""
    model, slope = _model(windows, p)
    normal = np.einsum("kpi,kpj->kij", slope, slope)
    size = np.einsum("kii->ki", normal)
    normal += np.eye(5) * 1e-9 * np.maximum(size, 1e-30)[:, None, :]
    inverse = np.linalg.inv(normal)
    if "weight" not in reconstruction:
        left = windows.keep * (windows.value - model)
        freedom = np.maximum(windows.keep.sum(axis=1) - 5, 1)
        return np.asarray(inverse * ((left**2).sum(axis=1) / freedom)[:, None, None])
    weight = np.asarray(reconstruction["weight"].values, dtype=float)
    variance = np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)
    # Covariance of two pixels as a function of their separation.
    table = np.fft.ifft2(variance).real * variance.size
    result = np.empty_like(inverse)
    for k in range(len(p)):
        rows = windows.row[k][:, None] - windows.row[k]
        columns = windows.column[k][:, None] - windows.column[k]
        noise = table[rows, columns]
        middle = slope[k].T @ noise @ slope[k]
        result[k] = inverse[k] @ middle @ inverse[k]
    return result
