"""Shifts between images of one specimen whose contrasts differ, and images moved back by them.

What is dark at zero loss is bright at 60 eV: images are not alike, but one is nearly a smooth
function of the other where both show the same place. So an image is fitted by a polynomial of the
reference and that polynomial's slopes, whose coefficients are the shift left.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter

Array = npt.NDArray[np.float64]

SMOOTH = 1.0
"""Pixels: standard deviation of the smoothing of both images."""
DEGREE = 3
TURNS = 15
SETTLED = 1e-3
"""Pixels of the last change."""
MARGIN = 3
"""Pixels at the border that are left out of the fit."""
UNKNOWN = 0.5
"""Pixels. A shift of a larger standard deviation is not determined."""


class Moved(NamedTuple):
    """An image in the frame of the reference (ny, nx); NaN where it was not seen.

    ``variance``: of a pixel. ``white``: what a pixel adds to the variance of a sum over many,
    more than the former, since neighbours share electrons.
    """

    values: Array
    variance: Array
    white: Array


class Shift(NamedTuple):
    """Along y and x, pixels: what the reference shows at r the image shows at r + shift."""

    shift: Array
    std: Array


def sampling_matrix(count: int, shift: float, *, binning: int = 1) -> Array:
    """Return the matrix (count // binning, count) that reads a line at i + shift and bins it.

    Cubic convolution (Keys, IEEE Trans. Acoust. 29 (1981) 1153). Rows that reach beyond the line
    are NaN; no shift is the identity.
    """
    rows = count // binning
    place = np.arange(rows * binning) + shift
    base = np.floor(place).astype(int)
    matrix = np.zeros((rows, count))
    lost = np.zeros(rows, dtype=bool)
    owner = np.arange(rows * binning) // binning
    for tap in range(-1, 3):
        weight = _keys(np.abs(place - base - tap))
        there = (base + tap >= 0) & (base + tap < count)
        np.add.at(matrix, (owner[there], (base + tap)[there]), weight[there])
        lost[owner[~there & (weight != 0)]] = True
    matrix[lost] = np.nan
    return matrix


def _keys(t: Array) -> Array:
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.asarray(np.where(t < 1, near, np.where(t < 2, far, 0.0)))


def moved_back(counts: Array, variance: Array, shift: Array, *, binning: int = 1) -> Moved:
    """Return an image as if it had not been shifted, with its variance.

    Parameters
    ----------
    counts, variance : array (ny, nx)
        The variance of independent pixels.
    shift : array (2,)
        Pixels.
    binning : int
        Pixels along each axis that are summed up.
    """
    rows, columns = (
        sampling_matrix(n, s, binning=binning) for n, s in zip(counts.shape, shift, strict=True)
    )
    return Moved(
        values=rows @ counts @ columns.T,
        variance=rows**2 @ variance @ (columns**2).T,
        white=np.abs(rows @ variance @ columns.T),
    )


def relative_shift(image: Array, reference: Array, *, variance: Array, largest: float) -> Shift:
    """Find how far an image is shifted against a reference.

    ``image(r + s) = sum_j c_j z(r)^j + d · grad(sum_j c_j z^j)``, z the smoothed reference:
    weighted least squares, s lessened by d until it stays. The standard deviation grows with the
    misfit.

    Parameters
    ----------
    image, reference, variance : array (ny, nx)
        Counts; the variance is that of the image.
    largest : float
        Pixels that are looked for.

    Returns
    -------
    Shift
        Zero with an infinite standard deviation where the images do not tell.
    """
    smooth = gaussian_filter(reference, SMOOTH)
    z = (smooth - smooth.mean()) / max(float(smooth.std()), 1e-12)
    powers = np.stack([z**j for j in range(DEGREE + 1)])
    weight = 1 / np.maximum(gaussian_filter(variance, SMOOTH), 1.0)
    seen = gaussian_filter(image, SMOOTH)
    shift = _coarse(seen, smooth, largest)
    for _ in range(TURNS):
        away, std = _step(seen, powers, weight, shift)
        if not (std < UNKNOWN).all() or np.abs(shift - away).max() > largest:
            return Shift(np.zeros(2), np.full(2, np.inf))
        shift = shift - away
        if np.abs(away).max() < SETTLED:
            break
    return Shift(shift, std)


def _step(image: Array, powers: Array, weight: Array, shift: Array) -> tuple[Array, Array]:
    """Return what is too much in a shift, and its standard deviation."""
    rows, columns = (sampling_matrix(n, s) for n, s in zip(image.shape, shift, strict=True))
    seen = rows @ image @ columns.T
    used = np.isfinite(seen)
    used[:MARGIN] = used[-MARGIN:] = used[:, :MARGIN] = used[:, -MARGIN:] = False
    root = np.sqrt(weight[used])
    level, y = powers[:, used].T * root[:, None], seen[used] * root
    fit = np.linalg.lstsq(level, y, rcond=None)[0]
    slopes = np.gradient(np.tensordot(fit, powers, axes=1))
    design = np.column_stack([level, *(slope[used] * root for slope in slopes)])
    normal = design.T @ design
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
    covariance = np.linalg.pinv(normal / np.outer(scale, scale), hermitian=True)
    covariance = covariance / np.outer(scale, scale)
    found = covariance @ (design.T @ y)
    # Smoothing leaves 1 / (4 pi s²) of the variance of noise, and all of a true misfit.
    misfit = 4 * np.pi * SMOOTH**2 * float(((y - design @ found) ** 2).mean())
    return found[-2:], np.sqrt(np.diag(covariance)[-2:] * max(misfit, 1.0))


def _coarse(image: Array, smooth: Array, largest: float) -> Array:
    """Return the whole-pixel shift at which the steepness of both agrees best."""
    steep = [np.hypot(*np.gradient(one)) for one in (image, smooth)]
    a, b = (fft.rfft2(one - one.mean(), s=[2 * n for n in one.shape]) for one in steep)
    match = fft.irfft2(a * np.conj(b), s=[2 * n for n in image.shape])
    reach = int(min(largest, min(image.shape) // 2))
    near = np.roll(match, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    return np.array(np.unravel_index(near.argmax(), near.shape), dtype=float) - reach
