"""The tilt of the axis: how far all images are turned alike.

The volume follows a common rotation almost wholly: a tenth of the information is left, and what a
volume does not model counts tenfold. So the volume is made anew for turned images, and Gauss-Newton
takes the change of the residual, the volume's answer included (variable projection): it is blind to
all that the volume could have followed.

References
----------
Golub, Pereyra, SIAM J. Numer. Anal. 10 (1973) 413.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tilt_alignment_volume import Level

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

TRIAL = 5e-3
"""rad."""


class AxisTurn(NamedTuple):
    """A rotation of all images of an energy."""

    angle: Floats
    """(energies,), rad: what is missing."""
    information: Floats
    """(energies,), 1/rad²."""


def axis_turn(level: Level, motion: Motion) -> AxisTurn:
    """Return by how much the images of every energy are to be turned about the middle.

    Parameters
    ----------
    level : Level
    motion : Motion
        Where they are thought to lie.
    """
    images = level.aligned(motion)
    models = level.reprojected(level.volumes(images))
    change = TRIAL * turning(models)
    answer = level.reprojected(level.volumes(images + change))
    slope = (change - (answer - models)) / np.float32(TRIAL)
    weight = np.exp(-models) / level.variance[:, None, None].astype(np.float32)
    parts = (level.energies, -1)
    information, right = (
        (slope * weight * other).reshape(parts).sum(axis=1, dtype=np.float64)
        for other in (slope, images - models)
    )
    return AxisTurn(angle=-right / information, information=information)


def turning(models: Array) -> Array:
    """Return the change of images that are read turned, per rad."""
    down, along = np.gradient(models, axis=(1, 2))
    y, x = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in models.shape[1:])
    return np.asarray(x * down - y[:, None] * along, dtype=np.float32)


def turned_together(motion: Motion, angle: Floats) -> Motion:
    """Return the motion with all images of every energy turned about their middles, (energies,)."""
    step = np.zeros((len(motion.angle), 4))
    step[:, 2] = np.repeat(angle, len(motion.angle) // len(angle))
    return motion.followed(step)
