"""What a tilt series leaves free, and how it is fixed; total motion and its parts.

Moving the specimen by (a, c, b) along (x, y, z) moves the images by ``(a cos t + b sin t, c)``, and
a specimen twice as large seen at half the scale looks the same. So shifts along x are free of
``cos t`` and ``sin t``, those along y have mean zero, scales the geometric mean one. A constant
shift along x is the axis offset and a rotation in common the axis tilt: ``shift_x`` and
``rotation`` are free of constants.
"""

import numpy as np
import numpy.typing as npt

from echolith.inverse.tilt_alignment_motion import Motion

Array = npt.NDArray[np.float64]


def specimen_motion(radians: Array, energies: int) -> Array:
    """Return how images move with the specimen, (images, x y, a b c)."""
    t = np.tile(radians, energies)
    free = np.zeros((len(t), 2, 3))
    free[:, 0, 0], free[:, 0, 1], free[:, 1, 2] = np.cos(t), np.sin(t), 1
    return free


def centred_motion(motion: Motion, radians: Array, energies: int) -> Motion:
    """Return the motion with what is free taken out, of all energies together.

    Parameters
    ----------
    motion : Motion
    radians : array, (tilts,)
    energies : int
    """
    free = np.einsum("nij,njk->nik", motion.linear, specimen_motion(radians, energies))
    along = np.zeros((len(free), 2, 1))
    along[:, 0] = motion.linear[:, 0, :1]
    along[:, 1] = motion.linear[:, 1, :1]
    design = np.concatenate([free, along], axis=2).reshape(-1, 4)
    found = np.linalg.lstsq(design, motion.shift.ravel(), rcond=None)[0]
    shift = motion.shift - free @ found[:3]
    return Motion(shift=shift, angle=motion.angle, growth=motion.growth - motion.growth.mean())


def held(
    motion: Motion, before: Motion, radians: Array, energies: int, *, axis: bool = False
) -> Motion:
    """Take out of a change what is free in each energy by itself, which nothing else holds.

    Parameters
    ----------
    motion, before : Motion
        After and before the change.
    radians : array, (tilts,)
    energies : int
    axis : bool
        Whether what is turned alike is held too.
    """
    tilts = len(radians)
    angle = motion.angle.copy()
    free = np.einsum("nij,njk->nik", before.linear, specimen_motion(radians, energies))
    design = np.concatenate([free, before.linear[:, :, :1]], axis=2)
    shift, growth = motion.shift.copy(), motion.growth.copy()
    for part in (slice(e * tilts, (e + 1) * tilts) for e in range(energies)):
        change = (motion.shift - before.shift)[part].ravel()
        found = np.linalg.lstsq(design[part].reshape(-1, 4), change, rcond=None)[0]
        shift[part] -= free[part] @ found[:3]
        growth[part] -= (motion.growth - before.growth)[part].mean()
        angle[part] -= axis * (motion.angle - before.angle)[part].mean()
    return Motion(shift=shift, angle=angle, growth=growth)


def split_motion(motion: Motion, radians: Array, energies: int) -> tuple[Motion, float, float]:
    """Return the motion of each image without that of the axis, the axis offset and tilt.

    Parameters
    ----------
    motion : Motion
        Centred.
    radians : array, (tilts,)
    energies : int

    Returns
    -------
    jitter : Motion
        Rotations of mean zero; shifts without constant along x.
    offset : float
        Pixels.
    tilt : float
        rad.
    """
    tilt = float(motion.angle.mean())
    own = Motion(shift=motion.shift, angle=motion.angle - tilt, growth=motion.growth)
    along = own.linear[:, :, 0]
    free = np.einsum("nij,njk->nik", motion.linear, specimen_motion(radians, energies))
    design = np.concatenate([along[:, :, None], free], axis=2).reshape(-1, 4)
    found = np.linalg.lstsq(design, motion.shift.ravel(), rcond=None)[0]
    left = own.shift - (design @ found).reshape(-1, 2)
    return Motion(shift=left, angle=own.angle, growth=own.growth), float(found[0]), tilt


def smooth_size(change: Motion, radians: Array, energies: int) -> Array:
    """Return how large a change is in what varies smoothly with the tilt, per function and image.

    Smooth are the trigonometric functions up to ``2 t``; what is free is taken out.

    Parameters
    ----------
    change : Motion
        A small one.
    radians : array, (tilts,)
    energies : int

    Returns
    -------
    array, (4,)
        Root mean square over the functions, the tilts and the energies of the shift along x and y,
        the rotation and the growth.
    """
    one, waves = np.ones_like(radians), [np.ones_like(radians)]
    for k in (1, 2):
        waves += [np.cos(k * radians), np.sin(k * radians)]
    free: tuple[list[Array], ...] = ([np.cos(radians), np.sin(radians)], [one], [], [one])
    sizes = np.zeros(4)
    for k, without in enumerate(free):
        known = np.linalg.qr(np.array(without).reshape(-1, len(one)).T)[0]
        basis = np.column_stack(waves) - known @ (known.T @ np.column_stack(waves))
        own, size, _ = np.linalg.svd(basis, full_matrices=False)
        own = own[:, size > 1e-6]
        shares = change.values[:, k].reshape(energies, -1) @ own
        sizes[k] = np.sqrt((shares**2).mean() / len(radians))
    return sizes
