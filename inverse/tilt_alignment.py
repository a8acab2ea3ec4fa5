"""Alignment of a tilt series by reprojection: where every image lies, and the tilt axis.

Volumes are reconstructed from the images where they are thought to lie and projected again; every
image is moved to where it agrees best with its reprojection (maximum likelihood), until nothing
moves: first with pixels averaged, then with the pixels as they are. Each energy is aligned with its
own volume, whose contrast is its own, and the volumes are laid on each other.

References
----------
Yu et al., Nat. Commun. 9 (2018) 921; Dengler, Ultramicroscopy 30 (1989) 337 (alignment by
reprojection); Parkinson et al., J. Comput. Assist. Tomogr. 36 (2012) 138 (of shifts).
"""

from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.tilt_alignment_axis import axis_turn, turned_together
from echolith.inverse.tilt_alignment_gauge import centred_motion, smooth_size, split_motion
from echolith.inverse.tilt_alignment_input import Series, centred, read_series
from echolith.inverse.tilt_alignment_iterations import (
    Comparison,
    Course,
    compared,
    iterated,
    linked,
)
from echolith.inverse.tilt_alignment_motion import FREEDOMS, Motion
from echolith.inverse.tilt_alignment_std import MotionStd, motion_std, with_link, with_systematic
from echolith.inverse.tilt_alignment_volume import Level, level
from echolith.inverse.tilt_alignment_warp import warped

Floats = npt.NDArray[np.float64]

UNITS = {"shift_x": "Å", "shift_y": "Å", "rotation": "°", "scale": "1"}
AXIS_UNITS = {"axis_offset": "Å", "axis_tilt": "°"}
SMALLEST = 16
"""Pixels along a side, below which no more are averaged."""
ROUNDS = 2
"""Of axis and images in turn."""
LARGEST = 128
"""Pixels along a side, above which the finest ones are averaged by default."""


class Freedom(Enum):
    """How an image may lie otherwise than it should."""

    SHIFT = "shift"
    SIMILARITY = "similarity"
    """Shifted, turned in its plane and scaled."""


class AlignmentOptions(Settings):
    """Options of `align_tilts`."""

    freedom: Freedom = Freedom.SIMILARITY
    finest: Annotated[int, Field(ge=1, le=16)] | None = None
    """Side of the squares of pixels that are averaged at the end; by default such that a field
    has 128 or fewer of them."""
    sweeps: Annotated[int, Field(ge=1, le=100)] = 12
    """Of OS-SART for each volume."""
    iterations: Annotated[int, Field(ge=1, le=200)] = 20
    """At most, at each pixel size."""
    tolerance: Annotated[float, Field(gt=0, le=1)] = 3e-4
    """Root mean square of the last step along x and y, in pixels, at which it ends."""


def align_tilts(
    measurement: xr.Dataset,
    *,
    options: AlignmentOptions | None = None,
    workers: int | None = None,
) -> xr.Dataset:
    """Find where the images of a tilt series lie.

    A point of the specimen is taken to be seen at ``scale R(rotation) [R(axis_tilt) (x', y') +
    (axis_offset, 0)] + (shift_x, shift_y)``, x' = x cos t + z sin t, R from x towards y.

    Parameters
    ----------
    measurement : xarray.Dataset
        Projections as for `echolith.inverse.tomography.reconstruct`; with a dimension ``energy``
        all energies are brought into one frame. Angles must be right, and of the right sign: no
        tilt series tells it (negated tilts fit the mirrored specimen as well).
    options : AlignmentOptions, optional
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    xarray.Dataset
        ``shift_x``, ``shift_y`` (Å), ``rotation`` (°), ``scale`` along (energy, tilt),
        ``axis_offset`` (Å) and ``axis_tilt`` (°), each with ``_std``; ``iterations`` (at all pixel
        sizes), ``change`` (Å, of the last step), ``misfit`` (mean squared residual over noise).
        ``attrs["converged"]``: 1 if the last step was within the tolerance. ``attrs["gauge"]`` says
        how what no tilt series tells is fixed: shifts along x hold no ``cos t``, ``sin t`` or
        constant, those along y, the rotations and the logarithms of scale have mean zero.

    Raises
    ------
    BadInputError
        If projections cannot be used, are empty, or are too few.
    """
    chosen = options or AlignmentOptions()
    series = read_series(measurement)
    turned = chosen.freedom is Freedom.SIMILARITY
    radians, energies = series.tilts.radians, len(series.density)
    motion = centred_motion(centred(series), radians, energies)
    done, change, link = 0, np.inf, np.zeros((energies, 4))
    coarser = motion
    sides = widths(series, chosen.finest)
    for width in sides:
        coarser = motion
        at = level(
            series.density,
            series.variance,
            series.tilts,
            width=width,
            sweeps=chosen.sweeps,
            workers=workers,
        )
        course, information = _settled(
            at,
            motion,
            radians,
            chosen,
            rounds=0 if width != sides[-1] and width == sides[0] else ROUNDS,
        )
        motion, link = linked(
            course.motion, course.comparison.volumes, radians, width=width, turned=turned
        )
        motion = centred_motion(motion, radians, energies)
        done, change = done + course.iterations, course.change
    last = compared(at, motion)
    std = motion_std(at, motion, last, information, turned=turned)
    std = with_link(std, link, radians)
    change_of = Motion.of(motion.values - coarser.values)
    std = with_systematic(std, smooth_size(change_of, radians, energies), energies)
    return _described(measurement, series, motion, std, last).assign(
        iterations=((), done, {"units": "1"}),
        change=((), change * series.tilts.voxel_size, {"units": "Å"}),
    ).assign_attrs(
        converged=int(change < chosen.tolerance),
        gauge="shift_x without 1, cos(tilt), sin(tilt); shift_y, rotation, log scale of mean 0",
    )  # fmt: skip


def _settled(
    at: Level, motion: Motion, radians: Floats, options: AlignmentOptions, *, rounds: int
) -> tuple[Course, Floats]:
    """Iterate at one pixel size, the axis in turn with the images; return its information too."""
    turned = options.freedom is Freedom.SIMILARITY
    move = partial(
        iterated,
        at,
        radians=radians,
        most=options.iterations,
        tolerance=options.tolerance,
        turned=turned,
    )
    course = move(motion=motion, axis=False)
    done, information = course.iterations, np.ones(at.energies)
    for _ in range(rounds):
        turn = axis_turn(at, course.motion)
        information, angle = turn.information, turn.angle
        if not turned:
            angle = np.full_like(angle, np.average(angle, weights=information))
        course = move(motion=turned_together(course.motion, angle), axis=True)
        done += course.iterations
    return course._replace(iterations=done), information


def widths(series: Series, finest: int | None) -> list[int]:
    """Return the sides of the squares that are averaged, the coarsest first."""
    side = min(series.density.shape[2:])
    last = finest or 1
    while finest is None and side / last > LARGEST:
        last *= 2
    found = [last]
    while len(found) < 3 and side / (2 * found[0]) >= SMALLEST:
        found.insert(0, 2 * found[0])
    return found


def aligned(
    measurement: xr.Dataset, alignment: xr.Dataset, *, workers: int | None = None
) -> xr.Dataset:
    """Warp raw projections, once, to where they should lie.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `align_tilts`.
    alignment : xarray.Dataset
        As from it; truth has the same names.
    workers : int, optional
        Threads.

    Returns
    -------
    xarray.Dataset
        ``optical_density`` and, where the noise is known, ``optical_density_std``, with the axis
        in the middle: ready for `echolith.inverse.tomography.reconstruct`. What was not measured
        is empty.
    """
    series = read_series(measurement)
    motion = motion_of(alignment, series)
    images = series.images
    where = {"affine": motion.affine(), "shape": images.shape[1:], "workers": workers}
    ordered = measurement["counts" if "counts" in measurement else "optical_density"]
    dims = tuple(dim for dim in ("energy", "tilt", "y", "x") if dim in ordered.dims)
    shape = tuple(ordered.sizes[dim] for dim in dims)
    density = warped(images, **where)  # type: ignore[arg-type]
    result = {"optical_density": (dims, density.reshape(shape), {"units": "1"})}
    if series.std is not None:
        level_of = np.sqrt(series.variance.ravel()).astype(np.float32)[:, None, None]
        # Beyond the border the noise is that without specimen.
        beyond = warped(series.std.reshape(images.shape) - level_of, **where)  # type: ignore[arg-type]
        std = np.maximum(beyond + level_of, 0.5 * level_of)
        result["optical_density_std"] = (dims, std.reshape(shape), {"units": "1"})
    kept = {name: measurement[name] for name in dims}
    return xr.Dataset(result, coords=kept, attrs=dict(measurement.attrs))


def motion_of(alignment: xr.Dataset, series: Series) -> Motion:
    """Return the whole motion of every image, the axis with it."""
    shape = series.density.shape[:2]

    def each(name: str, otherwise: float) -> Floats:
        if name not in alignment:
            return np.full(shape, otherwise).ravel()
        values = alignment[name]
        for dim, size in zip(("energy", "tilt"), shape, strict=True):
            if values.sizes.get(dim, size) != size:
                raise BadInputError(
                    f"{name} is given for {values.sizes[dim]} {dim}s, the projections have {size}; "
                    "expected the alignment of these projections; select the same of both"
                )
        order = [dim for dim in ("energy", "tilt") if dim in values.dims]
        return np.array(np.broadcast_to(values.transpose(*order).values, shape), float).ravel()

    own = np.deg2rad(each("rotation", 0.0))
    scale = each("scale", 1.0)
    offset = each("axis_offset", 0.0)
    shift = np.column_stack([each("shift_x", 0.0), each("shift_y", 0.0)])
    shift += (scale * offset)[:, None] * np.column_stack([np.cos(own), np.sin(own)])
    tilt = np.deg2rad(each("axis_tilt", 0.0))
    return Motion(shift=shift / series.tilts.voxel_size, angle=own + tilt, growth=np.log(scale))


def _described(
    measurement: xr.Dataset, series: Series, motion: Motion, std: MotionStd, last: Comparison
) -> xr.Dataset:
    size, (energies, tilts) = series.tilts.voxel_size, series.density.shape[:2]
    jitter, offset, tilt = split_motion(motion, series.tilts.radians, energies)
    over = ("energy", "tilt") if "energy" in measurement.dims else ("tilt",)
    shape = (energies, tilts) if "energy" in measurement.dims else (tilts,)
    scale = np.exp(jitter.growth)
    values = np.column_stack([jitter.shift * size, np.rad2deg(jitter.angle), scale])
    stds = std.images * np.array([size, size, np.rad2deg(1), 1])
    result = xr.Dataset(coords={name: measurement[name] for name in over})
    for k, name in enumerate(FREEDOMS):
        result[name] = (over, values[:, k].reshape(shape), {"units": UNITS[name]})
        result[f"{name}_std"] = (over, stds[:, k].reshape(shape), {"units": UNITS[name]})
    axis = {
        "axis_offset": offset * size,
        "axis_offset_std": std.offset * size,
        "axis_tilt": np.rad2deg(tilt),
        "axis_tilt_std": np.rad2deg(std.tilt),
    }
    for name, value in axis.items():
        unit = AXIS_UNITS[name.removesuffix("_std")]
        result[name] = ((), float(value), {"units": unit})
    return result.assign(misfit=((), last.misfit, {"units": "1"}))
