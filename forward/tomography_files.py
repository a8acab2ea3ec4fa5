"""Read tilt series of projections: NXtomo, and Scientific Data Exchange as TomoPy reads it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.forward.stored_frames import StoredFrames
from echolith.forward.tilts import centres
from echolith.forward.tomography_series import (
    ENERGY,
    GIVEN,
    Series,
    exchanges_of,
    nexus_entries,
    series_of,
)
from echolith.forward.tomography_writer import DARK, FLAT
from echolith.hdf5_files import opened

Array = npt.NDArray[np.float64]


def holds_tilt_series(path: Path) -> bool:
    """Return whether an HDF5 file has entries of NXtomo, or ``/exchange/data``."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as root:
        return bool(nexus_entries(root)) or bool(exchanges_of(root))


def read_tilt_series(
    path: str | os.PathLike[str], *, given: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Read projections of a tilt series at one energy or more.

    Counts are those of the file less the mean dark frame; ``incident`` is the mean flat frame less
    the dark one, times what ``control`` tells of the dose of each projection. Where darks or a gain
    are taken off, counts of less than half a photon are set to half a photon, so that their
    logarithm exists.

    Parameters
    ----------
    path : path
        HDF5 with entries of NXtomo or, where there are none, the groups ``exchange``,
        ``exchange1`` ... with ``data``, ``data_white``, ``data_dark`` and ``theta``.
    given : mapping, optional
        What the file lacks or has wrong, by the names of `GIVEN`. Without ``gain`` a count is one
        photon.

    Returns
    -------
    xarray.Dataset
        As from `echolith.forward.optical_density.projected_counts`: ``counts`` (energy, tilt, y,
        x), lazy, and ``incident``; without the dimension energy where there is one only.

    Raises
    ------
    BadInputError
        If the file cannot be read, the energies are not of one form, or something is missing that
        is not given; one message names it all.
    """
    path, known = Path(path), dict(given or {})
    for name in known:
        if name not in GIVEN:
            raise BadInputError(
                f"'{name}' cannot be given for a tilt series; {near_match(name, GIVEN)}"
            )
    with opened(path) as root:
        found = series_of(path, root, known)
        _refuse_missing(path, found, known)
        each = [_one_energy(series, n) for n, series in enumerate(found)]
    return each[0] if len(each) == 1 else _joined(path, each)


def _refuse_missing(path: Path, found: list[Series], given: Mapping[str, Any]) -> None:
    told = {
        "rotation_angle": all(one.angles() is not None for one in found),
        "energy": "energy" in given or all(one.number(ENERGY) is not None for one in found),
        "pixel_size": all(one.pixel_sizes() is not None for one in found),
        "incident": "incident" in given
        or all(one.flats is not None or FLAT in one.key for one in found),
    }
    missing = [name for name, there in told.items() if not there]
    if missing:
        names = "; ".join(f"{name} ({GIVEN[name]})" for name in missing)
        raise BadInputError(
            f"'{path}', {', '.join(one.name for one in found)}: the file does not tell {names}; "
            f"give each: overrides={{'{missing[0]}': ...}}, on the command line "
            f"--given {missing[0]}=..."
        )


def _energy(series: Series, n: int) -> float:
    if "energy" not in series.given:
        told = series.number(ENERGY)
        assert told is not None
        return told
    values = series.asked("energy")
    if n >= len(values):
        raise BadInputError(f"energy = {values.tolist()} eV; expected one for each entry")
    return float(values[n])


def _one_energy(series: Series, n: int) -> xr.Dataset:
    angles, sizes = series.angles(), series.pixel_sizes()
    assert angles is not None
    assert sizes is not None
    dark = series.mean_frame(DARK)
    gain = series.asked("gain")[0] if "gain" in series.given else 1.0
    if not gain > 0:
        raise BadInputError(f"gain = {gain:g}; expected more than 0 counts for one photon")
    raw = StoredFrames.of(series.frames, series.chosen).lazy
    offset = None if dark is None or not dark.any() else dark
    counts = raw
    if offset is not None or gain != 1:
        less = raw.astype(np.float32) - np.float32(0 if offset is None else offset)
        counts = (less / np.float32(gain)).clip(0.5, None)
    axes = {
        axis: (axis, centres(count, float(f"{size:.12g}")), {"units": "Å"})
        for axis, count, size in zip("yx", series.frames.shape[1:], sizes, strict=True)
    }
    return xr.Dataset(
        {
            "counts": (("tilt", "y", "x"), counts, {"units": "photons"}),
            "incident": _incident(series, offset, gain),
        },
        coords={
            "energy": ((), _energy(series, n), {"units": "eV"}),
            "tilt": ("tilt", angles, {"units": "°"}),
            **axes,
        },
    )


def _incident(series: Series, dark: Array | None, gain: float) -> tuple[Any, ...]:
    """Return counts without specimen, of as few dimensions as they need."""
    units = {"units": "photons"}
    if "incident" in series.given:
        return (), series.asked("incident")[0] / gain, units
    flat = series.mean_frame(FLAT)
    assert flat is not None
    flat = (flat - (0 if dark is None else dark)) / gain
    if not (flat > 0).all():
        raise BadInputError(
            f"'{series.path}', {series.name}: {int((~(flat > 0)).sum())} pixels of the flat frames "
            "are not above the dark ones; mask or crop them"
        )
    values, dims = (flat[0, 0], ()) if (flat == flat[0, 0]).all() else (flat, ("y", "x"))
    share = series.control()
    if share is not None and (share != 1).any():
        return ("tilt", *dims), np.multiply.outer(share, values), units
    whole = np.all(np.equal(values, np.rint(values)))
    return dims, np.asarray(values, dtype=np.int64 if whole else np.float64), units


def _joined(path: Path, each: list[xr.Dataset]) -> xr.Dataset:
    try:
        return xr.concat(each, "energy", join="exact", combine_attrs="override")
    except ValueError as error:
        raise BadInputError(
            f"'{path}': its {len(each)} entries differ in tilts, pixels or shape ({error}); read "
            "one at a time: entries=..."
        ) from error
