"""Moments of the detector frames of a rocking-curve map: what is left of them to find a drift.

At every scan point a Gaussian on a flat background is fitted to the sum of its frames; inside the
ellipse that it marks, each frame's photons are counted, and their first and second moments taken.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

SPANS = 3.5
"""Standard deviations of the summed peak to the rim of the ellipse."""
STEPS = 12
"""Of expectation maximisation."""
LEAST = 30.0
"""Photons in the peak of a point; below, it has no data."""


def frame_moments(
    counts: npt.NDArray[np.integer], usable: npt.NDArray[np.bool_], monitor: Array
) -> Array:
    """Return sums over the frames of points, over the monitor.

    Parameters
    ----------
    counts : array, (points, eta, rows, columns)
        Photons.
    usable : array, (rows, columns)
        Pixels of the detector.
    monitor : array, (eta,)
        Intensity of the beam, relative; 0 for frames to leave out.

    Returns
    -------
    array, (points, eta, 7)
        Photons without background n, sums of n i, n j, n i i, n j j, n i j over pixels (row i,
        column j), and the background that was taken off n; NaN without a peak or beam.
    """
    found = np.full((*counts.shape[:2], 7), np.nan)
    for n, frames in enumerate(counts):
        _moments(frames, usable, monitor, found[n])
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _moments(
    frames: npt.NDArray[np.integer],
    usable: npt.NDArray[np.bool_],
    monitor: Array,
    found: Array,
) -> None:
    etas, rows, columns = frames.shape
    total = np.zeros((rows, columns))
    for e in range(etas):
        if monitor[e] > 0:
            total += frames[e]
    total = np.where(usable, total, 0.0)
    peak = np.zeros(6)
    if not _fit_sum(total, usable, peak):
        return
    background = peak[5] / monitor.sum()
    for e in range(etas):
        if monitor[e] <= 0:
            continue
        sums = np.zeros(7)
        for i in range(rows):
            for j in range(columns):
                y, x = i - peak[0], j - peak[1]
                if not usable[i, j] or (y / peak[2]) ** 2 + (x / peak[3]) ** 2 > SPANS**2:
                    continue
                photons = frames[e, i, j] / monitor[e] - background
                sums[0] += photons
                sums[1] += photons * i
                sums[2] += photons * j
                sums[3] += photons * i * i
                sums[4] += photons * j * j
                sums[5] += photons * i * j
                sums[6] += background
        found[e] = sums


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fit_sum(total: Array, usable: npt.NDArray[np.bool_], peak: Array) -> bool:
    """Fit place (2), widths (2), photons and background per pixel; whether there is a peak."""
    rows, columns = total.shape
    photons = total.sum()
    pixels = usable.sum()
    if photons < LEAST:
        return False
    _start(total, peak)
    peak[4], peak[5] = 0.7 * photons, 0.3 * photons / pixels
    for _ in range(STEPS):
        sums = np.zeros(5)
        scale = peak[4] / (2 * np.pi * peak[2] * peak[3])
        for i in range(rows):
            for j in range(columns):
                if total[i, j] == 0:
                    continue
                y, x = i - peak[0], j - peak[1]
                bright = scale * np.exp(-0.5 * ((y / peak[2]) ** 2 + (x / peak[3]) ** 2))
                share = total[i, j] * bright / (bright + peak[5])
                sums[0] += share
                sums[1] += share * y
                sums[2] += share * x
                sums[3] += share * y * y
                sums[4] += share * x * x
        if sums[0] < LEAST:
            return False
        for c in range(2):
            moved = sums[1 + c] / sums[0]
            peak[c] += moved
            peak[2 + c] = np.sqrt(max(sums[3 + c] / sums[0] - moved * moved, 0.1))
        peak[4], peak[5] = sums[0], max((photons - sums[0]) / pixels, 1e-9)
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _start(total: Array, peak: Array) -> None:
    """Put the peak at the brightest square of five pixels, a sixth of the detector wide."""
    rows, columns = total.shape
    best = -1.0
    for i in range(2, rows - 2):
        for j in range(2, columns - 2):
            bright = total[i - 2 : i + 3, j - 2 : j + 3].sum()
            if bright > best:
                best = bright
                peak[0], peak[1] = i, j
    peak[2], peak[3] = rows / 6, columns / 6
