"""Where images of a tilt series lie, compared with the truth: what no tilt series tells taken out.

The specimen moved by (a, c, b) along (x, y, z) moves the images by ``(a cos t + b sin t, c)``; a
larger specimen seen at a smaller scale looks the same; and a constant shift along x or a constant
rotation is the axis offset or tilt by another name.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]

VARIABLES = ("shift_x", "shift_y", "rotation", "scale", "axis_offset", "axis_tilt")


class SpecimenMotion(NamedTuple):
    """How the specimen of the estimate lies against the true one: at ``scale X + (x, y, z)``."""

    x: float
    y: float
    z: float
    """Å."""
    scale: float


def tilt_gauge(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Return the estimate with what no tilt series tells taken from the truth.

    Parameters
    ----------
    estimate, truth : xarray.Dataset
        ``shift_x``, ``shift_y`` (Å), ``rotation`` (°), ``scale`` along tilt and, where there is
        one, energy; ``axis_offset`` (Å), ``axis_tilt`` (°).

    Returns
    -------
    xarray.Dataset
        With the errors that `standard_gauge` of both differ by; all else as in the estimate.
    """
    ours, theirs = standard_gauge(estimate), standard_gauge(truth)
    changed = {
        name: (truth[name] + ours[name] - theirs[name]).assign_attrs(estimate[name].attrs)
        for name in VARIABLES
        if name in estimate
    }
    return estimate.assign(changed)


def standard_gauge(placement: xr.Dataset) -> xr.Dataset:
    """Return the same images, described so that nothing is free.

    ``shift_x`` has no part along 1, ``cos t`` and ``sin t``; ``shift_y``, ``rotation`` and the
    logarithm of ``scale`` have mean zero.
    """
    whole, linear = _whole(placement)
    tilt = float(whole.angle.mean())
    free = _free(linear, placement)
    along = _turn(whole.angle - tilt)[..., 0] * whole.scale[..., None]
    design = np.concatenate([free, along[..., None]], axis=-1)
    found = np.linalg.lstsq(design.reshape(-1, 4), whole.shift.ravel(), rcond=None)[0]
    shift = whole.shift - design @ found
    mean = np.exp(np.log(whole.scale).mean())
    values = {
        "shift_x": shift[..., 0],
        "shift_y": shift[..., 1],
        "rotation": np.rad2deg(whole.angle - tilt),
        "scale": whole.scale / mean,
    }
    over = placement["shift_x"].dims
    changed = {
        name: xr.DataArray(np.moveaxis(value, (0, 1), (0, 1)), dims=("energy", "tilt"))
        for name, value in values.items()
    }
    result = placement.assign(
        {
            name: (one if "energy" in over else one.isel(energy=0)).assign_attrs(
                placement[name].attrs
            )
            for name, one in changed.items()
        }
    )
    return result.assign(
        axis_offset=((), float(found[3] * mean), {"units": "Å"}),
        axis_tilt=((), float(np.rad2deg(tilt)), {"units": "°"}),
    )


def specimen_motion(estimate: xr.Dataset, truth: xr.Dataset) -> SpecimenMotion:
    """Return where a volume from images aligned by the estimate lies against the true specimen.

    With images warped back by the estimate, the true specimen appears moved and scaled by what is
    free: a point X of the truth is found at ``scale X + (x, y, z)``.
    """
    ours, linear = _whole(estimate)
    theirs, _ = _whole(truth)
    free = _free(linear, estimate)
    along = linear[..., :, :1]
    design = np.concatenate([free, along], axis=-1).reshape(-1, 4)
    # Seen at the same place: own (X') + own shift = true (X) + true shift.
    x, z, y, _ = np.linalg.lstsq(design, (theirs.shift - ours.shift).ravel(), rcond=None)[0]
    scale = np.exp((np.log(theirs.scale) - np.log(ours.scale)).mean())
    return SpecimenMotion(float(x), float(y), float(z), float(scale))


class _Whole(NamedTuple):
    shift: Array
    """(energy, tilt, 2), Å, the axis's offset with it."""
    angle: Array
    """(energy, tilt), rad, the axis's tilt with it."""
    scale: Array


def _whole(placement: xr.Dataset) -> tuple[_Whole, Array]:
    def each(name: str) -> Array:
        values = placement[name]
        return np.asarray(
            values.transpose("energy", "tilt").values
            if "energy" in values.dims
            else values.values[None],
            dtype=float,
        )

    own, scale = np.deg2rad(each("rotation")), each("scale")
    tilt = float(np.deg2rad(placement["axis_tilt"]))
    offset = float(placement["axis_offset"])
    shift = np.stack([each("shift_x"), each("shift_y")], axis=-1)
    shift = shift + offset * scale[..., None] * _turn(own)[..., 0]
    whole = _Whole(shift=shift, angle=own + tilt, scale=scale)
    return whole, scale[..., None, None] * _turn(own + tilt)


def _turn(angle: Array) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.moveaxis(np.array([[c, -s], [s, c]]), (0, 1), (-2, -1))


def _free(linear: Array, placement: xr.Dataset) -> Array:
    """Return how images move with the specimen along x, z and y, (energy, tilt, 2, 3)."""
    t = np.deg2rad(np.asarray(placement["tilt"].values, dtype=float))
    moved = np.zeros((len(t), 2, 3))
    moved[:, 0, 0], moved[:, 0, 1], moved[:, 1, 2] = np.cos(t), np.sin(t), 1
    return np.asarray(linear @ moved)
