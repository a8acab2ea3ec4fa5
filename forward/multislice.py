"""Multislice of convergent probes, each on its own box cut out of the specimen around it.

``psi_(n+1) = F^-1 P F (t_n psi_n)`` with abTEM's conventions (Kirkland, *Advanced Computing in
Electron Microscopy*, 2nd ed., eq. 6.92); the tests hold it to abTEM's own multislice. The loop
is written out here because abTEM's is bit-reproducible only with FFTW's estimated plans in place,
which run three times slower than others (`echolith.forward.wave_transforms`); and because a wave
inside the antialias aperture fills two thirds of the rows of its spectrum, so that a third of the
transforms along them is saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.forward.acquisition import Beam
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.optics import aperture, wavelength
from echolith.forward.projected_potential import Region, Transmission
from echolith.forward.wave_transforms import wave_transforms

FloatArray = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex64]
"""Spectra of waves, (waves, rows of the band, nx), FFT order without the empty rows."""

POINTS_AT_ONCE = 2**15
"""Waves begin and are read in batches of at least this many points, one if it is larger itself."""


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Transmission functions of a region and the propagator between them on a box."""

    region: Region
    transmission: Transmission
    thickness: float
    """Of one slice, Å."""
    box: DiffractionBox

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows of the box's spectrum inside the antialias aperture, FFT order."""
        return self.box.band()

    @cached_property
    def propagator(self) -> npt.NDArray[np.complex64]:
        """Fresnel propagator ``exp(-i pi lambda dz k²)`` times the antialias aperture, in band."""
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        k2 = ky[:, None] ** 2 + kx[None] ** 2
        phase = -np.pi * wavelength(self.box.energy) * self.thickness * k2
        kernel = np.exp(1j * phase) * self.box.antialias()
        return np.asarray(kernel[self.rows], dtype=np.complex64)

    @cached_property
    def continued(self) -> Transmission:
        """The transmission functions, continued by a box beyond the end where they wrap."""
        if not self.region.wraps:
            return self.transmission
        rows, columns = (
            np.arange(period + n) % period
            for period, n in zip(self.region.shape, self.box.gpts, strict=True)
        )
        return np.ascontiguousarray(self.transmission[:, rows][:, :, columns])

    def corners(self, positions: FloatArray) -> npt.NDArray[np.int64]:
        """Return the pixel (y, x) where the box centred next to each position begins, (n, 2)."""
        centre = np.rint(self.region.pixel_of(positions)).astype(np.int64)
        corner = centre - np.array(self.box.gpts) // 2
        return np.asarray(corner % np.array(self.region.shape) if self.region.wraps else corner)

    def offsets(self, positions: FloatArray) -> FloatArray:
        """Return where each position lies inside its box, (n, 2) yx in Å."""
        pixel = self.region.pixel_of(positions)
        inside = pixel - np.rint(pixel) + np.array(self.box.gpts) // 2
        return np.asarray(inside * np.array(self.box.sampling))


class Propagation:
    """Takes waves from the entrance to the exit of a specimen, one after the other.

    The last propagation is left out: it does not change the intensity of the spectrum. It has
    buffers of its own, so that no two threads can share it.
    """

    def __init__(self, slices: Slices) -> None:
        ny, nx = slices.box.gpts
        low, high = _ends(slices.rows, ny)
        self._slabs, self._low = slices.continued, low
        self._transforms = wave_transforms((ny, nx), low=low, high=high)
        # The transforms back are not normalised.
        self._scale = np.float32(1 / (ny * nx))
        kernel = slices.propagator * self._scale
        self._below, self._above = kernel[:low], kernel[low:]

    def __call__(self, spectra: Spectrum, corners: npt.NDArray[np.int64]) -> Spectrum:
        """Propagate waves.

        Parameters
        ----------
        spectra : array of complex64, (waves, rows of the band, nx)
        corners : array of int, (waves, 2)
            First row and column of the box of each wave in the region.

        Returns
        -------
        array of complex64, (waves, rows of the band, nx)
        """
        exit_waves = np.empty_like(spectra)
        bottom, top = self._transforms.bottom, self._transforms.top
        for spectrum, corner, exit_wave in zip(spectra, corners, exit_waves, strict=True):
            np.multiply(spectrum[: self._low], self._scale, out=bottom)
            np.multiply(spectrum[self._low :], self._scale, out=top)
            self._through(corner)
            exit_wave[: self._low], exit_wave[self._low :] = bottom, top
        return exit_waves

    def _through(self, corner: npt.NDArray[np.int64]) -> None:
        transforms = self._transforms
        for n, slab in enumerate(self._slabs):
            if n:
                np.multiply(transforms.bottom, self._below, out=transforms.bottom)
                np.multiply(transforms.top, self._above, out=transforms.top)
            transforms.back()
            _transmit(transforms.wave, slab, corner)
            transforms.forward()


@njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator, unused-ignore]
def _transmit(wave: Any, slab: Any, corner: Any) -> None:
    """Multiply a wave by the part of a slab that begins at a corner (y, x), in place."""
    ny, nx = wave.shape
    for y in range(ny):
        row, passed = wave[y], slab[corner[0] + y, corner[1] : corner[1] + nx]
        for x in range(nx):
            a, b = row[x], passed[x]
            row[x] = complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def _ends(rows: npt.NDArray[np.int64], ny: int) -> tuple[int, int]:
    """Return where the empty rows of a spectrum in FFT order begin and where they end."""
    low = int((rows < ny // 2).sum())
    return low, ny - (len(rows) - low)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The spectrum of a normalised probe inside its aperture."""

    rows: npt.NDArray[np.int64]
    """Of the band, that the aperture touches."""
    columns: npt.NDArray[np.int64]
    """Of the spectrum, that the aperture touches."""
    ky: FloatArray
    kx: FloatArray
    values: npt.NDArray[np.complex64]
    """(rows, columns)"""

    def at(self, offsets: FloatArray, shape: tuple[int, int]) -> Spectrum:
        """Return the spectra of probes at offsets (n, 2) yx in Å; shape is that of the band."""
        along_y, along_x = (
            np.exp(-2j * np.pi * offsets[:, [axis]] * k).astype(np.complex64)
            for axis, k in enumerate((self.ky, self.kx))
        )
        spectra = np.zeros((len(offsets), *shape), dtype=np.complex64)
        inside = self.values * along_y[:, :, None] * along_x[:, None, :]
        spectra[:, self.rows[:, None], self.columns[None]] = inside
        return spectra


def probe_of(beam: Beam, slices: Slices) -> Probe:
    """Return the probe of a coherent beam on the box of some slices."""
    ky, kx = slices.box.frequencies(0)[slices.rows], slices.box.frequencies(1)
    spectrum = aperture(kx[None], ky[:, None], beam=beam)
    rows, columns = (np.flatnonzero((spectrum != 0).any(axis=axis)) for axis in (1, 0))
    norm = np.sqrt((np.abs(spectrum) ** 2).sum())
    values = (spectrum[rows[:, None], columns[None]] / norm).astype(np.complex64)
    return Probe(rows=rows, columns=columns, ky=ky[rows], kx=kx[columns], values=values)


def probe_frames(
    positions: FloatArray, *, beams: Sequence[tuple[float, Beam]], slices: Slices, readout: Readout
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the expected counts of probes at positions (n, 2) xy in Å.

    Parameters
    ----------
    positions : array, (n, 2)
        xy in Å, specimen frame.
    beams : sequence of (weight, Beam)
        Coherent beams whose intensities are added.
    slices : Slices
    readout : Readout

    Returns
    -------
    counts : array of float32, (n, dy, dx)
        Stored frames.
    haadf : array of float32, (n,)
    """
    frames = np.empty((len(positions), *readout.stored_shape), dtype=np.float32)
    haadf = np.empty(len(positions), dtype=np.float32)
    band = (len(slices.rows), slices.box.gpts[1])
    probes = [(np.float32(weight), probe_of(beam, slices)) for weight, beam in beams]
    batch = -(-POINTS_AT_ONCE // int(np.prod(slices.box.gpts)))
    propagate = Propagation(slices)
    for start in range(0, len(positions), batch):
        here = slice(start, start + batch)
        offsets, corners = slices.offsets(positions[here]), slices.corners(positions[here])
        total = np.zeros((len(offsets), *band), dtype=np.float32)
        for weight, probe in probes:
            total += weight * _intensity(propagate(probe.at(offsets, band), corners))
        frames[here], haadf[here] = readout.read(total)
    return frames, haadf


def _intensity(waves: Spectrum) -> npt.NDArray[np.float32]:
    return np.asarray(waves.real**2 + waves.imag**2)
