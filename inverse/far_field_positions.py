"""Scan positions corrected while the object is reconstructed, and how well they are known.

Each frame tells its displacement d by the likelihood of its amplitudes, object and probe held, with
a normal prior of standard deviation s about the recorded position:

    (4 H + 1 / s²) step = 4 G - d / s²,   H = sum J J,   G = sum J (sqrt(n) - A)

The derivatives J are those of a smoothed object, and what is left of its noise in H is taken out,
so that frames of empty specimen stay where they were recorded. What no frame tells: a shift of all
positions with the object (the mean of the corrections is kept at 0). A stretch or turn of the whole
scan is told only by what neighbours have in common, so it is found last; `affine_part` names it.
"""

from dataclasses import dataclass

import numpy as np

from echolith.inverse.far_field_kernels import displacement, illuminate, leave
from echolith.inverse.far_field_options import FarFieldSolver
from echolith.inverse.far_field_position_links import SMOOTH, joint_information, smooth_object
from echolith.inverse.far_field_state import Array, State, Transforms, illumination, windows

LONGEST = 0.5
"""Pixels of one step."""
EAGER = 1.5
"""Of a Gauss-Newton step: the object has followed the wrong positions and holds them back."""
FEIGNED = 10 / (4 * np.pi * SMOOTH**2)
"""Of the noise that N photons leave in a pixel: ten times its variance (2 to 40 were seen, more the
more background), less what the Gaussian takes away."""
REACH = 5
"""Standard deviations of the prior, beyond which no position goes."""


@dataclass(frozen=True, kw_only=True)
class Displacements:
    """What every frame tells of its displacement: pixels along y and x."""

    slope: Array
    """4 G, (positions, 2)."""
    curvature: Array
    """4 H, (positions, 2, 2)."""
    information: Array
    """The same without what noise feigns."""


def correct_positions(state: State, options: FarFieldSolver, iteration: int) -> None:
    """Move the positions of a state towards their frames, in place, if it is time.

    Parameters
    ----------
    state : State
    options : FarFieldSolver
        ``positions_after``, ``position_spread``.
    iteration : int
        Counted from 0.
    """
    if options.positions_after is None or iteration + 1 < options.positions_after:
        return
    spread = options.position_spread / state.pixel_size
    told, prior = displacements(state), np.eye(2) / spread**2
    moved = state.positions - state.recorded
    # Of a slope as much is believed as of the curvature is information.
    believed = told.information @ np.linalg.pinv(told.curvature, hermitian=True)
    pull = (believed @ told.slope[:, :, None])[:, :, 0] - moved / spread**2
    step = EAGER * np.linalg.solve(told.curvature + prior, pull[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    change = moved + step * np.minimum(1, LONGEST / np.maximum(length, 1e-12))
    change = np.clip(change - change.mean(axis=0), -REACH * spread, REACH * spread)
    state.positions = state.recorded + change
    state.corners, state.ramps = windows(state.positions, state.size)


def position_std(state: State, options: FarFieldSolver) -> Array:
    """Return the standard deviation of every position from the mean of all, (positions, 2), pixels.

    From counting alone, at the end of the correction: what is not corrected yet comes on top.

    Parameters
    ----------
    state : State
    options : FarFieldSolver
        ``position_spread``, the prior.
    """
    count = len(state.counts)
    spread = options.position_spread / state.pixel_size
    joint = joint_information(state, displacements(state).information)
    free = np.kron(np.eye(2), np.eye(count) - 1 / count)
    covariance = free @ np.linalg.inv(joint + np.eye(2 * count) / spread**2) @ free
    return np.asarray(np.sqrt(np.diag(covariance)).reshape(2, count).T)


def displacements(state: State) -> Displacements:
    """Return what every frame tells of its displacement, object and probe held."""
    works = [Transforms(state.size) for _ in range(3)]
    probes = [np.empty_like(work.wave) for work in works]
    scale = np.float32(1 / state.size**2)
    ramp = (-2j * np.pi * np.fft.fftfreq(state.size)).astype(np.complex64)
    doubt = FEIGNED / np.maximum(illumination(state), 1e-6 * state.photons)
    objects = [state.transmission, *2 * [smooth_object(state)]]
    detector = (state.background, state.reaching, state.offset, scale)
    sums, feigned = np.zeros((len(state.counts), 5)), np.zeros((len(state.counts), 2, 2))
    for index, (top, left) in enumerate(state.corners):
        along_y, along_x = state.ramps[index]
        ramps = [(along_y, along_x), (along_y * ramp, along_x), (along_y, along_x * ramp)]
        for work, probe, wave, (first, second) in zip(works, probes, objects, ramps, strict=True):
            illuminate(state.spectrum, first, second, scale, work.wave)
            work.back()
            probe[...] = work.wave
            leave(probe, wave, int(top), int(left), work.wave)
            work.forward()
        here, along_y, along_x = (work.wave for work in works)
        displacement(here, along_y, along_x, state.counts[index], *detector, sums[index])
        window = doubt[top : top + state.size, left : left + state.size]
        slopes = np.stack([probe.ravel() for probe in probes[1:]])
        # Noise of the object has the variance 1 / photons, half of it along the wave's amplitude.
        feigned[index] = 2 * ((slopes * window.ravel()) @ slopes.conj().T).real
    curvature = 4 * sums[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    values, axes = np.linalg.eigh(curvature - feigned)
    information = (axes * np.maximum(values, 0)[:, None]) @ axes.transpose(0, 2, 1)
    return Displacements(slope=4 * sums[:, 3:], curvature=curvature, information=information)


def affine_part(error: Array, positions: Array) -> Array:
    """Return the shift, stretch, shear and turn in errors of positions, (positions, 2).

    Parameters
    ----------
    error, positions : array (positions, 2)
        Å.
    """
    design = np.column_stack([np.ones(len(positions)), positions - positions.mean(axis=0)])
    return np.asarray(design @ np.linalg.lstsq(design, error, rcond=None)[0])
