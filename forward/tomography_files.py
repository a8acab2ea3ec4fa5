"""Read tilt series of projections: NXtomo, and Scientific Data Exchange as TomoPy reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.forward.stack_frames import check_sources
from echolith.forward.stack_quantities import (
    Kind,
    Quantity,
    candidates,
    datasets,
    given_value,
    in_unit,
    members,
)
from echolith.forward.stored_frames import StoredFrames
from echolith.forward.tilts import centres
from echolith.forward.tomography_writer import DARK, FLAT, PROJECTION

Array = npt.NDArray[np.float64]

ANGLE = Quantity(names=("rotation_angle", "theta"), kind=Kind.ANGLE)
ENERGY = Quantity(
    names=("incident_energy", "energy"), kind=Kind.ENERGY, plain=((999, 1e3), (np.inf, 1))
)
METRE = ((1e-3, 1.0), (1.0, 1e-3), (np.inf, 1e-6))
"""Pixel sizes without a unit: m, else mm, else µm."""
PIXELS = {
    axis: Quantity(
        names=(f"{axis}_magnified_pixel_size", f"{axis}_pixel_size", "pixel_size"),
        kind=Kind.LENGTH,
        plain=METRE,
    )
    for axis in "yx"
}
GIVEN = {
    "rotation_angle": "° of every projection, or the path of a dataset",
    "energy": "eV of every entry",
    "pixel_size": "m, in the specimen",
    "incident": "counts of a pixel without specimen",
    "gain": "counts of the file for one photon",
    "entries": "names of the entries to read, one for each energy",
}
"""What can be given, and its unit."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Projections of one energy in an open file."""

    path: Path
    name: str
    frames: h5py.Dataset
    """Stack that holds the projections."""
    key: npt.NDArray[np.int64]
    """What every frame of the stack is, as ``image_key`` says it."""
    flats: h5py.Dataset | None
    darks: h5py.Dataset | None
    """Stacks of their own, where they are not in the one of the projections."""
    groups: tuple[h5py.Group, ...]
    """What the numbers are looked for in, the entry first."""
    given: Mapping[str, Any]

    @cached_property
    def listed(self) -> list[tuple[str, h5py.Dataset]]:
        """Path and dataset of all that is there, but what belongs to the machine."""
        found = [pair for group in self.groups for pair in datasets(group)]
        return [pair for pair in found if "source" not in pair[0].split("/")]

    @property
    def chosen(self) -> npt.NDArray[np.int64]:
        """Numbers of the projections in the stack."""
        return np.flatnonzero(self.key == PROJECTION)

    def angles(self) -> Array | None:
        """Return the tilt of every projection, °, within half a turn; None if it is not told."""
        given = self.given.get("rotation_angle")
        if isinstance(given, str):
            values = in_unit(_dataset(self.path, self.groups[0].file, given), ANGLE).ravel()
        elif given is not None:
            values = self.asked("rotation_angle")
        else:
            sizes = (len(self.key), len(self.chosen))
            found = [one for one in candidates(self.listed, ANGLE) if one.size in sizes]
            if not found:
                return None
            values = in_unit(found[0], ANGLE).ravel()
        values = values[self.chosen] if len(values) == len(self.key) else values
        if len(values) != len(self.chosen):
            raise BadInputError(
                f"'{self.path}': {len(values)} angles for {len(self.chosen)} projections; expected "
                "one each"
            )
        return np.where(np.abs(values) <= 180, values, (values + 180) % 360 - 180)

    def asked(self, name: str) -> Array:
        """Return the numbers that are given under a name."""
        return given_value(name, self.given[name], expected=GIVEN[name]).ravel()

    def number(self, quantity: Quantity) -> float | None:
        """Return a number of the geometry in its unit, None if it is not told."""
        found = candidates(self.listed, quantity)
        return float(in_unit(found[0], quantity).mean()) if found else None

    def pixel_sizes(self) -> tuple[float, float] | None:
        """Return those of y and x, Å; None if they are not told."""
        if "pixel_size" in self.given:
            size = self.asked("pixel_size")[0] * 1e10
            return size, size
        told = [self.number(PIXELS[axis]) for axis in "yx"]
        y, x = (told[n] if told[n] is not None else told[1 - n] for n in (0, 1))
        return None if y is None or x is None else (y * 1e10, x * 1e10)

    def mean_frame(self, key: int) -> Array | None:
        """Return the mean flat or dark frame, None where there is none."""
        apart = self.flats if key == FLAT else self.darks
        source = self.frames if apart is None else apart
        numbers = np.flatnonzero(self.key == key) if apart is None else np.arange(len(apart))
        if not len(numbers):
            return None
        # One frame at a time: there may be hundreds.
        return np.asarray(sum(source[int(n)].astype(float) for n in numbers) / len(numbers))

    def control(self) -> Array | None:
        """Return the dose of each projection over that of the flats, None if it is not told."""
        found = self.groups[0].get("control/data")
        if not isinstance(found, h5py.Dataset) or found.size != len(self.key):
            return None
        dose = np.ravel(found[()]).astype(float)
        flat = dose[self.key == FLAT]
        share = dose[self.chosen] / flat.mean() if len(flat) and flat.mean() > 0 else dose[:0]
        return share if len(share) and (share > 0).all() else None


def holds_tilt_series(path: Path) -> bool:
    """Return whether an HDF5 file has entries of NXtomo, or ``/exchange/data``."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as root:
        return bool(_nexus_entries(root)) or bool(_exchanges(root))


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
    try:
        with h5py.File(path, "r") as root:
            found = _series(path, root, known)
            _refuse_missing(path, found, known)
            each = [_one_energy(series, n) for n, series in enumerate(found)]
    except (OSError, RuntimeError, KeyError) as error:
        raise BadInputError(
            f"'{path}' cannot be read as HDF5 ({error}); it is damaged, cut short or something else"
        ) from error
    return each[0] if len(each) == 1 else _joined(path, each)


def _nexus_entries(root: h5py.File) -> dict[str, h5py.Group]:
    groups = {name: g for name, g in members(root) if isinstance(g, h5py.Group)}
    return {name: group for name, group in groups.items() if _definition(group) == "NXtomo"}


def _definition(group: h5py.Group) -> str:
    found = group.get("definition")
    value = found[()] if isinstance(found, h5py.Dataset) else b""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size else value
    return value.decode() if isinstance(value, bytes) else str(value)


def _exchanges(root: h5py.File) -> dict[str, h5py.Group]:
    return {
        name: group
        for name, group in members(root)
        if name.startswith("exchange") and isinstance(group, h5py.Group) and "data" in group
    }


def _series(path: Path, root: h5py.File, given: Mapping[str, Any]) -> list[Series]:
    """Return the series of every entry that is asked for."""
    nexus = _nexus_entries(root)
    there = nexus or _exchanges(root)
    wanted = [str(name) for name in np.atleast_1d(given.get("entries", list(there)))]
    for name in wanted:
        if name not in there:
            raise BadInputError(f"'{path}' has no entry '{name}'; {near_match(name, there)}")
    make = _of_nexus if nexus else _of_exchange
    return [make(path, name, there[name], given) for name in wanted]


def _of_nexus(path: Path, name: str, entry: h5py.Group, given: Mapping[str, Any]) -> Series:
    detectors = [
        entry[place.rpartition("/")[0]]
        for place, found in datasets(entry)
        if place.endswith("/image_key") and "data" in entry[place.rpartition("/")[0]]
    ]
    if not detectors:
        raise BadInputError(
            f"'{path}', {name}: no detector with data and image_key; expected NXtomo, where "
            "image_key is 0 for projections, 1 for flat and 2 for dark frames"
        )
    frames = _frames(path, detectors[0]["data"])
    key = np.ravel(detectors[0]["image_key"][()]).astype(np.int64)
    if len(key) != len(frames) or PROJECTION not in key:
        raise BadInputError(
            f"'{path}', {name}: image_key of {len(key)} values, {(key == PROJECTION).sum()} of "
            f"them projections, for {len(frames)} frames; expected one each and a projection"
        )
    return Series(
        path=path, name=name, frames=frames, key=key, flats=None, darks=None,
        groups=(entry,), given=given,
    )  # fmt: skip


def _of_exchange(path: Path, name: str, group: h5py.Group, given: Mapping[str, Any]) -> Series:
    frames = _frames(path, group["data"])
    flats, darks = (
        _frames(path, group[key]) if key in group else None for key in ("data_white", "data_dark")
    )
    # Numbers of the instrument stand beside the group, in /measurement.
    beside = group.file.get("measurement")
    groups = (group, beside) if isinstance(beside, h5py.Group) else (group,)
    return Series(
        path=path, name=name, frames=frames, key=np.zeros(len(frames), dtype=np.int64),
        flats=flats, darks=darks, groups=groups, given=given,
    )  # fmt: skip


def _frames(path: Path, found: Any) -> h5py.Dataset:
    if not isinstance(found, h5py.Dataset) or found.ndim != 3 or not found.size:
        raise BadInputError(
            f"'{path}': frames of shape {getattr(found, 'shape', None)}; expected (frames, y, x)"
        )
    check_sources(found)
    return found


def _dataset(path: Path, root: h5py.File, name: str) -> h5py.Dataset:
    found = root.get(name)
    if not isinstance(found, h5py.Dataset):
        raise BadInputError(f"'{path}': there is no dataset '{name}'")
    return found


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
