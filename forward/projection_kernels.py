"""Compiled loops of parallel projection: Joseph's weights, and sparse rows times many slices.

The slices are the last, contiguous axis, so that one weight serves a whole run of numbers; rows are
taken eight weights at a time, which saves most of the traffic to the output. Every kernel is serial
and releases the interpreter lock.
"""

import math
from typing import Any

import numba
import numpy as np

compiled = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def joseph(
    cosines: Any, sines: Any, origins: Any, nz: int, nx: int, ns: int, starts: Any, at: Any, w: Any
) -> int:
    """Fill a CSR matrix (tilt s) × (z x) in units of the voxel; return its number of weights.

    Parameters
    ----------
    cosines, sines : array, (tilts,)
    origins : array, (tilts,)
        Where the tilt axis is seen, in pixels from the middle of the field.
    nz, nx, ns : int
        Voxels along z and x, pixels along s.
    starts, at, w : array
        Row starts, columns and weights, filled in place.
    """
    n = 0
    for t in range(cosines.size):
        c, s = cosines[t], sines[t]
        steep = abs(c) >= abs(s)
        along, across = (nz, nx) if steep else (nx, nz)
        leading, other = (c, s) if steep else (s, c)
        step, step_along = (1, nx) if steep else (nx, 1)
        for i in range(ns):
            ray = i - (ns - 1) / 2 - origins[t]
            for k in range(along):
                place = (ray - (k - (along - 1) / 2) * other) / leading + (across - 1) / 2
                j = math.floor(place)
                fraction = place - j
                if 0 <= j < across and fraction < 1:
                    at[n] = k * step_along + j * step
                    w[n] = (1 - fraction) / abs(leading)
                    n += 1
                if 0 <= j + 1 < across and fraction > 0:
                    at[n] = k * step_along + (j + 1) * step
                    w[n] = fraction / abs(leading)
                    n += 1
            starts[t * ns + i + 1] = n
    return n


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def add_row(first: int, last: int, at: Any, w: Any, block: Any, out: Any) -> None:
    """Add one sparse row times a block (columns, slices) to ``out`` (slices)."""
    k = first
    while k + 8 <= last:
        a0, a1 = block[np.uint32(at[k])], block[np.uint32(at[k + 1])]
        a2, a3 = block[np.uint32(at[k + 2])], block[np.uint32(at[k + 3])]
        a4, a5 = block[np.uint32(at[k + 4])], block[np.uint32(at[k + 5])]
        a6, a7 = block[np.uint32(at[k + 6])], block[np.uint32(at[k + 7])]
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        w4, w5, w6, w7 = w[k + 4], w[k + 5], w[k + 6], w[k + 7]
        for j in range(out.size):
            near = w0 * a0[j] + w1 * a1[j] + w2 * a2[j] + w3 * a3[j]
            out[j] += near + (w4 * a4[j] + w5 * a5[j] + w6 * a6[j] + w7 * a7[j])
        k += 8
    while k < last:
        a0, w0 = block[np.uint32(at[k])], w[k]
        for j in range(out.size):
            out[j] += w0 * a0[j]
        k += 1


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def multiply(starts: Any, at: Any, w: Any, block: Any, out: Any) -> None:
    """Write matrix times block: (columns, slices) to (rows, slices)."""
    for row in range(starts.size - 1):
        line = out[row]
        for j in range(line.size):
            line[j] = 0
        add_row(starts[row], starts[row + 1], at, w, block, line)


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def residual(starts: Any, at: Any, w: Any, block: Any, data: Any, scale: Any, out: Any) -> None:
    """Write ``scale (data - matrix block)``, one scale a row."""
    for row in range(starts.size - 1):
        line, measured = out[row], data[row]
        for j in range(line.size):
            line[j] = 0
        add_row(starts[row], starts[row + 1], at, w, block, line)
        for j in range(line.size):
            line[j] = scale[row] * (measured[j] - line[j])


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def update(
    starts: Any, at: Any, w: Any, block: Any, scale: Any, lowest: Any, line: Any, out: Any
) -> None:
    """Add ``scale (matrix block)`` in place, one scale a row, and keep it from `lowest` on.

    ``line`` (slices) is room to work in.
    """
    for row in range(starts.size - 1):
        if starts[row] == starts[row + 1]:
            continue
        line[:] = 0
        add_row(starts[row], starts[row + 1], at, w, block, line)
        value = out[row]
        for j in range(line.size):
            value[j] = max(value[j] + scale[row] * line[j], lowest)


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def correct_by_rays(
    starts: Any, at: Any, w: Any, data: Any, scale: Any, lowest: Any, line: Any, volume: Any
) -> None:
    """Make each ray in turn agree with its datum: ``x += scale (p - a x) a``, from `lowest` on."""
    for row in range(starts.size - 1):
        first, last = starts[row], starts[row + 1]
        line[:] = 0
        add_row(first, last, at, w, volume, line)
        for j in range(line.size):
            line[j] = scale[row] * (data[row, j] - line[j])
        for k in range(first, last):
            value, weight = volume[np.uint32(at[k])], w[k]
            for j in range(line.size):
                value[j] = max(value[j] + weight * line[j], lowest)
