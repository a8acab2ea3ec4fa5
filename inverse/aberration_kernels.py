"""Compiled loops of the aberration fit: power in the overlaps, Gamma and its derivatives."""

import math
from typing import Any

import numpy as np

from echolith.inverse.aberration_basis import fill_basis
from echolith.inverse.overlap_kernels import compiled, interval


@compiled
def add_power(
    spectra: Any, kx: Any, ky: Any, rows: Any, qy: Any, starts: Any, counts: Any, offsets: Any,
    step: float, square: float, sums: Any,
) -> None:  # fmt: skip
    """Add one block of pixels to the power in the overlaps.

    Parameters
    ----------
    spectra : array of complex64, (pixels, scan rows, columns)
        sum_R I(K, R) exp(-2 pi i Q R).
    kx, ky : array, (pixels,)
        A point of each pixel inside the aperture, scan frame, 1/Å.
    rows, qy, starts, counts, offsets, step, square
        As for `echolith.inverse.overlap_kernels.project_overlaps`.
    sums : array of float64, (2, Q)
        Added to: pixels in an overlap, and sum |S|² in units of its noise.
    """
    for p in range(spectra.shape[0]):
        noise = spectra[p, 0, 0].real
        if noise <= 0:
            continue
        for r in range(rows.size):
            a, b = interval(kx[p] - starts[r], ky[p] - qy[r], square, step, counts[r])
            c, d = interval(-kx[p] - starts[r], ky[p] + qy[r], square, step, counts[r])
            line = spectra[p, rows[r]]
            # Intervals that overlap are one: no pixel counts twice.
            if b > a and d > c and c < b and a < d:
                a, b, d = min(a, c), max(b, d), c
            for low, high in ((a, b), (c, d)):
                for j in range(low, high):
                    sums[0, offsets[r] + j] += 1
                    sums[1, offsets[r] + j] += (line[j].real ** 2 + line[j].imag ** 2) / noise


@compiled
def damping(u: float, focal: float, thick: float) -> float:
    """Return what focal spread and thickness leave of a sideband.

    ``u = (|K|² - |K'|²) / k0²`` of its two beams; ``focal`` is the phase of one standard deviation
    of focal spread at the rim, ``thick`` that of half the thickness.
    """
    value = math.exp(-0.5 * (focal * u) ** 2)
    angle = thick * u
    return value if abs(angle) < 1e-6 else value * math.sin(angle) / angle


@compiled
def fill_overlap(
    x: Any, y: Any, samples: Any, qx: float, qy: float, square: float, powers: Any, phases: Any,
    focal: float, thick: float, sidebands: Any, jacobian: Any,
) -> None:  # fmt: skip
    """Write both sidebands and their derivatives by the components, summed over a pixel's samples.

    ``psi*(K) psi(K - Q)`` and ``-psi(K) psi*(K + Q)``, ``psi = A exp(-i chi)``; their sum is Gamma.

    Parameters
    ----------
    x, y : array, (pixels, most samples)
        Samples inside the aperture, specimen frame, in units of its radius.
    samples : array of int, (pixels,)
    qx, qy : float
        The spatial frequency, in the same units.
    square : float
        Square of the aperture's radius, 1 and rounding.
    powers, phases
        From `exponents`; rad at the rim.
    focal, thick
        As for `damping`.
    sidebands, jacobian : array of complex, (2, pixels) and (2, pixels, components)
        Receive the result.
    """
    count = phases.size
    here, there = np.empty(count), np.empty(count)
    sidebands[:] = 0
    jacobian[:] = 0
    for p in range(samples.size):
        for s in range(samples[p]):
            kx, ky = x[p, s], y[p, s]
            fill_basis(kx, ky, powers, here)
            for band in range(2):
                sign = 2.0 * band - 1.0
                tx, ty = kx + sign * qx, ky + sign * qy
                if tx * tx + ty * ty > square:
                    continue
                fill_basis(tx, ty, powers, there)
                phase = 0.0
                for j in range(count):
                    there[j] = sign * (there[j] - here[j])
                    phase += phases[j] * there[j]
                u = kx * kx + ky * ky - tx * tx - ty * ty
                height = -sign * damping(u, focal, thick)
                value = height * complex(math.cos(phase), math.sin(phase))
                sidebands[band, p] += value
                value *= 1j
                for j in range(count):
                    jacobian[band, p, j] += value * there[j]


@compiled
def add_pairs(
    x: Any, y: Any, first: Any, second: Any, sign: Any, qx: float, qy: float, signal: Any,
    weight: float, powers: Any, phases: Any, gradient: Any, matrix: Any,
) -> None:  # fmt: skip
    """Add the phase differences of pairs of pixels in one sideband to a normal equation.

    Parameters
    ----------
    x, y : array, (pixels,)
        Centres of the pixels of one Q, specimen frame, in units of the aperture's radius.
    first, second : array of int, (pairs,)
        Places of the two pixels.
    sign : array, (pairs,)
        -1 for the sideband of K - Q, +1 for that of K + Q.
    qx, qy : float
    signal : array of complex, (pairs,)
        S(second) S*(first), in units of its noise.
    weight : float
        Expected modulus of ``signal``.
    powers, phases
        As for `fill_overlap`.
    gradient, matrix : array, (components,) and (components, components)
        Added to.
    """
    count = phases.size
    values = np.empty((4, count))
    for i in range(first.size):
        a, b, s = first[i], second[i], sign[i]
        fill_basis(x[a], y[a], powers, values[0])
        fill_basis(x[a] + s * qx, y[a] + s * qy, powers, values[1])
        fill_basis(x[b], y[b], powers, values[2])
        fill_basis(x[b] + s * qx, y[b] + s * qy, powers, values[3])
        phase = 0.0
        for j in range(count):
            values[0, j] = s * (values[3, j] - values[2, j] - values[1, j] + values[0, j])
            phase += phases[j] * values[0, j]
        left = (signal[i] * complex(math.cos(phase), -math.sin(phase))).imag
        for j in range(count):
            gradient[j] += left * values[0, j]
            for k in range(j + 1):
                matrix[j, k] += weight * values[0, j] * values[0, k]
