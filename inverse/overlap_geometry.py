"""Where a 4D-STEM set samples the double overlaps: pixels K, spatial frequencies Q, chi.

Everything is in the scan frame, where Q is: the detector's sample points are turned by minus the
scan's rotation and any transpose is undone. Of a scan whose raster is another than meant it is the
raster's own frame (`echolith.inverse.scan_raster`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Aberrations, Scan, StemAcquisition, rotate
from echolith.forward.diffraction_box import sample_angles
from echolith.forward.optics import aperture_radius
from echolith.inverse.scan_raster import ScanRaster, raster_frame

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Disc:
    """The detector pixels with a sample point inside the aperture, in stored order.

    ``kx``, ``ky`` (pixels, most samples): sample points inside the aperture in the scan frame,
    1/Å, the first ``samples[p]`` of each row; the rest is zero.
    """

    pixels: IntArray
    """Flat index into the stored frame, ascending."""
    grid: IntArray
    """Flat index into the frame before any transpose."""
    kx: FloatArray
    ky: FloatArray
    samples: IntArray

    @cached_property
    def area(self) -> int:
        """Sample points inside the aperture; each has 1/area of the vacuum intensity."""
        return int(self.samples.sum())


def bright_field_disc(acquisition: StemAcquisition, *, rotation: float | None = None) -> Disc:
    """Find the bright-field pixels and where they sample the diffraction plane.

    Parameters
    ----------
    acquisition : StemAcquisition
    rotation : float, optional
        Degrees from the frame of the result to the specimen's; that of the scan by default.
    """
    turn = acquisition.scan.rotation if rotation is None else rotation
    detector = acquisition.detector
    (ny, nx), (sy, sx) = detector.shape, detector.subpixels
    to_frequency = 1e-3 / acquisition.beam.wavelength
    ky, kx = (axis * to_frequency for axis in sample_angles(acquisition))
    # (row, column, sample of the pixel)
    specimen = np.stack(np.broadcast_arrays(kx[None, :], ky[:, None]), axis=-1)
    specimen = specimen.reshape(ny, sy, nx, sx, 2).swapaxes(1, 2).reshape(ny, nx, sy * sx, 2)
    grid = np.arange(ny * nx).reshape(ny, nx)
    if detector.transpose:
        specimen, grid = specimen.swapaxes(0, 1), grid.T
    specimen = specimen.reshape(ny * nx, sy * sx, 2)
    inside = np.hypot(specimen[..., 0], specimen[..., 1]) <= aperture_radius(acquisition.beam)
    pixels = np.flatnonzero(inside.any(axis=1))
    first = np.argsort(~inside[pixels], axis=1, kind="stable")
    kept = np.take_along_axis(inside[pixels], first, axis=1)
    points = np.take_along_axis(specimen[pixels], first[..., None], axis=1)
    points = rotate(points, -turn) * kept[..., None]
    return Disc(
        pixels=pixels,
        grid=grid.ravel()[pixels],
        kx=np.ascontiguousarray(points[..., 0]),
        ky=np.ascontiguousarray(points[..., 1]),
        samples=inside[pixels].sum(axis=1),
    )


@dataclass(frozen=True, kw_only=True)
class HalfPlane:
    """Half the spatial frequencies inside a radius, row by row; Nyquist's left out.

    Row i holds Q = (starts[i] + j step, qy[i]) for j = 0 .. counts[i] - 1 and lies at
    ``offsets[i]`` of flat arrays of length ``size``. ``starts`` is zero on a rectangular raster.
    """

    shape: tuple[int, int]
    rows: IntArray
    """Index in `numpy.fft.fftfreq` order."""
    qy: FloatArray
    starts: FloatArray
    counts: IntArray
    offsets: IntArray
    step: float
    extent: tuple[float, float]
    """Height and width of the raster across its lines and columns, Å."""
    slope: float
    """``starts`` for each row is minus its index times this, 1/Å."""
    rotation: float
    """Degrees from the frame of Q to the specimen's."""

    @property
    def size(self) -> int:
        """Number of spatial frequencies."""
        return int(self.counts.sum())

    @property
    def columns(self) -> int:
        """Columns of the longest row."""
        return int(self.counts.max())

    @cached_property
    def column(self) -> IntArray:
        """Column j of every flat element."""
        return np.concatenate([np.arange(count) for count in self.counts])

    @cached_property
    def row(self) -> IntArray:
        """Row in `numpy.fft.fftfreq` order of every flat element."""
        return np.repeat(self.rows, self.counts)

    def vectors(self) -> tuple[FloatArray, FloatArray]:
        """Return qx and qy of every flat element, 1/Å."""
        starts = np.repeat(self.starts, self.counts)
        return np.asarray(self.column * self.step + starts), np.repeat(self.qy, self.counts)

    def between(self, steps: FloatArray) -> FloatArray:
        """Return Q, (..., 2) xy in 1/Å, of places (..., 2) xy in steps, whole or not."""
        q = steps / (self.extent[1], self.extent[0])
        q[..., 0] -= steps[..., 1] * self.slope
        return np.asarray(q)

    def half(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put flat values on the plane of `scipy.fft.rfft2`, zero elsewhere."""
        plane = np.zeros((self.shape[0], self.shape[1] // 2 + 1), values.dtype)
        plane[self.row, self.column] = values
        return plane

    def full(self, values: FloatArray) -> FloatArray:
        """Put flat real values on the whole plane, the same at -Q as at Q."""
        plane = np.zeros(self.shape)
        plane[self.row, self.column] = values
        plane[-self.row, -self.column] = values
        return plane


def half_plane(scan: Scan, radius: float, *, raster: ScanRaster | None = None) -> HalfPlane:
    """List the scan's spatial frequencies below a radius in 1/Å, or few more on a sheared raster.

    At the Nyquist frequency of an even number of positions Q and -Q cannot be told apart; it is
    left out.
    """
    frame = raster_frame(scan, raster)
    (ny, nx), (step_y, step_x) = scan.shape, frame.step
    index = np.fft.fftfreq(ny, 1 / ny)
    rows = np.flatnonzero((2 * np.abs(index) < ny) & (np.abs(index) < radius * ny * step_y))
    step = 1 / (nx * step_x)
    qy = np.asarray(index[rows] / (ny * step_y), dtype=np.float64)
    slope = frame.shear / (ny * step_y)
    starts = np.asarray(-index[rows] * slope, dtype=np.float64)
    reach = np.ceil((np.sqrt(radius**2 - qy**2) - starts) / step).astype(np.int64)
    counts = np.clip(reach, 0, (nx + 1) // 2)
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return HalfPlane(
        shape=scan.shape,
        rows=rows,
        qy=qy,
        starts=starts,
        counts=counts,
        offsets=offsets,
        step=step,
        extent=(ny * step_y, nx * step_x),
        slope=slope,
        rotation=frame.rotation,
    )


def aberration_turns(
    aberrations: Aberrations, *, wavelength: float, rotation: float = 0.0
) -> FloatArray:
    """Return chi / 2 pi as a polynomial in kx and ky.

    Parameters
    ----------
    aberrations : Aberrations
    wavelength : float
        Å.
    rotation : float
        Degrees; the polynomial is in the frame turned by this angle (the scan frame).

    Returns
    -------
    array, (7, 7), or (0, 0) where every coefficient is zero
        Coefficients [power of kx, power of ky], kx and ky in 1/Å.
    """
    turns = np.zeros((7, 7))
    for order, symmetry, coefficient, azimuth in aberrations.terms():
        if not coefficient:
            continue
        # alpha^(n+1) cos(m (phi - phi_nm)) = |k|^(n+1-m) Re[(kx + i ky)^m exp(-i m phi_nm)]
        term = np.zeros((7, 7), complex)
        term[0, 0] = np.exp(-1j * symmetry * (azimuth - np.deg2rad(rotation)))
        for _ in range(symmetry):
            term = np.roll(term, 1, axis=0) + 1j * np.roll(term, 1, axis=1)
        for _ in range((order + 1 - symmetry) // 2):
            term = np.roll(term, 2, axis=0) + np.roll(term, 2, axis=1)
        turns += wavelength**order / (order + 1) * coefficient * term.real
    return turns if turns.any() else np.zeros((0, 0))
