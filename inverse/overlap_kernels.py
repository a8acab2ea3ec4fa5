"""Compiled inner loops of SSB and WDD: sums over the double overlaps.

Every kernel is serial and releases the interpreter lock; the callers run them on fixed blocks of
pixels in a pool of threads and add the partial sums in block order, so that the result has the
same bits for any number of threads.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba, cached on disk where some folder can be written."""
    settings: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc"}}
    try:
        return numba.njit(cache=True, **settings)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder for the cache: a read-only installation without a home
        return numba.njit(**settings)(function)  # type: ignore[no-any-return]


@compiled
def interval(centre: float, height: float, square: float, step: float, count: int) -> Any:
    """Return first and end of the j in 0..count-1 with (centre - j step)² + height² <= square."""
    rest = square - height * height
    if rest < 0:
        return 0, 0
    half = math.sqrt(rest)
    low = min(count, max(0, math.ceil((centre - half) / step)))
    high = min(count, math.floor((centre + half) / step) + 1)
    return low, max(low, high)


@compiled
def _turns_along_x(polynomial: Any, y: float, out: Any) -> None:
    """Collapse chi(x, y) / 2 pi, coefficients [power of x, power of y], to powers of x at one y."""
    for i in range(out.size):
        value = 0.0
        for j in range(polynomial.shape[1] - 1, -1, -1):
            value = value * y + polynomial[i, j]
        out[i] = value


@compiled
def _turns(coefficients: Any, x: float) -> float:
    value = 0.0
    for i in range(coefficients.size - 1, -1, -1):
        value = value * x + coefficients[i]
    return value


@compiled
def _cosine_and_sine(turns: float) -> Any:
    """Return cos and sin of 2 pi turns to 1e-9, by series in the half angle (vectorises)."""
    half = math.pi * (turns - math.floor(turns + 0.5))
    s = half * half
    sine = half * (
        1
        + s * (-1 / 6 + s * (1 / 120 + s * (-1 / 5040 + s * (1 / 362880 + s * (
            -1 / 39916800 + s * (1 / 6227020800)
        )))))
    )  # fmt: skip
    cosine = 1 + s * (
        -1 / 2 + s * (1 / 24 + s * (-1 / 720 + s * (1 / 40320 + s * (
            -1 / 3628800 + s * (1 / 479001600 + s * (-1 / 87178291200))
        ))))
    )  # fmt: skip
    return 1 - 2 * sine * sine, 2 * sine * cosine


@compiled
def overlap_row(
    kx: Any, ky: Any, qy: float, start: float, step: float, count: int, square: float,
    polynomial: Any, spans: Any, line: Any, real: Any, imaginary: Any,
) -> Any:  # fmt: skip
    """Write Gamma(K, Q) of one detector pixel along one row of Q, summed over its samples.

    ``Gamma = psi*(K) psi(K - Q) - psi(K) psi*(K + Q)`` with ``psi = A exp(-i chi)`` of unit height.

    Parameters
    ----------
    kx, ky : array, (samples,)
        Samples of the pixel inside the aperture, scan frame, 1/Å.
    qy, start, step, count
        The row: Q = (start + j step, qy) for j = 0 .. count - 1.
    square : float
        Square of the aperture's radius, 1/Å².
    polynomial : array, (7, 7), or (0, 0) without aberrations
        chi / 2 pi in powers of kx and ky, scan frame.
    spans, line : array of int, (>= samples, 4); array, (7,)
        Work space.
    real, imaginary : array of float32, (>= count,)
        Receive Gamma; the imaginary part is left alone without aberrations.

    Returns
    -------
    tuple of int
        Range outside which Gamma vanishes; what is there in ``real`` and ``imaginary`` is garbage.
    """
    low, high = count, 0
    for s in range(kx.size):
        a, b = interval(kx[s] - start, ky[s] - qy, square, step, count)
        c, d = interval(-kx[s] - start, ky[s] + qy, square, step, count)
        spans[s, 0], spans[s, 1], spans[s, 2], spans[s, 3] = a, b, c, d
        if b > a:
            low, high = min(low, a), max(high, b)
        if d > c:
            low, high = min(low, c), max(high, d)
    if low >= high:
        return 0, 0
    aberrated = polynomial.size > 0
    real[low:high] = 0
    if aberrated:
        imaginary[low:high] = 0
    for s in range(kx.size):
        a, b, c, d = spans[s]
        if not aberrated:
            real[a:b] += 1
            real[c:d] -= 1
            continue
        _turns_along_x(polynomial, ky[s], line)
        here = _turns(line, kx[s])
        _turns_along_x(polynomial, ky[s] - qy, line)
        for j in range(a, b):
            cosine, sine = _cosine_and_sine(here - _turns(line, kx[s] - start - j * step))
            real[j] += cosine
            imaginary[j] += sine
        _turns_along_x(polynomial, ky[s] + qy, line)
        for j in range(c, d):
            cosine, sine = _cosine_and_sine(_turns(line, kx[s] + start + j * step) - here)
            real[j] -= cosine
            imaginary[j] -= sine
    return low, high


@compiled
def project_overlaps(
    spectra: Any, kx: Any, ky: Any, samples: Any, rows: Any, qy: Any, starts: Any, counts: Any,
    offsets: Any, step: float, square: float, polynomial: Any, sums: Any,
) -> None:  # fmt: skip
    """Add one block of pixels to the sums of SSB.

    Parameters
    ----------
    spectra : array of float32, (pixels, scan rows, 2 columns)
        Real and imaginary parts in turn of sum_R I(K, R) exp(-2 pi i Q R).
    kx, ky : array, (pixels, most samples)
        Samples inside the aperture, the first ``samples[p]`` of each row, scan frame, 1/Å.
    rows, qy, starts, counts, offsets : array, (rows,)
        Half plane of Q: index of the row in ``spectra``, its qy and first qx, number of columns,
        place in sums.
    step, square, polynomial
        As for `overlap_row`.
    sums : array of float64, (4, Q)
        Added to: real and imaginary part of sum G Gamma*, sum |Gamma|², sum |Gamma|² counts.
    """
    columns = spectra.shape[2] // 2
    real, imaginary = np.empty(columns, np.float32), np.empty(columns, np.float32)
    spans, line = np.empty((kx.shape[1], 4), np.int64), np.empty(polynomial.shape[0])
    block = np.empty((4, columns), np.float32)
    aberrated = polynomial.size > 0
    for r in range(rows.size):
        block[:] = 0
        for p in range(spectra.shape[0]):
            n = samples[p]
            low, high = overlap_row(
                kx[p, :n], ky[p, :n], qy[r], starts[r], step, counts[r], square,
                polynomial, spans, line, real, imaginary,
            )  # fmt: skip
            g = spectra[p, rows[r]]
            electrons = spectra[p, 0, 0]
            for j in range(low, high):
                a = real[j]
                block[0, j] += g[2 * j] * a
                block[1, j] += g[2 * j + 1] * a
                block[2, j] += a * a
                block[3, j] += a * a * electrons
            if not aberrated:
                continue
            for j in range(low, high):
                b = imaginary[j]
                block[0, j] += g[2 * j + 1] * b
                block[1, j] -= g[2 * j] * b
                block[2, j] += b * b
                block[3, j] += b * b * electrons
        for channel in range(4):
            for j in range(counts[r]):
                sums[channel, offsets[r] + j] += block[channel, j]


@compiled
def project_weights(
    spectra: Any, weights: Any, rows: Any, counts: Any, offsets: Any, sums: Any
) -> None:
    """Add one block of pixels to the sums of WDD.

    Parameters
    ----------
    spectra : array of float32, (pixels, scan rows, 2 columns)
        As for `project_overlaps`.
    weights : array of float32, (pixels, 1 or 2, Q)
        Real and, with aberrations, imaginary part of w(Q, K).
    rows, counts, offsets : array, (rows,)
        As for `project_overlaps`.
    sums : array of float64, (3, Q)
        Added to: real and imaginary part of sum w G, sum |w|² counts.
    """
    for r in range(rows.size):
        first, count = offsets[r], counts[r]
        for p in range(spectra.shape[0]):
            g = spectra[p, rows[r]]
            electrons = spectra[p, 0, 0]
            for j in range(count):
                a = weights[p, 0, first + j]
                sums[0, first + j] += a * g[2 * j]
                sums[1, first + j] += a * g[2 * j + 1]
                sums[2, first + j] += a * a * electrons
            if weights.shape[1] == 1:
                continue
            for j in range(count):
                b = weights[p, 1, first + j]
                sums[0, first + j] -= b * g[2 * j + 1]
                sums[1, first + j] += b * g[2 * j]
                sums[2, first + j] += b * b * electrons


@compiled
def overlap_transfer(
    weights: Any, kx: Any, ky: Any, samples: Any, qy: Any, starts: Any, counts: Any,
    offsets: Any, step: float, square: float, polynomial: Any, sums: Any,
) -> None:  # fmt: skip
    """Add sum_K w(Q, K) Gamma(K, Q) of a block of pixels to sums (2, Q): real, imaginary part."""
    widest = counts.max()
    real, imaginary = np.empty(widest, np.float32), np.zeros(widest, np.float32)
    spans, line = np.empty((kx.shape[1], 4), np.int64), np.empty(polynomial.shape[0])
    aberrated = polynomial.size > 0
    for r in range(counts.size):
        first = offsets[r]
        for p in range(weights.shape[0]):
            n = samples[p]
            low, high = overlap_row(
                kx[p, :n], ky[p, :n], qy[r], starts[r], step, counts[r], square,
                polynomial, spans, line, real, imaginary,
            )  # fmt: skip
            for j in range(low, high):
                sums[0, first + j] += weights[p, 0, first + j] * real[j]
            if not aberrated:
                continue
            for j in range(low, high):
                a, b = weights[p, 0, first + j], weights[p, 1, first + j]
                sums[0, first + j] -= b * imaginary[j]
                sums[1, first + j] += a * imaginary[j] + b * real[j]


@compiled
def fill_wigner(
    qx: Any, qy: Any, ky: Any, kx: Any, bin_y: int, bin_x: int, square: float, polynomial: Any,
    out: Any,
) -> None:  # fmt: skip
    """Write psi(K - Q) psi*(K) on the detector, summed over the samples of each pixel.

    Parameters
    ----------
    qx, qy : array, (batch,)
        Spatial frequencies, specimen frame, 1/Å.
    ky, kx : array, (rows * bin_y,) and (columns * bin_x,)
        Evenly spaced samples of the detector, 1/Å, before any transpose.
    bin_y, bin_x : int
        Samples per pixel.
    square, polynomial
        As for `overlap_row`, specimen frame.
    out : array of float32, (batch, rows, columns, 1 or 2)
        Receives the real and, with aberrations, the imaginary part.
    """
    out[:] = 0
    step = kx[1] - kx[0]
    there = np.empty(polynomial.shape[0])
    here = np.empty(polynomial.shape[0])
    aberrated = polynomial.size > 0
    for q in range(qx.size):
        for y in range(ky.size):
            a, b = interval(-kx[0], ky[y], square, step, kx.size)
            c, d = interval(qx[q] - kx[0], ky[y] - qy[q], square, step, kx.size)
            a, b = max(a, c), min(b, d)
            if b <= a:
                continue
            row = out[q, y // bin_y]
            if not aberrated:
                for x in range(a, b):
                    row[x // bin_x, 0] += 1
                continue
            _turns_along_x(polynomial, ky[y], here)
            _turns_along_x(polynomial, ky[y] - qy[q], there)
            for x in range(a, b):
                turns = _turns(here, kx[x]) - _turns(there, kx[x] - qx[q])
                cosine, sine = _cosine_and_sine(turns)
                row[x // bin_x, 0] += cosine
                row[x // bin_x, 1] += sine
