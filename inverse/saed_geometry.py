"""Geometry of a diffraction pattern: radii about a centre in a stretched frame, profile over them.

A pixel x belongs to the radius |M^-1 (x - c)|, M = 1 + [[p, q], [q, -p]]: circles that the
projector lens made ellipses are circles again. The scale of the radius is that of an ellipse of
the same area to first order.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NAMES = ("centre_x", "centre_y", "stretch_p", "stretch_q")
UNITS = ("pixel", "pixel", "1", "1")


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the centre is, and how circles are stretched.

    Attributes
    ----------
    values : array, (4,)
        Centre x and y in pixels, p and q.
    """

    values: Array

    @property
    def inverse(self) -> Array:
        """M^-1, (2, 2)."""
        p, q = self.values[2:]
        return np.linalg.inv(np.array([[1 + p, q], [q, 1 - p]]))

    def undistorted(self, places: Array) -> Array:
        """Return places (..., 2) in pixels (x, y) relative to the centre, circles being circles."""
        return np.asarray((places - self.values[:2]) @ self.inverse.T)

    def distorted(self, places: Array) -> Array:
        """Return pixels (x, y) of places as from `undistorted`."""
        return np.asarray(places @ np.linalg.inv(self.inverse).T + self.values[:2])


def pixel_places(shape: tuple[int, ...]) -> Array:
    """Return (x, y) of every pixel, (rows, columns, 2)."""
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    return np.stack([x, y], axis=-1)


def radius_and_slopes(places: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return radii (n,) of places (n, 2), and their derivatives (n, 4) by the four values."""
    back = geometry.inverse
    away = (places - geometry.values[:2]) @ back.T
    radius = np.hypot(away[:, 0], away[:, 1])
    unit = (away / np.maximum(radius, 1e-9)[:, None]) @ back
    slopes = np.stack(
        [
            -unit[:, 0],
            -unit[:, 1],
            -unit[:, 0] * away[:, 0] + unit[:, 1] * away[:, 1],
            -unit[:, 0] * away[:, 1] - unit[:, 1] * away[:, 0],
        ],
        axis=1,
    )
    return radius, slopes


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Mean counts of pixels by radius.

    Attributes
    ----------
    radius, mean : array, (bins,)
        Mean radius and mean counts of the pixels of a bin, of bins that have any.
    pixels : array, (bins,)
    """

    radius: Array
    mean: Array
    pixels: Array

    def curve(self) -> CubicSpline:
        """Return the profile as a smooth function of the radius."""
        return CubicSpline(self.radius, self.mean)


def profile_of(counts: Array, radius: Array, *, step: float) -> Profile:
    """Return the mean of counts (n,) in bins of the radius (n,) of a width ``step``."""
    index = (radius / step).astype(np.intp)
    pixels = np.bincount(index)
    some = pixels > 0
    mean, places = (
        np.bincount(index, weights=values)[some] / pixels[some] for values in (counts, radius)
    )
    return Profile(radius=places, mean=mean, pixels=pixels[some].astype(float))
