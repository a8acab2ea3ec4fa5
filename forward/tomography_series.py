"""An HDF5 file with a tilt series, open: its stacks, and numbers by what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

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
from echolith.forward.tomography_writer import FLAT, PROJECTION

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
    "incident": "counts of a pixel without specimen, darks taken off",
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


def nexus_entries(root: h5py.File) -> dict[str, h5py.Group]:
    """Return the entries of NXtomo by name."""
    groups = {name: g for name, g in members(root) if isinstance(g, h5py.Group)}
    return {name: group for name, group in groups.items() if _definition(group) == "NXtomo"}


def _definition(group: h5py.Group) -> str:
    found = group.get("definition")
    value = found[()] if isinstance(found, h5py.Dataset) else b""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size else value
    return value.decode() if isinstance(value, bytes) else str(value)


def exchanges_of(root: h5py.File) -> dict[str, h5py.Group]:
    """Return the groups of Scientific Data Exchange by name."""
    return {
        name: group
        for name, group in members(root)
        if name.startswith("exchange") and isinstance(group, h5py.Group) and "data" in group
    }


def series_of(path: Path, root: h5py.File, given: Mapping[str, Any]) -> list[Series]:
    """Return the series of every entry that is asked for.

    Raises
    ------
    BadInputError
        If there is no such entry, or what it holds is no series.
    """
    nexus = nexus_entries(root)
    there = nexus or exchanges_of(root)
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
