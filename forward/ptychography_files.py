"""Read far-field frames of scans from CXI."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import constants

from echolith.errors import BadInputError, near_match
from echolith.forward.cxi_detector import frame_region, reaching_share
from echolith.forward.cxi_numbers import LENGTH, NUMBERS, first_of, numbers_of, refuse_missing
from echolith.forward.ptychography_writer import PLATE
from echolith.forward.stack_frames import check_sources
from echolith.forward.stack_quantities import in_unit, members
from echolith.forward.stored_frames import StoredFrames
from echolith.hdf5_files import opened

Array = npt.NDArray[np.float64]

FRAMES = ("instrument_1/detector_1/data", "data_1/data", "image_1/data")
TRANSLATION = (
    "sample_1/geometry_1/translation",
    "data_1/translation",
    "instrument_1/detector_1/translation",
)
LAYOUT = ("entries", "centre_y", "centre_x", "pixels")
"""What can be given besides `NUMBERS`: entries, the beam's pixel, pixels along each side."""


def holds_far_field(path: Path) -> bool:
    """Return whether an HDF5 file is CXI with frames."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as root:
        return ("cxi_version" in root or path.suffix == ".cxi") and bool(_entries(root))


def read_far_field(
    path: str | os.PathLike[str], *, given: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Read far-field frames, an entry for each scan.

    Frames are cut to the largest even square about the beam, whose pixel ``corner_position`` tells;
    without it, it is the middle one. Masked pixels have no counts and a transmission of 0. Places
    that are far from 0 are moved, all alike, so that their mean is 0.

    Parameters
    ----------
    path : path
        CXI.
    given : mapping, optional
        What the file lacks or has wrong, by the names of `NUMBERS` and `LAYOUT`: lengths in m,
        ``energy`` in eV; ``pixel_size`` is that of the detector.

    Returns
    -------
    xarray.Dataset
        As from `echolith.forward.far_field_views.far_field_scans`: ``counts`` (energy, scan,
        position, detector_y, detector_x), lazy; a dimension tilt after the energy where entries
        tell one.

    Raises
    ------
    BadInputError
        If the file cannot be read, entries are not of one form, or something is missing that is
        not given; one message names it all.
    """
    path, known = Path(path), dict(given or {})
    for name in known:
        if name not in (*NUMBERS, *LAYOUT):
            raise BadInputError(
                f"'{name}' cannot be given for far-field frames; "
                f"{near_match(name, (*NUMBERS, *LAYOUT))}"
            )
    with opened(path) as root:
        there = _entries(root)
        wanted = [str(name) for name in np.atleast_1d(known.get("entries", list(there)))]
        for name in wanted:
            if name not in there:
                raise BadInputError(f"'{path}' has no entry '{name}'; {near_match(name, there)}")
        entries = [there[name] for name in wanted]
        numbers = [numbers_of(entry, known) for entry in entries]
        refuse_missing(path, numbers)
        scans = [_scan(*pair, known) for pair in zip(entries, numbers, strict=True)]
    return _centred(_nested(path, numbers, scans))


def _entries(root: h5py.File) -> dict[str, h5py.Group]:
    """Return the entries with frames by name, in the order of their numbers."""
    found = {
        name: group
        for name, group in members(root)
        if name.startswith("entry_") and isinstance(group, h5py.Group) and first_of(group, FRAMES)
    }
    return dict(sorted(found.items(), key=lambda pair: (len(pair[0]), pair[0])))


def _scan(entry: h5py.Group, told: dict[str, float], given: Mapping[str, Any]) -> xr.Dataset:
    """Return the frames of one entry, their places and what inverts them."""
    frames = first_of(entry, FRAMES)
    assert frames is not None
    where = f"'{entry.file.filename}', {entry.name}"
    if frames.ndim not in (3, 4):
        raise BadInputError(f"{where}: frames of shape {frames.shape}; expected (positions, y, x)")
    check_sources(frames)
    shape = (int(frames.shape[-2]), int(frames.shape[-1]))
    count = frames.size // (shape[0] * shape[1])
    places = _places(entry, count, where)
    region = frame_region(entry, shape, pixel_size=told["pixel_size"], given=given)
    counts = StoredFrames.of(frames, np.arange(count)).lazy[(slice(None), *region)]
    share, coords = reaching_share(entry, shape), {}
    if share is not None:
        share = np.ascontiguousarray(share[region])
        # What masked pixels hold is no count.
        counts = counts * (share > 0).astype(counts.dtype)
        coords["detector_transmission"] = (("detector_y", "detector_x"), share, {"units": "1"})
    return xr.Dataset(
        {
            "counts": (("position", "detector_y", "detector_x"), counts, {"units": "photons"}),
            "position_y": ("position", places[:, 1], {"units": "Å"}),
            "position_x": ("position", places[:, 0], {"units": "Å"}),
        },
        coords=coords,
        attrs=_attributes(told, counts.shape[-1]),
    )


def _places(entry: h5py.Group, count: int, where: str) -> Array:
    """Return our positions (x, y) of all frames, Å: the translations of CXI as they are."""
    moved = first_of(entry, TRANSLATION)
    if moved is None:
        raise BadInputError(f"{where}: no translations; expected {TRANSLATION[0]} (x, y, z), m")
    places = in_unit(moved, LENGTH).reshape(-1, moved.shape[-1])
    if len(places) != count or places.shape[1] not in (2, 3):
        raise BadInputError(
            f"{where}: translations of shape {moved.shape} for {count} frames; expected (x, y, z) "
            "of each"
        )
    return np.asarray(places[:, :2] * 1e10)


def _attributes(told: Mapping[str, float], pixels: int) -> dict[str, float]:
    """Return what `echolith.forward.far_field.frame_attributes` does.

    A pixel of the reconstruction is ``lambda distance / (pixels pixel_size)``.
    """
    wavelength = constants.h * constants.c / constants.e / told["energy"] * 1e10
    size = wavelength * told["distance"] / (pixels * told["pixel_size"])
    sizes = {name: told[name] / factor for name, (_, factor) in PLATE.items()}
    plain = {n: told[n] for n in ("energy", "photons", "readout", "saturation") if n in told}
    return plain | {n: float(f"{v:.12g}") for n, v in (sizes | {"pixel_size": size}).items()}


def _nested(path: Path, numbers: list[dict[str, float]], scans: list[xr.Dataset]) -> xr.Dataset:
    """Join scans along energy, tilt where it is told, and scan."""
    axes = ("energy", "tilt") if all("tilt" in told for told in numbers) else ("energy",)
    labels = {axis: list(dict.fromkeys(told[axis] for told in numbers)) for axis in axes}
    table: dict[tuple[float, ...], list[xr.Dataset]] = {
        key: [] for key in itertools.product(*labels.values())
    }
    for told, one in zip(numbers, scans, strict=True):
        table[tuple(told[axis] for axis in axes)].append(one)
    tree: Any = list(table.values())
    if "tilt" in axes:
        tilts = len(labels["tilt"])
        tree = [tree[n : n + tilts] for n in range(0, len(tree), tilts)]
    try:
        joined: xr.Dataset = xr.combine_nested(
            tree, concat_dim=[*axes, "scan"], coords="minimal", compat="equals", join="exact",
            combine_attrs="override",
        )  # fmt: skip
    except (ValueError, IndexError) as error:
        raise BadInputError(
            f"'{path}': its {len(scans)} entries differ in shape, number or masks ({error}); "
            "choose some: entries=..."
        ) from error
    units = {"energy": "eV", "tilt": "°"}
    ordered = joined.set_coords(["position_y", "position_x"]).transpose(*axes, "scan", ...)
    return ordered.assign_coords(
        {axis: (axis, np.array(labels[axis]), {"units": units[axis]}) for axis in axes}
    )


def _centred(measurement: xr.Dataset) -> xr.Dataset:
    """Move places whose origin is outside the scan to a mean of 0."""
    moved = {}
    for axis in "yx":
        places = measurement[f"position_{axis}"]
        if not float(places.min()) <= 0 <= float(places.max()):
            moved[places.name] = (places - places.mean()).assign_attrs(places.attrs)
    return measurement.assign_coords(moved)
