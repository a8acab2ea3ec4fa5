"""Data of published size: simulated, judged by brute-force abTEM, streamed to a file and inverted.

Perfect Li-rich oxide, 20 Å thick, 256 x 256 positions. Simulated rows are thrown away as they come,
or saved as counts. The floor is the sum of the Fourier series over probe positions alone, as a
matrix product by BLAS; a share of it is done and scaled up.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from ase import Atoms
from threadpoolctl import threadpool_limits

from benchmarks.brute_force import Box, frames
from benchmarks.measuring import (
    Figure,
    Result,
    best_in_turn,
    in_own_process,
    peak_beyond,
    seconds,
)
from echolith.dataset import load, save
from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.cost import make_plan
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import scan_positions
from echolith.forward.simulation import Simulation
from echolith.forward.stem import stem_mean
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.processors import processors
from echolith.structures.li_rich_oxide import PRISTINE, orthogonal_specimen, periodic_specimen
from echolith.structures.projected_cell import commensurate

THICKNESS = 20.0
PROBES = 64
LARGEST_DEVIATION = 1e-4
LONGEST = 180
LARGEST_MEMORY = 4000
GATHERED_BYTES = 1 << 31
"""For the disc of a set read from a file: two passes over the full one."""
FLOOR_ROWS = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scan and a detector, whose pitch fits a box of whole cells of the crystal."""

    positions: int
    detector: tuple[int, int]
    subpixels: tuple[int, int] = (1, 1)
    cells: tuple[int, int] = (2, 5)
    """Orthogonal cells along y and x that make one over a sample's pitch."""
    probes: int = PROBES
    sheared: Any = field(default_factory=lambda: commensurate(PRISTINE)[2])

    @cached_property
    def specimen(self) -> Atoms:
        """Return one oblique cell of the crystal."""
        return periodic_specimen(self.sheared, thickness=THICKNESS)

    @cached_property
    def orthogonal(self) -> Atoms:
        """Return one orthogonal cell of the same crystal."""
        return orthogonal_specimen(PRISTINE, thickness=THICKNESS)

    @cached_property
    def acquisition(self) -> StemAcquisition:
        """Return the default measurement with this scan and detector."""
        beam = StemAcquisition().beam
        sides = np.diag(np.asarray(self.orthogonal.cell))[1::-1] * self.cells
        sample_y, sample_x = beam.wavelength / sides * 1e3
        pixel = (float(sample_y * self.subpixels[0]), float(sample_x * self.subpixels[1]))
        return StemAcquisition(
            scan=Scan(shape=(self.positions, self.positions)),
            detector=PixelDetector(shape=self.detector, pixel_size=pixel, subpixels=self.subpixels),
        )

    def mean(self) -> xr.Dataset:
        """Return the expected counts, lazy."""
        return stem_mean(self.specimen, acquisition=self.acquisition)

    @property
    def size(self) -> dict[str, list[int]]:
        """Return scan and detector."""
        return {"scan": [self.positions] * 2, "detector": list(self.detector)}


SIMULATED = {
    "paper-64x64": Case(positions=256, detector=(64, 64)),
    "paper-64x264": Case(positions=256, detector=(64, 264), subpixels=(4, 1), cells=(5, 15)),
}
QUICK_SIMULATED = {
    "paper-quick": Case(positions=16, detector=(32, 32), cells=(1, 3), probes=4),
}
STREAMED = {"paper-file-264x264": Case(positions=256, detector=(264, 264), cells=(5, 15))}
QUICK_STREAMED = {"paper-quick-file": Case(positions=48, detector=(32, 32), cells=(1, 3))}


WARM_UP = Case(positions=4, detector=(28, 28), cells=(1, 3))
"""Loads compiled code and abTEM before memory is counted."""


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every case, each in a process of its own."""
    simulated = QUICK_SIMULATED if quick else SIMULATED
    streamed = QUICK_STREAMED if quick else STREAMED
    results = {name: in_own_process(_simulated, case=case) for name, case in simulated.items()}
    return results | {name: in_own_process(_streamed, case=case) for name, case in streamed.items()}


def _simulated(*, case: Case) -> Result:
    _simulate_and_drop(WARM_UP)
    taken, memory = peak_beyond(partial(seconds, partial(_simulate_and_drop, case)))
    deviation = largest_deviation(case)
    return Result(
        ours_s=taken,
        floor_s=SeriesAlone.of(case).seconds(),
        peak_memory_bytes=memory,
        size=case.size,
        figures={
            "simulated_in": Figure(value=taken, unit="s", at_most=LONGEST),
            "deviation_from_abtem": Figure(
                value=deviation, unit="of the peak", at_most=LARGEST_DEVIATION
            ),
        },
    )


def _streamed(*, case: Case) -> Result:
    _simulate_and_drop(WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measurement.h5"
        saving, save_memory = peak_beyond(partial(seconds, partial(_simulate_and_save, case, file)))
        solving, solve_memory = peak_beyond(partial(seconds, partial(_invert, file)))
        stored = file.stat().st_size
    memory = max(save_memory, solve_memory)
    positions, pixels = case.positions**2, int(np.prod(case.detector))
    return Result(
        ours_s=saving + solving,
        floor_s=SeriesAlone.of(case).seconds(),
        peak_memory_bytes=memory,
        size=case.size,
        figures={
            "peak_memory": Figure(value=memory / 1e6, unit="MB", at_most=LARGEST_MEMORY),
            "counts": Figure(value=2 * positions * pixels / 1e6, unit="MB"),
            "file": Figure(value=stored / 1e6, unit="MB"),
            "simulated_and_saved_in": Figure(value=saving, unit="s"),
            "inverted_in": Figure(value=solving, unit="s"),
        },
    )


class _Nowhere:
    """Takes what is stored and keeps nothing."""

    def __setitem__(self, index: Any, values: Any) -> None:
        """Drop the values."""


def _simulate_and_drop(case: Case) -> None:
    mean = case.mean()
    variables = [mean[name].data for name in ("counts", "haadf")]
    da.store(variables, [_Nowhere(), _Nowhere()], lock=False)


def _simulate_and_save(case: Case, file: Path) -> None:
    save(PoissonCounting().sample(case.mean(), seed=0), file)


def _invert(file: Path) -> None:
    ssb(load(file), streaming=Streaming(memory=GATHERED_BYTES, workers=processors()))


def largest_deviation(case: Case) -> float:
    """Compare random probes with brute-force abTEM; relative to the peak of all their frames."""
    iy, ix = np.divmod(
        np.random.default_rng(0).choice(case.positions**2, case.probes, replace=False),
        case.positions,
    )
    mean = case.mean()
    with_all = mean["counts"].data.vindex[iy, ix].compute()
    plan = make_plan(case.specimen, case.acquisition, Simulation())
    box = Box(
        cell=case.orthogonal,
        repeats=case.cells,
        acquisition=case.acquisition,
        sampling=plan.sampling,
        slices=plan.cost.slices,
    )
    # Both specimens have a lattice point at the middle of their cells.
    middle, judged_at = (
        np.asarray(atoms.cell)[:2, :2].sum(axis=0) / 2 for atoms in (case.specimen, case.orthogonal)
    )
    positions = scan_positions(case.acquisition.scan, np.asarray(case.specimen.cell))[iy, ix]
    judged = frames(box, positions - middle + judged_at)
    return float(np.abs(with_all - judged).max() / judged.max())


@dataclass(frozen=True, kw_only=True)
class SeriesAlone:
    """The sum of a Fourier series over probe positions for every pixel, row by row of the scan."""

    rows: int
    positions: int
    terms: int
    pixels: int

    @classmethod
    def of(cls, case: Case) -> "SeriesAlone":
        """Count the terms: the reciprocal lattice vectors up to twice the aperture."""
        beam = case.acquisition.beam
        area = abs(float(np.linalg.det(np.asarray(case.specimen.cell)[:2, :2])))
        terms = np.pi * (2e-3 * beam.semiangle / beam.wavelength) ** 2 * area
        pixels = int(np.prod(case.detector))
        return cls(rows=case.positions, positions=case.positions, terms=round(terms), pixels=pixels)

    def seconds(self) -> float:
        """Return the best time of some rows, scaled up to all."""
        random = np.random.default_rng(0)
        basis = random.random((self.positions, self.terms), np.float32)
        series = random.random((self.terms, self.pixels), np.float32)
        done = min(self.rows, FLOOR_ROWS)

        def work() -> None:
            with ThreadPoolExecutor(processors()) as pool:
                list(pool.map(lambda _row: basis @ series, range(done)))

        with threadpool_limits(limits=1):
            return best_in_turn({"floor": work}, repeats=3)["floor"] * self.rows / done
