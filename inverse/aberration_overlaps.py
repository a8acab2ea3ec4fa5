"""The double overlaps of the strongest spatial frequencies: all that the aberration fit reads.

The counts are gone through twice with the streaming transform of SSB: once, if they are many with
a part of the pixels, for the power in the overlaps at every Q; once to pick S(K, Q) around the
strongest. Some hundred numbers per pixel of the disc are kept.

A field that is not periodic smears every wave over the neighbouring Q, where the overlaps are
others. Under a Hann window the smear ends at the second neighbour, and the wave's own Q is read off
between the grid points (frequency reassignment, Auger & Flandrin 1995), at twice the noise.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from echolith.forward.acquisition import StemAcquisition, rotate
from echolith.forward.optics import ROUNDING, aperture_radius
from echolith.inverse.aberration_kernels import add_power
from echolith.inverse.overlap_geometry import Disc, HalfPlane, bright_field_disc, half_plane
from echolith.inverse.scan_raster import raster_of
from echolith.inverse.scan_transform import (
    Block,
    Streaming,
    Sums,
    checked_counts,
    project_spectra,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_PIXELS = 12
"""Pixels of the disc in the overlaps of a Q that is used: fewer say little beyond its amplitude."""
LEAST_RADIUS = 0.1
"""Smallest |Q| in units of the aperture's radius: below, overlaps nearly cancel, and slow changes
of thickness or current are not a weak phase."""
FALSE_ALARM = 1e-3
"""Chance that noise alone makes the strongest Q of a measurement; below it there is no signal."""
NOISE_FREE = 0.5
"""Power in units of counting noise below which there is no counting noise."""
APART = 2
"""Steps between two Q under the Hann window: its noise then is as good as independent (1/36)."""
HANN_NOISE = 9 / 64
"""Mean square of the Hann window along both axes: what it leaves of the noise."""
RANKING_COUNTS = 1 << 25
"""Counts transformed to find the strong Q: a quarter of a second; pixels are left out beyond."""


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
class Spectra:
    """S(K, Q) around the strongest Q, and the electrons of every pixel of the disc."""

    acquisition: StemAcquisition
    disc: Disc
    plane: HalfPlane
    row: IntArray
    """Of every Q in `values`; any row, columns of 0 or more."""
    column: IntArray
    values: npt.NDArray[np.complex64]
    """(pixels, Q)."""
    electrons: FloatArray
    plain: IntArray
    """Places in `values` of the strongest Q."""
    waves: IntArray
    """(waves, 3, 3) places of the strongest maxima over Q, and their neighbours along y and x."""
    mirrored: npt.NDArray[np.bool_]
    """Where the neighbour is that of -Q, whose conjugate is meant."""
    floor: float


def strongest_spectra(
    measurement: xr.Dataset, *, frequencies: int, significance: float, streaming: Streaming
) -> Spectra:
    """Read the strongest spatial frequencies of a measurement.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`.
    frequencies : int
        Most Q kept.
    significance : float
        Least power beyond the noise, in its standard deviations.
    streaming : Streaming

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, or empty frames.
    """
    counts, acquisition = checked_counts(measurement)
    radius = aperture_radius(acquisition.beam)
    plane = half_plane(acquisition.scan, 2 * radius, raster=raster_of(measurement))
    disc = bright_field_disc(acquisition, rotation=plane.rotation)
    ranked, floor = _ranked(counts, disc, plane, acquisition, significance, streaming)
    waves = _separate(ranked, plane, frequencies)
    plain = ranked[:frequencies]
    row, column, mirrored = _neighbours(plane, waves)
    places = np.stack([plane.row[plain], plane.column[plain]])
    unique, where = np.unique(
        np.concatenate([places, np.stack([row.ravel(), column.ravel()])], axis=1),
        axis=1,
        return_inverse=True,
    )
    where = where.ravel()
    values, electrons = _spectra(counts, disc, plane, unique, streaming)
    return Spectra(
        acquisition=acquisition,
        disc=disc,
        plane=plane,
        row=unique[0],
        column=unique[1],
        values=values,
        electrons=electrons,
        plain=where[: plain.size],
        waves=where[plain.size :].reshape(row.shape),
        mirrored=mirrored,
        floor=floor,
    )


def _ranked(
    counts: xr.DataArray,
    disc: Disc,
    plane: HalfPlane,
    acquisition: StemAcquisition,
    significance: float,
    streaming: Streaming,
) -> tuple[IntArray, float]:
    """Return places of the significant Q in the half plane, strongest first, and the noise."""
    square = aperture_radius(acquisition.beam) ** 2
    some = _thinned(disc, plane)

    def project(spectra: Block, pixels: slice, sums: Sums) -> None:
        add_power(
            spectra.view(np.complex64), some.kx[pixels, 0], some.ky[pixels, 0],
            plane.rows, plane.qy, plane.starts, plane.counts, plane.offsets, plane.step, square,
            sums,
        )  # fmt: skip

    result = project_spectra(counts, some, plane, project, channels=2, streaming=streaming)
    number, power = result.sums
    floor = _floor(number, power)
    excess = power - floor * number
    qx, qy = plane.vectors()
    bad = np.hypot(qx, qy) < LEAST_RADIUS * np.sqrt(square)
    bad |= (number < LEAST_PIXELS * some.pixels.size / disc.pixels.size) | (number == 0)
    # Along qx = 0 the half plane holds Q and -Q, which are one measurement.
    bad |= (plane.column == 0) & (2 * plane.row > plane.shape[0])
    chance = stats.chi2.logsf(2 * power, 2 * np.maximum(number, 1))
    if bad.all() or chance[~bad].min() > np.log(FALSE_ALARM / np.count_nonzero(~bad)):
        return np.zeros(0, np.int64), floor
    bad |= excess <= significance * np.sqrt(number)
    order = np.argsort(np.where(bad, np.inf, -excess), kind="stable")
    return np.asarray(order[: order.size - np.count_nonzero(bad)]), floor


def _thinned(disc: Disc, plane: HalfPlane) -> Disc:
    """Return every n-th pixel of the disc, where counts abound: strong Q are strong there too."""
    positions = plane.shape[0] * plane.shape[1]
    every = -(-disc.pixels.size * positions // RANKING_COUNTS)
    return Disc(
        pixels=disc.pixels[::every],
        grid=disc.grid[::every],
        kx=disc.kx[::every],
        ky=disc.ky[::every],
        samples=disc.samples[::every],
    )


def _floor(number: FloatArray, power: FloatArray) -> float:
    """Return the noise per pixel: 1 for counts, about 0 for a mean without counting noise.

    The median over Q tells: it is 1 or more for counts, and few Q have a signal.
    """
    used = number > 0
    middle = float(np.median(power[used] / number[used])) if used.any() else 1.0
    return 1.0 if middle > NOISE_FREE else middle


def _separate(ranked: IntArray, plane: HalfPlane, frequencies: int) -> IntArray:
    """Return the strongest places no two of which share a neighbour under the Hann window."""
    taken: list[int] = []
    used = np.zeros(plane.shape, bool)
    reach = np.arange(1 - APART, APART)
    used[np.ix_(reach, reach)] = True  # the undiffracted beam
    for place in ranked:
        row, column = plane.row[place], plane.column[place]
        if used[row, column] or column + 1 >= plane.columns:
            continue
        taken.append(int(place))
        # -Q is the same measurement.
        for r, c in ((row, column), (-row, -column)):
            used[np.ix_((r + reach) % plane.shape[0], (c + reach) % plane.shape[1])] = True
        if len(taken) == frequencies:
            break
    return np.array(taken, dtype=np.int64)


def _neighbours(
    plane: HalfPlane, waves: IntArray
) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Return row and column (waves, 3, 3) around each place, and where they are those of -Q."""
    step = np.arange(-1, 2)
    row = plane.row[waves][:, None, None] + step[:, None] + 0 * step
    column = plane.column[waves][:, None, None] + 0 * step[:, None] + step
    mirrored = column < 0
    row = np.where(mirrored, -row, row) % plane.shape[0]
    return row, np.abs(column), mirrored


def _spectra(
    counts: xr.DataArray, disc: Disc, plane: HalfPlane, places: IntArray, streaming: Streaming
) -> tuple[npt.NDArray[np.complex64], FloatArray]:
    """Return S(K, Q) (pixels, Q) at some rows and columns, and the electrons of every pixel."""
    picked = np.zeros((disc.pixels.size, places.shape[1]), np.complex64)
    electrons = np.zeros(disc.pixels.size)
    if not picked.size:
        return picked, electrons
    row, column = places

    def project(spectra: Block, pixels: slice, _: Sums) -> None:
        block = spectra.view(np.complex64)
        electrons[pixels] = block[:, 0, 0].real
        picked[pixels] = block[:, row, column]

    project_spectra(counts, disc, plane, project, channels=1, streaming=streaming)
    return picked, electrons


def overlaps_of(spectra: Spectra, window: Window) -> Overlaps:
    """Return the overlaps of the strongest spatial frequencies under a window."""
    acquisition, disc, plane = spectra.acquisition, spectra.disc, spectra.plane
    radius = acquisition.beam.semiangle * 1e-3 / acquisition.beam.wavelength
    if window is Window.HANN:
        signal, steps = _under_hann(spectra)
    else:
        signal = spectra.values[:, spectra.plain].astype(np.complex128)
        steps = np.stack([spectra.column, spectra.row], axis=-1)[spectra.plain].astype(float)
    half = plane.shape[0] / 2
    steps[:, 1] = (steps[:, 1] + half) % plane.shape[0] - half
    q = rotate(plane.between(steps), plane.rotation) / radius
    points = rotate(np.stack([disc.kx, disc.ky], axis=-1), plane.rotation) / radius
    x, y = (np.ascontiguousarray(points[..., i]) for i in range(2))
    chosen = []
    for at, values in zip(q, signal.T, strict=True):
        where = np.flatnonzero(_inside(x, y, disc.samples, *at) & (spectra.electrons > 0))
        root = np.sqrt(spectra.electrons[where])
        overlap = Overlap(q=at, pixels=where, signal=values[where] / root, root=root)
        if where.size >= LEAST_PIXELS:
            chosen.append(overlap)
    frame, numbers = _frame(disc, acquisition)
    return Overlaps(
        chosen=chosen,
        x=x,
        y=y,
        samples=disc.samples,
        frame=frame,
        places=numbers,
        acquisition=acquisition,
        window=window,
        floor=spectra.floor,
    )


def _under_hann(spectra: Spectra) -> tuple[npt.NDArray[np.complex128], FloatArray]:
    """Return S under a Hann window, noise as without, (pixels, waves), and their xy in steps.

    The window is a 3 x 3 stencil on the spectrum. For one wave a fraction of a step beside the grid
    point the stencil weighed with the distance is that fraction of it.
    """
    around = spectra.values[:, spectra.waves].astype(complex)
    around = np.where(spectra.mirrored, around.conj(), around) / np.sqrt(HANN_NOISE)
    stencil = np.array([-0.25, 0.5, -0.25])
    moment = stencil * (-1, 0, 1)
    signal, along_x, along_y = (
        np.einsum("pqyx,y,x->pq", around, fy, fx)
        for fy, fx in ((stencil, stencil), (stencil, moment), (moment, stencil))
    )
    weight = 1 / np.maximum(spectra.electrons, 1)[:, None]
    power = (np.abs(signal) ** 2 * weight).sum(axis=0)
    middle = spectra.waves[:, 1, 1]
    steps = [
        place[middle] + np.clip((signal.conj() * moved * weight).real.sum(axis=0) / power, -1, 1)
        for place, moved in ((spectra.column, along_x), (spectra.row, along_y))
    ]
    return signal, np.stack(steps, axis=-1)


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
