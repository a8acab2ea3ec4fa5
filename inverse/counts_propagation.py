"""Multislice through equal slices of columns, and its adjoint.

Columns run straight through the specimen, so every slice has the same transmission function
``t = exp(i phi / slices)``. Probes are propagated on boxes cut out of the field,

``psi_0 = F^-1 p,   s_n = P F t psi_(n-1),   psi_n = F^-1 s_n,   exit = F t psi_last``

and what a change of the exit spectra does to a number is carried back the same way, which yields
the derivative by the transmission function, the thickness and the defocus at the cost of about one
more propagation, however many columns there are.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.forward.diffraction_box import (
    UNATTENUATED,
    DiffractionBox,
    Readout,
    fast_length,
    fitted_box,
    sample_angles,
)
from echolith.forward.optics import aperture
from echolith.inverse.counts_columns import Array, ColumnState, FieldGrid

Waves = npt.NDArray[np.complex64]
Corners = npt.NDArray[np.int64]


def probe_box(
    acquisition: StemAcquisition, *, least_side: float, sampling: float
) -> DiffractionBox:
    """Return the box a probe is propagated on: whole fractions of the detector's pixel.

    Parameters
    ----------
    acquisition : StemAcquisition
    least_side : float
        Å.
    sampling : float
        Largest pixel of the waves, Å; a smaller one is taken where the detector needs it.
    """
    lam = acquisition.beam.wavelength
    reach = float(np.hypot(*(np.abs(axis).max() for axis in sample_angles(acquisition))))
    reach = max(reach, acquisition.beam.semiangle)
    spacing = min(sampling, UNATTENUATED * lam / (reach * 1e-3))
    return fitted_box(acquisition, least_side=(least_side, least_side), spacing=(spacing, spacing))


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Waves of some probes on their way through the specimen, kept for the way back."""

    transmission: Waves
    """Of one slice, in the box of each probe, (probes, ny, nx)."""
    kernel: Waves
    waves: list[Waves]
    """In front of each slice."""
    spectra: list[Waves]
    """Their spectra."""
    exit: Waves
    """Exit spectra; squared moduli sum to 1 where nothing is scattered out of the grid."""


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Derivative of a number for each probe."""

    transmission: Waves
    """``d = 2 Re sum transmission dt``, (probes, ny, nx)."""
    common: Array
    """By thickness and defocus, (probes, 2)."""


@dataclass(frozen=True, kw_only=True)
class Propagation:
    """How probes of a measurement pass through columns."""

    acquisition: StemAcquisition
    box: DiffractionBox
    slices: int

    @cached_property
    def readout(self) -> Readout:
        """Where the detector finds its samples in the spectrum."""
        return Readout(acquisition=self.acquisition, box=self.box)

    @cached_property
    def _rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self.readout.rows[:, None], self.readout.columns[None]

    @cached_property
    def _bend(self) -> Array:
        """Phase that one Å of free flight takes off each plane wave, rad/Å."""
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        return np.asarray(np.pi * self.box.wavelength * (ky[:, None] ** 2 + kx[None] ** 2))

    @cached_property
    def _probe(self) -> npt.NDArray[np.complex128]:
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        spectrum = aperture(kx[None], ky[:, None], beam=self.acquisition.beam)
        return np.asarray(spectrum / np.sqrt((np.abs(spectrum) ** 2).sum()))

    def field(self, positions: Array) -> FieldGrid:
        """Return the grid that holds the box around every position (n, 2) xy."""
        yx, pixel = positions.reshape(-1, 2)[:, ::-1], np.array(self.box.sampling)
        half = np.array(self.box.side) / 2 + 2 * pixel
        low = np.floor((yx.min(axis=0) - half) / pixel)
        high = np.ceil((yx.max(axis=0) + half) / pixel)
        shape = [fast_length(int(n) + 2) for n in high - low]
        return FieldGrid(
            origin=(float(low[0] * pixel[0]), float(low[1] * pixel[1])),
            shape=(shape[0], shape[1]),
            sampling=(float(pixel[0]), float(pixel[1])),
        )

    def corners(self, positions: Array, field: FieldGrid) -> tuple[Corners, Array]:
        """Return first row and column of each probe's box, and the probe's place in it, Å (yx)."""
        pixel = (positions[:, ::-1] - np.array(field.origin)) / np.array(field.sampling)
        centre, half = np.rint(pixel).astype(np.int64), np.array(self.box.gpts) // 2
        return centre - half, (pixel - centre + half) * np.array(field.sampling)

    def forward(
        self, positions: Array, *, state: ColumnState, transmission: Waves, field: FieldGrid
    ) -> Passage:
        """Propagate the probes at positions (n, 2) xy."""
        corners, offsets = self.corners(positions, field)
        thickness, defocus = state.common[1:3]
        if not thickness > 0:
            raise BadInputError(f"the fit went to a thickness of {thickness:g} Å; expected above 0")
        dz = thickness / self.slices
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        along_y = np.exp(-2j * np.pi * offsets[:, :1] * ky)
        along_x = np.exp(-2j * np.pi * offsets[:, 1:] * kx)
        # Slices stand in the middle of what they stand for: half a step before the first one.
        start = self._probe * np.exp(-1j * self._bend * (dz / 2 + defocus))
        spectrum = np.asarray(along_y[:, :, None] * along_x[:, None, :] * start, dtype=np.complex64)
        kernel = np.asarray(
            np.exp(-1j * self._bend * dz) * self.box.antialias(), dtype=np.complex64
        )
        ny, nx = self.box.gpts
        cut = np.stack([transmission[y : y + ny, x : x + nx] for y, x in corners])
        waves, spectra = [], []
        for n in range(self.slices):
            if n:
                spectrum *= kernel
            spectra.append(spectrum)
            waves.append(fft.ifft2(spectrum, workers=1))
            spectrum = fft.fft2(waves[-1] * cut, workers=1, overwrite_x=True)
        return Passage(transmission=cut, kernel=kernel, waves=waves, spectra=spectra, exit=spectrum)

    def frames(self, passage: Passage, scale: float) -> npt.NDArray[np.float32]:
        """Return expected counts, (probes, dy, dx)."""
        seen = passage.exit[:, self._rows[0], self._rows[1]]
        counts = self.readout.frame(seen.real**2 + seen.imag**2)
        return np.asarray(counts * np.float32(np.exp(scale)))

    def back(self, passage: Passage, weight: npt.NDArray[np.float32], scale: float) -> Slopes:
        """Return the derivative of ``sum(weight * frames)`` for each probe.

        Parameters
        ----------
        passage : Passage
        weight : array of float32, (probes, dy, dx)
            Derivative of a number by each expected count.
        scale : float
            As given to `frames`.
        """
        detector = self.acquisition.detector
        (sy, sx), bend = detector.subpixels, self._bend
        weight = np.swapaxes(weight, -1, -2) if detector.transpose else weight
        weight = weight.repeat(sy, axis=-2).repeat(sx, axis=-1)
        weight = weight * np.float32(self.readout.scale * np.exp(scale))
        spectrum = np.zeros_like(passage.exit)
        spectrum[:, self._rows[0], self._rows[1]] = (
            weight * passage.exit[:, self._rows[0], self._rows[1]]
        )
        total = np.zeros_like(passage.exit)
        turned = np.asarray(-2j * bend, dtype=np.complex64)
        common = np.zeros((len(total), 2))
        back = passage.transmission.conj()
        for n in reversed(range(self.slices)):
            wave = fft.ifft2(spectrum, workers=1, overwrite_x=True)
            total += wave.conj() * passage.waves[n]
            wave *= back
            spectrum = fft.fft2(wave, workers=1, overwrite_x=True)
            change = (spectrum.conj() * turned * passage.spectra[n]).real.sum(axis=(1, 2))
            common[:, 0] += change / self.slices * (1.0 if n else 0.5)
            if n:
                spectrum *= passage.kernel.conj()
            else:
                common[:, 1] = change
        total *= np.float32(np.prod(self.box.gpts))
        return Slopes(transmission=total, common=common)

    def tangents(
        self, passage: Passage, probe: int, changes: npt.NDArray[np.float32], scale: float
    ) -> npt.NDArray[np.float32]:
        """Return how the expected frame of one probe changes.

        Parameters
        ----------
        passage : Passage
        probe : int
            Which of its probes.
        changes : array of float32, (parameters, ny, nx)
            Change of the projected phase in the box, rad.
        scale : float
            As given to `frames`.

        Returns
        -------
        array of float32, (parameters + 2, dy, dx)
            Derivative by each parameter, then by thickness and defocus.
        """
        block = passage.transmission[probe]
        inner = 1j * block / np.float32(self.slices) * changes
        flight = np.asarray(-1j * self._bend, dtype=np.complex64)
        spectra = np.zeros((len(changes) + 2, *self.box.gpts), dtype=np.complex64)
        spectra[-2] = flight * passage.spectra[0][probe] / np.float32(2 * self.slices)
        spectra[-1] = flight * passage.spectra[0][probe]
        for n in range(self.slices):
            if n:
                spectra *= passage.kernel
                spectra[-2] += flight * passage.spectra[n][probe] / np.float32(self.slices)
            waves = fft.ifft2(spectra, workers=1, overwrite_x=True)
            waves *= block
            waves[:-2] += inner * passage.waves[n][probe]
            spectra = fft.fft2(waves, workers=1, overwrite_x=True)
        seen = spectra[:, self._rows[0], self._rows[1]]
        exit_wave = passage.exit[probe][self._rows[0], self._rows[1]]
        change = 2 * (seen.real * exit_wave.real + seen.imag * exit_wave.imag)
        return np.asarray(self.readout.frame(change) * np.float32(np.exp(scale)))
