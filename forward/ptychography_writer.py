"""Write far-field frames as CXI 1.6, one entry for each scan.

CXI looks downstream with x to the left and y up, so that both are minus ours; it tells where the
specimen was moved, minus where the probe went on it. Both signs together: its translations are our
positions. Rows and columns of a frame run along -y and -x of CXI.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from echolith.atomic import whole_file
from echolith.compression import Compression, dataset_options
from echolith.cxi_geometry import CxiEntry, cxi_entries, write_geometry
from echolith.errors import BadInputError
from echolith.nexus import nexus_group, write_number

VERSION = 160
FRAME = ("position", "detector_y", "detector_x")
LEADING: tuple[set[str], ...] = (set(), {"energy", "scan"}, {"energy", "tilt", "scan"})
"""Of scans, in any order."""
PLATE = {"outer_zone_width": ("m", 1e-10), "central_stop": ("", 1.0), "defocus": ("m", 1e-10)}
"""Of the zone plate: unit in the file, and its size in ours."""
CLASSES = {
    "instrument_1": "NXinstrument",
    "instrument_1/source_1": "NXsource",
    "instrument_1/detector_1": "NXdetector",
    "sample_1": "NXsample",
    "sample_1/geometry_1": "NXcollection",
    "data_1": "NXdata",
}
UNITS = {
    "instrument_1/source_1/energy": "J",
    "instrument_1/detector_1/distance": "m",
    "instrument_1/detector_1/y_pixel_size": "m",
    "instrument_1/detector_1/x_pixel_size": "m",
    "instrument_1/detector_1/basis_vectors": "m",
    "instrument_1/detector_1/corner_position": "m",
    "sample_1/geometry_1/translation": "m",
}
"""Those that CXI takes for granted."""


def is_far_field(measurement: xr.Dataset) -> bool:
    """Return whether a measurement has far-field frames at known positions."""
    return (
        "counts" in measurement
        and measurement["counts"].dims[-3:] == FRAME
        and set(measurement["counts"].dims[:-3]) in LEADING
        and {"position_y", "position_x"} <= set(measurement.coords)
        and "pixel_size" in measurement.attrs
    )


def write_far_field(measurement: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write far-field frames, whole or not at all; lazy ones stream through memory.

    All numbers are in m, J and degree, as CXI has it. The detector stands at 1 m: only angles are
    known. What CXI has no name for is beside it: photons of a frame without specimen in
    ``monitor_1``, the zone plate in ``zone_plate_1``, the share of photons that reaches a pixel in
    ``detector_1/efficiency``, the tilt in ``sample_1/rotation_angle``.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.far_field.far_field_mean`,
        `echolith.forward.far_field_views.far_field_scans` or
        `echolith.forward.phosphate_frames.tilt_series_frames`.
    path : path
        Usually ``*.cxi``.

    Raises
    ------
    BadInputError
        If it is another measurement, or the energy is not known.
    OSError
        If the file cannot be written.
    """
    if not is_far_field(measurement):
        raise BadInputError(
            "expected counts over position, detector_y, detector_x, energy and scan before them, "
            "with position_y and position_x"
        )
    told = cxi_entries(measurement)
    if any(one.energy is None or one.pixel_size is None for one in told):
        raise BadInputError("the measurement does not tell the energy, eV; expected a coordinate")
    with whole_file(Path(path)) as file, h5py.File(file, "w") as root:
        root["cxi_version"], root["number_of_entries"] = VERSION, len(told)
        root.attrs["default"] = "entry_1"
        for number, one in enumerate(told, start=1):
            leading = dict(zip(measurement["counts"].dims, one.index, strict=False))
            entry = nexus_group(root, f"entry_{number}", "NXentry")
            _write_entry(entry, measurement.isel(leading), one, file.check)


def _write_entry(entry: Any, frames: xr.Dataset, told: CxiEntry, check: Any) -> None:
    entry["program_name"] = "echolith"
    entry.attrs["default"] = "data_1"
    for place, kind in CLASSES.items():
        nexus_group(entry, place, kind)
    entry["instrument_1/source_1/probe"] = "x-ray"
    rows, columns = frames["counts"].shape[-2:]
    write_geometry(entry, told, frame=(rows, columns))
    for place, unit in UNITS.items():
        entry[place].attrs["units"] = unit
    if "tilt" in frames.coords:
        write_number(entry["sample_1"], "rotation_angle", float(frames["tilt"]), "deg")
    _write_beam(entry["instrument_1"], frames)
    detector, data = entry["instrument_1/detector_1"], entry["data_1"]
    _write_response(detector, frames)
    _write_frames(detector, frames["counts"], check)
    data.attrs["signal"] = "data"
    data["data"], data["translation"] = detector["data"], detector["translation"]


def _write_beam(instrument: Any, frames: xr.Dataset) -> None:
    """Write what the probe is made with, and its photons."""
    plate = nexus_group(instrument, "zone_plate_1", "NXfresnel_zone_plate")
    for name, (unit, size) in PLATE.items():
        if name in frames.attrs:
            write_number(plate, name, frames.attrs[name] * size, unit)
    if "photons" in frames.attrs:
        monitor = nexus_group(instrument, "monitor_1", "NXmonitor")
        photons = np.full(frames.sizes["position"], frames.attrs["photons"])
        write_number(monitor, "data", photons, "photons")


def _write_response(detector: Any, frames: xr.Dataset) -> None:
    if "saturation" in frames.attrs:
        detector["saturation_value"] = frames.attrs["saturation"]
    if "readout" in frames.attrs:
        write_number(detector, "readout_noise", frames.attrs["readout"], "photons")
    if "detector_transmission" in frames.coords:
        detector["efficiency"] = frames["detector_transmission"].values


def _write_frames(detector: Any, counts: xr.DataArray, check: Any) -> None:
    target = detector.create_dataset(
        "data",
        shape=counts.shape,
        dtype=counts.dtype,
        chunks=(1, *counts.shape[1:]),
        **dataset_options(Compression.SHARE),
    )
    target.attrs["axes"], target.attrs["units"] = "translation:y:x", "photons"
    start = 0
    for count in counts.chunks[0] if counts.chunks else (1,) * counts.shape[0]:
        target[start : start + count] = counts[start : start + count].values
        start += count
        check()
