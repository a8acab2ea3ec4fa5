"""Multislice of convergent probes, each on its own box cut out of the specimen around it.

``psi_(n+1) = F^-1 P F (t_n psi_n)`` with abTEM's conventions (Kirkland, *Advanced Computing in
Electron Microscopy*, 2nd ed., eq. 6.92); the tests hold it to abTEM's own multislice. The loop
is written out here because abTEM's is bit-reproducible only with FFTW's estimated plans, which
ran three times slower than SciPy's transforms; and because a wave inside the antialias aperture
fills two thirds of the rows of its spectrum, so that a third of the transforms along them is saved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.acquisition import Beam
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.optics import aperture, wavelength
from echolith.forward.projected_potential import Region, Transmission

FloatArray = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex64]
"""Spectra of waves, (waves, rows of the band, nx), FFT order without the empty rows."""

POINTS_AT_ONCE = 2**16
"""Waves are propagated in batches of at least this many points, one if it is larger itself."""


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Transmission functions of a region and the propagator between them on a box."""

    region: Region
    transmission: Transmission
    thickness: float
    """Of one slice, Å."""
    box: DiffractionBox

    @property
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


def propagate(spectra: Spectrum, corners: npt.NDArray[np.int64], slices: Slices) -> Spectrum:
    """Take waves from the entrance to the exit of the specimen.

    The last propagation is left out: it does not change the intensity of the spectrum.

    Parameters
    ----------
    spectra : array of complex64, (waves, rows of the band, nx)
    corners : array of int, (waves, 2)
        First row and column of the box of each wave in the region.
    slices : Slices

    Returns
    -------
    array of complex64, (waves, rows of the band, nx)
    """
    ny, nx = slices.box.gpts
    kept = len(slices.rows)
    low, high = _ends(slices.rows, ny)
    kernel = slices.propagator
    waves = np.zeros((len(spectra), ny, nx), dtype=np.complex64)
    bottom, top = waves[:, :low], waves[:, high:]
    bottom[...], top[...] = spectra[:, :low], spectra[:, low:]
    for n, block in enumerate(slices.continued):
        if n:
            bottom *= kernel[:low]
            top *= kernel[low:]
            waves[:, low:high] = 0
        _in_place(fft.ifft, bottom, 2)
        _in_place(fft.ifft, top, 2)
        _in_place(fft.ifft, waves, 1)
        for wave, (y, x) in zip(waves, corners, strict=True):
            wave *= block[y : y + ny, x : x + nx]
        _in_place(fft.fft, waves, 1)
        _in_place(fft.fft, bottom, 2)
        _in_place(fft.fft, top, 2)
    exit_waves = np.empty((len(waves), kept, nx), dtype=np.complex64)
    exit_waves[:, :low], exit_waves[:, low:] = bottom, top
    return exit_waves


def _ends(rows: npt.NDArray[np.int64], ny: int) -> tuple[int, int]:
    """Return where the empty rows of a spectrum in FFT order begin and where they end."""
    low = int((rows < ny // 2).sum())
    return low, ny - (len(rows) - low)


def _in_place(transform: Callable[..., Any], waves: Spectrum, axis: int) -> None:
    done = transform(waves, axis=axis, overwrite_x=True, workers=1)
    if not np.may_share_memory(done, waves):  # SciPy may overwrite, it does not promise to
        waves[...] = done


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The spectrum of a normalised probe inside its aperture."""

    rows: npt.NDArray[np.int64]
    """Of the band, that the aperture touches."""
    columns: npt.NDArray[np.int64]
    """Of the spectrum, that the aperture touches."""
    ky: FloatArray
    kx: FloatArray
    values: npt.NDArray[np.complex128]
    """(rows, columns)"""

    def at(self, offsets: FloatArray, shape: tuple[int, int]) -> Spectrum:
        """Return the spectra of probes at offsets (n, 2) yx in Å; shape is that of the band."""
        along_y = np.exp(-2j * np.pi * offsets[:, :1] * self.ky)
        along_x = np.exp(-2j * np.pi * offsets[:, 1:] * self.kx)
        spectra = np.zeros((len(offsets), *shape), dtype=np.complex64)
        inside = along_y[:, :, None] * along_x[:, None, :] * self.values
        spectra[:, self.rows[:, None], self.columns[None]] = inside
        return spectra


def probe_of(beam: Beam, slices: Slices) -> Probe:
    """Return the probe of a coherent beam on the box of some slices."""
    ky, kx = slices.box.frequencies(0)[slices.rows], slices.box.frequencies(1)
    spectrum = aperture(kx[None], ky[:, None], beam=beam)
    rows, columns = (np.flatnonzero((spectrum != 0).any(axis=axis)) for axis in (1, 0))
    norm = np.sqrt((np.abs(spectrum) ** 2).sum())
    values = spectrum[rows[:, None], columns[None]] / norm
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
    for start in range(0, len(positions), batch):
        here = slice(start, start + batch)
        offsets, corners = slices.offsets(positions[here]), slices.corners(positions[here])
        total = np.zeros((len(offsets), *band), dtype=np.float32)
        for weight, probe in probes:
            total += weight * _intensity(propagate(probe.at(offsets, band), corners, slices))
        frames[here], haadf[here] = readout.read(total)
    return frames, haadf


def _intensity(waves: Spectrum) -> npt.NDArray[np.float32]:
    return np.asarray(waves.real**2 + waves.imag**2)
