"""What is reconstructed from: optical densities, their noise, and the tilts, checked."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.tilts import Tilts

Array = npt.NDArray[np.float32]

DIMS = ("tilt", "y", "x")


@dataclass(frozen=True, kw_only=True)
class Projections:
    """Projections of one energy, (tilt, y, x)."""

    density: Array
    """Optical density."""
    std: Array
    """Its standard deviation from counting; NaN where unknown."""
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
        known = "optical_density_std" in measurement
        std = (
            _values(measurement, "optical_density_std") if known else np.full_like(density, np.nan)
        )
    else:
        density, std = _from_counts(measurement)
    shift = np.zeros(density.shape[0])
    if "shift_x" in measurement:
        shift = np.asarray(measurement["shift_x"].values, dtype=float) + shift
    return Projections(density=density, std=std, tilts=_tilts(measurement), shift_x=shift)


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
    """``-log((n + 1/2) / I)``, of which the 1/2 takes the bias of the logarithm off."""
    counts = _values(measurement, "counts")
    if (counts < 0).any():
        raise BadInputError(
            f"counts go down to {counts.min():g}; expected 0 or more; subtract no more than the "
            "dark level"
        )
    incident = measurement["incident"].broadcast_like(measurement["counts"])
    incident = incident.transpose(*DIMS).values
    if not (np.isfinite(incident).all() and (incident > 0).all()):
        raise BadInputError(
            f"incident counts go down to {np.nanmin(incident):g} per pixel; expected more than 0"
        )
    density = np.log(incident / (counts + 0.5)).astype(np.float32)
    return density, 1 / np.sqrt(counts + np.float32(0.5))


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
