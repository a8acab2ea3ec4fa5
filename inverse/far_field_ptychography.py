"""Ptychography in the far field: from frames to the complex transmission of the specimen."""

from typing import Any

import numpy as np
import xarray as xr

from echolith.inverse.far_field_engines import raar, refine, rpie
from echolith.inverse.far_field_options import Engine, FarFieldSolver
from echolith.inverse.far_field_positions import position_std
from echolith.inverse.far_field_state import Array, State, illumination, start


def far_field_ptychography(
    measurement: xr.Dataset, *, options: FarFieldSolver | None = None, probe: Array | None = None
) -> xr.Dataset:
    """Reconstruct the transmission, the probe and, if asked for, the background.

    Parameters
    ----------
    measurement : xarray.Dataset
        Frames as `echolith.forward.far_field.far_field_mean` gives them.
    options : FarFieldSolver, optional
    probe : array, optional
        First probe (n, n), centred; by default that of the zone plate named in the measurement.

    Returns
    -------
    xarray.Dataset
        ``transmission`` (y, x) complex, coordinates in Å; ``illumination`` (y, x), photons that
        fell on each pixel; ``probe``; ``background`` (detector_y, detector_x), photons;
        ``deviance`` per pixel and iteration, about 1 or less where the model explains the counts.
        The object is determined where it was illuminated only; its phase to a constant and a
        plane, which the probe takes up. With corrected positions: ``position_y``, ``position_x``,
        Å, and their ``_std``; a shift of all with the object is not determined.

    Raises
    ------
    BadInputError
        If metadata are missing, counts are negative, saturated or not finite, or there are too
        few frames.
    """
    options = options or FarFieldSolver()
    state = start(measurement, options, probe=probe)
    engine = {Engine.RPIE: rpie, Engine.RAAR: raar}[options.engine]
    deviance = [*engine(state, options), *refine(state, options)]
    found = _result(state, deviance)
    return found if options.positions_after is None else found.assign(_positions(state, options))


def _result(state: State, deviance: list[float]) -> xr.Dataset:
    rows, columns = state.transmission.shape
    origin, step = state.origin, state.pixel_size
    found = {
        "transmission": (("y", "x"), state.transmission, {"units": "1"}),
        "illumination": (("y", "x"), illumination(state), {"units": "photons"}),
        "probe": (("probe_y", "probe_x"), state.probe, {"units": "photons^(1/2)"}),
        "background": (
            ("detector_y", "detector_x"),
            np.fft.fftshift(state.background),
            {"units": "photons"},
        ),
        "deviance": ("iteration", np.array(deviance), {"units": "1"}),
    }
    return xr.Dataset(
        found,
        coords={
            "y": ("y", origin[0] + step * np.arange(rows), {"units": "Å"}),
            "x": ("x", origin[1] + step * np.arange(columns), {"units": "Å"}),
        },
    )


def _positions(state: State, options: FarFieldSolver) -> dict[str, Any]:
    """Return corrected positions and their uncertainty, from the mean of all."""
    std = position_std(state, options) * state.pixel_size
    middle = np.array(state.origin) + state.pixel_size * (state.size // 2)
    place = middle + state.pixel_size * state.positions
    found: dict[str, Any] = {}
    for n, axis in enumerate("yx"):
        found[f"position_{axis}"] = ("position", place[:, n], {"units": "Å"})
        found[f"position_{axis}_std"] = ("position", std[:, n], {"units": "Å"})
    return found
