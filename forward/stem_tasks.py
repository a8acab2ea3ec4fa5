"""The tasks of a 4D-STEM simulation, one for some scan rows, as a dask graph."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from echolith.forward.bloch import BlochOperator, prepare
from echolith.forward.coherence import SourceFilter
from echolith.forward.cost import Plan
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.displaced_scan import displaced_positions
from echolith.forward.multislice import Slices, probe_frames
from echolith.forward.phonons import displaced
from echolith.forward.prism import Prism, plane_waves, scattering_rows
from echolith.forward.projected_potential import Region, region_around, transmission
from echolith.forward.resampled_scan import ResampledScan
from echolith.forward.simulation import Engine
from echolith.forward.tiling import unique_positions

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
Block = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Counts (rows, nx, dy, dx) and annular counts (rows, nx)."""
Task = Any
"""A dask.delayed.Delayed of the value named beside it."""

TASK_SECONDS = 2.0
TASK_BYTES = 128e6


def measured_blocks(atoms: "Atoms", plan: Plan) -> list[tuple[int, Task]]:
    """Return the number of rows and the task (a `Block`) of each chunk of scan rows."""
    atoms = atoms.copy()  # the tasks run later
    scan = plan.acquisition.scan
    chunks = row_chunks(scan.shape[0], _chunk_rows(plan))
    if plan.cost.engine is Engine.BLOCH:
        tasks = _bloch(atoms, plan, chunks)
        return [(rows.stop - rows.start, task) for rows, task in zip(chunks, tasks, strict=True)]
    wanted = row_chunks(plan.coherent.scan.shape[0], chunks[0].stop - chunks[0].start)
    raw = _ENGINES[plan.cost.engine](atoms, plan, wanted)
    if plan.acquisition.beam.source_spread == 0:
        return [(rows.stop - rows.start, task) for rows, task in zip(chunks, raw, strict=True)]
    if plan.resampled is not None:
        return [
            (rows.stop - rows.start, _resampled(rows, wanted, raw, plan.resampled))
            for rows in chunks
        ]
    sharp = [delayed(_filter_columns, nout=2)(task, plan.filters[1]) for task in raw]
    return [
        (rows.stop - rows.start, _filtered(rows, wanted, sharp, plan.filters[0])) for rows in chunks
    ]


def row_chunks(rows: int, chunk: int) -> list[slice]:
    """Cut rows into chunks."""
    return [slice(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]


def _chunk_rows(plan: Plan) -> int:
    ny, nx = plan.coherent.scan.shape
    if plan.simulation.chunk_rows is not None:
        return min(plan.simulation.chunk_rows, plan.acquisition.scan.shape[0])
    row_bytes = 4 * nx * float(np.prod(plan.acquisition.detector.shape))
    by_memory = TASK_BYTES / row_bytes
    by_time = TASK_SECONDS / (plan.cost.seconds / ny)
    if plan.cost.engine in (Engine.TILED, Engine.BLOCH):
        by_time = by_memory  # the rows are only gathered or summed from what is computed once
    return int(np.clip(min(by_time, by_memory), 1, plan.acquisition.scan.shape[0]))


def _filter_columns(block: Block, columns: SourceFilter) -> Block:
    return columns.apply(block[0], 1), columns.apply(block[1], 1)


def _filtered(rows: slice, raw_rows: list[slice], raw: list[Task], filter_: SourceFilter) -> Task:
    used, keep = _blocks_of(slice(rows.start, rows.stop + 2 * filter_.margin), raw_rows)
    return delayed(_filter_rows, nout=2)([raw[n] for n in used], keep, filter_)


def _blocks_of(rows: slice, raw_rows: list[slice]) -> tuple[list[int], slice]:
    """Return which blocks some rows lie in, and where in these together."""
    used = [n for n, r in enumerate(raw_rows) if r.start < rows.stop and r.stop > rows.start]
    skip = rows.start - raw_rows[used[0]].start
    return used, slice(skip, skip + rows.stop - rows.start)


def _filter_rows(blocks: Sequence[Block], keep: slice, filter_: SourceFilter) -> Block:
    counts, haadf = (np.concatenate(parts)[keep] for parts in zip(*blocks, strict=True))
    # The fitted response may ring by its stated error around zero; counts are not negative.
    return np.maximum(filter_.apply(counts, 0), 0), np.maximum(filter_.apply(haadf, 0), 0)


def _resampled(rows: slice, raw_rows: list[slice], raw: list[Task], scan: ResampledScan) -> Task:
    used, keep = _blocks_of(scan.needed(rows), raw_rows)
    return delayed(_resample_rows, nout=2)([raw[n] for n in used], keep, rows, scan)


def _resample_rows(blocks: Sequence[Block], keep: slice, rows: slice, scan: ResampledScan) -> Block:
    counts, haadf = (np.concatenate(parts)[keep] for parts in zip(*blocks, strict=True))
    drawn = scan.rows(rows, counts.reshape(*haadf.shape, -1))
    drawn = drawn.reshape(*drawn.shape[:2], *counts.shape[2:])
    ring = scan.rows(rows, haadf[..., None])[..., 0]
    return np.maximum(drawn, 0), np.maximum(ring, 0)


def _configurations(atoms: "Atoms", plan: Plan) -> list["Atoms"]:
    phonons = plan.simulation.phonons
    return [displaced(atoms, phonons, n) for n in range(max(1, phonons.configurations))]


def _positions(atoms: "Atoms", plan: Plan) -> FloatArray:
    return plan.positions(np.asarray(atoms.cell))


def _slices(atoms: "Atoms", plan: Plan, positions: FloatArray, box: DiffractionBox) -> list[Task]:
    region = region_around(atoms, positions, box.side, box.sampling)
    count = plan.cost.slices
    build = delayed(_build_slices)
    return [build(moved, plan, region, box, count) for moved in _configurations(atoms, plan)]


def _build_slices(
    atoms: "Atoms", plan: Plan, region: Region, box: DiffractionBox, count: int
) -> Slices:
    slabs = transmission(
        atoms,
        region=region,
        slices=count,
        energy=box.energy,
        method=plan.simulation.potential,
    )
    return Slices(
        region=region, transmission=slabs, thickness=float(atoms.cell[2, 2]) / count, box=box
    )


def _multislice(atoms: "Atoms", plan: Plan, chunks: list[slice]) -> list[Task]:
    positions = _positions(atoms, plan)
    slices = _slices(atoms, plan, positions, plan.box)
    task = delayed(_probe_rows, nout=2)
    return [task(positions[rows], slices, plan) for rows in chunks]


def _probe_rows(positions: FloatArray, configurations: Sequence[Slices], plan: Plan) -> Block:
    readout = Readout(acquisition=plan.coherent, box=plan.box)
    flat = positions.reshape(-1, 2)
    return _shaped(
        _mean(
            [
                probe_frames(flat, beams=plan.beams, slices=slices, readout=readout)
                for slices in configurations
            ]
        ),
        positions.shape[:-1],
    )


def _mean(blocks: Sequence[Block]) -> Block:
    counts, haadf = blocks[0]
    for more, ring in blocks[1:]:
        counts, haadf = counts + more, haadf + ring
    share = np.float32(1 / len(blocks))
    return counts * share, haadf * share


def _shaped(block: Block, shape: tuple[int, ...]) -> Block:
    return block[0].reshape(*shape, *block[0].shape[-2:]), block[1].reshape(shape)


def _tiled(atoms: "Atoms", plan: Plan, chunks: list[slice]) -> list[Task]:
    positions = _positions(atoms, plan)
    unique, index = unique_positions(positions.reshape(-1, 2), atoms)
    index = index.reshape(positions.shape[:-1])
    slices = _slices(atoms, plan, unique, plan.box)
    size = max(1, int(len(unique) * TASK_SECONDS / plan.cost.seconds))
    task = delayed(_probe_rows, nout=2)
    units = [task(unique[part], slices, plan) for part in row_chunks(len(unique), size)]
    gather = delayed(_gather, nout=2)
    return [gather(units, index[rows]) for rows in chunks]


def _gather(units: Sequence[Block], index: npt.NDArray[np.int64]) -> Block:
    counts, haadf = (np.concatenate(parts) for parts in zip(*units, strict=True))
    return counts[index], haadf[index]


def _prism(atoms: "Atoms", plan: Plan, chunks: list[slice]) -> list[Task]:
    positions = _positions(atoms, plan)
    box, readout = plan.field_box, Readout(acquisition=plan.coherent, box=plan.field_box)
    flat = positions.reshape(-1, 2)
    centre = (flat.min(axis=0) + flat.max(axis=0)) / 2
    waves = plane_waves(plan.coherent.beam, box)
    size = max(1, int(len(waves) * TASK_SECONDS / plan.cost.seconds))
    parts = row_chunks(len(waves), size)
    build, join = delayed(_scattering), delayed(_join_prism)
    prisms = [
        join([build(waves[part], centre, slices, readout) for part in parts], waves, slices,
             centre, readout)
        for slices in _slices(atoms, plan, centre[None], box)
    ]  # fmt: skip
    task = delayed(_prism_rows, nout=2)
    return [task(positions[rows], prisms, plan) for rows in chunks]


def _scattering(
    waves: npt.NDArray[np.int64], centre: FloatArray, slices: Slices, readout: Readout
) -> npt.NDArray[np.complex64]:
    return scattering_rows(waves, centre, slices=slices, readout=readout)


def _join_prism(
    parts: Sequence[npt.NDArray[np.complex64]],
    waves: npt.NDArray[np.int64],
    slices: Slices,
    centre: FloatArray,
    readout: Readout,
) -> Prism:
    corner = centre - slices.offsets(centre[None])[0, ::-1]
    return Prism(matrix=np.concatenate(parts), waves=waves, corner=corner, readout=readout)


def _prism_rows(positions: FloatArray, prisms: Sequence[Prism], plan: Plan) -> Block:
    # One product for each scan row, so that chunks do not change its shape.
    rows = [_mean([prism.frames(line, plan.beams) for prism in prisms]) for line in positions]
    counts, haadf = zip(*rows, strict=True)
    return np.stack(counts), np.stack(haadf)


def _bloch(atoms: "Atoms", plan: Plan, chunks: list[slice]) -> list[Task]:
    build = delayed(_bloch_operator)
    operators = [build(moved, plan) for moved in _configurations(atoms, plan)]
    positions = displaced_positions(
        plan.acquisition.scan, np.asarray(atoms.cell), plan.displacements
    )
    task = delayed(_bloch_rows, nout=2)
    return [task(operators, positions[rows]) for rows in chunks]


def _bloch_operator(atoms: "Atoms", plan: Plan) -> BlochOperator:
    # Focal and source spread damp its Fourier series over positions, exactly.
    return prepare(
        atoms,
        acquisition=plan.acquisition,
        sampling=plan.sampling,
        slice_thickness=plan.simulation.slice_thickness,
    )


def _bloch_rows(operators: Sequence[BlochOperator], positions: FloatArray) -> Block:
    blocks = []
    for operator in operators:
        counts, haadf = operator.at(positions)
        ring = np.zeros(counts.shape[:2], dtype=np.float32) if haadf is None else haadf
        blocks.append((counts, ring))
    return blocks[0] if len(blocks) == 1 else _mean(blocks)


_ENGINES = {
    Engine.MULTISLICE: _multislice,
    Engine.TILED: _tiled,
    Engine.PRISM: _prism,
}
