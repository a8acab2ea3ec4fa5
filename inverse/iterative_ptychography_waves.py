"""Waves through the slices and back: the forward model and its exact adjoint.

With unitary transforms F, the probe at position j, transmissions ``t_n = exp(i phi_n)`` and the
propagator P,

    psi_1 = t_1 F^-1 probe_j,    psi_(n+1) = t_(n+1) F^-1 P F psi_n,    Psi_j = F psi_N,

and a frame is ``scale |Psi_j|²`` at the detector's samples. For a loss L of the frames the adjoint
wave ``a = dL / d conj(psi)`` runs backwards through the conjugate factors, and

    dL / d phi_n = 2 Im(a_n conj(psi_n)),

added over the positions' windows (written out by hand: no tape, one copy of each wave kept).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.diffraction_box import DiffractionBox
from echolith.inverse.iterative_ptychography_frames import Array, Grid, Indices, Volume
from echolith.inverse.iterative_ptychography_kernels import (
    absorb,
    illuminate,
    multiply,
    transmit,
)

Waves = npt.NDArray[np.complex64]


def propagator(box: DiffractionBox, thickness: float) -> Waves:
    """Return the Fresnel propagator ``exp(-i pi lambda dz k²)`` on a box, FFT order."""
    ky, kx = box.frequencies(0), box.frequencies(1)
    phase = -np.pi * box.wavelength * thickness * (ky[:, None] ** 2 + kx[None] ** 2)
    return np.asarray(np.exp(1j * phase), dtype=np.complex64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """Transmission functions (slices, y, x) and what lies between them."""

    transmission: Waves
    propagator: Waves
    grid: Grid

    @classmethod
    def of(cls, phase: npt.NDArray[np.float32], step: float, grid: Grid) -> "Specimen":
        """Make it from phases (slices, y, x) in rad and the distance of slices in Å."""
        transmission = np.exp(1j * phase).astype(np.complex64)
        return cls(transmission=transmission, propagator=propagator(grid.box, step), grid=grid)

    def incident(self, probe: Waves, positions: Array) -> tuple[Waves, Indices]:
        """Return the probes' spectra at positions (n, 2) xy, and their windows."""
        corners, inside = self.grid.windows(positions)
        waves = np.empty((len(positions), *probe.shape), np.complex64)
        illuminate(probe, *self.grid.ramps(inside), waves)
        return waves, corners

    def forward(self, spectra: Waves, corners: Indices) -> tuple[Waves, Waves]:
        """Take spectra through the slices, overwriting them.

        Returns
        -------
        exit_spectra : array of complex64, (n, ny, nx)
        kept : array of complex64, (slices, n, ny, nx)
            Waves behind every slice.
        """
        kept = np.empty((len(self.transmission), *spectra.shape), np.complex64)
        waves = spectra
        for n, transmission in enumerate(self.transmission):
            if n:
                multiply(waves, self.propagator)
            waves = to_space(waves)
            transmit(waves, transmission, corners, kept[n])
            waves = to_spectrum(waves)
        return waves, kept

    def back(self, adjoint: Waves, kept: Waves, corners: Indices, gradient: Volume) -> Waves:
        """Take the adjoint of exit spectra back to that of incident ones, overwriting it.

        Parameters
        ----------
        adjoint : array of complex64, (n, ny, nx)
            ``dL / d conj(exit spectrum)``.
        kept, corners : array
            From `forward`.
        gradient : array of float32, (slices, y, x)
            ``dL / d phase``, added to.
        """
        conjugate = np.conj(self.propagator)
        for n in range(len(self.transmission) - 1, -1, -1):
            adjoint = to_space(adjoint)
            absorb(adjoint, kept[n], self.transmission[n], corners, gradient[n])
            adjoint = to_spectrum(adjoint)
            if n:
                multiply(adjoint, conjugate)
        return adjoint


def to_spectrum(waves: Waves) -> Waves:
    """Transform waves to their spectra, unitary; the input may be overwritten."""
    done = fft.fft2(waves, axes=(1, 2), norm="ortho", overwrite_x=True, workers=1)
    return np.asarray(done, dtype=np.complex64)


def to_space(spectra: Waves) -> Waves:
    """Undo `to_spectrum`."""
    done = fft.ifft2(spectra, axes=(1, 2), norm="ortho", overwrite_x=True, workers=1)
    return np.asarray(done, dtype=np.complex64)
