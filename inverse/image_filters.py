"""Filters of lattice images: background subtraction, Wiener, low-pass, Bragg mask.

They make images to look at. None of them tells a lattice from noise: the background subtraction
passes an eighth of the power of pure noise, in speckles that look like lattice fringes
(`echolith.inverse.lattice` gives the probability).
"""

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

LEAST = 8
"""Values of the spectrum in a ring, on average."""


def background_subtracted(image: npt.ArrayLike) -> Array:
    """Return the average background subtraction filter of an image.

    ``F' = F max(0, |F| - B) / |F|``, B the rotational average of |F|.

    Parameters
    ----------
    image : array, (ny, nx)

    References
    ----------
    Kilaas, J. Microsc. 190 (1998) 45.
    """

    def gain(amplitude: Array, background: Array) -> Array:
        return np.maximum(amplitude - background, 0) / np.where(amplitude > 0, amplitude, 1)

    return _filtered(image, gain)


def wiener_filtered(image: npt.ArrayLike) -> Array:
    """Return the Wiener filter of an image, ``F' = F max(0, |F|² - B²) / |F|²`` (Kilaas 1998).

    Parameters
    ----------
    image : array, (ny, nx)
    """

    def gain(amplitude: Array, background: Array) -> Array:
        power = amplitude**2
        return np.maximum(power - background**2, 0) / np.where(power > 0, power, 1)

    return _filtered(image, gain)


def low_passed(image: npt.ArrayLike, *, pixel: Angstrom, cutoff: float) -> Array:
    """Return an image without frequencies beyond ``cutoff`` (1/Å), damped to half there.

    The gain is ``exp(-ln 2 (k / cutoff)^4)``: flat inside, without ringing.

    Parameters
    ----------
    image : array, (ny, nx)
    pixel : float
        Å.
    cutoff : float
        1/Å.
    """
    checked = _checked(image)
    ky, kx = _frequencies(checked, pixel)
    gain = np.exp(-np.log(2) * ((ky**2 + kx**2) / cutoff**2) ** 2)
    return np.asarray(fft.irfft2(fft.rfft2(checked) * gain, s=checked.shape))


def bragg_masked(
    image: npt.ArrayLike, *, pixel: Angstrom, reflections: npt.ArrayLike, radius: float
) -> Array:
    """Return the part of an image within ``radius`` (1/Å) of known reflections and of the mean.

    Parameters
    ----------
    image : array, (ny, nx)
    pixel : float
        Å.
    reflections : array, (n, 2)
        xy, 1/Å; one of each Friedel pair is enough.
    radius : float
        1/Å, a few times one over the width of the crystal.
    """
    checked = _checked(image)
    ky, kx = _frequencies(checked, pixel)
    half = np.asarray(reflections, dtype=float).reshape(-1, 2)
    passed = np.zeros(np.broadcast_shapes(ky.shape, kx.shape), dtype=bool)
    for x, y in np.concatenate([half, -half, [[0.0, 0.0]]]):
        passed |= np.hypot(kx - x, ky - y) <= radius
    return np.asarray(fft.irfft2(fft.rfft2(checked) * passed, s=checked.shape))


def rotational_average(values: Array, radius: Array, *, rings: int) -> Array:
    """Return the mean of values at the same radius, interpolated between rings.

    Parameters
    ----------
    values, radius : array, of one shape
    rings : int
        From radius 0 to the largest.
    """
    width = float(radius.max()) / rings
    ring = np.minimum((radius / width).astype(int), rings - 1).ravel()
    count = np.bincount(ring, minlength=rings)
    held = count > 0
    middle = np.bincount(ring, weights=radius.ravel(), minlength=rings)[held] / count[held]
    mean = np.bincount(ring, weights=values.ravel(), minlength=rings)[held] / count[held]
    return np.asarray(np.interp(radius, middle, mean))


def _filtered(image: npt.ArrayLike, gain: object) -> Array:
    checked = _checked(image)
    spectrum = fft.rfft2(checked)
    mean = spectrum[0, 0]
    spectrum[0, 0] = 0
    ky, kx = _frequencies(checked, 1.0)
    amplitude = np.abs(spectrum)
    background = rotational_average(
        amplitude, np.hypot(ky, kx), rings=max(min(checked.shape) // 2, LEAST)
    )
    spectrum *= gain(amplitude, background)  # type: ignore[operator]
    spectrum[0, 0] = mean
    return np.asarray(fft.irfft2(spectrum, s=checked.shape))


def _frequencies(image: Array, pixel: float) -> tuple[Array, Array]:
    ny, nx = image.shape
    return fft.fftfreq(ny, pixel)[:, None], fft.rfftfreq(nx, pixel)[None]


def _checked(image: npt.ArrayLike) -> Array:
    values = np.asarray(image, dtype=float)
    if values.ndim != 2 or min(values.shape) < LEAST:
        raise BadInputError(
            f"an image of shape {values.shape}; expected two axes of {LEAST} pixels or more"
        )
    if not np.isfinite(values).all():
        raise BadInputError(
            f"{int((~np.isfinite(values)).sum())} pixels of the image are not finite numbers; "
            "replace them, or cut the image"
        )
    return values
