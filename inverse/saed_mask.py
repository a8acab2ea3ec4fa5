"""Pixels of a diffraction pattern that its rings do not explain: beam stop, spots, saturation."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter, grey_opening, label, median

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DARK = 0.5
"""Of the background at the same radius, below which a pixel lies behind the beam stop."""
WIDEST_RING = 30.0
"""Pixels; what rises and falls within less is no background."""
LEAST_PART = 30
"""Pixels of a dark region."""
STANDING_OUT = 4.0
"""Standard deviations of the blurred counts from which a pixel belongs to a spot."""
BLUR = 1.2
"""Pixels, standard deviation; that of a spot or less."""
MARGIN = 3
"""Pixels by which what is found is widened."""


def beam_stop_mask(counts: Array, radius: Array) -> Mask:
    """Return the pixels behind the beam stop: regions darker than the background between rings."""
    step = 2.0
    index = (radius / step).astype(np.intp)
    found = np.nan_to_num(median(counts, labels=index, index=np.arange(index.max() + 1)))
    found = grey_opening(found, size=int(WIDEST_RING / step))
    # The background falls outwards: nothing inside is darker than what is outside.
    middle = np.maximum.accumulate(found[::-1])[::-1][index]
    smooth = gaussian_filter(counts, 1.5)
    dark = smooth < DARK * middle - 2 * np.sqrt(middle / 8)
    parts, count = label(dark)
    if not count:
        return np.zeros(counts.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())[1:]
    large = np.append(False, sizes >= LEAST_PART)[parts]
    return np.asarray(binary_dilation(large, iterations=2 + MARGIN))


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
