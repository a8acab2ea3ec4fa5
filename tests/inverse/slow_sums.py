"""SSB and WDD as plain sums over all Q and K, straight from their equations: slow, for tests.

Only the aperture function is shared with the solvers; it is checked against abTEM by itself.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import Aberrations, StemAcquisition
from echolith.forward.optics import aperture

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True, kw_only=True)
class SlowSums:
    """Counts and probe on the detector (ky, kx) and on every Q (qy, qx) of the scan."""

    measurement: xr.Dataset
    taken: StemAcquisition
    aberrations: Aberrations

    @cached_property
    def samples(self) -> tuple[Array, Array]:
        """Sample points ky, kx of every pixel in 1/Å, (sample, y, x)."""
        detector = self.taken.detector
        axes = [
            (np.arange(n) - n // 2)[None] + ((np.arange(s) + 0.5) / s - 0.5)[:, None]
            for n, s in zip(detector.shape, detector.subpixels, strict=True)
        ]
        per_pixel = [1e-3 * size / self.taken.beam.wavelength for size in detector.pixel_size]
        y, x = (axis * size for axis, size in zip(axes, per_pixel, strict=True))
        shape = (len(y), len(x), y.shape[1], x.shape[1])
        ky = np.broadcast_to(y[:, None, :, None], shape).reshape(-1, *shape[2:])
        kx = np.broadcast_to(x[None, :, None, :], shape).reshape(-1, *shape[2:])
        return ky, kx

    @cached_property
    def q(self) -> tuple[Array, Array]:
        """Q in the specimen frame, 1/Å, (qy, qx)."""
        scan = self.taken.scan
        qy, qx = np.meshgrid(
            *(np.fft.fftfreq(n, d) for n, d in zip(scan.shape, scan.step, strict=True)),
            indexing="ij",
        )
        turn = np.deg2rad(scan.rotation)
        return np.sin(turn) * qx + np.cos(turn) * qy, np.cos(turn) * qx - np.sin(turn) * qy

    def psi(self, *, times_q: int) -> Complex:
        """psi(K + times_q Q) at every sample point, (sample, y, x, qy, qx)."""
        (ky, kx), (qy, qx) = self.samples, self.q
        beam = self.taken.beam.model_copy(update={"aberrations": self.aberrations})
        y = ky[..., None, None] + times_q * qy
        x = kx[..., None, None] + times_q * qx
        return np.asarray(aperture(x, y, beam=beam))

    @cached_property
    def disc(self) -> Array:
        """Sample points inside the aperture, per pixel."""
        return np.asarray((self.psi(times_q=0) != 0).sum(axis=0)[..., 0, 0].astype(float))

    @cached_property
    def gamma(self) -> Complex:
        """Gamma(K, Q), (y, x, qy, qx), with sum_K |A|² = 1."""
        here, below, above = (self.psi(times_q=n) for n in (0, -1, 1))
        overlaps = here.conj() * below - here * above.conj()
        return np.asarray(overlaps.sum(axis=0) / self.disc.sum())

    @cached_property
    def frames(self) -> Array:
        """Counts (y, x, scan_y, scan_x), any transpose undone."""
        counts = self.measurement["counts"].values.astype(float)
        return counts.transpose((3, 2, 0, 1) if self.taken.detector.transpose else (2, 3, 0, 1))

    @property
    def electrons(self) -> float:
        """Mean electrons per position."""
        return float(self.frames.sum(axis=(0, 1)).mean())

    @cached_property
    def g(self) -> Complex:
        """G(K, Q) of the bright-field pixels."""
        spectra = np.fft.fft2(self.frames) / np.prod(self.taken.scan.shape)
        return np.asarray(spectra * (self.disc > 0)[..., None, None])

    @property
    def variance(self) -> Array:
        """Variance of the real and imaginary part of G(K, Q) together, (y, x)."""
        mean = self.frames.mean(axis=(2, 3)) * (self.disc > 0)
        return np.asarray(mean / np.prod(self.taken.scan.shape))

    def ssb(self) -> tuple[Complex, Array, Array]:
        """Return phi(Q), rad, the transfer, and 1 / <|delta phi(Q)|²>, (qy, qx)."""
        square = (np.abs(self.gamma) ** 2).sum(axis=(0, 1))
        scale = self.electrons * square
        phi = ratio((self.g * self.gamma.conj()).sum(axis=(0, 1)), 1j * scale)
        noise = (self.variance[..., None, None] * np.abs(self.gamma) ** 2).sum(axis=(0, 1))
        transfer = square / ((self.disc / self.disc.sum()) ** 2).sum()
        return phi, transfer, ratio(scale**2, noise).real

    def wdd(self, epsilon: float) -> tuple[Complex, Array, Array]:
        """Return the same for WDD; its transfer is in units of the largest."""
        probe = (self.psi(times_q=-1) * self.psi(times_q=0).conj()).sum(axis=0)
        dual = np.fft.fft2(probe, axes=(0, 1))
        wiener = dual.conj() / (np.abs(dual) ** 2 + epsilon * self.disc.sum() ** 2)

        def both_sidebands(values: Complex) -> Complex:
            """[Y(Q) - Y*(-Q)] / 2 with Y(Q) = mean_r wiener(r, Q) values^(r, Q)."""
            y = (wiener * np.fft.fft2(values, axes=(0, 1))).mean(axis=(0, 1))
            opposite = np.roll(y[::-1, ::-1], 1, axis=(0, 1))
            return np.asarray((y - opposite.conj()) / 2)

        response = both_sidebands(1j * self.gamma) / 1j
        size = np.abs(response)
        size[0, 0] = 0
        phi = ratio(both_sidebands(self.g), 1j * self.electrons * response)
        # Y is linear in G: its weights are the conjugate transform of wiener.
        w = np.fft.fft2(wiener, axes=(0, 1)) / wiener[..., 0, 0].size
        w_opposite = np.roll(w[..., ::-1, ::-1], 1, axis=(2, 3))
        pair = np.abs((w - w_opposite.conj()) / 2) ** 2
        noise = (pair * self.variance[..., None, None]).sum(axis=(0, 1))
        return phi, size / size.max(), ratio((self.electrons * size) ** 2, noise).real


def ratio(upper: npt.NDArray[Any], lower: npt.NDArray[Any]) -> Complex:
    """Divide; NaN where the divisor is zero."""
    out = np.full(upper.shape, np.nan, complex)
    return np.asarray(np.divide(upper.astype(complex), lower, out=out, where=lower != 0))
