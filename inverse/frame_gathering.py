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
            while next_pixel < pixels.size and pixels[next_pixel] < right:
                line = out[next_pixel, first + tile : first + tile + size]
                column = pixels[next_pixel] - left
                for f in range(line.size):
                    line[f] = buffer[f, column]
                next_pixel += 1
    return valid
