"""Local maxima of a band-passed phase image, and the noise they stand against."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import map_coordinates, maximum_filter
from scipy.spatial import cKDTree

from echolith.inverse.whitening import scan_step

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BandPass:
    """A difference-of-Gaussians image and the standard deviation of its noise."""

    image: Array
    noise: float
    known: bool

    @classmethod
    def of(
        cls, image: Array, step: tuple[float, float], blur: float, weight: xr.DataArray | None
    ) -> "BandPass":
        """Filter an image; `weight` is its inverse noise variance, if known."""
        qy, qx = (np.fft.fftfreq(n, d) for n, d in zip(image.shape, step, strict=True))
        q = np.hypot(qy[:, None], qx[None])
        narrow, wide = (np.exp(-2 * (np.pi * s * q) ** 2) for s in (blur, 2 * blur))
        response = narrow - wide
        filtered = np.fft.ifft2(np.fft.fft2(image) * response).real
        if weight is None:
            variance = _power_between_peaks(image, q)
        else:
            values = np.asarray(weight.values, dtype=float)
            variance = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
        noise = float(np.sqrt((response**2 * variance).sum()))
        return cls(image=filtered, noise=noise, known=weight is not None)


def _power_between_peaks(image: Array, q: Array) -> Array:
    """Variance of the noise of phi(Q) from the median power in every ring of |Q|.

    A crystal fills few frequencies of a ring; noise power is exponentially distributed, its median
    ln 2 times its mean.
    """
    window = np.outer(*(np.hanning(n) for n in image.shape))
    window /= np.sqrt((window**2).mean())
    power = np.abs(np.fft.fft2((image - image.mean()) * window) / image.size) ** 2
    ring = (q / max(q[0, 1], q[1, 0])).astype(int)
    medians = np.array([np.median(power[ring == n]) for n in range(int(ring.max()) + 1)])
    return np.asarray(medians[ring] / np.log(2))


def maxima(
    image: Array, step: tuple[float, float], separation: float
) -> tuple[Array, Array, Array]:
    """Local maxima within half the separation: fractional row, fractional column, height."""
    # The slack keeps rounding of the step from deciding.
    size = [2 * max(1, int(separation / 2 / d + 1e-6)) + 1 for d in step]
    at = np.argwhere((image == maximum_filter(image, size, mode="wrap")) & (image > 0))
    rows, columns = at.T
    height = image[rows, columns]
    shifts = []
    top = height.copy()
    for axis, index in enumerate((rows, columns)):
        n = image.shape[axis]
        before, after = ((index + d) % n for d in (-1, 1))
        lower = image[before, columns] if axis == 0 else image[rows, before]
        upper = image[after, columns] if axis == 0 else image[rows, after]
        bend = 2 * height - lower - upper
        slope = upper - lower
        shift = np.clip(slope / np.where(bend > 0, 2 * bend, np.inf), -0.5, 0.5)
        # At the border the neighbour lies on the other side of the scan.
        shift[(index == 0) | (index == n - 1)] = 0
        shifts.append(index + shift)
        top += slope * shift / 4
    return shifts[0], shifts[1], top


def separated(x: Array, y: Array, value: Array, distance: float) -> tuple[Array, Array, Array]:
    """Of points nearer than a distance keep the highest."""
    order = np.argsort(-value)
    points = np.stack([x, y], axis=-1)[order]
    keep = np.ones(len(order), dtype=bool)
    for first, second in sorted(cKDTree(points).query_pairs(distance)):
        if keep[first]:
            keep[second] = False
    chosen = order[keep]
    return x[chosen], y[chosen], value[chosen]


def sample(image: Array, x: Array, y: Array, like: xr.DataArray) -> Array:
    """Interpolate an image at positions (Å, scan frame of `like`)."""
    step = scan_step(like)
    at = [
        (y - float(like["scan_y"].values[0])) / step[0],
        (x - float(like["scan_x"].values[0])) / step[1],
    ]
    return np.asarray(map_coordinates(image, at, order=1, mode="nearest"))
