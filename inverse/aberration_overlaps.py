"""The double overlaps of the strongest spatial frequencies: all that the aberration fit reads.

The counts are gone through twice with the streaming transform of SSB: once for the power in the
overlaps at every Q, once to pick S(K, Q) at the strongest. A few hundred numbers per pixel of the
disc are kept.

A field that is not periodic smears every wave over the neighbouring Q, where the overlaps are
others. Under a Hann window the smear ends at the second neighbour, and the wave's own Q is read off
between the grid points (frequency reassignment, Auger & Flandrin 1995), at twice the noise.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import StemAcquisition, rotate
from echolith.forward.optics import ROUNDING, aperture_radius
from echolith.inverse.aberration_kernels import HANN_NOISE, add_power, pick
from echolith.inverse.overlap_geometry import Disc, HalfPlane, bright_field_disc, half_plane
from echolith.inverse.scan_transform import (
    Block,
    Streaming,
    Sums,
    checked_counts,
    project_spectra,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complexfloating]

LEAST_PIXELS = 12
"""Pixels of the disc in the overlaps of a Q that is used: fewer say little beyond its amplitude."""
LEAST_RADIUS = 0.1
"""Smallest |Q| in units of the aperture's radius: below, overlaps nearly cancel, and slow changes
of thickness or current are not a weak phase."""
NOISE_FREE = 0.5
"""Power in units of counting noise below which there is no counting noise."""
APART = 2
"""Steps between two Q under the Hann window: its noise then is as good as independent (1/36)."""


class Window(Enum):
    """What the scanned field is multiplied with."""

    NONE = "none"
    """Nothing: exact for a periodic field."""
    HANN = "hann"
    """cos² along both axes: for a field that is not periodic."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    """One spatial frequency: where its overlaps are and what was measured there.

    ``q`` (2,): xy, specimen frame, in units of the aperture's radius; ``pixels``: places in
    `Overlaps.disc`; ``signal``: S(K, Q) in units of its standard deviation; ``root``: the square
    root of the electrons of the pixel, the inverse of that unit.
    """

    q: FloatArray
    pixels: IntArray
    signal: npt.NDArray[np.complex128]
    root: FloatArray

    def strength(self, floor: float) -> float:
        """Return the mean power of a pixel beyond the noise, in units of the noise."""
        power = float((np.abs(self.signal) ** 2).sum())
        return max(power / max(self.pixels.size, 1) - floor, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """The strongest overlaps of a measurement, strongest first, and where its pixels are."""

    chosen: list[Overlap]
    x: FloatArray
    """(pixels, most samples) inside the aperture, specimen frame, in units of its radius."""
    y: FloatArray
    samples: IntArray
    frame: IntArray
    """(rows, columns) of the detector before any transpose: number of the disc pixel, else -1."""
    places: IntArray
    """(2, pixels): row and column in the frame."""
    acquisition: StemAcquisition
    window: Window
    floor: float
    """Noise found per pixel: 1 for counts, about 0 for a mean without counting noise."""

    @property
    def square(self) -> float:
        """Square of the aperture's radius, rounded up as in the simulator."""
        return (1 + ROUNDING) ** 2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strength:
    """How strong every Q of the half plane is, and how far its wave lies beside it."""

    significance: FloatArray
    """Power beyond the noise in units of that difference's standard deviation."""
    excess: FloatArray
    shift: FloatArray
    """(2, Q): xy, steps."""
    floor: float


def strongest_overlaps(
    measurement: xr.Dataset,
    *,
    frequencies: int,
    significance: float,
    window: Window,
    streaming: Streaming,
) -> Overlaps:
    """Read the double overlaps of the strongest spatial frequencies.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`.
    frequencies : int
        Most Q kept.
    significance : float
        Least power beyond the noise, in its standard deviations.
    window : Window
    streaming : Streaming

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, or empty frames.
    """
    counts, acquisition = checked_counts(measurement)
    disc = bright_field_disc(acquisition)
    plane = half_plane(acquisition.scan, 2 * aperture_radius(acquisition.beam))
    strength = _strengths(counts, disc, plane, acquisition, window, streaming)
    places = _strongest(strength, plane, frequencies, significance, window)
    signal, electrons = _spectra(counts, disc, plane, places, window, streaming)
    return _overlaps(disc, plane, places, strength, signal, electrons, acquisition, window)


def _complex(spectra: Block) -> ComplexArray:
    return spectra.view(np.complex64)


def _strengths(
    counts: xr.DataArray,
    disc: Disc,
    plane: HalfPlane,
    acquisition: StemAcquisition,
    window: Window,
    streaming: Streaming,
) -> _Strength:
    square = aperture_radius(acquisition.beam) ** 2

    def project(spectra: Block, pixels: slice, sums: Sums) -> None:
        add_power(
            _complex(spectra), disc.kx[pixels, 0], disc.ky[pixels, 0],
            plane.rows, plane.qy, plane.counts, plane.offsets, plane.step, square,
            window is Window.HANN, sums,
        )  # fmt: skip

    result = project_spectra(counts, disc, plane, project, channels=4, streaming=streaming)
    number, power, *moments = result.sums
    floor = _floor(number, power)
    excess = power - floor * number
    qx, qy = plane.vectors()
    near = np.hypot(qx, qy) < LEAST_RADIUS * np.sqrt(square)
    if window is Window.HANN:
        row = np.minimum(plane.row, plane.shape[0] - plane.row)
        near |= np.maximum(row, plane.column) < APART
    bad = near | (number < LEAST_PIXELS) | (power <= 0)
    safe = np.where(bad, 1, power)
    return _Strength(
        significance=np.where(bad, -np.inf, excess / np.sqrt(np.maximum(number, 1))),
        excess=np.where(bad, -np.inf, excess),
        shift=np.clip(np.where(bad, 0, np.array(moments) / safe), -1, 1),
        floor=floor,
    )


def _floor(number: FloatArray, power: FloatArray) -> float:
    """Return the noise per pixel: 1 for counts, about 0 for a mean without counting noise.

    The median over Q tells: it is 1 or more for counts, and few Q have a signal.
    """
    used = number >= LEAST_PIXELS
    middle = float(np.median(power[used] / number[used])) if used.any() else 1.0
    return 1.0 if middle > NOISE_FREE else middle


def _strongest(
    strength: _Strength, plane: HalfPlane, frequencies: int, significance: float, window: Window
) -> IntArray:
    """Return places of the strongest Q in the half plane, strongest first."""
    order = np.argsort(-strength.excess, kind="stable")
    order = order[strength.significance[order] > significance]
    if window is Window.NONE:
        return np.asarray(order[:frequencies])
    taken: list[int] = []
    used = np.zeros(plane.shape, bool)
    reach = np.arange(1 - APART, APART)
    for place in order:
        row, column = plane.row[place], plane.column[place]
        if used[row, column]:
            continue
        taken.append(int(place))
        # -Q is the same measurement.
        for r, c in ((row, column), (-row, -column)):
            used[np.ix_((r + reach) % plane.shape[0], (c + reach) % plane.shape[1])] = True
        if len(taken) == frequencies:
            break
    return np.array(taken, dtype=np.int64)


def _spectra(
    counts: xr.DataArray,
    disc: Disc,
    plane: HalfPlane,
    places: IntArray,
    window: Window,
    streaming: Streaming,
) -> tuple[npt.NDArray[np.complex64], FloatArray]:
    """Return S(K, Q) (pixels, Q) at some places, and the electrons of every pixel."""
    picked = np.zeros((disc.pixels.size, places.size), np.complex64)
    electrons = np.zeros(disc.pixels.size)
    if not places.size:
        return picked, electrons
    row, column = plane.row[places], plane.column[places]

    def project(spectra: Block, pixels: slice, _: Sums) -> None:
        block = _complex(spectra)
        electrons[pixels] = block[:, 0, 0].real
        pick(block, row, column, window is Window.HANN, picked[pixels])

    project_spectra(counts, disc, plane, project, channels=1, streaming=streaming)
    return picked, electrons


def _overlaps(
    disc: Disc,
    plane: HalfPlane,
    places: IntArray,
    strength: _Strength,
    signal: npt.NDArray[np.complex64],
    electrons: FloatArray,
    acquisition: StemAcquisition,
    window: Window,
) -> Overlaps:
    scan, radius = acquisition.scan, acquisition.beam.semiangle * 1e-3 / acquisition.beam.wavelength
    qx, qy = plane.vectors()
    q = np.stack([qx, qy], axis=-1)[places]
    if window is Window.HANN:
        q = q + strength.shift[:, places].T / (scan.extent[1], scan.extent[0])
    q = rotate(q, scan.rotation) / radius
    points = rotate(np.stack([disc.kx, disc.ky], axis=-1), scan.rotation) / radius
    x, y = (np.ascontiguousarray(points[..., i]) for i in range(2))
    noise = HANN_NOISE if window is Window.HANN else 1.0
    chosen = []
    for i, (at_x, at_y) in enumerate(q):
        pixels = _inside(x, y, disc.samples, at_x, at_y) & (electrons > 0)
        where = np.flatnonzero(pixels)
        root = np.sqrt(electrons[where])
        chosen.append(
            Overlap(
                q=q[i],
                pixels=where,
                signal=signal[where, i].astype(complex) / (root * np.sqrt(noise)),
                root=root,
            )
        )
    frame, numbers = _frame(disc, acquisition)
    return Overlaps(
        chosen=chosen,
        x=x,
        y=y,
        samples=disc.samples,
        frame=frame,
        places=numbers,
        floor=strength.floor,
        acquisition=acquisition,
        window=window,
    )


def _inside(
    x: FloatArray, y: FloatArray, samples: IntArray, qx: float, qy: float
) -> npt.NDArray[np.bool_]:
    """Say which pixels have a sample in either overlap of one Q."""
    square = (1 + ROUNDING) ** 2
    near = (x - qx) ** 2 + (y - qy) ** 2 <= square
    near |= (x + qx) ** 2 + (y + qy) ** 2 <= square
    return np.asarray((near & (np.arange(x.shape[1]) < samples[:, None])).any(axis=1))


def _frame(disc: Disc, acquisition: StemAcquisition) -> tuple[IntArray, IntArray]:
    """Return the frame of disc pixels' numbers, -1 elsewhere, and where each lies in it, (2, p)."""
    shape = acquisition.detector.shape
    frame = np.full(shape, -1, dtype=np.int64)
    frame.ravel()[disc.grid] = np.arange(disc.grid.size)
    return frame, np.stack(np.divmod(disc.grid, shape[1]))
