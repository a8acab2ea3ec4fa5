"""Sums of SSB and WDD in the plain case: no aberrations, one sample point a pixel.

Gamma(K, Q) is then real: along a row of Q it is +1 where only psi(K - Q) passes the aperture, -1
where only psi(K + Q) does, the difference of two intervals. Spectra are added and subtracted over
these, and what does not depend on Q is marked at their ends and summed up once.
"""

from typing import Any

import numpy as np

from echolith.inverse.overlap_kernels import compiled, interval

ONE = np.float32(1)


def is_plain(samples: Any, polynomial: Any) -> bool:
    """Say whether Gamma is plain.

    Parameters
    ----------
    samples : array of int
        Sample points inside the aperture, of each pixel.
    polynomial : array
        chi / 2 pi; empty without aberrations.
    """
    return polynomial.size == 0 and bool((samples == 1).all())


@compiled
def _stretches(
    kx: float, ky: float, qy: float, start: float, step: float, square: float, count: int
) -> Any:
    """Return two stretches where Gamma is not zero: first j, end and sign of each."""
    a, b = interval(kx - start, ky - qy, square, step, count)
    c, d = interval(-kx - start, ky + qy, square, step, count)
    low, high = max(a, c), min(b, d)
    if low >= high:
        return a, b, ONE, c, d, -ONE
    # Between low and high both pass and Gamma vanishes.
    one, two = ONE if a < c else -ONE, ONE if b > d else -ONE
    return min(a, c), low, one, high, max(b, d), two


@compiled
def _accumulate(values: Any, sign: float, line: Any) -> None:
    """Add values to a line, or subtract them."""
    for j in range(values.size):
        line[j] += sign * values[j]


@compiled
def _mark(start: int, stop: int, electrons: float, marks: Any) -> None:
    """Mark where a stretch of |Gamma|² = 1 begins and ends."""
    marks[0, start] += 1
    marks[0, stop] -= 1
    marks[1, start] += electrons
    marks[1, stop] -= electrons


@compiled
def project_plain_overlaps(
    spectra: Any, kx: Any, ky: Any, rows: Any, qy: Any, starts: Any, counts: Any, offsets: Any,
    step: float, square: float, sums: Any,
) -> None:  # fmt: skip
    """Add one block of pixels to the sums of SSB.

    Parameters
    ----------
    spectra : array of float32, (pixels, scan rows, 2 columns or more), contiguous
        Real and imaginary parts in turn of sum_R I(K, R) exp(-2 pi i Q R).
    kx, ky : array, (pixels,)
        Sample point of each pixel, inside the aperture, scan frame, 1/Å.
    rows, qy, starts, counts, offsets, step, square, sums
        As for `echolith.inverse.overlap_kernels.project_overlaps`.
    """
    line = np.empty(2 * counts.max(), np.float32)
    marks = np.empty((2, counts.max() + 1))
    for r in range(rows.size):
        line[:] = 0
        marks[:] = 0
        for p in range(spectra.shape[0]):
            g, electrons = spectra[p, rows[r]], spectra[p, 0, 0]
            a, b, one, c, d, two = _stretches(
                kx[p], ky[p], qy[r], starts[r], step, square, counts[r]
            )
            _accumulate(g[2 * a : 2 * b], one, line[2 * a : 2 * b])
            _accumulate(g[2 * c : 2 * d], two, line[2 * c : 2 * d])
            _mark(a, b, electrons, marks)
            _mark(c, d, electrons, marks)
        area = weighted = 0.0
        for j in range(counts[r]):
            area += marks[0, j]
            weighted += marks[1, j]
            sums[0, offsets[r] + j] += line[2 * j]
            sums[1, offsets[r] + j] += line[2 * j + 1]
            sums[2, offsets[r] + j] += area
            sums[3, offsets[r] + j] += weighted


@compiled
def plain_transfer(
    weights: Any, kx: Any, ky: Any, qy: Any, starts: Any, counts: Any, offsets: Any,
    step: float, square: float, sums: Any,
) -> None:  # fmt: skip
    """Add sum_K w(Q, K) Gamma(K, Q) of a block of pixels to sums (Q,).

    Parameters
    ----------
    weights : array of float32, (pixels, Q), contiguous
    kx, ky, qy, starts, counts, offsets, step, square
        As for `project_plain_overlaps`.
    sums : array of float64, (Q,)
        Added to.
    """
    for r in range(counts.size):
        line = sums[offsets[r] : offsets[r] + counts[r]]
        for p in range(weights.shape[0]):
            w = weights[p][offsets[r] : offsets[r] + counts[r]]
            a, b, one, c, d, two = _stretches(
                kx[p], ky[p], qy[r], starts[r], step, square, counts[r]
            )
            _accumulate(w[a:b], one, line[a:b])
            _accumulate(w[c:d], two, line[c:d])


@compiled
def fill_both_sidebands(weights: Any, pixels: Any, opposite: Any, out: Any) -> None:
    """Write [w(K) - w(-K)] / 2 at the disc's pixels.

    Parameters
    ----------
    weights : array of float32, (batch, detector pixels), contiguous
    pixels, opposite : array of int, (pixels,)
        Where K and -K are.
    out : array of float32, (pixels, batch)
    """
    for p in range(pixels.size):
        for q in range(weights.shape[0]):
            out[p, q] = (weights[q, pixels[p]] - weights[q, opposite[p]]) / 2
