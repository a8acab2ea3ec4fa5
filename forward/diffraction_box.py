"""The periodic box a wave is propagated on, and how a detector reads the wave's spectrum.

The box is as long as one over a whole fraction of the detector's pixel, so that every sample of
the detector is a point of the box's reciprocal grid and no interpolation is needed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.forward.optics import aperture, wavelength
from echolith.forward.simulation import Simulation

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ANTIALIAS_CUTOFF = 2 / 3
"""abTEM's: waves and transmission functions are cut off at 2/3 of the Nyquist frequency …"""
ANTIALIAS_TAPER = 0.01
"""… with a cosine edge that begins this many cycles per pixel below."""
UNATTENUATED = ANTIALIAS_CUTOFF / 2 - ANTIALIAS_TAPER
"""Cycles per pixel up to which waves pass unchanged."""
COARSEST_SAMPLING = 0.08
"""Å, however small the detectors; see `echolith.forward.engine_error.sampling_error`."""


@dataclass(frozen=True, kw_only=True)
class DiffractionBox:
    """A box, its grid and its reciprocal grid; pairs are (y, x)."""

    gpts: tuple[int, int]
    pixel: tuple[float, float]
    """Spacing of the reciprocal grid, mrad."""
    multiple: tuple[int, int]
    """Reciprocal grid points per sample of the detector."""
    offset: tuple[float, float]
    """Angle of the reciprocal grid's origin in its pixels: 0 or 1/2 (even subpixels)."""
    energy: float

    @property
    def wavelength(self) -> float:
        """Å."""
        return wavelength(self.energy)

    @property
    def side(self) -> tuple[float, float]:
        """Height and width, Å."""
        lam = wavelength(self.energy)
        return lam / (self.pixel[0] * 1e-3), lam / (self.pixel[1] * 1e-3)

    @property
    def sampling(self) -> tuple[float, float]:
        """Pixel height and width, Å."""
        return self.side[0] / self.gpts[0], self.side[1] / self.gpts[1]

    def angles(self, axis: int) -> FloatArray:
        """Return the angle of every reciprocal grid point along an axis, mrad, FFT order."""
        index = np.fft.fftfreq(self.gpts[axis], 1 / self.gpts[axis])
        return np.asarray((np.rint(index) + self.offset[axis]) * self.pixel[axis])

    def frequencies(self, axis: int) -> FloatArray:
        """Return the spatial frequency of every reciprocal grid point, 1/Å, FFT order."""
        return self.angles(axis) * 1e-3 / wavelength(self.energy)

    def band(self) -> IntArray:
        """Return the rows of the spectrum that the antialias aperture leaves, ascending."""
        cutoff = ANTIALIAS_CUTOFF / 2 / max(self.sampling)
        return np.flatnonzero(np.abs(self.frequencies(0)) <= cutoff)

    def holds_whole_cells(self, cell: FloatArray) -> bool:
        """Say whether both sides are lattice vectors of a lateral cell (rows, xy in Å)."""
        steps = np.diag(self.side[::-1]) @ np.linalg.inv(cell)
        return bool(np.all(np.abs(steps - np.rint(steps)) < 1e-4))

    def antialias(self) -> FloatArray:
        """Return abTEM's antialias aperture on this reciprocal grid, (ny, nx)."""
        return antialias(self.frequencies(0), self.frequencies(1), max(self.sampling))


def antialias(
    ky: npt.NDArray[np.floating], kx: npt.NDArray[np.floating], sampling: float
) -> FloatArray:
    """Return abTEM's antialias aperture for frequencies in 1/Å, (ny, nx)."""
    r = np.hypot(ky[:, None], kx[None]) * sampling
    edge = 0.5 * (1 + np.cos(np.pi * (r - UNATTENUATED) / ANTIALIAS_TAPER))
    passed = np.where(r > UNATTENUATED, edge, 1.0)
    return np.where(r > ANTIALIAS_CUTOFF / 2, 0.0, passed)


def largest_angle(acquisition: StemAcquisition) -> float:
    """Return the largest angle any detector collects, mrad."""
    rows, columns = sample_angles(acquisition)
    corner = float(np.hypot(np.abs(rows).max(), np.abs(columns).max()))
    outer = acquisition.haadf.outer if acquisition.haadf else 0.0
    return max(corner, outer, acquisition.beam.semiangle)


def sample_angles(acquisition: StemAcquisition) -> tuple[FloatArray, FloatArray]:
    """Return the angles the detector samples along rows and columns, mrad, before any transpose.

    ``subpixels`` points lie evenly in each pixel, symmetric about its centre.
    """
    detector = acquisition.detector
    axes = []
    for n, size, s in zip(detector.shape, detector.pixel_size, detector.subpixels, strict=True):
        index = np.arange(n * s) - s * (n // 2) - (s - 1) / 2
        axes.append(np.asarray(index * (size / s)))
    return axes[0], axes[1]


def diffraction_box(
    acquisition: StemAcquisition, simulation: Simulation, *, reach: tuple[float, float] = (0, 0)
) -> DiffractionBox:
    """Choose box and grid.

    Parameters
    ----------
    acquisition : StemAcquisition
    simulation : Simulation
        Least side and, if given, the sampling.
    reach : pair of float
        Height and width (y, x) to add to the least side, Å (for one box around many probes).

    Raises
    ------
    BadInputError
        If the sampling given cannot hold the largest angle detected.
    """
    height, width = (simulation.minimum_box + extra for extra in reach)
    spacing = wave_sampling(acquisition, simulation)
    return fitted_box(acquisition, least_side=(height, width), spacing=(spacing, spacing))


def fitted_box(
    acquisition: StemAcquisition, *, least_side: tuple[float, float], spacing: tuple[float, float]
) -> DiffractionBox:
    """Return the least box whose reciprocal grid holds every sample of the detector.

    Parameters
    ----------
    acquisition : StemAcquisition
    least_side : pair of float
        Height and width (y, x), Å.
    spacing : pair of float
        Largest pixel of the waves (y, x), Å.
    """
    detector, lam = acquisition.detector, acquisition.beam.wavelength
    gpts, pixels, multiples, offsets = [], [], [], []
    for size, s, side, step in zip(
        detector.pixel_size, detector.subpixels, least_side, spacing, strict=True
    ):
        native = lam / (size / s * 1e-3)
        multiple = max(1, int(np.ceil(side / native - 1e-9)))
        gpts.append(fast_length(int(np.ceil(native * multiple / step - 1e-9))))
        pixels.append(size / s / multiple)
        multiples.append(multiple)
        offsets.append(0.5 * (multiple * (s - 1) % 2))
    return DiffractionBox(
        gpts=(gpts[0], gpts[1]),
        pixel=(pixels[0], pixels[1]),
        multiple=(multiples[0], multiples[1]),
        offset=(offsets[0], offsets[1]),
        energy=acquisition.beam.energy,
    )


def fast_length(n: int) -> int:
    """Return the next even length with small prime factors."""
    while n % 2 or next_fast_len(n) != n:
        n += 1
    return n


def wave_sampling(acquisition: StemAcquisition, simulation: Simulation) -> float:
    """Return the pixel of the wave, Å.

    Waves pass the antialias aperture up to ``0.323 wavelength / sampling``, which must hold the
    largest angle detected.

    Raises
    ------
    BadInputError
        If a sampling is given that cuts the largest angle detected.
    """
    angle = largest_angle(acquisition)
    lam = acquisition.beam.wavelength
    needed = UNATTENUATED * lam / (angle * 1e-3)
    if simulation.sampling is None:
        return min(needed, COARSEST_SAMPLING)
    if simulation.sampling > needed * (1 + 1e-9):
        held = UNATTENUATED * lam / simulation.sampling * 1e3
        raise BadInputError(
            f"sampling = {simulation.sampling:g} Å holds angles up to {held:.4g} mrad only, but "
            f"the detectors reach {angle:.4g} mrad: they would alias; use {needed:.4f} Å or less, "
            "or smaller detectors"
        )
    return simulation.sampling


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Where the detectors find their samples in the spectrum of a box.

    The annular detector sums the points of the pixelated detector's lattice of samples, continued
    over the plane, with ``inner <= angle < outer``.
    """

    acquisition: StemAcquisition
    box: DiffractionBox

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Shape of a stored frame."""
        return self.acquisition.detector.stored_shape

    @cached_property
    def rows(self) -> IntArray:
        """Rows of the spectrum the detector samples, FFT order."""
        return self._indices(0)

    @cached_property
    def columns(self) -> IntArray:
        """Columns of the spectrum the detector samples, FFT order."""
        return self._indices(1)

    def _indices(self, axis: int) -> IntArray:
        return self._steps(sample_angles(self.acquisition)[axis], axis) % self.box.gpts[axis]

    def _steps(self, angles: FloatArray, axis: int) -> IntArray:
        steps = np.rint(angles / self.box.pixel[axis] - self.box.offset[axis])
        return np.asarray(steps, dtype=np.int64)

    @cached_property
    def annulus(self) -> npt.NDArray[np.bool_]:
        """Points of the spectrum (ny, nx) that the annular detector sums."""
        mask = np.zeros(self.box.gpts, dtype=bool)
        if self.acquisition.haadf is not None:
            ty, tx = self.box.angles(0), self.box.angles(1)
            angle = np.hypot(ty[:, None], tx[None])
            haadf = self.acquisition.haadf
            mask = (angle >= haadf.inner) & (angle < haadf.outer)
            mask &= self._on_lattice(0)[:, None] & self._on_lattice(1)[None]
        return mask

    def _on_lattice(self, axis: int) -> npt.NDArray[np.bool_]:
        first = self._steps(sample_angles(self.acquisition)[axis][:1], axis)
        steps = self._steps(self.box.angles(axis), axis)
        return np.asarray((steps - first) % self.box.multiple[axis] == 0)

    @cached_property
    def scale(self) -> float:
        """Electrons per unit intensity of one point of the spectrum.

        Such that the samples over the whole plane sum to the electrons per position without a
        specimen: the ratio of the aperture's points on the box's grid and on the samples' lattice,
        close to the ratio of solid angles.
        """
        ky, kx = self.box.frequencies(0), self.box.frequencies(1)
        inside = aperture(kx[None], ky[:, None], beam=self.acquisition.beam) != 0
        sampled = inside[self._on_lattice(0)][:, self._on_lattice(1)].sum()
        ratio = inside.sum() / sampled if sampled else float(np.prod(self.box.multiple))
        return float(self.acquisition.electrons_per_position * ratio)

    @cached_property
    def _samples(self) -> IntArray:
        """Flat indices of the detector's samples in the rows of the band, (rows, columns)."""
        rows = np.searchsorted(self.box.band(), self.rows)
        return np.asarray(rows[:, None] * self.box.gpts[1] + self.columns)

    @cached_property
    def _ring(self) -> IntArray:
        """Flat indices of the annulus in the rows of the band."""
        return np.flatnonzero(self.annulus[self.box.band()])

    def read(
        self, intensity: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return stored frames (n, dy, dx) and annular counts (n,) from intensities.

        Parameters
        ----------
        intensity : array of float32, (n, rows of the band, nx)
            Fraction of the electrons at each point of the spectrum's rows in the antialias band.
        """
        flat = intensity.reshape(len(intensity), -1)
        frames = self.frame(flat[:, self._samples])
        haadf = flat[:, self._ring].sum(axis=1, dtype=np.float64)
        return frames, (haadf * self.scale).astype(np.float32)

    def frame(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Sum samples (..., rows, columns) over each pixel, scale and transpose: stored frames."""
        detector = self.acquisition.detector
        (ny, nx), (sy, sx) = detector.shape, detector.subpixels
        if sy * sx > 1:
            samples = samples.reshape(*samples.shape[:-2], ny, sy, nx, sx).sum(axis=(-3, -1))
        pixels = samples * np.float32(self.scale)
        return np.swapaxes(pixels, -1, -2) if detector.transpose else pixels
