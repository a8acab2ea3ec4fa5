"""How uncertain an alignment is: counting noise, enlarged by what the volume follows.

With known volume, the covariance of a motion is the inverse of its information. The volume is not
known and follows its images, which leaves a part of the information only. That part is measured:
images are moved by small amounts of random signs, the volume is made anew, and the slopes that come
back are compared with those of a volume that does not follow. Likewise with all images moved alike,
for the axis.

Voxels are no specimen: faces inside them, and the interpolation between them, turn and move images
a little, most of all smoothly with the tilt, where the volume holds least. That is judged by how
much the smooth part changed when pixels were last halved, for it shrinks with them.
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


UNMODELLED = float(np.deg2rad(0.05))
"""What voxels do to the axis tilt, rad; measured on six specimens of 10 to 40 plates."""


class MotionStd(NamedTuple):
    """Standard deviations, in pixels, radians and parts of 1."""

    images: Floats
    """(images, 4): shift x, shift y, angle, growth."""
    offset: float
    """Of the axis, along x."""
    tilt: float
    """Of the axis."""


def motion_std(
    level: Level, motion: Motion, found: Comparison, axis: Floats, *, turned: bool
) -> MotionStd:
    """Return the standard deviations at the end of the iterations.

    Parameters
    ----------
    level : Level
    motion : Motion
    found : Comparison
        At this motion.
    axis : array, (energies,)
        Information on the common rotation, 1/rad².
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
    offset = _common(level, motion, found, 0, LEAST_PROBE)
    tilt = float(np.sqrt((1 / axis).sum()) / len(axis))
    return MotionStd(images=images, offset=offset, tilt=tilt)


def with_systematic(std: MotionStd, smooth: Floats, energies: int) -> MotionStd:
    """Add what smooth motions may be wrong by for want of finer pixels.

    Parameters
    ----------
    std : MotionStd
    smooth : array, (4,)
        Root mean square of one smooth function's change, see `smooth_size`.
    energies : int
    """
    functions = np.array([3, 4, 5, 4])
    own = smooth * (std.images > 0).any(axis=0)
    return MotionStd(
        images=np.sqrt(std.images**2 + functions * own**2),
        offset=float(np.hypot(std.offset, smooth[0] / np.sqrt(energies))),
        tilt=float(np.linalg.norm([std.tilt, smooth[2] / np.sqrt(energies), UNMODELLED])),
    )


def with_link(std: MotionStd, link: Floats, radians: Floats) -> MotionStd:
    """Add how uncertain it is where energies lie to each other, shared among them.

    Parameters
    ----------
    std : MotionStd
    link : array, (energies, 4)
        Of z, y, x in pixels, and of the scale.
    radians : array, (tilts,)
    """
    t = np.tile(radians, len(link))
    z, y, x, scale = (link**2).sum(axis=0) / len(link) ** 2
    along = x * np.cos(t) ** 2 + z * np.sin(t) ** 2
    added = np.column_stack([along, np.full_like(t, y), np.zeros_like(t), np.full_like(t, scale)])
    return std._replace(images=np.sqrt(std.images**2 + added))


def _left(level: Level, motion: Motion, found: Comparison, probe: Floats) -> Floats:
    """Return by how much the slopes answer to a motion of the images."""
    there = compared(level, motion.followed(probe))
    return np.asarray(found.slope - there.slope)


def _common(level: Level, motion: Motion, found: Comparison, freedom: int, size: float) -> float:
    """Return the standard deviation of a freedom that all images share."""
    probe = np.zeros((len(found.slope), 4))
    probe[:, freedom] = size
    left = float(_left(level, motion, found, probe)[:, freedom].sum()) / size
    full = float(found.information[:, freedom, freedom].sum())
    return float(1 / np.sqrt(max(left, LEAST_LEFT**2 * full)))
