"""Gauss-Newton steps of probe aberrations and of single positions.

Waves are linear in the incident one, so a change of the probe goes through the slices as the probe
does and ``dI = 2 Re(conj(Psi) dPsi)``. With counts n and model m the score ``sum dI (n / m - 1)``
and the Fisher information ``sum dI dI' / m`` give the step, and the inverse of the information,
the object held fixed, the variance.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Aberrations
from echolith.forward.optics import aberration_phase
from echolith.inverse.iterative_ptychography_descent import Problem, State
from echolith.inverse.iterative_ptychography_frames import PADDING, Array, Indices
from echolith.inverse.iterative_ptychography_kernels import detect, detect_change
from echolith.inverse.iterative_ptychography_waves import Specimen, Waves

FARTHEST_STEP = 0.1
"""Å that one position moves at most in one step."""

TERMS = {1: ("C10", "C12"), 2: ("C21", "C23"), 3: ("C30", "C32", "C34")}
"""Aberrations by order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Information:
    """Score (n, parameters) and Fisher information (n, parameters, parameters) of frames."""

    score: Array
    fisher: Array


def information(
    problem: Problem,
    state: State,
    chosen: Indices,
    changes: Callable[[Waves], Sequence[Waves]],
    pool: Executor,
) -> Information:
    """Return score and information of every chosen frame for changes of the incident spectrum.

    ``changes(spectra)`` returns the derivatives of the spectra (n, ny, nx) by each parameter.
    """
    specimen, probe = problem.specimen(state.phase), problem.probe(state.aberrations)

    def part(here: Indices) -> tuple[Array, Array]:
        spectra, corners = specimen.incident(probe, state.positions[here])
        derivatives = [np.ascontiguousarray(c, np.complex64) for c in changes(spectra)]
        return _frames_information(problem, state, here, (specimen, spectra, corners, derivatives))

    groups = [chosen[n : n + problem.group] for n in range(0, len(chosen), problem.group)]
    done = list(pool.map(part, groups))
    return Information(
        score=np.concatenate([one for one, _ in done]),
        fisher=np.concatenate([other for _, other in done]),
    )


def _frames_information(
    problem: Problem,
    state: State,
    here: Indices,
    waves: tuple[Specimen, Waves, Indices, list[Waves]],
) -> tuple[Array, Array]:
    specimen, spectra, corners, derivatives = waves
    grid, counts = problem.grid, problem.frames.batch(here)
    exit_waves, _ = specimen.forward(spectra, corners)
    model = np.empty_like(counts)
    detect(exit_waves, grid.rows, grid.columns, state.scale, model)
    model += problem.options.background
    slopes = np.empty((len(derivatives), *counts.shape), np.float32)
    for slope, derivative in zip(slopes, derivatives, strict=True):
        changed, _ = specimen.forward(derivative, corners)
        detect_change(exit_waves, changed, grid.rows, grid.columns, state.scale, slope)
    score = np.einsum("apij,pij->pa", slopes, counts / model - 1)
    fisher = np.einsum("apij,bpij->pab", slopes, slopes / model)
    return score.astype(float), fisher.astype(float)


def corrected_positions(
    problem: Problem, state: State, spread: float, pool: Executor
) -> tuple[State, Array]:
    """Take one step of every position, with a normal prior around the scan's raster.

    A shift common to all positions is the object's and is taken out.

    Returns
    -------
    state : State
    std : array, (n, 2)
        xy in Å, with the object as it is.
    """
    box = problem.grid.box
    ky, kx = box.frequencies(0), box.frequencies(1)

    def changes(spectra: Waves) -> list[Waves]:
        return [-2j * np.pi * kx * spectra, -2j * np.pi * ky[:, None] * spectra]

    raster = problem.frames.acquisition.scan.positions().reshape(-1, 2)
    found = information(problem, state, np.arange(len(raster)), changes, pool)
    moved = state.positions - raster
    matrix = found.fisher + np.eye(2) / spread**2
    step = np.linalg.solve(matrix, (found.score - moved / spread**2)[..., None])[..., 0]
    moved = moved + np.clip(step, -FARTHEST_STEP, FARTHEST_STEP)
    moved = np.clip(moved - moved.mean(axis=0), -PADDING, PADDING)
    std = np.sqrt(np.linalg.inv(matrix)[:, (0, 1), (0, 1)])
    return replace(state, positions=raster + moved), std


def parameters(order: int) -> list[tuple[str, str]]:
    """List the aberrations up to an order as (name, part), part "cos" or "sin" of the azimuth."""
    names = [name for n in range(1, order + 1) for name in TERMS[n]]
    return [(name, part) for name in names for part in ("cos", "sin")[: 2 if int(name[2]) else 1]]


def corrected_aberrations(
    problem: Problem, state: State, order: int, chosen: Indices, pool: Executor
) -> tuple[State, npt.NDArray[np.float64]]:
    """Take one step of all aberrations up to an order together, on some frames.

    Returns
    -------
    state : State
    std : array, (parameters,)
        Å, of `parameters`, with the object as it is and all frames.
    """
    names = parameters(order)
    phases = [_unit_phase(problem, *name) for name in names]

    def changes(spectra: Waves) -> list[Waves]:
        return [-1j * phase * spectra for phase in phases]

    found = information(problem, state, chosen, changes, pool)
    share = len(problem.frames) / len(chosen)
    fisher = found.fisher.sum(axis=0)
    inverse = np.linalg.pinv(fisher, hermitian=True)
    step = inverse @ found.score.sum(axis=0)
    aberrations = state.aberrations
    for (name, part), value in zip(names, step, strict=True):
        aberrations = added(aberrations, name, part, float(value))
    return replace(state, aberrations=aberrations), np.sqrt(np.diag(inverse) / share)


def _unit_phase(problem: Problem, name: str, part: str) -> npt.NDArray[np.float32]:
    box, one = problem.grid.box, added(Aberrations(), name, part, 1.0)
    kx, ky = box.frequencies(1)[None], box.frequencies(0)[:, None]
    chi = aberration_phase(kx, ky, aberrations=one, energy=box.energy)
    return np.asarray(chi, dtype=np.float32)


def added(aberrations: Aberrations, name: str, part: str, value: float) -> Aberrations:
    """Add ``value cos(m phi)`` or ``value sin(m phi)`` (Å) to an aberration."""
    symmetry = int(name[2])
    coefficient = getattr(aberrations, name)
    if not symmetry:
        return aberrations.model_copy(update={name: coefficient + value})
    azimuth = f"phi{name[1:]}"
    angle = symmetry * getattr(aberrations, azimuth)
    vector = coefficient * np.exp(1j * angle) + value * (1 if part == "cos" else 1j)
    return aberrations.model_copy(
        update={name: float(abs(vector)), azimuth: float(np.angle(vector) / symmetry)}
    )


def spread_frames(count: int, wanted: int) -> Indices:
    """Return raster indices of so many frames, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))
