"""What a simulation will cost with each engine, and which one is the cheapest.

What each engine has to do is counted in `echolith.forward.engine_sizes`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, StemAcquisition
from echolith.forward.coherence import SourceFilter, focal_beams, source_filter, with_margins
from echolith.forward.diffraction_box import DiffractionBox, diffraction_box
from echolith.forward.displaced_scan import check_covered, displaced_positions
from echolith.forward.engine_sizes import (
    LARGEST_MATRIX,
    EngineSize,
    engine_sizes,
    exact_engines,
)
from echolith.forward.projected_potential import check_specimen, is_periodic, slice_count
from echolith.forward.resampled_scan import ResampledScan, on_raster, resampled_scan
from echolith.forward.simulation import Engine, Simulation

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """A simulation's size before it is run."""

    engine: Engine
    """The engine asked for, or the cheapest."""
    seconds: float
    """On one core of the kind the model was measured on; a guide, not a promise."""
    waves: int
    """Probes or plane waves propagated for one configuration and one defocus."""
    slices: int
    gpts: tuple[int, int]
    """Grid of one wave, (y, x)."""
    configurations: int
    defoci: int
    memory_bytes: int
    """Transmission functions or scattering matrices, held until the end."""
    alternatives: dict[Engine, float]
    """Seconds by every engine that can do it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything fixed before the first wave is propagated."""

    acquisition: StemAcquisition
    """As asked for."""
    coherent: StemAcquisition
    """The same by a coherent beam: with margins around the scan for the source spread, or on the
    raster that a displaced scan is drawn from."""
    beams: tuple[tuple[float, Beam], ...]
    filters: tuple[SourceFilter, SourceFilter]
    simulation: Simulation
    box: DiffractionBox
    """Around one probe."""
    field_box: DiffractionBox
    """Around the whole scan, for PRISM."""
    sampling: float
    cost: CostEstimate
    displacements: FloatArray | None = None
    """Of the probe, (ny, nx, 2) xy in the scan frame, Å; None: none."""
    resampled: ResampledScan | None = None
    """The raster that positions are drawn from where they are displaced and the source spread."""

    def positions(self, cell: npt.NDArray[np.floating]) -> FloatArray:
        """Return where probes are simulated by multislice, specimen frame, (ny, nx, 2) xy, Å."""
        moved = self.displacements if self.resampled is None else None
        return displaced_positions(self.coherent.scan, cell, moved)


def estimate_cost(
    atoms: "Atoms", acquisition: StemAcquisition, simulation: Simulation | None = None
) -> CostEstimate:
    """Say what `stem_mean` would do and roughly how long it would take on one core.

    Parameters
    ----------
    atoms : ase.Atoms
    acquisition : StemAcquisition
    simulation : Simulation, optional

    Returns
    -------
    CostEstimate

    Raises
    ------
    BadInputError
        As `stem_mean`.
    """
    return make_plan(atoms, acquisition, simulation or Simulation()).cost


def make_plan(
    atoms: "Atoms",
    acquisition: StemAcquisition,
    simulation: Simulation,
    displacements: FloatArray | None = None,
) -> Plan:
    """Check the input and choose grid and engine.

    Parameters
    ----------
    atoms : ase.Atoms
    acquisition : StemAcquisition
    simulation : Simulation
    displacements : array, (ny, nx, 2), optional
        Of the probe, xy in the scan frame, Å.
    """
    check_specimen(atoms, simulation.slice_thickness)
    if displacements is not None:
        check_covered(atoms, acquisition.scan, displacements)
    filters = (
        source_filter(acquisition.beam, acquisition.scan.step[0]),
        source_filter(acquisition.beam, acquisition.scan.step[1]),
    )
    coherent = with_margins(acquisition, (filters[0].margin, filters[1].margin))
    resampled = None
    if displacements is not None and acquisition.beam.source_spread > 0:
        resampled = resampled_scan(acquisition.beam, acquisition.scan, displacements)
        coherent = on_raster(coherent, resampled.raster)
    beams = tuple(focal_beams(acquisition.beam))
    box = diffraction_box(acquisition, simulation)
    moved = displacements if resampled is None else None
    positions = displaced_positions(coherent.scan, np.asarray(atoms.cell), moved).reshape(-1, 2)
    width, height = positions.max(axis=0) - positions.min(axis=0)
    field_box = diffraction_box(acquisition, simulation, reach=(float(height), float(width)))
    sampling = max(box.sampling)  # the antialias aperture of the box, for every engine
    sizes = engine_sizes(
        atoms, coherent, simulation, box=box, field_box=field_box, positions=positions,
        sampling=sampling, defoci=len(beams), displaced=displacements is not None,
    )  # fmt: skip
    exact = exact_engines(atoms, sizes, box, field_box)
    cost = _choose(
        atoms, simulation, sizes, exact, defoci=len(beams), displaced=displacements is not None
    )
    return Plan(
        acquisition=acquisition,
        coherent=coherent,
        beams=beams,
        filters=filters,
        simulation=simulation,
        box=box,
        field_box=field_box,
        sampling=sampling,
        cost=cost,
        displacements=displacements,
        resampled=resampled,
    )


def _choose(
    atoms: "Atoms",
    simulation: Simulation,
    sizes: dict[Engine, EngineSize],
    exact: set[Engine],
    *,
    defoci: int,
    displaced: bool,
) -> CostEstimate:
    slices = slice_count(atoms, simulation.slice_thickness)
    configurations = max(1, simulation.phonons.configurations)
    seconds = {engine: size.seconds(slices) * configurations for engine, size in sizes.items()}
    engine = simulation.engine
    if engine is Engine.AUTO:
        engine = min(exact & set(seconds), key=lambda name: (seconds[name], name.value))
    if engine not in sizes:
        if engine is Engine.TILED and is_periodic(atoms) and not displaced:
            sizes[engine], seconds[engine] = (
                sizes[Engine.MULTISLICE],
                seconds[Engine.MULTISLICE],
            )
        else:
            raise BadInputError(_why_not(engine, periodic=is_periodic(atoms), displaced=displaced))
    size = sizes[engine]
    return CostEstimate(
        engine=engine,
        seconds=seconds[engine],
        waves=size.waves,
        slices=slices,
        gpts=size.gpts,
        configurations=configurations,
        defoci=defoci,
        memory_bytes=int(size.memory * configurations),
        alternatives=seconds,
    )


def _why_not(engine: Engine, *, periodic: bool, displaced: bool) -> str:
    if engine is Engine.TILED and periodic and displaced:
        return (
            "engine = tiled needs probe positions that repeat with the cell, and a distortion "
            "moves each of them its own way; use engine = bloch, multislice or auto"
        )
    if engine is Engine.BLOCH and periodic:
        return (
            "engine = bloch projects the potential onto the cell's own grid, which "
            "potential = abtem cannot; use potential = exact, or engine = multislice"
        )
    if engine is Engine.PRISM:
        return (
            "engine = prism would need a scattering matrix beyond "
            f"{LARGEST_MATRIX / 1e9:g} GB; use a smaller scan or detector, or engine = multislice"
        )
    return (
        f"engine = {engine.value} needs a laterally periodic specimen (atoms.pbc True along x and "
        "y); use engine = multislice, or set pbc where the cell really repeats"
    )
