"""Reconstruct, project again, compare, move, until nothing moves.

The volume holds part of every image's displacement, so that each step is too short, and far too
short for what all images have in common, such as a tilted axis. Steps are therefore extrapolated
from the latest ones (Anderson acceleration), which needs every volume to be made anew from nothing.

References
----------
Walker, Ni, SIAM J. Numer. Anal. 49 (2011) 1715 (Anderson acceleration).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echolith.inverse.tilt_alignment_fit import normal_equations
from echolith.inverse.tilt_alignment_gauge import held, specimen_motion
from echolith.inverse.tilt_alignment_link import volume_link
from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tilt_alignment_volume import Level

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

MEMORY = 8
"""Steps that are extrapolated from."""


class Comparison(NamedTuple):
    """Images against their reprojections, per image, in pixels of the detector."""

    information: Floats
    """(images, 4, 4)."""
    slope: Floats
    """(images, 4)."""
    volumes: Array
    """(energy, z, y, x)."""
    misfit: float
    """Mean square of the residual in units of the noise."""


class Course(NamedTuple):
    """Where the images lie after some iterations."""

    motion: Motion
    comparison: Comparison
    """At the motion before the last step."""
    iterations: int
    change: float
    """Root mean square of the last step along x and y, pixels."""


def compared(level: Level, motion: Motion) -> Comparison:
    """Reconstruct the images where they lie now and compare them with what that predicts."""
    images = level.aligned(motion)
    volumes = level.volumes(images)
    models = level.reprojected(volumes)
    information, slope = normal_equations(images, models, level.variance)
    pixel = np.array([level.width, level.width, 1, 1])
    left = ((images - models) ** 2 * np.exp(-models)).mean(axis=(1, 2))
    return Comparison(
        information=information / pixel[:, None] / pixel,
        slope=slope / pixel,
        volumes=volumes,
        misfit=float((left / level.variance).mean()),
    )


def wanted(found: Comparison, *, turned: bool) -> Floats:
    """Return the step of every image, (images, 4); one common rotation unless ``turned``."""
    if turned:
        return np.asarray(np.linalg.solve(found.information, found.slope[..., None])[..., 0])
    step = np.zeros_like(found.slope)
    part = found.information[:, :2, :2]
    step[:, :2] = np.linalg.solve(part, found.slope[:, :2, None])[..., 0]
    step[:, 2] = found.slope[:, 2].sum() / found.information[:, 2, 2].sum()
    return step


def iterated(
    level: Level,
    motion: Motion,
    radians: Floats,
    *,
    most: int,
    tolerance: float,
    turned: bool,
    axis: bool,
) -> Course:
    """Move images until a step is below the tolerance (pixels), or for a number of iterations.

    With ``axis`` the rotation they have in common is held.
    """
    units = np.array([1, 1, level.reach, level.reach])
    places: list[Floats] = []
    steps: list[Floats] = []
    for _ in range(most):
        comparison = compared(level, motion)
        moved = motion.followed(wanted(comparison, turned=turned))
        moved = held(moved, motion, radians, level.energies, axis=axis)
        step = (moved.values - motion.values) * units
        places.append((motion.values * units).ravel())
        steps.append(step.ravel())
        change = float(np.sqrt((step[:, :2] ** 2).sum(axis=1).mean()))
        after = extrapolated(places[-MEMORY - 1 :], steps[-MEMORY - 1 :])
        after_all = Motion.of(after.reshape(-1, 4) / units)
        motion = held(after_all, motion, radians, level.energies, axis=axis)
        if change < tolerance:
            break
    return Course(motion=motion, comparison=comparison, iterations=len(steps), change=change)


def extrapolated(places: list[Floats], steps: list[Floats]) -> Floats:
    """Return where steps would vanish if they changed in proportion to the places."""
    place, step = places[-1], steps[-1]
    if len(places) == 1:
        return place + step
    moved, changed = (np.diff(np.array(rows), axis=0).T for rows in (places, steps))
    size = np.maximum(np.linalg.norm(changed, axis=0), 1e-30)
    moved, changed = moved / size, changed / size
    normal = changed.T @ changed + 1e-8 * np.eye(len(size))
    share = np.linalg.solve(normal, changed.T @ step)
    return np.asarray(place + step - (moved + changed) @ share)


def linked(
    motion: Motion, volumes: Array, radians: Floats, *, width: int, turned: bool
) -> tuple[Motion, Floats]:
    """Bring all energies into the frame of the first.

    Returns
    -------
    motion : Motion
    std : array, (energies, 4)
        Of each energy's place against the first, z, y, x (pixels), and scale.
    """
    energies, tilts = len(volumes), len(radians)
    step = np.zeros((energies, tilts, 4))
    std = np.zeros((energies, 4))
    free = specimen_motion(radians, 1)
    for e in range(1, energies):
        link = volume_link(volumes[0], volumes[e])
        z, y, x = link.shift * width
        step[e, :, :2] = free @ [x, z, y]
        step[e, :, 3] = link.growth if turned else 0
        std[e] = link.std * [width, width, width, turned]
    return motion.followed(step.reshape(-1, 4)), std
