"""Plane waves through a laterally periodic specimen, on one cell of it.

A plane wave k couples only to k + g. With ``k = q + g`` the wave is ``exp(2 pi i q.r)`` times a
function of the cell's period, so multislice runs on the cell's own grid with the propagator
``exp(-i pi lambda dz |q + g|²)`` (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed.,
eq. 6.92, at shifted k). Nothing is approximated: it equals multislice on any box that holds a
whole number of cells.

The scattering matrix ``S_(K,k)`` from incident k to exit K is had by columns (forwards, one
incident wave each) or by rows: transposed, the slices in reverse order and the Fourier transforms
exchanged, one exit wave K each. The last propagation is left out: it does not change intensities.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.diffraction_box import ANTIALIAS_CUTOFF
from echolith.forward.oblique_potential import ObliqueGrid, oblique_grid, slice_transmissions
from echolith.forward.optics import wavelength
from echolith.forward.projected_potential import slice_count

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complex64]


@dataclass(frozen=True, kw_only=True)
class CrystalSlices:
    """Transmission functions of the slices of one cell, and what propagates between them."""

    grid: ObliqueGrid
    transmission: ComplexArray
    """``(slices, n1, n2)``"""
    thickness: float
    """Of one slice, Å."""
    energy: float

    def split(self, k: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return integers m and remainders q of wave vectors ``k = m1 b1 + m2 b2 + q``, (n, 2)."""
        m = np.rint(k @ self.grid.cell.T).astype(np.int64)
        return m, k - m @ self.grid.reciprocal

    @property
    def largest_remainder(self) -> float:
        """Bound on the length of q, 1/Å."""
        return float(np.hypot(*np.abs(self.grid.reciprocal).sum(axis=0))) / 2

    @cached_property
    def band(self) -> IntArray:
        """Flat indices of the spectrum's points that pass the antialias aperture for some q."""
        limit = ANTIALIAS_CUTOFF / 2 / self.grid.sampling + self.largest_remainder
        lengths = np.linalg.norm(self.grid.vectors, axis=-1)
        return np.flatnonzero(lengths.ravel() <= limit)

    def propagators(self, q: FloatArray) -> ComplexArray:
        """Return the Fresnel propagator at ``q + g`` on the band, for each q (n, 2)."""
        k = q[:, None] + self.grid.vectors.reshape(-1, 2)[self.band]
        k2 = (k**2).sum(axis=-1)
        phase = -np.pi * wavelength(self.energy) * self.thickness * k2
        kernel = np.exp(1j * phase) * self.grid.antialias(np.sqrt(k2))
        return np.asarray(kernel, dtype=np.complex64)

    def columns(self, m: IntArray, q: FloatArray) -> ComplexArray:
        """Return the exit spectra of incident plane waves ``m.b + q``: columns of S.

        Parameters
        ----------
        m, q : array, (n, 2)
            As from `split`.

        Returns
        -------
        array of complex64, (n, n1, n2)
            The exit waves at ``q + g``, FFT order.
        """
        return self._through(m, q, self.transmission, forwards=True)

    def rows(self, m: IntArray, q: FloatArray) -> ComplexArray:
        """Return the shares of incident waves in exit waves ``m.b + q``: rows of S.

        Parameters
        ----------
        m, q : array, (n, 2)
            As from `split`.

        Returns
        -------
        array of complex64, (n, n1, n2)
            Of the incident waves at ``q + g``, FFT order.
        """
        return self._through(m, q, self.transmission[::-1], forwards=False)

    def _through(
        self, m: IntArray, q: FloatArray, slabs: ComplexArray, *, forwards: bool
    ) -> ComplexArray:
        shape = (len(m), *self.grid.shape)
        spectra = self._first(slabs[0], m, forwards=forwards)
        if len(slabs) == 1:
            return spectra
        to_space, to_spectrum = (fft.ifft2, fft.fft2) if forwards else (fft.fft2, fft.ifft2)
        kernel = self.propagators(q)
        for slab in slabs[1:]:
            passed = spectra.reshape(len(m), -1)[:, self.band] * kernel
            spectra = np.zeros(shape, dtype=np.complex64)
            spectra.reshape(len(m), -1)[:, self.band] = passed
            waves = to_space(spectra, workers=1, overwrite_x=True)
            waves *= slab
            spectra = to_spectrum(waves, workers=1, overwrite_x=True)
        return np.asarray(spectra)

    def _first(self, slab: ComplexArray, m: IntArray, *, forwards: bool) -> ComplexArray:
        """Return the spectra of single plane waves behind one slice: shifts of its spectrum."""
        spectrum = fft.fft2(slab, norm="forward", workers=1)
        sign = 1 if forwards else -1
        along1, along2 = (
            (sign * (np.arange(n) - m[:, axis, None])) % n for axis, n in enumerate(slab.shape)
        )
        return np.asarray(spectrum[along1[:, :, None], along2[:, None, :]])


def crystal_slices(
    atoms: "Atoms", *, energy: float, sampling: float, slice_thickness: float
) -> CrystalSlices:
    """Cut a laterally periodic specimen into slices on its cell's own grid.

    Parameters
    ----------
    atoms : ase.Atoms
    energy : float
        eV.
    sampling : float
        Side of the square pixel that sets the antialias aperture, Å.
    slice_thickness : float
        Largest thickness of a slice, Å.
    """
    grid = oblique_grid(np.asarray(atoms.cell)[:2, :2], sampling)
    slices = slice_count(atoms, slice_thickness)
    return CrystalSlices(
        grid=grid,
        transmission=slice_transmissions(atoms, grid=grid, slices=slices, energy=energy),
        thickness=float(atoms.cell[2, 2]) / slices,
        energy=energy,
    )
