"""Centre and ellipse of a diffraction pattern from all its rings at once, with uncertainties.

Nothing is assumed of the rings: the profile is the mean over each circle, and centre and stretch
are those for which no variation along circles is left, by Gauss-Newton on the Poisson likelihood.
The profile being free, only the part of a derivative that varies along a circle counts, which is
the efficient score where a function is unknown (Bickel, Klaassen, Ritov and Wellner, *Efficient
and Adaptive Estimation for Semiparametric Models*, 1993, section 4.2).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.signal import savgol_coeffs, savgol_filter

from echolith.inverse.saed_geometry import (
    Geometry,
    Profile,
    pixel_places,
    profile_of,
    radius_and_slopes,
)
from echolith.inverse.saed_mask import beam_stop_mask, saturated_mask, spot_mask

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BLURS = (6.0, 3.0, 1.5)
"""Pixels; the pattern is blurred so before the centre is found to a fraction of it."""
STEP = 0.5
"""Pixels, width of the bins of the profile."""
CLIPPED = 2.0
"""Median absolute deviations to which spots are cut down while the pattern is blurred."""
ITERATIONS = 12
SMOOTH = (9, 4)
"""Bins of the profile, and degree of the polynomial through them whose slope is taken."""
LEAST_PIXELS = 60
"""Of a circle whose slope counts."""
SETTLED = 1e-3
"""Of a standard deviation, below which a step is the last."""


@dataclass(frozen=True, kw_only=True)
class FittedGeometry:
    """Centre and stretch with their covariance.

    Attributes
    ----------
    geometry : Geometry
    covariance : array, (4, 4)
    used : array of bool, (rows, columns)
        Pixels of rings and background: neither beam stop nor spots nor saturated.
    seen : array of bool, (rows, columns)
        Pixels that the beam stop leaves free and that are not saturated.
    stop : array of bool, (rows, columns)
        Pixels behind the beam stop.
    excess : float
        Variance of the counts about the profile over that of counting.
    """

    geometry: Geometry
    covariance: Array
    used: Mask
    seen: Mask
    stop: Mask
    excess: float


def fit_geometry(counts: Array, *, saturation: float | None = None) -> FittedGeometry:
    """Fit centre and stretch of a pattern.

    Parameters
    ----------
    counts : array, (rows, columns)
    saturation : float, optional
        Counts at which a pixel is full.
    """
    places = pixel_places(counts.shape)
    geometry = Geometry(values=np.array([*inversion_centre(counts), 0.0, 0.0]))
    full = saturated_mask(counts, saturation)
    for blur in BLURS:
        stop = beam_stop_mask(counts, _radius(places, geometry))
        geometry = _blurred_fit(counts, places, geometry, ~(stop | full), blur)
    stop = beam_stop_mask(counts, _radius(places, geometry))
    seen = ~(stop | full)
    used = seen
    for _ in range(2):
        used = seen & ~spot_mask(counts, _expected(counts, _radius(places, geometry), used))
        geometry, covariance, excess = _fit(counts[used], places[used], geometry)
    return FittedGeometry(
        geometry=geometry,
        covariance=covariance,
        used=used,
        seen=seen,
        stop=stop,
        excess=excess,
    )


def inversion_centre(counts: Array) -> tuple[float, float]:
    """Return the point (x, y) about which a pattern is most like itself inverted, pixels.

    The maximum of the convolution of its fine structure with itself; edges of a beam stop, which
    have no counterpart, are cut down with the strongest spots.
    """
    logarithm = np.log1p(gaussian_filter(counts, 1.5))
    fine = logarithm - gaussian_filter(logarithm, 6.0)
    limit = 3 * np.median(np.abs(fine)) + 1e-12
    fine = np.clip(fine, -limit, limit)
    shape = [next_fast_len(2 * n, real=True) for n in counts.shape]
    transform = rfft2(fine, shape)
    alike = irfft2(transform**2, shape)[: 2 * counts.shape[0], : 2 * counts.shape[1]]
    y, x = np.unravel_index(int(alike.argmax()), alike.shape)
    return float(x) / 2, float(y) / 2


def _radius(places: Array, geometry: Geometry) -> Array:
    return np.asarray(np.linalg.norm(geometry.undistorted(places), axis=-1))


def expected_counts(counts: Array, fitted: FittedGeometry) -> Array:
    """Return what rings and background give every pixel, without the spots."""
    return _expected(counts, _radius(pixel_places(counts.shape), fitted.geometry), fitted.used)


def _expected(counts: Array, radius: Array, used: Mask) -> Array:
    """Return the mean over circles, spots cut down."""
    profile = profile_of(counts[used], radius[used], step=STEP)
    mean = np.interp(radius, profile.radius, profile.mean)
    # Spots lift the mean; counts cut at four deviations of it lift it no more.
    for _ in range(3):
        cut = np.minimum(counts, mean + 4 * np.sqrt(np.maximum(mean, 1)))
        profile = profile_of(cut[used], radius[used], step=STEP)
        mean = np.interp(radius, profile.radius, profile.mean)
    return np.asarray(mean)


def _blurred_fit(
    counts: Array, places: Array, geometry: Geometry, seen: Mask, blur: float
) -> Geometry:
    """Return the geometry of the blurred logarithm of a pattern, spots cut down."""
    weight = gaussian_filter(seen.astype(float), blur)
    logarithm = np.log1p(counts) * seen
    smooth = gaussian_filter(logarithm, blur) / np.maximum(weight, 1e-6)
    chosen = seen & (weight > 0.5)
    stride = max(1, int(blur / 1.5))
    chosen[np.add.outer(*(np.arange(n) for n in chosen.shape)) % stride > 0] = False
    values, points = smooth[chosen], places[chosen]
    for _ in range(ITERATIONS):
        radius, slopes = radius_and_slopes(points, geometry)
        profile = profile_of(values, radius, step=max(1.0, blur / 2))
        curve = profile.curve()
        rest = values - curve(radius)
        limit = CLIPPED * np.median(np.abs(rest)) + 1e-12
        design = curve(radius, 1)[:, None] * slopes
        normal = design.T @ design
        step = np.linalg.lstsq(normal, design.T @ np.clip(rest, -limit, limit), rcond=1e-10)[0]
        step = _bounded(step, blur)
        geometry = Geometry(values=geometry.values + step)
        if np.abs(step / [1, 1, 1e-2, 1e-2]).max() < 0.02:
            break
    return geometry


def _bounded(step: Array, blur: float) -> Array:
    size = float(np.abs(step / [1, 1, 1e-2, 1e-2]).max())
    return np.asarray(step * min(1.0, blur / max(size, 1e-12)))


def _fit(counts: Array, places: Array, geometry: Geometry) -> tuple[Geometry, Array, float]:
    """Return geometry, covariance and excess by Gauss-Newton on the counts as they are."""
    for _ in range(ITERATIONS):
        radius, slopes = radius_and_slopes(places, geometry)
        profile = profile_of(counts, radius, step=STEP)
        mean = np.maximum(profile.curve()(radius), 0.02)
        design = significant_slope(profile)(radius)[:, None] * slopes
        design -= _circle_means(design, radius)
        weighted = design / mean[:, None]
        information = design.T @ weighted
        rest = counts - mean
        if not np.linalg.cond(information) < 1e12:
            return geometry, np.full((4, 4), np.inf), 1.0
        step = np.linalg.solve(information, weighted.T @ rest)
        geometry = Geometry(values=geometry.values + _bounded(step, 1.0))
        if np.sqrt(step @ information @ step) < SETTLED:
            break
    excess = max(1.0, float(np.mean(rest**2 / mean)))
    return geometry, np.linalg.inv(information) * excess, excess


def significant_slope(profile: Profile) -> CubicSpline:
    """Return the slope of a profile by radius, nothing where it is no more than noise.

    Noise in the slope would align noise in the pixels with it, and feign information.
    """
    slope = savgol_filter(profile.mean, *SMOOTH, deriv=1, delta=STEP)
    variance = np.maximum(profile.mean, 0.02) / profile.pixels
    variance *= (savgol_coeffs(*SMOOTH, deriv=1, delta=STEP) ** 2).sum()
    power, noise = (gaussian_filter1d(v, 3.0) for v in (slope**2, variance))
    true = np.clip(1 - noise / np.maximum(power, 1e-300), 0, 1)
    # In a corner of the detector a spot fills the few pixels of a circle.
    sure = (true > 0.7) & (profile.pixels >= LEAST_PIXELS)
    return CubicSpline(profile.radius, slope * np.where(sure, true, 0.0))


def _circle_means(design: Array, radius: Array) -> Array:
    index = (radius / STEP).astype(np.intp)
    pixels = np.maximum(np.bincount(index), 1)
    return np.stack(
        [(np.bincount(index, weights=column) / pixels)[index] for column in design.T], axis=1
    )
