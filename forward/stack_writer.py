"""Write rocking curves of a raster as NeXus, for silx, h5py and other programs."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import xarray as xr
from pydantic import Field

from echolith.atomic import whole_file
from echolith.compression import Compression, dataset_options
from echolith.errors import BadInputError
from echolith.forward.goniometer import Goniometer
from echolith.forward.rocking_curve import DIMS
from echolith.nexus import nexus_group, write_number

PIXEL_SIZE = 55e-6
"""m; of Medipix detectors. Our frames know distances in pixels only."""


def write_stack(
    measurement: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    pixel_size: Annotated[float, Field(gt=0)] = PIXEL_SIZE,
) -> None:
    """Write rocking curves of a raster, whole or not at all; lazy ones stream through memory.

    The plot that programs show first is ``/entry/data``. Motors are NXpositioner, the detector's
    geometry and mask are in ``/entry/instrument/detector``.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.rocking_curve.rocking_curve_mean`.
    path : path
        Usually ``*.nxs`` or ``*.h5``.
    pixel_size : float
        m; only its ratio to the distance has a meaning.

    Raises
    ------
    BadInputError
        If it is another measurement.
    OSError
        If the file cannot be written.
    """
    if "counts" not in measurement or measurement["counts"].dims != DIMS:
        raise BadInputError(
            f"no counts over {', '.join(DIMS)}; expected rocking curves of a raster"
        )
    if "goniometer" not in measurement.attrs:
        raise BadInputError("the attribute goniometer is missing; expected rocking curves")
    if not pixel_size > 0:
        raise BadInputError(f"pixel_size = {pixel_size:g} m; expected more than 0")
    goniometer = Goniometer.model_validate_json(measurement.attrs["goniometer"])
    with whole_file(Path(path)) as file, h5py.File(file, "w") as root:
        entry = nexus_group(root, "entry", "NXentry")
        root.attrs["default"], entry.attrs["default"] = "entry", "data"
        instrument = nexus_group(entry, "instrument", "NXinstrument")
        sample = nexus_group(entry, "sample", "NXsample")
        _motor(sample, "eta", measurement["eta"].values)
        _motor(sample, "phi", goniometer.phi)
        _motor(instrument, "nu", goniometer.nu)
        _motor(instrument, "delta", goniometer.delta)
        _write_direction(sample, measurement)
        beam = nexus_group(instrument, "monochromator", "NXmonochromator")
        write_number(beam, "energy", goniometer.beam_energy, "eV")
        detector = nexus_group(instrument, "detector", "NXdetector")
        _write_detector(detector, measurement, goniometer, pixel_size)
        if "monitor" in measurement.coords:
            monitor = nexus_group(entry, "monitor", "NXmonitor")
            monitor["data"] = measurement["monitor"].values
        _write_plot(entry, measurement)
        _write_frames(detector, measurement["counts"], file.check)


def _motor(group: Any, name: str, value: Any) -> None:
    write_number(nexus_group(group, name, "NXpositioner"), "value", value, "deg")


def _write_direction(sample: Any, measurement: xr.Dataset) -> None:
    for name, value in json.loads(measurement.attrs.get("reflection", "{}")).items():
        write_number(sample, name, value, "deg")


def _write_detector(
    detector: Any, measurement: xr.Dataset, goniometer: Goniometer, pixel_size: float
) -> None:
    write_number(detector, "distance", goniometer.distance * pixel_size, "m")
    for axis, place in zip("yx", goniometer.centre, strict=True):
        write_number(detector, f"{axis}_pixel_size", pixel_size, "m")
        write_number(detector, f"beam_center_{axis}", place, "pixel")
    if "valid" in measurement.coords:
        detector["pixel_mask"] = (~measurement["valid"].values).astype(np.uint32)
    if "saturation" in measurement.attrs:
        detector["saturation_value"] = measurement.attrs["saturation"]


def _write_plot(entry: Any, measurement: xr.Dataset) -> None:
    data = nexus_group(entry, "data", "NXdata")
    data.attrs["signal"] = "counts"
    data.attrs["axes"] = [*DIMS[:3], ".", "."]
    data["counts"] = h5py.SoftLink("/entry/instrument/detector/data")
    data["eta"] = h5py.SoftLink("/entry/sample/eta/value")
    for name in DIMS[:2]:
        write_number(data, name, measurement[name].values * 1e-4, "um")


def _write_frames(detector: Any, counts: xr.DataArray, check: Any) -> None:
    target = detector.create_dataset(
        "data",
        shape=counts.shape,
        dtype=counts.dtype,
        chunks=(1, 1, *counts.shape[2:]),
        **dataset_options(Compression.SHARE),
    )
    target.attrs["interpretation"] = "image"
    start = 0
    for rows in counts.chunks[0] if counts.chunks else (1,) * counts.shape[0]:
        target[start : start + rows] = counts[start : start + rows].values
        start += rows
        check()
