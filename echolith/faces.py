"""Faces of a measurement file: the same stored numbers under the names other programs look for.

Nothing is stored twice. Where a format wants the array as it is, it gets a hard link; where it
wants a stack, a virtual dataset. Which faces a measurement gets follows from its dimensions:

=============================  ===========================================  =====================
face                           measurements                                 programs
=============================  ===========================================  =====================
``/entry_1/data_1`` NXdata     all                                          nexusformat, silx
``/Experiments/scan``          all (HyperSpy 3.3)                           HyperSpy, pyxem
``/datacube_root/datacube``    frames of a raster (EMD 1.0)                 py4DSTEM
``/entry_N/instrument_1`` ...  frames at known places (CXI)                 ptypy, PyNX
=============================  ===========================================  =====================

Packs of samples (dimension ``sample``) get none: they are no measurement of one specimen.
"""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import xarray as xr

from echolith.cxi_geometry import FRAME, SCAN, cxi_entries, even_step, write_geometry

SAMPLE = "sample"
"""First dimension of packs of samples (`echolith.validation.packing`)."""
CXI_VERSION = 160
HYPERSPY_VERSION = "3.3"
OF_ENTRY = ("data_1", "instrument_1", "sample_1")
"""Names in an entry that CXI gives a meaning; a variable of such a name is not shown there."""
NUMBERS = "iuf"
"""Kinds of types that are shown."""


def write_faces(root: h5py.File, measurement: xr.Dataset, *, group: str) -> None:
    """Add to a file that holds a measurement what other programs look for.

    Parameters
    ----------
    root : h5py.File
    measurement : xarray.Dataset
        As it was stored; of its variables only coordinates are read.
    group : str
        That holds one HDF5 dataset per variable.
    """
    shown = [str(name) for name, variable in measurement.data_vars.items() if _shows(variable)]
    if SAMPLE in measurement.dims or not shown:
        return
    main = max(shown, key=lambda name: (measurement[name].ndim, measurement[name].size))
    _write_nexus(root, measurement, group, main, shown)
    _write_hyperspy(root, measurement[main], root[group][main])
    if measurement[main].dims == (*SCAN, *FRAME):
        _write_emd(root, measurement[main], root[group][main])
    if main == "counts":
        _write_cxi(root, measurement, root[group][main])


def _shows(variable: xr.DataArray) -> bool:
    return variable.dtype.kind in NUMBERS and variable.ndim > 0 and variable.size > 0


def _axis(variable: xr.DataArray, dim: str) -> xr.DataArray | None:
    """Return the coordinate along a dimension if it is one of numbers."""
    # `coords.get` would invent one.
    axis = variable[dim] if dim in variable.coords else None
    return axis if axis is not None and axis.dtype.kind in NUMBERS else None


def _group(parent: h5py.Group, name: str, attributes: Mapping[str, Any]) -> h5py.Group:
    made = parent.require_group(name)
    made.attrs.update(attributes)
    return made


# --- NeXus: NXdata --------------------------------------------------------------------------


def _write_nexus(
    root: h5py.File, measurement: xr.Dataset, group: str, main: str, shown: list[str]
) -> None:
    root.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
    entry = _group(root, "entry_1", {"NX_class": "NXentry", "default": "data_1"})
    for name in [main, *(name for name in shown if name not in (main, *OF_ENTRY))]:
        variable = measurement[name]
        dims = [str(dim) for dim in variable.dims]
        axes = [dim if _axis(variable, dim) is not None else "." for dim in dims]
        data = _group(
            entry,
            "data_1" if name == main else name,
            {"NX_class": "NXdata", "signal": name, "axes": axes},
        )
        for linked in (name, *axes):
            if linked != ".":
                data[linked] = root[group][linked]


# --- HyperSpy -------------------------------------------------------------------------------


def _write_hyperspy(root: h5py.File, variable: xr.DataArray, stored: h5py.Dataset) -> None:
    root.attrs.update({"file_format": "HyperSpy", "file_format_version": HYPERSPY_VERSION})
    scan = _group(root, "Experiments/scan", {"package": "", "package_version": ""})
    scan["data"] = stored
    shown = 2 if variable.ndim > 1 else 1
    for place, dim in enumerate(str(dim) for dim in variable.dims):
        navigate = place < variable.ndim - shown
        _group(scan, f"axis-{place}", _hyperspy_axis(variable, dim) | {"navigate": navigate})
        values = _axis(variable, dim)
        if values is not None and scan[f"axis-{place}"].attrs["_type"] == "DataAxis":
            scan[f"axis-{place}/axis"] = values.values
    metadata = _group(scan, "metadata", {})
    _group(metadata, "General", {"title": str(variable.name)})
    _group(metadata, "Signal", {"signal_type": ""})
    for empty in ("original_metadata", "learning_results"):
        _group(scan, empty, {})


def _hyperspy_axis(variable: xr.DataArray, dim: str) -> dict[str, Any]:
    told = {"name": dim, "units": "", "size": variable.sizes[dim], "is_binned": False}
    axis = _axis(variable, dim)
    if axis is None:
        return told | {"_type": "UniformDataAxis", "scale": 1.0, "offset": 0.0}
    told["units"] = str(axis.attrs.get("units", ""))
    step = even_step(axis.values) if len(axis) > 1 else 1.0
    if step is not None:
        return told | {"_type": "UniformDataAxis", "scale": step, "offset": float(axis[0])}
    rises = np.diff(axis.values.astype(float))
    if np.all(rises > 0) or np.all(rises < 0):
        return told | {"_type": "DataAxis"}
    # HyperSpy refuses to open a file with such an axis: it is numbered.
    return told | {"_type": "UniformDataAxis", "scale": 1.0, "offset": 0.0, "units": ""}


# --- EMD 1.0 with py4DSTEM's calibration ----------------------------------------------------


def _write_emd(root: h5py.File, variable: xr.DataArray, stored: h5py.Dataset) -> None:
    root.attrs.update(
        {"emd_group_type": "file", "version_major": 1, "version_minor": 0}
        | {"authoring_program": "echolith"}
    )
    tree = _group(root, "datacube_root", {"emd_group_type": "root", "python_class": "Root"})
    cube = _group(tree, "datacube", {"emd_group_type": "array", "python_class": "DataCube"})
    cube["data"] = stored
    for place, dim in enumerate(variable.dims):
        axis = _axis(variable, str(dim))
        values = np.arange(variable.sizes[dim]) if axis is None else axis.values
        cube[f"dim{place}"] = values
        units = "pixels" if axis is None else axis.attrs.get("units", "")
        cube[f"dim{place}"].attrs.update({"name": str(dim), "units": units})
    bundle = _group(tree, "metadatabundle", {"emd_group_type": "metadatabundle"})
    calibration = _group(
        bundle, "calibration", {"emd_group_type": "metadata", "python_class": "Calibration"}
    )
    told: dict[str, float | str] = {"_root_treepath": ""}
    for letter, dims, names in (("R", SCAN, {"Å": "A"}), ("Q", FRAME, {"mrad": "mrad"})):
        told[f"{letter}_pixel_size"], told[f"{letter}_pixel_units"] = _square_pixel(
            variable, dims, names
        )
    for name, value in told.items():
        calibration[name] = value
        calibration[name].attrs["type"] = "string" if isinstance(value, str) else "number"
    # Whom the calibration is for: without it py4DSTEM leaves the axes in pixels.
    targets = _group(calibration, "_target_paths", {"type": "list_of_strings", "length": 1})
    targets["0"] = "/datacube"


def _square_pixel(
    variable: xr.DataArray, dims: tuple[str, ...], names: Mapping[str, str]
) -> tuple[float, str]:
    """Return size and unit of square pixels; py4DSTEM knows no other ones."""
    axes = [axis for dim in dims if (axis := _axis(variable, dim)) is not None]
    steps = [step for axis in axes if (step := even_step(axis.values)) is not None]
    units = {str(axis.attrs.get("units")) for axis in axes}
    if len(steps) == len(dims) and len(units) == 1 and np.ptp(steps) < 1e-6 * abs(steps[0]):
        unit = units.pop()
        if unit in names:
            return steps[0], names[unit]
    return 1.0, "pixels"


# --- CXI ------------------------------------------------------------------------------------


def _write_cxi(root: h5py.File, measurement: xr.Dataset, stored: h5py.Dataset) -> None:
    entries = cxi_entries(measurement)
    if entries:
        root["cxi_version"] = CXI_VERSION
    for number, told in enumerate(entries, start=1):
        entry = _group(root, f"entry_{number}", {"NX_class": "NXentry"})
        detector = entry.create_group("instrument_1/detector_1")
        detector.create_virtual_dataset("data", _stack(stored, told.index))
        entry["data_1/data"] = detector["data"]
        write_geometry(entry, told, frame=stored.shape[-2:])


def _stack(stored: h5py.Dataset, index: tuple[int, ...]) -> h5py.VirtualLayout:
    """Return the frames one after the other: those at an index, or all of a raster."""
    # A dot is the file itself, whatever its name.
    source = h5py.VirtualSource(".", stored.name, shape=stored.shape, dtype=stored.dtype)
    at_once = stored.ndim == len(index) + 3
    parts = [index or ...] if at_once else list(range(stored.shape[0]))
    length, *frame = stored.shape[-3:]
    layout = h5py.VirtualLayout((len(parts) * length, *frame), dtype=stored.dtype)
    for place, part in enumerate(parts):
        layout[place * length : (place + 1) * length] = source[part]
    return layout
