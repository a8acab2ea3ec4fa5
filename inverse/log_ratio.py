"""Logarithms of unfiltered by zero-loss images, the film beside the particle, and the particle."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    binary_opening,
    distance_transform_edt,
    maximum_filter,
    minimum_filter,
)

from echolith.inverse.filtered_registration import Moved

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLIP = 2.5
"""Standard deviations from the film's level within which a pixel shows film."""
SURE = 3.0
"""Standard deviations above it from which a pixel shows the particle."""
RIM = 2
"""Pixels on either side of the particle's outline, neither film nor inside."""
LEAST_FILM = 16
"""Pixels of film that its level is taken from."""


class Film(NamedTuple):
    """Level of the film in a map and its variance; where the particle is.

    ``particle`` with the rim about it, ``inside`` without its own. Without enough film the level is
    NaN.
    """

    level: float
    variance: float
    particle: Mask
    inside: Mask


def log_ratio(unfiltered: Moved, filtered: Moved, *, exposure: float) -> Moved:
    """Return ``ln(I_t / I_0)`` of two images.

    ``E ln n = ln mean - variance / (2 mean²)``: the bias of few electrons is taken out (for Poisson
    counts this is ln(n + 1/2): Haldane, Ann. Hum. Genet. 20 (1956) 309).

    Parameters
    ----------
    unfiltered, filtered : Moved
        Electrons.
    exposure : float
        Dose of the unfiltered image by that of the filtered one.
    """
    logs = [np.log(i.values) + i.variance / (2 * i.values**2) for i in (unfiltered, filtered)]
    variance, white = (
        sum(getattr(i, name) / i.values**2 for i in (unfiltered, filtered))
        for name in ("variance", "white")
    )
    return Moved(logs[0] - logs[1] - np.log(exposure), variance, white)


def film_of(ratio: Moved) -> Film:
    """Tell film from particle in a map: the film is the lowest level that many pixels share."""
    known = np.isfinite(ratio.values)
    values, std = ratio.values[known], np.sqrt(ratio.variance[known])
    none = np.zeros(known.shape, dtype=bool)
    if len(values) < LEAST_FILM:
        return Film(np.nan, np.nan, none, none)
    level = float(np.percentile(values, 10))
    for _ in range(20):
        near = np.abs(values - level) < CLIP * std
        level = float(values[near].mean()) if near.any() else level
    above = np.zeros(known.shape, dtype=bool)
    above[known] = values - level > SURE * std
    # Single pixels stand out by chance.
    body = binary_opening(above, np.ones((2, 2)))
    particle = binary_dilation(body, iterations=RIM)
    inside = binary_erosion(body | ~known, np.ones((2 * RIM + 1, 2 * RIM + 1)), border_value=1)
    inside &= body
    film = known & ~particle
    if film.sum() < LEAST_FILM:
        return Film(np.nan, np.nan, particle, inside)
    weight = 1 / ratio.white[film]
    mean = float((ratio.values[film] * weight).sum() / weight.sum())
    return Film(mean, float(1 / weight.sum()), particle, inside)


def mixing(values: Array, std: Array) -> Array:
    """Return the variance of a quantity within a pixel, from its neighbours.

    ``(b - v) (v - a)``, a to b the range of the neighbours: exact where a step runs through the
    pixel, too large (by little) on slopes; 0 where the range is what noise makes of it.
    """
    filled = _filled(values)
    low, high = minimum_filter(filled, 3), maximum_filter(filled, 3)
    return np.where(high - low > 2 * SURE * std, (high - filled) * (filled - low), 0.0)


def steps(values: Array, std: Array, darkness: Array) -> Array:
    """Return what a map lacks at steps, since intensities were averaged and not their logarithms.

    A pixel of which the part w lies beyond a step counts ``(1 - w) A + w B`` electrons without
    loss, A and B those of its brightest and darkest neighbour: that tells w, and the mean of the
    map, ``(1 - w) a + w b``. On a slope nothing is lacking: it has no second difference. Only
    what stands out of the noise is taken.

    Parameters
    ----------
    values, std : array (y, x)
        Logarithms of ratios.
    darkness : array (y, x)
        Minus the logarithm of the counts without loss.
    """
    filled, dark = _filled(values), _filled(darkness)
    low, high = minimum_filter(filled, 3), maximum_filter(filled, 3)
    bright = minimum_filter(dark, 3)
    span = np.maximum(maximum_filter(dark, 3) - bright, 1e-9)
    part = np.expm1(bright - dark) / np.expm1(-span)
    lacking = np.maximum(low + part * (high - low) - filled, 0)
    bend = maximum_filter(_second_difference(dark), 3)
    return np.where(high - low > 2 * SURE * std, lacking * np.minimum(2 * bend / span, 1) ** 2, 0.0)


def _second_difference(values: Array) -> Array:
    """Return the larger size of the two along the axes."""
    padded = np.pad(values, 1, mode="edge")
    along = (np.diff(padded, 2, axis=0)[:, 1:-1], np.diff(padded, 2, axis=1)[1:-1])
    return np.maximum(*(np.abs(one) for one in along))


def _filled(values: Array) -> Array:
    """Return values with what is not known as next to it."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(values.shape)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
