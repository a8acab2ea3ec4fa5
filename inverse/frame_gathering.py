"""Compiled transposition of counts: frame by frame to pixel by pixel, checked on the way."""

from typing import Any

import numpy as np

from echolith.inverse.overlap_kernels import compiled

TILE_FRAMES, TILE_PIXELS = 64, 1024
"""Counts transposed at a time: they stay in the second-level cache."""


@compiled
def _convert(counts: Any, out: Any) -> Any:
    """Copy counts to float32; return their sum and whether all are numbers of 0 or more."""
    total = 0 * counts[0]
    wrong = 0
    for c in range(counts.size):
        value = counts[c]
        out[c] = value
        total += value
        wrong += not value >= 0
    return total, wrong == 0


@compiled
def _transpose(buffer: Any, columns: Any, out: Any, row: int, first: int, size: int) -> None:
    """Copy columns of the buffer to rows of out from one on, four at a time."""
    whole = columns.size - columns.size % 4
    for n in range(0, whole, 4):
        a, b, c, d = columns[n], columns[n + 1], columns[n + 2], columns[n + 3]
        p = row + n
        # Views, because an index that might count from the end is checked at every step.
        to_a, to_b = out[p][first : first + size], out[p + 1][first : first + size]
        to_c, to_d = out[p + 2][first : first + size], out[p + 3][first : first + size]
        for f in range(to_a.size):
            to_a[f] = buffer[f, a]
            to_b[f] = buffer[f, b]
            to_c[f] = buffer[f, c]
            to_d[f] = buffer[f, d]
    for n in range(whole, columns.size):
        target = out[row + n][first : first + size]
        for f in range(target.size):
            target[f] = buffer[f, columns[n]]


@compiled
def gather(
    frames: Any, start: int, stop: int, pixels: Any, out: Any, first: int, totals: Any
) -> bool:
    """Transpose disc pixels from frame-major counts to pixel-major float32.

    Parameters
    ----------
    frames : array, (frames, detector pixels)
        Counts of some consecutive frames.
    start, stop : int
        Range of detector pixels read; all of them are added to ``totals``.
    pixels : array of int, (p,)
        Which detector pixels to keep, ascending.
    out : array of float32, (p, all frames)
        Receives the counts.
    first : int
        Global index of the first frame.
    totals : array of float64, (all frames,)
        Electrons per frame, added to.

    Returns
    -------
    bool
        True if every count read is a number of 0 or more.
    """
    buffer = np.empty((TILE_FRAMES, TILE_PIXELS + 16), np.float32)
    valid = True
    for tile in range(0, frames.shape[0], TILE_FRAMES):
        size = min(TILE_FRAMES, frames.shape[0] - tile)
        next_pixel = 0
        for left in range(start, stop, TILE_PIXELS):
            right = min(left + TILE_PIXELS, stop)
            for f in range(size):
                total, good = _convert(frames[tile + f, left:right], buffer[f])
                totals[first + tile + f] += total
                valid = valid and good
            last_pixel = next_pixel
            while last_pixel < pixels.size and pixels[last_pixel] < right:
                last_pixel += 1
            columns = pixels[next_pixel:last_pixel] - left
            _transpose(buffer, columns, out, next_pixel, first + tile, size)
            next_pixel = last_pixel
    return valid
