"""Where each projection of a tilt series lies on the detector: jitter, and the tilt axis."""

from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.phosphate_paths import View
from echolith.forward.tilts import Tilts
from echolith.seeds import stream
from echolith.units import Angstrom, Degree

UNITS = {
    "shift_x": "Å",
    "shift_y": "Å",
    "rotation": "°",
    "scale": "1",
    "axis_offset": "Å",
    "axis_tilt": "°",
}


class TiltJitter(Settings):
    """How far projections are from where they should be; uniform within plus or minus each."""

    shift: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Along x and along y."""
    rotation: Annotated[Degree, Field(ge=0, le=45)] = 0.0
    """In the plane of the detector."""
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of the magnification, part of it."""
    axis_offset: Angstrom = 0.0
    """Where the tilt axis is seen along x; the same in every projection."""
    axis_tilt: Annotated[Degree, Field(ge=-45, le=45)] = 0.0
    """Of the tilt axis against y, in the plane of the detector, from x towards y."""
    each_energy: bool = True
    """Whether each energy has a jitter of its own; else they share one."""


def tilt_placement(
    tilts: Tilts,
    jitter: TiltJitter = TiltJitter(),  # noqa: B008
    *,
    energies: tuple[float, ...],
    seed: int = 0,
) -> xr.Dataset:
    """Draw the placement of every projection.

    Parameters
    ----------
    tilts : Tilts
    jitter : TiltJitter
    energies : tuple of float
        eV.
    seed : int
        A projection depends on it and on its index in the series, not on the length of the series.

    Returns
    -------
    xarray.Dataset
        ``shift_x``, ``shift_y`` (Å), ``rotation`` (°), ``scale`` along (energy, tilt);
        ``axis_offset`` (Å) and ``axis_tilt`` (°). What they mean: `View`.
    """
    draws = np.array(
        [
            [
                stream(seed, "tilt jitter", e if jitter.each_energy else 0, t).uniform(-1, 1, 4)
                for t in range(len(tilts.angles))
            ]
            for e in range(len(energies))
        ]
    )
    over = ("energy", "tilt")
    placement = xr.Dataset(
        {
            "shift_x": (over, jitter.shift * draws[..., 0]),
            "shift_y": (over, jitter.shift * draws[..., 1]),
            "rotation": (over, jitter.rotation * draws[..., 2]),
            "scale": (over, 1 + jitter.scale * draws[..., 3]),
            "axis_offset": tilts.axis_offset + jitter.axis_offset,
            "axis_tilt": jitter.axis_tilt,
        },
        coords={
            "energy": ("energy", np.array(energies, dtype=float), {"units": "eV"}),
            "tilt": ("tilt", np.array(tilts.angles, dtype=float), {"units": "°"}),
        },
    )
    for name, unit in UNITS.items():
        placement[name].attrs["units"] = unit
    return placement


def view_of(placement: xr.Dataset, energy: int, tilt: int) -> View:
    """Return how the projection of these indices is seen.

    Parameters
    ----------
    placement : xarray.Dataset
        As from `tilt_placement`; variables may lack the dim ``energy``, or be absent (no jitter).
    energy, tilt : int

    Raises
    ------
    BadInputError
        If a value is not finite or a scale not above 0.
    """
    at = {"energy": energy, "tilt": tilt}
    values = {}
    for name in UNITS:
        if name in placement:
            array = placement[name]
            value = float(array.isel({dim: i for dim, i in at.items() if dim in array.dims}))
            if not np.isfinite(value) or (name == "scale" and value <= 0):
                raise BadInputError(
                    f"{name} = {value:g} {UNITS[name]} at tilt {tilt}; expected a finite number"
                    f"{' above 0' if name == 'scale' else ''}"
                )
            values[name] = value
    return View(tilt=float(placement.tilt[tilt]), **values)
