"""Multislice of convergent probes, each on its own box cut out of the specimen around it.

``psi_(n+1) = F^-1 P F (t_n psi_n)`` with abTEM's conventions (Kirkland, *Advanced Computing in
Electron Microscopy*, 2nd ed., eq. 6.92); the tests hold it to abTEM's own multislice. The loop
is written out here because abTEM's is bit-reproducible only with FFTW's estimated plans, which
ran three times slower than SciPy's transforms; and because a wave inside the antialias aperture
needs a third fewer column transforms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.acquisition import Beam
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.optics import aperture, wavelength
from echolith.forward.projected_potential import Region, Transmission

FloatArray = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex64]
"""Spectra of waves, (waves, ny, columns in the band), FFT order without the empty columns."""

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
    def columns(self) -> npt.NDArray[np.int64]:
        """Columns of the box's spectrum inside the antialias aperture, FFT order."""
        return self.box.band()

    @cached_property
    def propagator(self) -> npt.NDArray[np.complex64]:
        """Fresnel propagator ``exp(-i pi lambda dz k²)`` times the antialias aperture, in band."""
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        k2 = ky[:, None] ** 2 + kx[None] ** 2
        phase = -np.pi * wavelength(self.box.energy) * self.thickness * k2
        kernel = np.exp(1j * phase) * self.box.antialias()
        return np.asarray(kernel[:, self.columns], dtype=np.complex64)

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


def probe_spectrum(beam: Beam, box: DiffractionBox) -> npt.NDArray[np.complex64]:
    """Return the normalised spectrum of a probe at the origin of the box, (ny, nx)."""
    spectrum = aperture(box.frequencies(1)[None], box.frequencies(0)[:, None], beam=beam)
    norm = np.sqrt((np.abs(spectrum) ** 2).sum())
    return np.asarray(spectrum / norm, dtype=np.complex64)


def propagate(spectra: Spectrum, corners: npt.NDArray[np.int64], slices: Slices) -> Spectrum:
    """Take waves from the entrance to the exit of the specimen.

    The last propagation is left out: it does not change the intensity of the spectrum.

    Parameters
    ----------
    spectra : array of complex64, (waves, ny, band)
    corners : array of int, (waves, 2)
        First row and column of the box of each wave in the region.
    slices : Slices

    Returns
    -------
    array of complex64, (waves, ny, band)
    """
    ny, nx = slices.box.gpts
    columns = slices.columns
    blocks = slices.continued
    waves = np.zeros((len(spectra), ny, nx), dtype=np.complex64)
    for n, block in enumerate(blocks):
        waves[..., columns] = fft.ifft(spectra, axis=1, overwrite_x=True)
        waves = fft.ifft(waves, axis=2, overwrite_x=True)
        for wave, (y, x) in zip(waves, corners, strict=True):
            wave *= block[y : y + ny, x : x + nx]
        waves = fft.fft(waves, axis=2, overwrite_x=True)
        spectra = fft.fft(waves[..., columns], axis=1, overwrite_x=True)
        if n + 1 < len(blocks):
            spectra *= slices.propagator
            waves[...] = 0
    return spectra


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
    columns = slices.columns
    probes = [(weight, probe_spectrum(beam, slices.box)[:, columns]) for weight, beam in beams]
    batch = -(-POINTS_AT_ONCE // int(np.prod(slices.box.gpts)))
    for start in range(0, len(positions), batch):
        here = slice(start, start + batch)
        ramps = _ramps(slices.offsets(positions[here]), slices)
        corners = slices.corners(positions[here])
        total = np.zeros(ramps.shape, dtype=np.float32)
        for weight, probe in probes:
            exit_waves = propagate(probe * ramps, corners, slices)
            total += np.float32(weight) * _intensity(exit_waves)
        frames[here], haadf[here] = readout.read(total, columns)
    return frames, haadf


def _ramps(offsets: FloatArray, slices: Slices) -> Spectrum:
    ky, kx = slices.box.frequencies(0), slices.box.frequencies(1)[slices.columns]
    along_y = np.exp(-2j * np.pi * offsets[:, :1] * ky).astype(np.complex64)
    along_x = np.exp(-2j * np.pi * offsets[:, 1:] * kx).astype(np.complex64)
    return np.asarray(along_y[:, :, None] * along_x[:, None, :])


def _intensity(waves: Spectrum) -> npt.NDArray[np.float32]:
    return np.asarray(waves.real**2 + waves.imag**2)
