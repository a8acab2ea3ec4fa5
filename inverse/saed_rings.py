"""The rotational average of a diffraction pattern without its spots, and its background."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.saed_centre import FittedGeometry
from echolith.inverse.saed_geometry import pixel_places, profile_of

Array = npt.NDArray[np.float64]

STEP = 1.0
"""Pixels, width of a bin."""
LEAST_PIXELS = 40
"""Of a bin that is used."""
DEGREE = 7
"""Of the polynomial that the logarithm of the background is."""
ROUNDS = 25


@dataclass(frozen=True, kw_only=True)
class RingProfile:
    """Mean counts of a pixel by radius.

    Attributes
    ----------
    radius, mean : array, (bins,)
        Pixels; electrons in a pixel.
    per_count : array, (bins,)
        Variance of the mean for one electron in a pixel.
    background : array, (bins,)
        Lower envelope, a smooth curve.
    """

    radius: Array
    mean: Array
    per_count: Array
    background: Array

    @property
    def variance(self) -> Array:
        """Of the mean, by counting, (bins,)."""
        return np.asarray(np.maximum(self.mean, self.per_count) * self.per_count)


def ring_profile(counts: Array, fitted: FittedGeometry) -> RingProfile:
    """Return the mean over each circle of the pixels that are no spots."""
    places = fitted.geometry.undistorted(pixel_places(counts.shape)[fitted.used])
    found = profile_of(counts[fitted.used], np.linalg.norm(places, axis=-1), step=STEP)
    keep = found.pixels >= LEAST_PIXELS
    radius, mean, pixels = found.radius[keep], found.mean[keep], found.pixels[keep]
    per_count = fitted.excess / pixels
    variance = np.maximum(mean, per_count) * per_count
    return RingProfile(
        radius=radius,
        mean=mean,
        per_count=per_count,
        background=lower_envelope(radius, mean, variance),
    )


def lower_envelope(radius: Array, mean: Array, variance: Array) -> Array:
    """Return a smooth curve below the rings: a polynomial for the logarithm, what rises cut off."""
    span = [float(radius[0]), float(radius[-1])]
    level = np.maximum(mean, 1e-2)
    cut = np.log(level)
    deviation = np.sqrt(variance) / level
    weight = 1 / np.maximum(deviation, 1e-3)
    for _ in range(ROUNDS):
        fit = np.polynomial.Legendre.fit(radius, cut, DEGREE, domain=span, w=weight)
        cut = np.minimum(np.log(level), fit(radius) + deviation)
    return np.asarray(np.exp(fit(radius)))
