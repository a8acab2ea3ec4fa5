"""The work of each engine for one configuration of a specimen, and which engines are exact.

The model counts transforms: propagating one wave through one slice costs two transforms of
``n log2 n`` points each (n = pixels of the grid); PRISM adds 8 flops per plane wave and detected
point for each probe. Building the potential and reading the detectors is left out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.prism import matrix_bytes
from echolith.forward.projected_potential import MARGIN, is_periodic, slice_count
from echolith.forward.simulation import Engine, ProjectedPotential, Simulation
from echolith.forward.tiling import unique_positions

if TYPE_CHECKING:
    from ase import Atoms

POINTS_PER_SECOND = 4e9
"""n log2 n per second and core, SciPy's complex64 transforms with a multiplication each way."""
FLOPS_PER_SECOND = 4e10
LARGEST_MATRIX = 1.5e9
"""Bytes of a scattering matrix beyond which PRISM is not taken."""


@dataclass(frozen=True, kw_only=True)
class EngineSize:
    """One engine's work for one configuration."""

    waves: int
    gpts: tuple[int, int]
    repeats: int = 1
    """Times the waves are propagated: once for each defocus, unless shared."""
    flops: float = 0.0
    memory: float = 0.0

    def seconds(self, slices: int) -> float:
        """Return the time on one core through so many slices."""
        points = self.gpts[0] * self.gpts[1]
        work = self.waves * self.repeats * slices * 2 * points * np.log2(points)
        return float(work / POINTS_PER_SECOND + self.flops / FLOPS_PER_SECOND)


def engine_sizes(
    atoms: "Atoms",
    coherent: StemAcquisition,
    simulation: Simulation,
    *,
    box: DiffractionBox,
    field_box: DiffractionBox,
    positions: np.ndarray,
    sampling: float,
    defoci: int,
    displaced: bool,
) -> dict[Engine, EngineSize]:
    """Return the work of every engine that can simulate an acquisition.

    Parameters
    ----------
    atoms : ase.Atoms
    coherent : StemAcquisition
        By a coherent beam, on the raster that is simulated.
    simulation : Simulation
    box, field_box : DiffractionBox
        Around one probe, and around all.
    positions : array, (n, 2)
        xy in the specimen frame, Å.
    sampling : float
        Side of the square pixel that sets the antialias aperture, Å.
    defoci : int
        Coherent beams that are added.
    displaced : bool
        Positions do not repeat with a cell.
    """
    slices = slice_count(atoms, simulation.slice_thickness)
    spread = positions.max(axis=0) - positions.min(axis=0)
    area = float(np.prod(spread + np.array(box.side)[::-1] + 2 * MARGIN))
    slabs = 8 * slices * area / float(np.prod(box.sampling))
    probes = len(positions)
    sizes = {
        Engine.MULTISLICE: EngineSize(waves=probes, gpts=box.gpts, repeats=defoci, memory=slabs),
    }
    semiangle = coherent.beam.semiangle
    if is_periodic(atoms):
        unique = probes if displaced else len(unique_positions(positions, atoms)[0])
        frame = 4 * float(np.prod(coherent.detector.shape))
        tiled = EngineSize(
            waves=unique, gpts=box.gpts, repeats=defoci, memory=slabs + unique * frame
        )
        if unique < probes:
            sizes[Engine.TILED] = tiled
        if simulation.potential is ProjectedPotential.EXACT:
            sizes[Engine.BLOCH] = _bloch_size(atoms, coherent, box, sampling, probes)
    readout = Readout(acquisition=coherent, box=field_box)
    matrix = matrix_bytes(readout, coherent.beam)
    if matrix <= LARGEST_MATRIX:
        waves = int(np.pi * semiangle**2 / float(np.prod(field_box.pixel)))
        sizes[Engine.PRISM] = EngineSize(
            waves=waves, gpts=field_box.gpts, flops=probes * defoci * matrix, memory=matrix
        )
    return sizes


def _bloch_size(
    atoms: "Atoms", coherent: StemAcquisition, box: DiffractionBox, sampling: float, probes: int
) -> EngineSize:
    """Size the work of one plane wave for each detector sample, and for the HAADF each incident.

    A pixel's image is a Fourier series of as many terms as cells fit the image's passband.
    """
    cell = np.asarray(atoms.cell)[:2, :2]
    first, second = (int(np.ceil(side / sampling)) for side in np.linalg.norm(cell, axis=1))
    detector, alpha = coherent.detector, coherent.beam.semiangle
    pixel = float(np.prod(box.pixel) * np.prod(box.multiple))
    waves = int(np.prod(detector.shape) * np.prod(detector.subpixels))
    if coherent.haadf is not None:
        waves += int(np.pi * alpha**2 / pixel)
    passband = np.pi * (2e-3 * alpha / coherent.beam.wavelength) ** 2
    terms = 1 + passband * abs(float(np.linalg.det(cell)))
    pixels = float(np.prod(detector.shape))
    return EngineSize(
        waves=waves,
        gpts=(max(second, 4), max(first, 4)),
        flops=2 * terms * probes * pixels + 8 * waves * (terms / 4) ** 2,
        memory=16 * terms * pixels,
    )


def exact_engines(
    atoms: "Atoms", sizes: dict[Engine, EngineSize], box: DiffractionBox, field_box: DiffractionBox
) -> set[Engine]:
    """Return the engines `Engine.AUTO` may take.

    Of an endless crystal a box that does not hold whole cells sees a seam; then only plane waves
    on the cell are exact, unless their Fourier series is too large to hold.
    """
    engines = set(sizes)
    bloch = sizes.get(Engine.BLOCH)
    if bloch is None or bloch.memory > LARGEST_MATRIX:
        return engines - {Engine.BLOCH}
    cell = np.asarray(atoms.cell)[:2, :2]
    if not box.holds_whole_cells(cell):
        engines -= {Engine.MULTISLICE, Engine.TILED}
    if not field_box.holds_whole_cells(cell):
        engines -= {Engine.PRISM}
    return engines
