"""Fisher information of a 4D-STEM measurement about the columns of a crystal.

From one crystal cell: the derivatives for the columns of one cell, shifted by the lattice, are
those for every column of the supercell, so the whole matrix, with every neighbour a nuisance,
follows from one cell's worth of waves.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.forward.coherence import focal_beams
from echolith.forward.column_derivatives import (
    KINDS,
    ExitWaves,
    Supercell,
    exit_waves,
    intensities,
    scan_grid,
    supercell,
)
from echolith.forward.diffraction_box import largest_angle, wave_sampling
from echolith.forward.optics import aperture
from echolith.forward.simulation import Simulation
from echolith.processors import threads
from echolith.protocols import Noise

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

POINTS_AT_ONCE = 48
SIDE = 8.0
"""Least width of the supercell in units of wavelength / semiangle, the size of the probe. One cell
more changes the bound of a column by less than 1.5 % (tested)."""


@dataclass(frozen=True, kw_only=True)
class ColumnInformation:
    """Fisher information about every column of a supercell, periodic in its cells.

    ``matrix`` (parameters, parameters): parameters run over cells (first repeats, then second),
    columns of the cell, and `KINDS`; units 1/Å² for positions, 1 for relative strengths.
    """

    matrix: FloatArray = field(repr=False)
    repeats: tuple[int, int]
    columns: int
    area: float
    """Of the supercell, Å²."""

    def index(self, cell: tuple[int, int], column: int, kind: str) -> int:
        """Return where a parameter stands in the matrix; cells count modulo the supercell."""
        first, second = (c % r for c, r in zip(cell, self.repeats, strict=True))
        return ((first * self.repeats[1] + second) * self.columns + column) * len(
            KINDS
        ) + KINDS.index(kind)


@dataclass(frozen=True, kw_only=True)
class CrystalWaves:
    """Exit waves of a crystal and their derivatives: what of the information takes long.

    They depend on crystal, energy, semiangle and the largest angle detected, not on aberrations,
    spreads, dose, or how pixels share the angles.
    """

    cell: Supercell
    waves: ExitWaves

    @property
    def nbytes(self) -> int:
        """Of the waves."""
        return self.waves.matrix.nbytes


def crystal_waves(
    atoms: "Atoms",
    groups: IntArray,
    *,
    acquisition: StemAcquisition,
    simulation: Simulation,
    side: float | None = None,
    workers: int | None = None,
) -> CrystalWaves:
    """Return the exit waves that the information about the columns of a crystal is made of.

    Parameters
    ----------
    atoms : ase.Atoms
        One laterally periodic crystal cell.
    groups : array of int, (atoms,)
        Column of each atom.
    acquisition : StemAcquisition
    simulation : Simulation
        Slices and sampling; phonons are not included.
    side : float, optional
        Least width of the supercell, Å; by default `SIDE` probes.
    workers : int, optional
        Threads, all processors by default; the result does not depend on them.

    Raises
    ------
    BadInputError
        If the specimen is not laterally periodic or phonons are asked for.
    """
    if simulation.phonons.configurations:
        raise BadInputError(
            "the bound of columns is that of a static specimen; set "
            "simulation.phonons.configurations=0"
        )
    beam = acquisition.beam
    cell = supercell(
        atoms,
        groups,
        side=SIDE * beam.wavelength / (beam.semiangle * 1e-3) if side is None else side,
        sampling=wave_sampling(acquisition, simulation),
        slice_thickness=simulation.slice_thickness,
    )
    waves = exit_waves(
        cell, beam=beam, largest_angle=largest_angle(acquisition), workers=threads(workers)
    )
    return CrystalWaves(cell=cell, waves=waves)


def column_information(
    crystal: CrystalWaves,
    *,
    acquisition: StemAcquisition,
    noise: Noise,
    workers: int | None = None,
) -> ColumnInformation:
    """Return the Fisher information about positions and strengths of the columns of a crystal.

    The scan is taken as fine and even over the specimen: with a given dose per area the
    information does not depend on the step. Pixels finer than the supercell's reciprocal lattice
    lose nothing, coarser ones are summed.

    Parameters
    ----------
    crystal : CrystalWaves
        Of an acquisition with the same energy, semiangle and largest angle.
    acquisition : StemAcquisition
    noise : Noise
        Gives the information of independent data points from mean and derivative.
    workers : int, optional
        Threads, all processors by default; the result does not depend on them.
    """
    cell, waves, workers = crystal.cell, crystal.waves, threads(workers)
    beam = acquisition.beam
    positions = scan_grid(cell, beam.semiangle, beam.energy)
    electrons = acquisition.dose * cell.grid.area / np.prod(cell.repeats) / np.prod(positions)
    seen = _Seen(
        waves=waves, cell=cell, acquisition=acquisition, positions=positions, electrons=electrons
    )
    pixels = _pixels(waves.points, acquisition)
    jobs = [_gather(pixels[n : n + POINTS_AT_ONCE]) for n in range(0, len(pixels), POINTS_AT_ONCE)]

    def information(job: tuple[IntArray, IntArray]) -> FloatArray:
        return _information(seen.counts(*job), cell, noise)

    with ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(information, jobs))
    if acquisition.haadf is not None:
        total = total + _information(seen.annular(workers), cell, noise)
    return ColumnInformation(
        matrix=_all_cells(np.asarray(total), cell),
        repeats=cell.repeats,
        columns=cell.columns,
        area=cell.grid.area,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Expected counts and their derivatives at every probe position of the supercell."""

    waves: ExitWaves
    cell: Supercell
    acquisition: StemAcquisition
    positions: tuple[int, int]
    """Per crystal cell."""
    electrons: float
    """At each position."""

    @property
    def shape(self) -> tuple[int, int]:
        """Positions of the supercell."""
        return (
            self.positions[0] * self.cell.repeats[0],
            self.positions[1] * self.cell.repeats[1],
        )

    def counts(self, points: IntArray, pixel: IntArray) -> npt.NDArray[np.float32]:
        """Return (1 + parameters, pixels, *positions): points summed into pixels."""
        k = self.waves.incident_vectors
        total: npt.NDArray[np.float32] | None = None
        for weight, beam in focal_beams(self.acquisition.beam):
            probe = aperture(k[:, 0], k[:, 1], beam=beam) / np.sqrt(len(k))
            part = intensities(self.waves, probe=probe, shape=self.shape, points=points)
            part *= np.float32(weight * self.electrons)
            total = part if total is None else total + part
        assert total is not None
        first = np.flatnonzero(np.diff(pixel, prepend=-1))
        summed = total if len(first) == len(pixel) else np.add.reduceat(total, first, axis=1)
        return self._blurred(summed)

    def annular(self, workers: int) -> npt.NDArray[np.float32]:
        """Return (1 + parameters, 1, *positions) for the annular detector."""
        haadf = self.acquisition.haadf
        assert haadf is not None
        angle = np.linalg.norm(self.waves.points, axis=1) * self.acquisition.beam.wavelength * 1e3
        ring = np.flatnonzero((angle >= haadf.inner) & (angle < haadf.outer))
        runs = [ring[n : n + POINTS_AT_ONCE] for n in range(0, len(ring), POINTS_AT_ONCE)]
        with ThreadPoolExecutor(workers) as pool:
            parts = pool.map(lambda run: self.counts(run, np.zeros(len(run), np.int64)), runs)
            return np.asarray(sum(parts), dtype=np.float32)

    def _blurred(self, counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        spread = self.acquisition.beam.source_spread
        if spread == 0:
            return counts
        m1, m2 = (np.fft.fftfreq(n, 1 / n) for n in self.shape)
        q = m1[:, None, None] * self.cell.grid.reciprocal[0] + (
            m2[None, :, None] * self.cell.grid.reciprocal[1]
        )
        damping = np.exp(-2 * (np.pi * spread) ** 2 * (q**2).sum(axis=-1)).astype(np.float32)
        blurred = fft.ifft2(fft.fft2(counts, workers=1) * damping, workers=1).real
        blurred[0] = np.maximum(blurred[0], 0)
        return np.asarray(blurred)


def _pixels(points: FloatArray, acquisition: StemAcquisition) -> list[IntArray]:
    """Return the points in each pixel of the detector that holds any."""
    detector = acquisition.detector
    angles = points[:, ::-1] * acquisition.beam.wavelength * 1e3
    index = np.rint(angles / np.array(detector.pixel_size)).astype(np.int64)
    index += np.array(detector.shape) // 2
    inside = ((index >= 0) & (index < np.array(detector.shape))).all(axis=1)
    flat = index[:, 0] * detector.shape[1] + index[:, 1]
    chosen = np.flatnonzero(inside)
    order = chosen[np.argsort(flat[chosen], kind="stable")]
    starts = np.flatnonzero(np.diff(flat[order]))
    return np.split(order, starts + 1)


def _gather(pixels: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Return the points of some pixels and the number of the pixel of each."""
    numbers = np.repeat(np.arange(len(pixels)), [len(p) for p in pixels])
    return np.concatenate(pixels), numbers


def _information(counts: npt.NDArray[np.float32], cell: Supercell, noise: Noise) -> FloatArray:
    """Return the information of the probe positions in one crystal cell about all parameters."""
    r1, r2 = cell.repeats
    p, pixels, n1, n2 = counts.shape
    split = counts.reshape(p, pixels, r1, n1 // r1, r2, n2 // r2)
    mean = split[0, :, 0, :, 0].reshape(-1)
    # The column of cell t seen at position r is the first cell's column seen at r - t.
    cells = [
        split[1:, :, -t1 % r1, :, -t2 % r2].reshape(p - 1, -1)
        for t1 in range(r1)
        for t2 in range(r2)
    ]
    return noise.information(mean, np.concatenate(cells).T)


def _all_cells(one: FloatArray, cell: Supercell) -> FloatArray:
    """Add the information of the positions in every cell: that of one, shifted by the lattice."""
    r1, r2 = cell.repeats
    n = len(one) // (r1 * r2)
    blocks = one.reshape(r1, r2, n, r1, r2, n)
    total = np.zeros_like(blocks)
    for s1 in range(r1):
        for s2 in range(r2):
            total += np.roll(blocks, (s1, s2, s1, s2), axis=(0, 1, 3, 4))
    matrix = total.reshape(len(one), len(one))
    return np.asarray((matrix + matrix.T) / 2)
