"""What is measured between the positions of a regular raster, from the raster itself.

A measurement as a function of the probe's position is band limited to ``2 alpha / lambda``, and a
Gaussian source multiplies its spectrum by ``exp(-2 pi² sigma² q²)``. So a weighted sum over the
raster's positions around a point is the measurement at that point, spread and all: along each axis
the weights w_n of positions n for a point t (in steps) are those for which
``sum_n w_n exp(2 pi i q n)`` is nearest to ``exp(-2 pi² sigma² q²) exp(2 pi i q t)`` in the mean
square over the band, their sum 1. The raster must be finer than ``lambda / (4 alpha)``: nothing of
finite width tells the rim of the band from its images otherwise.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]

FRACTIONS = 1 << 10
"""Points of a step at which weights are tabulated; between them they are drawn linearly, within
``(pi / FRACTIONS)² / 2 = 5e-6``."""
NODES = 64
"""Of the quadrature over the band."""
RIDGE = 1e-13
WIDEST = 24
"""Positions each side, at most."""


@dataclass(frozen=True, kw_only=True)
class BandKernel:
    """Weights along one axis."""

    limit: float
    """Of the band, cycles per step, below 0.5."""
    blur: float
    """Standard deviation of the source, steps."""
    reach: int
    """Positions used each side of a point."""

    @cached_property
    def table(self) -> FloatArray:
        """Weights of positions ``1 - reach ... reach`` from a point's floor, for its fraction.

        ``(FRACTIONS + 1, 2 reach)``
        """
        taps = np.arange(1 - self.reach, self.reach + 1)
        q, share, passed = self._band
        apart = taps[:, None] - taps[None]
        matrix = np.sinc(2 * self.limit * apart) + RIDGE * np.eye(len(taps))
        fractions = np.linspace(0, 1, FRACTIONS + 1)
        waves = np.cos(2 * np.pi * (taps[:, None, None] - fractions[:, None]) * q)
        weights = np.linalg.solve(matrix, waves @ (share * passed)).T
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    @cached_property
    def _band(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        q = self.limit * nodes
        return q, weights / 2, self._passed(q)

    def _passed(self, q: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-2 * (np.pi * self.blur * q) ** 2))

    @cached_property
    def error(self) -> float:
        """Largest deviation of the response inside the band, between tabulated fractions too."""
        q = np.linspace(0, self.limit, 65)
        taps = np.arange(1 - self.reach, self.reach + 1)
        between = (self.table[:-1:16] + self.table[1::16]) / 2
        fractions = (np.arange(FRACTIONS)[::16] + 0.5) / FRACTIONS
        response = between @ np.exp(2j * np.pi * np.outer(taps, q))
        wanted = self._passed(q) * np.exp(2j * np.pi * np.outer(fractions, q))
        return float(np.abs(response - wanted).max())


@lru_cache(maxsize=64)
def band_kernel(limit: float, blur: float, tolerance: float) -> BandKernel:
    """Return the shortest kernel within a tolerance, or the best of 24 positions each side.

    Parameters
    ----------
    limit : float
        Of the band, cycles per step.
    blur : float
        Standard deviation of the source, steps.
    tolerance : float
        Largest deviation of the response inside the band.
    """
    limit = min(limit, 0.5)
    best = BandKernel(limit=limit, blur=blur, reach=2)
    for reach in range(3, WIDEST + 1):
        if best.error <= tolerance:
            break
        longer = BandKernel(limit=limit, blur=blur, reach=reach)
        best = min(best, longer, key=lambda kernel: kernel.error)
    return best


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Kernels along y and x of a raster."""

    y: BandKernel = field(repr=False)
    x: BandKernel = field(repr=False)

    @property
    def error(self) -> float:
        """Upper bound of the deviation of a wave inside the band, relative to the wave."""
        return self.y.error + self.x.error + self.y.error * self.x.error

    def image(self, raster: FloatArray, pixels: FloatArray, *, wraps: bool = False) -> Values:
        """Return the values of an image at points.

        The bits of a value do not depend on the other points.

        Parameters
        ----------
        raster : array, (ny, nx)
        pixels : array, (..., 2)
            Fractional pixels (y, x); at least `reach` inside the raster unless it wraps.
        wraps : bool
            The raster is a period.

        Returns
        -------
        array of float32, (...)
        """
        flat = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 2)
        values = np.empty(len(flat), dtype=np.float32)
        padded, shift = self._padded(np.asarray(raster, dtype=np.float64), wraps)
        inside = flat % np.array(raster.shape) if wraps else flat
        _interpolate_image(padded, inside + shift, self.y.table, self.x.table, values)
        return values.reshape(pixels.shape[:-1])

    def _padded(self, raster: FloatArray, wraps: bool) -> tuple[FloatArray, FloatArray]:
        if not wraps:
            return np.ascontiguousarray(raster), np.zeros(2)
        ry, rx = self.y.reach, self.x.reach
        return np.pad(raster, ((ry, ry + 1), (rx, rx + 1)), mode="wrap"), np.array([ry, rx])

    def frames(self, raster: Values, pixels: FloatArray) -> Values:
        """Return the frames at points from those of a raster.

        Parameters
        ----------
        raster : array of float32, (ny, nx, data)
        pixels : array, (n, 2)
            Fractional pixels (y, x), at least `reach` inside the raster.

        Returns
        -------
        array of float32, (n, data)
        """
        frames = np.zeros((len(pixels), raster.shape[2]), dtype=np.float32)
        _interpolate_frames(raster, pixels, self.y.table, self.x.table, frames)
        return frames


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _interpolate_image(
    raster: FloatArray, pixels: FloatArray, ky: FloatArray, kx: FloatArray, values: Values
) -> None:
    fractions, ny, nx = ky.shape[0] - 1, ky.shape[1], kx.shape[1]
    wx = np.empty(nx)
    for n in range(pixels.shape[0]):
        y, x = np.floor(pixels[n, 0]), np.floor(pixels[n, 1])
        ty, tx = (pixels[n, 0] - y) * fractions, (pixels[n, 1] - x) * fractions
        fy, fx = min(int(ty), fractions - 1), min(int(tx), fractions - 1)
        ty, tx = ty - fy, tx - fx
        for i in range(nx):
            wx[i] = kx[fx, i] * (1 - tx) + kx[fx + 1, i] * tx
        first_y, first_x = int(y) + 1 - ny // 2, int(x) + 1 - nx // 2
        total = 0.0
        for j in range(ny):
            line = 0.0
            for i in range(nx):
                line += wx[i] * raster[first_y + j, first_x + i]
            total += (ky[fy, j] * (1 - ty) + ky[fy + 1, j] * ty) * line
        values[n] = total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _interpolate_frames(
    raster: Values, pixels: FloatArray, ky: FloatArray, kx: FloatArray, frames: Values
) -> None:
    fractions, ny, nx = ky.shape[0] - 1, ky.shape[1], kx.shape[1]
    for n in range(pixels.shape[0]):
        y, x = np.floor(pixels[n, 0]), np.floor(pixels[n, 1])
        ty, tx = (pixels[n, 0] - y) * fractions, (pixels[n, 1] - x) * fractions
        fy, fx = min(int(ty), fractions - 1), min(int(tx), fractions - 1)
        ty, tx = ty - fy, tx - fx
        first_y, first_x = int(y) + 1 - ny // 2, int(x) + 1 - nx // 2
        for j in range(ny):
            along_y = ky[fy, j] * (1 - ty) + ky[fy + 1, j] * ty
            for i in range(nx):
                weight = np.float32(along_y * (kx[fx, i] * (1 - tx) + kx[fx + 1, i] * tx))
                for p in range(raster.shape[2]):
                    frames[n, p] += weight * raster[first_y + j, first_x + i, p]
