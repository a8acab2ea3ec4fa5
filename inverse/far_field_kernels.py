"""Compiled inner loops of far-field ptychography, one position at a time, float32.

Waves are transformed without normalisation; kernels put the factor 1 / n² where it belongs.
"""

from typing import Any

import numpy as np

from echolith.inverse.overlap_kernels import compiled

ONE, TINY = np.float32(1), np.float32(1e-12)
MOST, LARGEST = np.float32(1e6), np.float32(4)
"""Of ratios: against overflow; and in a gradient, so that one count where almost none was modelled
does not throw the whole wave."""


@compiled
def illuminate(spectrum: Any, along_y: Any, along_x: Any, scale: Any, probe: Any) -> None:
    """Write the spectrum of the probe moved by phase ramps."""
    for y in range(probe.shape[0]):
        factor = along_y[y] * scale
        for x in range(probe.shape[1]):
            probe[y, x] = spectrum[y, x] * (factor * along_x[x])


@compiled
def leave(probe: Any, transmission: Any, top: int, left: int, wave: Any) -> None:
    """Write the exit wave of the window at (top, left)."""
    for y in range(wave.shape[0]):
        row = transmission[top + y, left : left + wave.shape[1]]
        for x in range(wave.shape[1]):
            wave[y, x] = probe[y, x] * row[x]


@compiled
def measure(
    wave: Any,
    counts: Any,
    background: Any,
    reaching: Any,
    offset: Any,
    ratio_sum: Any,
    power: int,
    scale: Any,
) -> float:
    """Scale every wave towards its counts; return the deviance of the frame.

    ``scale`` is 1 / n², the modelled counts m are ``reaching (|wave|² scale + background) +
    offset``, r = n / m; waves are multiplied by sqrt(r) (``power`` 1: projection on the modulus) or
    by 1 + reaching (r - 1) (``power`` 2: the gradient of the Poisson likelihood). Pixels of
    negative counts, or that nothing reaches, are unknown: their wave stays. r is added to
    ``ratio_sum``. The deviance is Freeman and Tukey's, 4 sum (sqrt(n) - sqrt(m))², which needs no
    logarithm.
    """
    deviance = 0.0
    for y in range(wave.shape[0]):
        total: Any = np.float32(0)
        for x in range(wave.shape[1]):
            share = reaching[y, x]
            if counts[y, x] < 0 or share == 0:
                ratio_sum[y, x] += ONE
                continue
            value = wave[y, x]
            model = (value.real * value.real + value.imag * value.imag) * scale
            model = max((model + background[y, x]) * share + offset, TINY)
            ratio = min(counts[y, x] / model, MOST)
            root = np.sqrt(ratio)
            ratio_sum[y, x] += ratio
            total += model * (root - ONE) * (root - ONE)
            wave[y, x] = value * (root if power == 1 else ONE + share * (min(ratio, LARGEST) - ONE))
        deviance += 4 * total
    return deviance


@compiled
def relax(
    wave: Any,
    probe: Any,
    transmission: Any,
    top: int,
    left: int,
    settings: Any,
    change: Any,
) -> None:
    """Update the window of the object and write the change of the probe (rPIE).

    ``settings``, float32: scale of the wave (1 / n²), 1 - alpha, alpha times the largest
    |probe|², alpha times the largest |object|², step of the probe.
    """
    scale, share = settings[0], settings[1]
    for y in range(wave.shape[0]):
        row = transmission[top + y, left : left + wave.shape[1]]
        for x in range(wave.shape[1]):
            p, o = probe[y, x], row[x]
            d = wave[y, x] * scale - p * o
            weight = share * (p.real * p.real + p.imag * p.imag) + settings[2]
            row[x] = o + d * np.conj(p) * (ONE / weight)
            weight = share * (o.real * o.real + o.imag * o.imag) + settings[3]
            change[y, x] = d * np.conj(o) * (settings[4] / weight)


@compiled
def move_back(found: Any, along_y: Any, along_x: Any, spectrum: Any) -> None:
    """Add a spectrum found at a position, moved back to the middle, to a sum."""
    for y in range(found.shape[0]):
        factor = np.conj(along_y[y])
        for x in range(found.shape[1]):
            spectrum[y, x] += found[y, x] * (factor * np.conj(along_x[x]))


@compiled
def gather(wave: Any, probe: Any, top: int, left: int, above: Any, below: Any) -> None:
    """Add conj(probe) wave and |probe|² to the sums over all positions."""
    for y in range(wave.shape[0]):
        for x in range(wave.shape[1]):
            p = probe[y, x]
            above[top + y, left + x] += wave[y, x] * np.conj(p)
            below[top + y, left + x] += p.real * p.real + p.imag * p.imag


@compiled
def gather_probe(wave: Any, transmission: Any, top: int, left: int, above: Any, below: Any) -> None:
    """Add conj(object) wave and |object|² to the sums over all positions."""
    for y in range(wave.shape[0]):
        for x in range(wave.shape[1]):
            o = transmission[top + y, left + x]
            above[y, x] += wave[y, x] * np.conj(o)
            below[y, x] += o.real * o.real + o.imag * o.imag


@compiled
def displacement(
    wave: Any,
    along_y: Any,
    along_x: Any,
    counts: Any,
    background: Any,
    reaching: Any,
    offset: Any,
    scale: Any,
    sums: Any,
) -> None:
    """Write the normal equations of a displacement of the probe from one frame.

    With amplitudes A = sqrt(m), derivatives J along y and x: ``sums`` are J_y J_y, J_y J_x,
    J_x J_x, J_y (sqrt(n) - A), J_x (sqrt(n) - A), each summed over the frame. A count has the
    variance 1/4 in sqrt(n) and the Fisher information 4 J J.
    """
    for y in range(wave.shape[0]):
        for x in range(wave.shape[1]):
            share = reaching[y, x]
            if counts[y, x] < 0 or share == 0:
                continue
            v, a, b = wave[y, x], along_y[y, x], along_x[y, x]
            model = (v.real * v.real + v.imag * v.imag) * scale
            root = np.sqrt(max((model + background[y, x]) * share + offset, TINY))
            factor = share * scale / root
            slope_y = (v.real * a.real + v.imag * a.imag) * factor
            slope_x = (v.real * b.real + v.imag * b.imag) * factor
            miss = np.sqrt(counts[y, x]) - root
            sums[0] += slope_y * slope_y
            sums[1] += slope_y * slope_x
            sums[2] += slope_x * slope_x
            sums[3] += slope_y * miss
            sums[4] += slope_x * miss
