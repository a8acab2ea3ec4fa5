"""One pass of iterative ptychography over all positions, in evenly spread batches.

A batch has one position in every square of the scan; which one is drawn from the seed. Positions
of a batch are divided into a fixed number of shares with a gradient each, added in their order, so
that the bits of the result do not depend on how many threads there are.
"""

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from echolith.forward.acquisition import Aberrations, Beam, Scan
from echolith.forward.optics import aperture
from echolith.inverse.iterative_ptychography_frames import Array, Frames, Grid, Indices, Volume
from echolith.inverse.iterative_ptychography_kernels import compare
from echolith.inverse.iterative_ptychography_object import (
    DepthPrior,
    ObjectDescent,
    illumination,
)
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.iterative_ptychography_waves import Specimen, Waves
from echolith.seeds import stream

SHARES = 8
"""Parts of a batch, each with a gradient of its own: fixed, so that the order of summation is."""
PLANES = 5
"""Depths at which the illumination is looked at."""
GROUP_BYTES = 1 << 22
"""Waves kept at once by one thread: they stay near the processor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What is estimated: phases of the slices, aberrations, positions, electrons per intensity."""

    phase: Volume
    """(slices, y, x), rad, on the grid of the object."""
    velocity: Volume
    aberrations: Aberrations
    positions: Array
    """(n, 2) xy in Å relative to scan pixel (0, 0), specimen frame."""
    scale: float
    """Electrons per unit intensity of a sample."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is given: frames, grid, options."""

    frames: Frames
    grid: Grid
    options: PtychographyOptions

    @classmethod
    def of(cls, frames: Frames, options: PtychographyOptions) -> "Problem":
        """Choose the grid."""
        grid = Grid.of(
            frames.acquisition, oversampling=options.oversampling, minimum_box=options.minimum_box
        )
        return cls(frames=frames, grid=grid, options=options)

    @property
    def beam(self) -> Beam:
        """The beam of the metadata."""
        return self.frames.acquisition.beam

    @property
    def group(self) -> int:
        """Positions propagated at once."""
        wave = 8 * int(np.prod(self.grid.box.gpts)) * self.options.slices
        return max(1, GROUP_BYTES // wave)

    def probe(self, aberrations: Aberrations) -> Waves:
        """Return the probe's spectrum with unit intensity, FFT order."""
        box = self.grid.box
        beam = self.beam.model_copy(update={"aberrations": aberrations})
        spectrum = aperture(box.frequencies(1)[None], box.frequencies(0)[:, None], beam=beam)
        return np.asarray(spectrum / np.sqrt((np.abs(spectrum) ** 2).sum()), dtype=np.complex64)

    def specimen(self, phase: Volume) -> Specimen:
        """Return the transmission functions of phases."""
        return Specimen.of(phase, self.options.distance, self.grid)

    def start(self) -> State:
        """Begin with vacuum, the metadata's aberrations and the scan's raster."""
        shape = (self.options.slices, *self.grid.shape)
        aberrations = self.beam.aberrations
        detected = np.abs(self.probe(aberrations)) ** 2
        seen = detected[self.grid.rows.ravel()[:, None], self.grid.columns.ravel()[None]]
        return State(
            phase=np.zeros(shape, np.float32),
            velocity=np.zeros(shape, np.float32),
            aberrations=aberrations,
            positions=self.frames.acquisition.scan.positions().reshape(-1, 2),
            scale=float(self.frames.electrons / seen.sum()),
        )

    def descent(self, state: State, batch: Indices) -> ObjectDescent:
        """Return the object's update rule, for batches like one of them."""
        options = self.options
        corners, _ = self.grid.windows(state.positions)
        probe, depths = self.probe(state.aberrations), np.linspace(0, options.thickness, PLANES)
        every = illumination(probe, corners, self.grid, depths)
        some = illumination(probe, corners[batch], self.grid, depths)
        prior = DepthPrior.of(
            options.slices, options.depth_spread, self.grid, self.frames.acquisition
        )
        share = np.float32(len(self.frames) / len(batch))
        return ObjectDescent.of(
            prior, every=every, batch=share * some, scale=state.scale, momentum=options.momentum
        )


def batches(scan: Scan, spacing: float, seed: int, iteration: int) -> list[Indices]:
    """Divide the raster's positions into batches, each spread evenly over the field.

    Parameters
    ----------
    scan : Scan
    spacing : float
        Side of the squares that hold one position of a batch each, Å.
    seed, iteration : int
        They decide the order.

    Returns
    -------
    list of arrays of int
        Raster indices; every position is in one batch.
    """
    ny, nx = scan.shape
    side_y, side_x = (max(1, round(spacing / step)) for step in scan.step)
    iy, ix = np.divmod(np.arange(ny * nx), nx)
    square = (iy // side_y) * -(-nx // side_x) + ix // side_x
    key = stream(seed, "ptychography batches", iteration).random(ny * nx)
    order = np.lexsort((key, square))
    first = np.searchsorted(square[order], square[order])
    rank = np.empty(ny * nx, dtype=np.int64)
    rank[order] = np.arange(ny * nx) - first
    return [np.flatnonzero(rank == n) for n in range(rank.max() + 1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slope:
    """The data's gradient of a batch, with its deviance and the model's electrons."""

    gradient: Volume
    deviance: float
    electrons: float


def slope(
    problem: Problem, state: State, chosen: Indices, *, amplitudes: bool, pool: Executor
) -> Slope:
    """Return the gradient of minus the log-likelihood of some frames in the phases."""
    specimen, probe = problem.specimen(state.phase), problem.probe(state.aberrations)
    grid, frames = problem.grid, problem.frames

    def share(part: Indices) -> tuple[Volume, Array]:
        gradient, totals = np.zeros_like(state.phase), np.empty((len(part), 2))
        for first in range(0, len(part), problem.group):
            here = slice(first, first + problem.group)
            spectra, corners = specimen.incident(probe, state.positions[part[here]])
            waves, kept = specimen.forward(spectra, corners)
            compare(
                waves, frames.batch(part[here]), grid.rows, grid.columns,
                state.scale, problem.options.background, amplitudes, totals[here],
            )  # fmt: skip
            specimen.back(waves, kept, corners, gradient)
        return gradient, totals.sum(axis=0)

    parts = [part for part in np.array_split(chosen, SHARES) if len(part)]
    gradient, totals = np.zeros_like(state.phase), np.zeros(2)
    for one, sums in pool.map(share, parts):
        gradient += one
        totals += sums
    return Slope(gradient=gradient, deviance=float(totals[0]), electrons=float(totals[1]))


def one_pass(problem: Problem, state: State, iteration: int, pool: Executor) -> tuple[State, float]:
    """Go through all positions once.

    Returns
    -------
    state : State
    deviance : float
        Mean of the pixels, ``2 (n log(n / m) - n + m)``, met on the way.
    """
    options, frames = problem.options, problem.frames
    parts = batches(frames.acquisition.scan, options.spacing, options.seed, iteration)
    rule, step = problem.descent(state, parts[0]), options.step_of(iteration)
    deviance, electrons, amplitudes = 0.0, 0.0, options.amplitudes(iteration)
    for chosen in parts:
        found = slope(problem, state, chosen, amplitudes=amplitudes, pool=pool)
        gradient = found.gradient * np.float32(len(frames) / len(chosen))
        phase, velocity = rule.moved(state.phase, state.velocity, gradient, step)
        state = replace(state, phase=phase, velocity=velocity)
        deviance += found.deviance
        electrons += found.electrons
    scale = state.scale * frames.electrons * len(frames) / electrons
    return replace(state, scale=scale), deviance / frames.pixels
