"""What is reconstructed from: optical densities, their noise, and the tilts, checked."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.tilts import Tilts
from echolith.inverse.tomography_checks import warn_of_border, warn_of_gaps

Array = npt.NDArray[np.float32]

DIMS = ("tilt", "y", "x")


@dataclass(frozen=True, kw_only=True)
class Projections:
    """Projections of one energy, (tilt, y, x)."""

    density: Array
    """Optical density."""
    std: Array | None
    """Its standard deviation from counting; None where unknown."""
    tilts: Tilts
    shift_x: npt.NDArray[np.float64]
    """Of each image, Å."""


def read_projections(measurement: xr.Dataset) -> Projections:
    """Check projections and turn counts into optical densities.

    Parameters
    ----------
    measurement : xarray.Dataset
        Dimensions tilt, y, x with coordinates ``tilt`` (degree), ``x``, ``y`` (Å). Either
        ``optical_density``, where known with ``optical_density_std``; or ``counts`` and
        ``incident``, the counts expected without specimen. Optional ``shift_x`` (tilt) and
        ``axis_offset``, Å.

    Returns
    -------
    Projections

    Raises
    ------
    BadInputError
        If something is missing, NaN, negative or implausible.
    """
    _check_layout(measurement)
    if "optical_density" in measurement:
        density = _values(measurement, "optical_density")
        std = _std(measurement)
    else:
        density, std = _from_counts(measurement)
    tilts = _tilts(measurement)
    warn_of_gaps(tilts)
    warn_of_border(density)
    return Projections(
        density=density, std=std, tilts=tilts, shift_x=_shift(measurement, len(tilts.angles))
    )


def _std(measurement: xr.Dataset) -> Array | None:
    if "optical_density_std" not in measurement:
        return None
    std = _values(measurement, "optical_density_std")
    if std.min() <= 0:
        raise BadInputError(
            f"optical_density_std goes down to {std.min():g}; expected more than 0 everywhere; "
            "leave it out where the noise is unknown"
        )
    return std


def _shift(measurement: xr.Dataset, tilts: int) -> npt.NDArray[np.float64]:
    for name, nothing in (("shift_y", 0.0), ("rotation", 0.0), ("scale", 1.0), ("axis_tilt", 0.0)):
        if name in measurement and not np.allclose(measurement[name], nothing):
            raise BadInputError(
                f"{name} differs from {nothing:g}, which mixes the rows of projections; expected "
                "rows across the tilt axis; warp the images first (see tilt alignment) and leave "
                f"{name} out"
            )
    if "shift_x" not in measurement:
        return np.zeros(tilts)
    return np.asarray(measurement["shift_x"].values, dtype=float)


def _check_layout(measurement: xr.Dataset) -> None:
    if "optical_density" not in measurement and not {"counts", "incident"} <= set(measurement):
        raise BadInputError(
            f"projections hold {', '.join(map(str, measurement.data_vars)) or 'nothing'}; expected "
            "'optical_density', or 'counts' with 'incident' (counts without specimen)"
        )
    name = "optical_density" if "optical_density" in measurement else "counts"
    if set(measurement[name].dims) != set(DIMS):
        raise BadInputError(
            f"{name} has dimensions {measurement[name].dims}; expected {DIMS}; select one energy "
            "where there are several"
        )
    lacking = [axis for axis in DIMS if axis not in measurement.coords]
    if lacking:
        raise BadInputError(
            f"projections lack the coordinates {', '.join(lacking)}; expected tilt in degrees, "
            "y and x in Å"
        )


def _values(measurement: xr.Dataset, name: str) -> Array:
    values = measurement[name].transpose(*DIMS).values
    bad = ~np.isfinite(values)
    if bad.any():
        tilt, y, x = (int(i) for i in np.argwhere(bad)[0])
        raise BadInputError(
            f"{name} holds {bad.sum()} NaN or infinite values, the first at tilt "
            f"{float(measurement['tilt'][tilt]):g}°, row {y}, column {x}; mask or leave out these "
            "projections"
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _from_counts(measurement: xr.Dataset) -> tuple[Array, Array]:
    """``-log((n + 1/2) / I)``; the 1/2 takes off the bias of the logarithm of drawn counts.

    Means of counts, which are no whole numbers, have no such bias.
    """
    counts = _values(measurement, "counts")
    _check_saturation(measurement, counts)
    if (counts < 0).any():
        raise BadInputError(
            f"counts go down to {counts.min():g}; expected 0 or more; subtract no more than the "
            "dark level"
        )
    everywhere = measurement["incident"].broadcast_like(measurement["counts"])
    incident = everywhere.transpose(*DIMS).values
    if not (np.isfinite(incident).all() and (incident > 0).all()):
        raise BadInputError(
            f"incident counts go down to {np.nanmin(incident):g} per pixel; expected more than 0"
        )
    drawn = bool((counts == np.rint(counts)).all())
    if not drawn and counts.min() == 0:
        raise BadInputError("means of counts go down to 0, where the optical density is infinite")
    half = np.float32(0.5 if drawn else 0)
    density = np.log(incident / (counts + half)).astype(np.float32)
    return density, 1 / np.sqrt(counts + half)


def _check_saturation(measurement: xr.Dataset, counts: Array) -> None:
    level = measurement.attrs.get("saturation", measurement["counts"].attrs.get("saturation"))
    if level is None:
        return
    full = (counts >= level).any(axis=(1, 2))
    if full.any():
        angles = ", ".join(f"{angle:g}°" for angle in measurement["tilt"].values[full][:5])
        raise BadInputError(
            f"{full.sum()} projections hold saturated pixels ({level:g} counts or more), those of "
            f"tilts {angles}{' ...' if full.sum() > 5 else ''}; leave them out with drop_sel(tilt=)"
        )


def _tilts(measurement: xr.Dataset) -> Tilts:
    steps = np.concatenate([np.diff(measurement[axis].values) for axis in "yx"])
    if not len(steps) or steps.min() <= 0 or np.ptp(steps) > 1e-3 * steps.max():
        raise BadInputError(
            "the coordinates y and x are not even, ascending and of one step in Å; "
            "expected square pixels"
        )
    try:
        return Tilts(
            angles=tuple(float(angle) for angle in measurement["tilt"].values),
            voxel_size=float(steps.mean()),
            axis_offset=float(measurement.get("axis_offset", 0.0)),
        )
    except ValidationError as error:
        raise BadInputError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from error
