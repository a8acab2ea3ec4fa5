"""How uncertain an alignment is: counting noise, enlarged by what the volume follows.

With known volume, the covariance of a motion is the inverse of its information. The volume is not
known and follows its images, which leaves a part of the information only. That part is measured:
images are moved by small amounts of random signs, the volume is made anew, and the slopes that come
back are compared with those of a volume that does not follow. Likewise with all images moved alike,
for the axis.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echolith.inverse.tilt_alignment_iterations import Comparison, compared
from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tilt_alignment_volume import Level
from echolith.seeds import stream

Floats = npt.NDArray[np.float64]

PROBE = 0.5
"""Size of the probing motions, in standard deviations but at least `LEAST_PROBE` pixels."""
LEAST_PROBE = 0.05
LEAST_LEFT = 0.02
"""Share of the information below which the rest is noise of the probing."""


class MotionStd(NamedTuple):
    """Standard deviations, in pixels, radians and parts of 1."""

    images: Floats
    """(images, 4): shift x, shift y, angle, growth."""
    offset: float
    """Of the axis, along x."""
    tilt: float
    """Of the axis."""


def motion_std(level: Level, motion: Motion, found: Comparison, *, turned: bool) -> MotionStd:
    """Return the standard deviations at the end of the iterations.

    Parameters
    ----------
    level : Level
    motion : Motion
    found : Comparison
        At this motion.
    turned : bool
        Whether images turn and grow by themselves.
    """
    count = 4 if turned else 2
    known = np.linalg.inv(found.information[:, :count, :count])
    alone = np.sqrt(np.einsum("nii->ni", known))
    units = np.array([1, 1, 1 / level.reach, 1 / level.reach])
    signs = stream(0, "probing the alignment").choice([-1.0, 1.0], (len(alone), 4))
    signs[:, count:] = 0
    size = np.maximum(PROBE * alone.mean(axis=0), LEAST_PROBE * units[:count])
    probe = signs * np.append(size, np.zeros(4 - count))
    left = _left(level, motion, found, probe)
    # Terms of the other freedoms cancel over the images.
    returned = (left * probe)[:, :count].sum(axis=0)
    full = np.einsum("nii->ni", found.information)[:, :count] * probe[:, :count] ** 2
    share = np.clip(returned / full.sum(axis=0), LEAST_LEFT, 1)
    images = np.zeros((len(alone), 4))
    images[:, :count] = alone / np.sqrt(share)
    axis = [_common(level, motion, found, k, LEAST_PROBE * units[k]) for k in (0, 2)]
    return MotionStd(images=images, offset=axis[0], tilt=axis[1])


def _left(level: Level, motion: Motion, found: Comparison, probe: Floats) -> Floats:
    """Return by how much the slopes answer to a motion of the images."""
    there = compared(level, motion.followed(probe))
    return np.asarray(found.slope - there.slope)


def _common(level: Level, motion: Motion, found: Comparison, freedom: int, size: float) -> float:
    """Standard deviation of a freedom that all images share."""
    probe = np.zeros((len(found.slope), 4))
    probe[:, freedom] = size
    left = float(_left(level, motion, found, probe)[:, freedom].sum()) / size
    full = float(found.information[:, freedom, freedom].sum())
    return float(1 / np.sqrt(max(left, LEAST_LEFT**2 * full)))
