"""Compiled inner loops of iterative ptychography: transmission, detection, gradients.

Every kernel is serial and releases the interpreter lock; callers run fixed groups of positions in
threads and add the groups' sums in their order, so that bits do not depend on the workers.
"""

import math
from typing import Any

from echolith.inverse.overlap_kernels import compiled


@compiled
def illuminate(probe: Any, along_y: Any, along_x: Any, waves: Any) -> None:
    """Write the spectra of probes moved by phase ramps: ``waves[p] = probe y[p] x[p]``."""
    for p in range(waves.shape[0]):
        for y in range(waves.shape[1]):
            factor = along_y[p, y]
            for x in range(waves.shape[2]):
                waves[p, y, x] = probe[y, x] * (factor * along_x[p, x])


@compiled
def transmit(waves: Any, transmission: Any, corners: Any, kept: Any) -> None:
    """Multiply waves by their windows of a slice in place and keep a copy."""
    for p in range(waves.shape[0]):
        top, left = corners[p, 0], corners[p, 1]
        for y in range(waves.shape[1]):
            row = transmission[top + y, left : left + waves.shape[2]]
            for x in range(waves.shape[2]):
                value = waves[p, y, x] * row[x]
                waves[p, y, x] = value
                kept[p, y, x] = value


@compiled
def multiply(waves: Any, kernel: Any) -> None:
    """Multiply every wave by one kernel in place."""
    for p in range(waves.shape[0]):
        for y in range(waves.shape[1]):
            for x in range(waves.shape[2]):
                waves[p, y, x] *= kernel[y, x]


@compiled
def absorb(adjoint: Any, kept: Any, transmission: Any, corners: Any, gradient: Any) -> None:
    """Add ``2 Im(adjoint conj(wave behind the slice))`` to the phase's gradient; go through it."""
    for p in range(adjoint.shape[0]):
        top, left = corners[p, 0], corners[p, 1]
        for y in range(adjoint.shape[1]):
            row = transmission[top + y, left : left + adjoint.shape[2]]
            sums = gradient[top + y, left : left + adjoint.shape[2]]
            for x in range(adjoint.shape[2]):
                a, w, t = adjoint[p, y, x], kept[p, y, x], row[x]
                sums[x] += 2 * (a.imag * w.real - a.real * w.imag)
                adjoint[p, y, x] = complex(
                    a.real * t.real + a.imag * t.imag, a.imag * t.real - a.real * t.imag
                )


@compiled
def compare(
    waves: Any,
    counts: Any,
    rows: Any,
    columns: Any,
    scale: float,
    background: float,
    amplitudes: bool,
    totals: Any,
) -> None:
    """Turn exit spectra into the likelihood's derivatives by their conjugates, in place.

    Parameters
    ----------
    waves : array of complex64, (p, ny, nx)
        Exit spectra; on return ``dL/d conj(wave)``, zero where nothing is detected.
    counts : array of float32, (p, dy, dx)
    rows, columns : array of int, (dy, sy) and (dx, sx)
        The spectrum's samples in each pixel.
    scale, background : float
        Electrons per unit intensity; electrons per pixel that no wave explains.
    amplitudes : bool
        Gaussian amplitudes in place of Poisson counts.
    totals : array of float64, (p, 2)
        Receives the deviance ``2 sum(n log(n / m) - n + m)`` and the model's electrons without
        background.
    """
    for p in range(waves.shape[0]):
        deviance, electrons = 0.0, 0.0
        wave = waves[p]
        slopes = wave.copy()
        wave[:] = 0
        for i in range(rows.shape[0]):
            for j in range(columns.shape[0]):
                total = 0.0
                for a in range(rows.shape[1]):
                    for b in range(columns.shape[1]):
                        value = slopes[rows[i, a], columns[j, b]]
                        total += value.real * value.real + value.imag * value.imag
                n, m = float(counts[p, i, j]), scale * total + background
                electrons += scale * total
                deviance += 2 * (m - n)
                if n > 0:
                    deviance += 2 * n * math.log(n / m)
                slope = 2 * (1 - math.sqrt(n / m)) if amplitudes else 1 - n / m
                for a in range(rows.shape[1]):
                    for b in range(columns.shape[1]):
                        y, x = rows[i, a], columns[j, b]
                        wave[y, x] = slopes[y, x] * (scale * slope)
        totals[p, 0] = deviance
        totals[p, 1] = electrons


@compiled
def detect(waves: Any, rows: Any, columns: Any, scale: float, frames: Any) -> None:
    """Write the counts of every pixel, (p, dy, dx), without background."""
    for p in range(waves.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(columns.shape[0]):
                total = 0.0
                for a in range(rows.shape[1]):
                    for b in range(columns.shape[1]):
                        value = waves[p, rows[i, a], columns[j, b]]
                        total += value.real * value.real + value.imag * value.imag
                frames[p, i, j] = scale * total


@compiled
def detect_change(
    waves: Any, change: Any, rows: Any, columns: Any, scale: float, frames: Any
) -> None:
    """Write ``2 Re(conj(wave) change)`` summed over every pixel: the counts' derivative."""
    for p in range(waves.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(columns.shape[0]):
                total = 0.0
                for a in range(rows.shape[1]):
                    for b in range(columns.shape[1]):
                        y, x = rows[i, a], columns[j, b]
                        w, c = waves[p, y, x], change[p, y, x]
                        total += w.real * c.real + w.imag * c.imag
                frames[p, i, j] = 2 * scale * total
