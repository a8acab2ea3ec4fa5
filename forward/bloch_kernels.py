"""Compiled loops of the Bloch-phase engine.

No loop is shared out between threads and every sum runs in a fixed order, so that the bits of a
result depend neither on the number of workers nor on what is computed together (a matrix product
by BLAS promises neither).
"""

import numba
import numpy as np
import numpy.typing as npt

PIXELS_AT_ONCE = 1024
"""Of a frame, in float32: the sums stay in the first-level cache."""


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def add_pairs(
    waves: npt.NDArray[np.complex128],
    k2: npt.NDArray[np.float64],
    harmonics: npt.NDArray[np.int64],
    focal: float,
    sums: npt.NDArray[np.float64],
) -> None:
    """Add the harmonics over probe positions of ``sum |sum_i a_i exp(-2 pi i g_i.R)|²``.

    ``c_h += sum_(i, j: g_i - g_j = h) a_i conj(a_j) exp(-focal (k2_i - k2_j)²)``.

    Parameters
    ----------
    waves : array of complex128, (samples, waves)
        Amplitudes a; the intensities of the samples are added.
    k2 : array, (samples, waves)
        Squared lengths of their incident wave vectors, 1/Å².
    harmonics : array of int, (waves, waves)
        Index of h for each pair; negative: not wanted.
    focal : float
        ``(pi lambda sigma)² / 2``, Å⁴ (Gaussian spread of defocus of standard deviation sigma).
    sums : array of float64, (2 harmonics - 1,)
        Added to in place: c_0, then ``2 Re c_h`` and ``2 Im c_h`` of each other h.
    """
    samples, count = waves.shape
    used = np.empty(count, dtype=np.int64)
    for s in range(samples):
        n = 0
        for i in range(count):
            if waves[s, i] != 0:
                used[n] = i
                n += 1
        for a in range(n):
            i = used[a]
            for b in range(n):
                j = used[b]
                h = harmonics[i, j]
                if h < 0:
                    continue
                product = waves[s, i] * np.conj(waves[s, j])
                if focal > 0:
                    product *= np.exp(-focal * (k2[s, i] - k2[s, j]) ** 2)
                if h == 0:
                    sums[0] += product.real
                else:
                    sums[2 * h - 1] += 2 * product.real
                    sums[2 * h] += 2 * product.imag


@numba.njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator, unused-ignore]
def synthesise(
    basis: npt.NDArray[np.float32],
    coefficients: npt.NDArray[np.float32],
    frames: npt.NDArray[np.float32],
) -> None:
    """Fill frames with ``max(0, basis @ coefficients)``.

    Parameters
    ----------
    basis : array of float32, (positions, terms)
        Number of terms a multiple of 8.
    coefficients : array of float32, (terms, pixels)
    frames : array of float32, (positions, pixels)
        Overwritten. Intensities are not negative; the sum may fall below zero by rounding.
    """
    positions, terms = basis.shape
    pixels = coefficients.shape[1]
    for first in range(0, pixels, PIXELS_AT_ONCE):
        last = min(first + PIXELS_AT_ONCE, pixels)
        for x in range(positions):
            out = frames[x, first:last]
            out[:] = 0
            for t in range(0, terms, 8):
                e0, e1, e2, e3 = basis[x, t], basis[x, t + 1], basis[x, t + 2], basis[x, t + 3]
                e4, e5, e6, e7 = basis[x, t + 4], basis[x, t + 5], basis[x, t + 6], basis[x, t + 7]
                c0, c1 = coefficients[t, first:last], coefficients[t + 1, first:last]
                c2, c3 = coefficients[t + 2, first:last], coefficients[t + 3, first:last]
                c4, c5 = coefficients[t + 4, first:last], coefficients[t + 5, first:last]
                c6, c7 = coefficients[t + 6, first:last], coefficients[t + 7, first:last]
                for p in range(last - first):
                    low = (e0 * c0[p] + e1 * c1[p]) + (e2 * c2[p] + e3 * c3[p])
                    high = (e4 * c4[p] + e5 * c5[p]) + (e6 * c6[p] + e7 * c7[p])
                    out[p] += low + high
            for p in range(last - first):
                if out[p] < 0:
                    out[p] = np.float32(0)
