"""The object's update: a descent whose step knows illumination and the prior along depth.

The curvature of the Poisson likelihood in the phases of N slices is at most ``4 N S(r)``, with
S(r) the electrons that fell on an object pixel (Parseval and Cauchy-Schwarz). A batch of few
positions has a rougher S, and the step is shortened by as much. The prior

    sum_n sum_r (phi_(n+1) - phi_n)² D / (2 sigma²),    D = pixel area * pi (2 alpha / lambda)²

says that neighbouring slices differ by sigma in details as fine as the resolution (D: resolution
cells per pixel). Cosine transforms along depth make it diagonal, with eigenvalues
``2 - 2 cos(pi k / N)``; the gradient of each pixel and depth frequency k is divided by the sum of
both curvatures. So slices that the data do not tell apart become equal at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.acquisition import StemAcquisition
from echolith.inverse.iterative_ptychography_frames import Grid, Volume
from echolith.inverse.iterative_ptychography_waves import Waves, propagator, to_space

DARKEST = 0.02
"""Illumination, relative to the brightest pixel's, below which the steps no longer grow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthPrior:
    """Curvature of the prior for each depth frequency, (slices,)."""

    strength: float
    """1/rad², of one difference of neighbours; inf makes slices equal."""
    cosines: npt.NDArray[np.float32]
    """Orthonormal cosine transform along depth, (slices, slices)."""
    curvature: npt.NDArray[np.float32]

    @classmethod
    def of(
        cls, slices: int, spread: float, grid: Grid, acquisition: StemAcquisition
    ) -> "DepthPrior":
        """Make it for phases of neighbouring slices that differ by `spread` (rad)."""
        sampling, beam = grid.box.sampling, acquisition.beam
        radius = 2e-3 * beam.semiangle / beam.wavelength
        cells = sampling[0] * sampling[1] * np.pi * radius**2
        strength = cells / spread**2 if spread else np.inf
        values = 2 - 2 * np.cos(np.pi * np.arange(slices) / slices)
        values[1:] *= strength
        return cls(
            strength=float(strength),
            cosines=fft.dct(np.eye(slices), axis=0, norm="ortho").astype(np.float32),
            curvature=values.astype(np.float32),
        )

    def gradient(self, phase: Volume) -> Volume:
        """Return the prior's gradient, half the derivative of the differences' squares."""
        if len(phase) < 2 or not np.isfinite(self.strength):
            return np.zeros_like(phase)
        steps = np.diff(phase, axis=0) * np.float32(self.strength)
        result = np.zeros_like(phase)
        result[:-1] -= steps
        result[1:] += steps
        return result

    def cost(self, phase: Volume) -> float:
        """Return minus the logarithm of the prior, up to a constant."""
        if len(phase) < 2 or not np.isfinite(self.strength):
            return 0.0
        return float(0.5 * self.strength * (np.diff(phase, axis=0).astype(float) ** 2).sum())


def illumination(
    probe: Waves, corners: npt.NDArray[np.int64], grid: Grid, depths: npt.NDArray[np.float64]
) -> Volume:
    """Return the intensity of all probes together on the object, (y, x), mean of some depths (Å).

    In vacuum: what spreads the waves further only makes it smoother.
    """
    waves = np.stack([probe * propagator(grid.box, depth) for depth in depths])
    here = to_space(_centred(waves, grid))
    intensity = (here.real**2 + here.imag**2).mean(axis=0)
    total = np.zeros(grid.shape, np.float32)
    height, width = intensity.shape
    for top, left in corners:
        total[top : top + height, left : left + width] += intensity
    return total


def _centred(spectrum: Waves, grid: Grid) -> Waves:
    middle = np.array(
        [[n // 2 * step for n, step in zip(grid.box.gpts, grid.box.sampling, strict=True)]]
    )
    y, x = grid.ramps(middle)
    return np.asarray(spectrum * y[:, :, None] * x[:, None, :], dtype=np.complex64)


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectDescent:
    """Preconditioned descent with momentum."""

    prior: DepthPrior
    inverse_curvature: Volume
    """1 / (data's + prior's curvature), depth frequencies first."""
    crowding: float
    """Largest curvature of one batch, counted for all positions, over that of all positions."""
    momentum: float

    @classmethod
    def of(
        cls, prior: DepthPrior, *, every: Volume, batch: Volume, scale: float, momentum: float
    ) -> "ObjectDescent":
        """Make it for the illumination by all positions and by one batch, counted for all."""
        bright = np.maximum(every, DARKEST * every.max())
        whole = 4 * len(prior.curvature) * np.float32(scale) * bright[None]
        return cls(
            prior=prior,
            inverse_curvature=1 / (whole + prior.curvature[:, None, None]),
            crowding=max(1.0, float((batch / bright).max())),
            momentum=momentum,
        )

    def moved(
        self, phase: Volume, velocity: Volume, gradient: Volume, step: float
    ) -> tuple[Volume, Volume]:
        """Return phase and velocity after one update by the data's gradient."""
        whole = gradient + self.prior.gradient(phase)
        shape = whole.shape
        waves = (self.prior.cosines @ whole.reshape(shape[0], -1)).reshape(shape)
        waves *= self.inverse_curvature
        change = (self.prior.cosines.T @ waves.reshape(shape[0], -1)).reshape(shape)
        new = np.float32(self.momentum) * velocity - np.float32(step / self.crowding) * change
        return phase + new, new
