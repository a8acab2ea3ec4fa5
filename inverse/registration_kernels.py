"""Compiled loops of registration: lines of displaced frames onto a raster, and back.

A scan line is displaced as a whole, so that its positions lie at one fraction of a pixel of the
raster. Rows and columns are spread and interpolated with cubic B-splines.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _spline(t: float, value: Any, slope: Any) -> None:
    """Fill the four weights of a cubic B-spline at fraction t, and their derivatives."""
    value[0] = (1 - t) ** 3 / 6
    value[1] = (3 * t**3 - 6 * t**2 + 4) / 6
    value[2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    value[3] = t**3 / 6
    slope[0] = -((1 - t) ** 2) / 2
    slope[1] = (3 * t**2 - 4 * t) / 2
    slope[2] = (-3 * t**2 + 2 * t + 1) / 2
    slope[3] = t**2 / 2


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def spread_lines(frame: Float32, shift: Array, total: Float32, weight: Float32) -> None:
    """Add one frame to a raster, every sample spread over 4 × 4 pixels.

    Parameters
    ----------
    frame : array of float32, (ny, nx)
    shift : array, (ny, 2)
        Displacement of every line in pixels, x and y.
    total, weight : array of float32, (ny, nx)
        Sums of value times weight, and of weights; added to in place.
    """
    ny, nx = frame.shape
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    values, ones = np.empty(nx + 3, np.float32), np.empty(nx + 3, np.float32)
    for n in range(ny):
        left = int(np.floor(shift[n, 0]))
        top = n + int(np.floor(shift[n, 1]))
        _spline(shift[n, 0] - left, wx, unused)
        _spline(shift[n, 1] - (top - n), wy, unused)
        values[:] = 0
        ones[:] = 0
        for a in range(4):
            w = np.float32(wx[a])
            for m in range(nx):
                values[m + a] += w * frame[n, m]
                ones[m + a] += w
        first, last = max(0, left - 1), min(nx, nx + left + 2)
        for b in range(4):
            row = top - 1 + b
            if row < 0 or row >= ny:
                continue
            w = np.float32(wy[b])
            for k in range(first, last):
                total[row, k] += w * values[k - left + 1]
                weight[row, k] += w * ones[k - left + 1]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def line_sums(
    frame: Float32,
    shift: Array,
    coefficients: Float32,
    valid: npt.NDArray[np.bool_],
    scale: float,
    floor: float,
    sums: Array,
) -> None:
    """Compare one frame with a template, line by line.

    With template T at the displaced positions, its slope g (per pixel), counts c, residual
    ``r = c - scale T`` and variance ``v = max(scale T, floor)``, each line's row of `sums` becomes
    ``sum g g'/v`` (xx, xy, yy), ``sum g r/v`` (x, y), ``sum r²/v``, number, sum c and sum T.

    Parameters
    ----------
    frame : array of float32, (ny, nx)
    shift : array, (ny, 2)
        In pixels, x and y.
    coefficients : array of float32, (ny, nx)
        Of the template as a cubic B-spline.
    valid : array of bool, (ny, nx)
        Where the template is known.
    scale, floor : float
    sums : array, (ny, 9)
        Overwritten.
    """
    ny, nx = frame.shape
    wx, wy, dx, dy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    row, slope = np.empty(nx), np.empty(nx)
    for n in range(ny):
        sums[n, :] = 0
        left = int(np.floor(shift[n, 0]))
        top = n + int(np.floor(shift[n, 1]))
        if top < 1 or top + 2 >= ny:
            continue
        _spline(shift[n, 0] - left, wx, dx)
        _spline(shift[n, 1] - (top - n), wy, dy)
        for k in range(nx):
            row[k] = 0
            slope[k] = 0
            for b in range(4):
                row[k] += wy[b] * coefficients[top - 1 + b, k]
                slope[k] += dy[b] * coefficients[top - 1 + b, k]
        near = top + int(shift[n, 1] - (top - n) > 0.5)
        for m in range(max(0, 1 - left), min(nx, nx - 2 - left)):
            at = m + left
            if not valid[near, at]:
                continue
            t, gx, gy = 0.0, 0.0, 0.0
            for a in range(4):
                t += wx[a] * row[at - 1 + a]
                gx += dx[a] * row[at - 1 + a]
                gy += wx[a] * slope[at - 1 + a]
            sums[n, 8] += t
            t *= scale
            gx *= scale
            gy *= scale
            inverse = 1 / max(t, floor)
            r = frame[n, m] - t
            sums[n, 0] += gx * gx * inverse
            sums[n, 1] += gx * gy * inverse
            sums[n, 2] += gy * gy * inverse
            sums[n, 3] += gx * r * inverse
            sums[n, 4] += gy * r * inverse
            sums[n, 5] += r * r * inverse
            sums[n, 6] += 1
            sums[n, 7] += frame[n, m]
