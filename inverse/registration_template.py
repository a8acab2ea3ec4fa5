"""What frames displaced by known amounts add up to: the mean image, and templates without noise.

The spread of samples over pixels is a convolution with a cubic B-spline. For a template it is
divided out again, and rings of spatial frequency count by how much of their power is signal.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.inverse.registration_kernels import line_sums, spread_lines

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

LEAST_WEIGHT = 0.3
"""Of the weight that all frames give; where a raster pixel has less it is not used."""
LEAST_SIGNAL = 0.15
"""Share of signal in the power of a ring below which the ring is left out."""
FLOOR = 0.2
"""Of the mean count: the smallest variance that a pixel is given."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Frames on the raster: values and weights, frame by frame (frame, ny, nx)."""

    values: Float32
    weights: Float32

    @classmethod
    def of(cls, frames: Float32, shifts: Array) -> "Sums":
        """Spread frames displaced by `shifts` (frame, ny, 2), in pixels."""
        values, weights = np.zeros_like(frames), np.zeros_like(frames)
        for n, frame in enumerate(frames):
            spread_lines(frame, shifts[n], values[n], weights[n])
        return cls(values=values, weights=weights)

    def mean(self) -> tuple[Array, Array]:
        """Return mean image and weight; NaN where there is nothing."""
        values, weights = self.values.sum(axis=0), self.weights.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(weights > 1e-3, values / weights, np.nan)
        return mean.astype(float), weights.astype(float)


@dataclass(frozen=True, kw_only=True)
class Templates:
    """For every frame the mean of all others.

    ``coefficients`` and ``valid`` (frame, ny, nx): of the cubic B-spline, and where it is known.
    ``noise``: variance of the mean, summed along a line with smooth weights, over that of the
    frame; ``noise_slope`` (2,), along x and y: expected squared slope (per pixel) of the template's
    noise over the variance of a count.
    """

    coefficients: Float32
    valid: npt.NDArray[np.bool_]
    noise: float
    noise_slope: Array


def templates(sums: Sums, step: tuple[float, float]) -> Templates:
    """Return for every frame the mean of all others, less of its noise.

    A frame compared with a mean that holds it would find itself where it is.

    Parameters
    ----------
    sums : Sums
    step : pair of float
        Å.

    Returns
    -------
    Templates
    """
    count = len(sums.values)
    values, weights = sums.values.sum(axis=0), sums.weights.sum(axis=0)
    signal = signal_share(values, weights, step)
    transfer = signal / (_spread(values.shape) * _sampled_spline(values.shape))
    coefficients = np.empty_like(sums.values)
    valid = np.empty(sums.values.shape, dtype=bool)
    transform = partial(fft.dctn, norm="ortho", overwrite_x=True)
    back = partial(fft.idctn, norm="ortho", overwrite_x=True)
    for n in range(count):
        weight = weights - sums.weights[n]
        valid[n] = weight > LEAST_WEIGHT * (count - 1)
        image = _filled(values - sums.values[n], weight, valid[n])
        coefficients[n] = back(transform(image) * transfer)
    y, x = ((2 * np.pi * q) ** 2 for q in _frequencies(values.shape))
    slopes = np.array([(signal**2 * x).mean(), (signal**2 * y[:, None]).mean()])
    return Templates(
        coefficients=coefficients,
        valid=valid,
        # Smooth weights see low frequencies along the line, and all across it.
        noise=float((signal[:, 0] ** 2).mean()) / (count - 1),
        noise_slope=slopes / (count - 1),
    )


def signal_share(values: Float32, weights: Float32, step: tuple[float, float]) -> Float32:
    """Return signal over signal plus noise of the mean image, ring by ring, 0 to 1.

    The noise is that of counting: the mean count per unit of weight, spread by the spline.
    """
    valid = weights > LEAST_WEIGHT * weights.max()
    power = fft.dctn(_filled(values, weights, valid), norm="ortho") ** 2
    noise = float(values[valid].mean() / weights[valid].mean() ** 2)
    power /= np.maximum(_spread(values.shape), 1e-3) ** 2
    ny, nx = values.shape
    y, x = (q / d for q, d in zip(_frequencies(values.shape), step, strict=True))
    q = np.hypot(y[:, None], x)
    width = 2 / min(ny * step[0], nx * step[1])
    ring = (q / width).astype(np.intp)
    members = np.bincount(ring.ravel())
    mean = np.bincount(ring.ravel(), weights=power.ravel()) / np.maximum(members, 1)
    share = np.clip(1 - noise / np.maximum(mean, 1e-30), 0, 1)
    share[share < LEAST_SIGNAL] = 0
    # Beyond the first ring of noise alone the spread that is divided out would make up signal.
    empty = np.flatnonzero(np.convolve(share > 0, np.ones(3), mode="same") == 0)
    if len(empty):
        share[empty[0] :] = 0
    return np.asarray(share[ring], dtype=np.float32)


def compared(
    frames: Float32, shifts: Array, template: Templates, *, scales: Array | None = None
) -> Array:
    """Return `line_sums` of every frame against its template, (frame, ny, 9)."""
    sums = np.empty((*frames.shape[:2], 9))
    scales = np.ones(len(frames)) if scales is None else scales
    for n, frame in enumerate(frames):
        floor = FLOOR * float(frame.mean()) + 1e-12
        mean, valid = template.coefficients[n], template.valid[n]
        line_sums(frame, shifts[n], mean, valid, scales[n], floor, sums[n])
    return sums


def _filled(values: Float32, weights: Float32, valid: npt.NDArray[np.bool_]) -> Float32:
    """Return values over weights, with their mean where there are none."""
    mean = values[valid].sum() / weights[valid].sum() if valid.any() else 0.0
    image = np.full(values.shape, mean, dtype=np.float32)
    np.divide(values, weights, out=image, where=valid)
    return image


def _frequencies(shape: tuple[int, ...]) -> list[Array]:
    """Cycles per pixel of the cosine transform along each axis."""
    return [np.arange(n) / (2 * n) for n in shape]


def _spread(shape: tuple[int, ...]) -> Float32:
    """Transfer of the continuous cubic B-spline."""
    y, x = (np.sinc(q) ** 4 for q in _frequencies(shape))
    return np.asarray(np.outer(y, x), dtype=np.float32)


def _sampled_spline(shape: tuple[int, ...]) -> Float32:
    """Transfer from coefficients to values at the pixels."""
    y, x = ((2 + np.cos(2 * np.pi * q)) / 3 for q in _frequencies(shape))
    return np.asarray(np.outer(y, x), dtype=np.float32)
