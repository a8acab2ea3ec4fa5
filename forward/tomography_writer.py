"""Write a tomographic series as NXtomo, with a face of Scientific Data Exchange beside it.

NXtomo keeps one stack an energy: a dark frame, a flat one, then the projections; ``image_key``
says which is which. What ``/exchange`` has are views into the same stack, as TomoPy names them.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.atomic import whole_file
from echolith.compression import Compression, dataset_options
from echolith.errors import BadInputError
from echolith.nexus import nexus_group, write_number

DIMS = ("tilt", "y", "x")
PROJECTION, FLAT, DARK = 0, 1, 2
"""Values of ``image_key``."""
FIRST = 2
"""Number of the first projection of the stack: a dark and a flat frame come before it."""


def is_tilt_series(measurement: xr.Dataset) -> bool:
    """Return whether a measurement has counts of a tilt series, and those without specimen."""
    return (
        {"counts", "incident"} <= set(measurement.data_vars)
        and measurement["counts"].dims[-3:] == DIMS
        and measurement["counts"].dims[:-3] in ((), ("energy",))
        and "energy" in measurement.coords
    )


def write_tilt_series(measurement: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write projections of a tilt series, whole or not at all; lazy ones stream through memory.

    Each energy has an NXentry (``entry``, ``entry_1``) and an exchange group (``exchange``,
    ``exchange1``). Lengths are in m, angles in degree, energies in eV. Pixels are those in the
    specimen: the beam is parallel, the detector behind the specimen (``distance`` 0). The flat
    frame holds the counts expected without specimen, not drawn ones; the dark frame is 0.
    ``control`` is what each projection had of the mean flat.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.optical_density.projected_counts`: ``counts`` over (tilt, y, x),
        or energy before them, and ``incident``, which may differ from tilt to tilt or from pixel to
        pixel.
    path : path
        Usually ``*.nxs`` or ``*.h5``.

    Raises
    ------
    BadInputError
        If it is another measurement, or incident counts differ both in tilts and in pixels.
    OSError
        If the file cannot be written.
    """
    if not is_tilt_series(measurement):
        raise BadInputError(
            "expected counts over tilt, y, x (energy before them), incident counts and an energy"
        )
    energies = measurement["energy"].values.ravel()
    with whole_file(Path(path)) as file, h5py.File(file, "w") as root:
        root.attrs["default"], root["implements"] = "entry", "exchange"
        for n in range(len(energies)):
            one = measurement.isel(energy=n) if "energy" in measurement.dims else measurement
            entry = nexus_group(root, f"entry_{n}" if n else "entry", "NXentry")
            _write_entry(entry, one, file.check)
            _write_exchange(root.create_group(f"exchange{n}" if n else "exchange"), entry)


def _write_entry(entry: Any, one: xr.Dataset, check: Any) -> None:
    entry["definition"] = "NXtomo"
    entry["title"] = f"tilt series at {float(one['energy']):g} eV"
    entry.attrs["default"] = "data"
    flat, control = _incident(one)
    instrument = nexus_group(entry, "instrument", "NXinstrument")
    source = nexus_group(instrument, "source", "NXsource")
    source["probe"] = "x-ray"
    beam = nexus_group(instrument, "beam", "NXbeam")
    write_number(beam, "incident_energy", float(one["energy"]), "eV")
    detector = nexus_group(instrument, "detector", "NXdetector")
    write_number(detector, "distance", 0.0, "m")
    sample = nexus_group(entry, "sample", "NXsample")
    sample["name"] = "specimen"
    for axis in "xy":
        size = _pixel_size(one, axis)
        write_number(detector, f"{axis}_pixel_size", size, "m")
        write_number(sample, f"{axis}_pixel_size", size, "m")
    angles = one["tilt"].values.astype(float)
    write_number(sample, "rotation_angle", np.concatenate([angles[:1], angles[:1], angles]), "deg")
    detector["image_key"] = np.array([DARK, FLAT, *[PROJECTION] * len(angles)], dtype=np.uint8)
    detector["image_key_control"] = detector["image_key"]
    monitor = nexus_group(entry, "control", "NXmonitor")
    monitor["data"] = np.concatenate([[0.0, 1.0], control])
    data = nexus_group(entry, "data", "NXdata")
    data.attrs["signal"], data.attrs["axes"] = "data", ["rotation_angle", ".", "."]
    data["rotation_angle"], data["image_key"] = sample["rotation_angle"], detector["image_key"]
    _write_stack(detector, one["counts"], flat, check)
    data["data"] = detector["data"]


def _pixel_size(one: xr.Dataset, axis: str) -> float:
    places = one[axis].values.astype(float)
    steps = np.diff(places)
    if not len(steps) or not np.ptp(steps) <= 1e-3 * abs(steps.mean()) or steps.mean() <= 0:
        raise BadInputError(f"the coordinate {axis} is not even and ascending; expected Å")
    # What is left of the rounding of sums is no part of the size.
    return float(f"{(places[-1] - places[0]) / len(steps) * 1e-10:.12g}")


def _incident(one: xr.Dataset) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the flat image and what each projection had of it."""
    incident, counts = one["incident"], one["counts"]
    if "tilt" not in incident.dims:
        flat = incident.broadcast_like(counts.isel(tilt=0, drop=True)).transpose(*DIMS[1:])
        return flat.values, np.ones(counts.sizes["tilt"])
    if incident.dims != ("tilt",):
        raise BadInputError(
            f"incident differs over {', '.join(map(str, incident.dims))}; one flat frame holds "
            "what differs from pixel to pixel or from tilt to tilt, not both"
        )
    mean = float(incident.mean())
    return np.full(tuple(counts.sizes[dim] for dim in DIMS[1:]), mean), incident.values / mean


def _write_stack(detector: Any, counts: xr.DataArray, flat: npt.NDArray[Any], check: Any) -> None:
    tilts, *frame = counts.shape
    narrow = np.min_scalar_type(flat.max()) if (flat == np.rint(flat)).all() else np.float32
    stack = detector.create_dataset(
        "data",
        shape=(FIRST + tilts, *frame),
        dtype=np.result_type(counts.dtype, narrow),
        chunks=(1, *frame),
        **dataset_options(Compression.SHARE),
    )
    stack.attrs["interpretation"] = "image"
    stack[1] = flat
    start = 0
    for images in counts.chunks[0] if counts.chunks else (1,) * tilts:
        stack[FIRST + start : FIRST + start + images] = counts[start : start + images].values
        start += images
        check()


def _write_exchange(group: Any, entry: Any) -> None:
    """Add views of the stack under other names; a source '.' is the file itself."""
    stack = entry["instrument/detector/data"]
    source = h5py.VirtualSource(".", stack.name, shape=stack.shape, dtype=stack.dtype)
    for name, first, end in (
        ("data_dark", 0, 1), ("data_white", 1, FIRST), ("data", FIRST, len(stack)),
    ):  # fmt: skip
        layout = h5py.VirtualLayout(shape=(end - first, *stack.shape[1:]), dtype=stack.dtype)
        layout[:] = source[first:end]
        made = group.create_virtual_dataset(name, layout)
        made.attrs["units"], made.attrs["axes"] = "counts", "theta:y:x"
    write_number(group, "theta", entry["sample/rotation_angle"][FIRST:], "deg")
