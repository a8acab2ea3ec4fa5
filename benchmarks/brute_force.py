"""Frames of a perfect crystal by brute-force abTEM: every probe through a box of whole cells.

Everything is abTEM's: scattering factors, projection, probes, multislice. Two of its settings make
it the judge of ours. It spreads an atom over four pixels, so its potential is made on a grid eight
times finer than the waves' and cut down to it. Its waves are on a grid twice finer than ours and
cut off at the same frequency (``antialias.cutoff``), so that the exponential of the potential does
not fold back.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy import fft

from echolith.forward.acquisition import StemAcquisition
from echolith.processors import processors

FloatArray = npt.NDArray[np.float64]

WAVE_FINER, POTENTIAL_FINER = 2, 8
PROBES_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Box:
    """Whole orthogonal cells of a crystal, as many as fit the samples of a detector."""

    cell: Atoms
    repeats: tuple[int, int]
    """Cells along y and x that make one over a sample's pitch."""
    acquisition: StemAcquisition
    sampling: float
    """Å, that of the simulation to be judged."""
    slices: int

    @property
    def doubled(self) -> tuple[int, int]:
        """2 along axes with an even number of subpixels: their samples lie half a step off."""
        sy, sx = self.acquisition.detector.subpixels
        return 2 - sy % 2, 2 - sx % 2

    @property
    def cells(self) -> tuple[int, int]:
        """Cells along y and x in the box."""
        (ry, rx), (dy, dx) = self.repeats, self.doubled
        return ry * dy, rx * dx

    @property
    def cell_gpts(self) -> tuple[int, int]:
        """Grid of the waves over one cell, (y, x)."""
        sides = np.diag(np.asarray(self.cell.cell))[1::-1]
        least = np.ceil(WAVE_FINER * sides / self.sampling)
        ny, nx = (2 * fft.next_fast_len(int(n + 1) // 2) for n in least)
        return ny, nx

    @property
    def extent(self) -> FloatArray:
        """Width and height of the box, Å."""
        return np.asarray(np.diag(np.asarray(self.cell.cell))[:2] * self.cells[::-1])

    def sample_steps(self, axis: int) -> npt.NDArray[np.int64]:
        """Return where the detector's samples lie on the box's reciprocal grid, 0 (y) or 1 (x)."""
        detector, double = self.acquisition.detector, self.doubled[axis]
        n, s = detector.shape[axis], detector.subpixels[axis]
        return np.asarray(double * (np.arange(n * s) - s * (n // 2)) - double * (s - 1) // 2)


def frames(box: Box, positions: FloatArray) -> FloatArray:
    """Return the expected counts of probes at positions (n, 2) xy in Å of the cell, (n, dy, dx)."""
    potential = _potential(box)
    starts = range(0, len(positions), PROBES_AT_ONCE)
    batches = [positions[start : start + PROBES_AT_ONCE] for start in starts]
    with ProcessPoolExecutor(processors(), mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(partial(_batch, box, potential), batches)))


def _potential(box: Box) -> npt.NDArray[np.float32]:
    """Return abTEM's projected potential of one cell on the grid of the waves, (slices, x, y)."""
    import abtem

    ny, nx = box.cell_gpts
    fine: Any = abtem.Potential(
        box.cell,
        gpts=(POTENTIAL_FINER * nx, POTENTIAL_FINER * ny),
        slice_thickness=float(box.cell.cell[2, 2]) / box.slices,
        projection="infinite",
        parametrization="lobato",
    ).build(lazy=False)
    cut = [_cut(_cut(fft.fft2(slab), nx, 0), ny, 1) for slab in fine.array.astype(np.float64)]
    return np.asarray(fft.ifft2(cut).real / POTENTIAL_FINER**2, dtype=np.float32)


def _cut(spectrum: npt.NDArray[np.complex128], n: int, axis: int) -> npt.NDArray[np.complex128]:
    """Keep the n lowest frequencies, without that of Nyquist."""
    index = np.rint(fft.fftfreq(n, 1 / n)).astype(int)
    kept = np.take(spectrum, index, axis=axis)
    kept[(slice(None),) * axis + (n // 2,)] = 0
    return np.asarray(kept)


def _batch(box: Box, potential: npt.NDArray[np.float32], positions: FloatArray) -> FloatArray:
    import abtem

    (ny, nx), (cells_y, cells_x) = box.cell_gpts, box.cells
    gpts = (nx * cells_x, ny * cells_y)
    beam, extent = box.acquisition.beam, tuple(box.extent)
    coarser = float(max(box.extent / gpts)) / box.sampling
    settings = {
        "fft": "fftw",
        "fftw.planning_effort": "FFTW_ESTIMATE",
        "fftw.threads": 1,
        "antialias.cutoff": 2 / 3 * coarser,
        "antialias.taper": 0.01 * coarser,
    }
    with abtem.config.set(settings):
        slabs = abtem.PotentialArray(
            np.tile(potential, (1, cells_x, cells_y)),
            slice_thickness=float(box.cell.cell[2, 2]) / box.slices,
            extent=extent,
        )
        probes: Any = abtem.Probe(
            energy=beam.energy,
            semiangle_cutoff=beam.semiangle,
            soft=False,
            extent=extent,
            gpts=gpts,
        ).build(scan=abtem.CustomScan(positions), lazy=False)
        level = [np.abs(fft.fft2(wave)).max() ** 2 for wave in probes.array]
        leaving: Any = probes.multislice(slabs)
    return np.stack([_frame(box, wave) / at for wave, at in zip(leaving.array, level, strict=True)])


def _frame(box: Box, wave: npt.NDArray[np.complex64]) -> FloatArray:
    rows, columns = box.sample_steps(0), box.sample_steps(1)
    spectrum = fft.fft2(wave).T
    samples = np.abs(spectrum[rows[:, None] % spectrum.shape[0], columns[None]]) ** 2
    angle_y, angle_x = (
        steps / side * box.acquisition.beam.wavelength * 1e3
        for steps, side in zip((rows, columns), box.extent[::-1], strict=True)
    )
    inside = np.hypot(angle_y[:, None], angle_x[None]) <= box.acquisition.beam.semiangle
    (ny, nx), (sy, sx) = box.acquisition.detector.shape, box.acquisition.detector.subpixels
    pixels = samples.reshape(ny, sy, nx, sx).sum(axis=(1, 3), dtype=np.float64)
    return np.asarray(pixels * box.acquisition.electrons_per_position / inside.sum())
