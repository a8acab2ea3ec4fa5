"""Far-field frames of one view of plates: every energy, every scan with its own positions."""

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.far_field import FarField, far_field_mean, scan_positions
from echolith.units import Angstrom


def far_field_scans(
    waves: xr.DataArray, *, settings: FarField, scans: int = 2, seed: int = 0
) -> xr.Dataset:
    """Return the mean counts of several scans of one view at each energy.

    Parameters
    ----------
    waves : xarray.DataArray
        Complex (energy, y, x), as from `echolith.forward.phosphate_exit_wave.exit_waves`.
    settings : FarField
        Its energy is replaced by those of the waves.
    scans : int
        Of each energy; no two share their positions.
    seed : int
        Of the positions.

    Returns
    -------
    xarray.Dataset
        As `far_field_mean`, ``counts`` over (energy, scan, position, detector_y, detector_x),
        positions over (energy, scan, position).

    Raises
    ------
    BadInputError
        If there is no scan, or as `far_field_mean`.
    """
    if scans < 1:
        raise BadInputError(f"scans = {scans}; expected 1 or more")
    rows = []
    for e, energy in enumerate(waves["energy"].values):
        one = settings.model_copy(update={"energy": float(energy)})
        wave = waves.isel(energy=e, drop=True)
        rows.append(
            [far_field_mean(wave, settings=one, seed=scan_seed(seed, e, n)) for n in range(scans)]
        )
    joined = xr.combine_nested(
        rows, concat_dim=["energy", "scan"], coords="different", compat="equals", join="exact",
        combine_attrs="override",
    )  # fmt: skip
    return joined.assign_coords(energy=waves["energy"])


def true_positions(
    settings: FarField, *, energies: int, scans: int = 2, seed: int = 0
) -> xr.Dataset:
    """Return where the probe really was in `far_field_scans`, less the mean of each scan's error.

    A shift of all positions with the object is not told by any frame.

    Parameters
    ----------
    settings : FarField
    energies, scans : int
        How many there are.
    seed : int
        Of the positions.
    """
    places = np.empty((2, energies, scans, settings.shape[0] * settings.shape[1]))
    for e in range(energies):
        for n in range(scans):
            recorded, true = scan_positions(settings, seed=scan_seed(seed, e, n))
            places[:, e, n] = (true - (true - recorded).mean(axis=0)).T
    dims = ("energy", "scan", "position")
    return xr.Dataset(
        {f"position_{axis}": (dims, places[n], {"units": "Å"}) for n, axis in enumerate("yx")}
    )


def scan_seed(seed: int, energy: int, scan: int) -> int:
    """Return the seed of one scan's positions."""
    return seed * 10_007 + 101 * energy + scan


def field_needed(settings: FarField) -> Angstrom:
    """Return half the side of the object, Å, that holds every frame of a scan and its jitter."""
    across = (max(settings.shape) - 1) / 2 * settings.step
    stray = 5 * np.hypot(settings.jitter, settings.position_error)
    return float(across + stray + (settings.pixels / 2 + 2) * settings.pixel_size)
