"""Pixels of a diffraction pattern that its rings do not explain: beam stop, spots, saturation."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter, label, median

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DARK = 0.5
"""Of the median at the same radius, below which a pixel lies behind the beam stop."""
STANDING_OUT = 4.0
"""Standard deviations of the blurred counts from which a pixel belongs to a spot."""
BLUR = 1.2
"""Pixels, standard deviation; that of a spot or less."""
MARGIN = 3
"""Pixels by which what is found is widened."""


def beam_stop_mask(counts: Array, radius: Array) -> Mask:
    """Return the pixels behind the beam stop: a dark region, the largest there is."""
    index = (radius / 2.0).astype(np.intp)
    found = median(counts, labels=index, index=np.arange(index.max() + 1))
    # The background falls outwards: nothing inside is darker than what is outside.
    middle = np.maximum.accumulate(np.nan_to_num(found)[::-1])[::-1][index]
    smooth = gaussian_filter(counts, 1.5)
    dark = smooth < DARK * middle - 2 * np.sqrt(middle / 8)
    parts, count = label(dark)
    if not count:
        return np.zeros(counts.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())[1:]
    largest = parts == 1 + int(sizes.argmax())
    return np.asarray(binary_dilation(largest, iterations=2 + MARGIN))


def saturated_mask(counts: Array, saturation: float | None) -> Mask:
    """Return the pixels that count no further, and their neighbours."""
    if saturation is None:
        return np.zeros(counts.shape, dtype=bool)
    full = counts >= saturation
    return np.asarray(binary_dilation(full, iterations=MARGIN)) if full.any() else full


def spot_mask(counts: Array, expected: Array) -> Mask:
    """Return the pixels of spots: those above what is expected of rings and background."""
    share = 4 * np.pi * BLUR**2
    excess = gaussian_filter(counts - expected, BLUR)
    spots = excess > STANDING_OUT * np.sqrt(np.maximum(expected, 0.05) / share)
    return np.asarray(binary_dilation(spots, iterations=MARGIN))
