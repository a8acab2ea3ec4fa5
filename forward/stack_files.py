"""Read rocking curves of a raster from HDF5 with NeXus names.

Frames are taken in the orders in which beam lines write them: (eta, points, y, x) or (eta, scan,
scan, y, x) in one dataset, our own (scan_y, scan_x, eta, y, x), or an entry for each eta with
(points, y, x) or (scan, scan, y, x).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import ValidationError

from echolith.errors import BadInputError, near_match
from echolith.forward.goniometer import Goniometer
from echolith.forward.rocking_curve import DIMS
from echolith.forward.stack_entries import Stack
from echolith.forward.stack_frames import Region, StackFrames, raster
from echolith.forward.stack_quantities import (
    QUANTITIES,
    Kind,
    Quantity,
    in_unit,
    members,
)
from echolith.forward.xray_factors import PLANCK_TIMES_LIGHT
from echolith.hdf5_files import opened

Array = npt.NDArray[np.float64]

WAVELENGTH = Quantity(
    names=("wavelength", "incident_wavelength"),
    kind=Kind.LENGTH,
    plain=((1e-7, 1), (np.inf, 1e-10)),
)
LAYOUT = ("frames", "entries", "region")
"""What else can be given."""


def read_stack(
    path: str | os.PathLike[str], *, motors: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Read rocking curves of a raster.

    Parameters
    ----------
    path : path
        HDF5.
    motors : mapping, optional
        What the file lacks, has wrong or calls otherwise, by the names of `QUANTITIES`: a number
        (°, eV, m; scan_x and scan_y in m), an array, or the path of a dataset, in the file or its
        entries. Also ``frames`` (path of the dataset), ``entries`` (names, one for each eta) and
        ``region`` (``[[row, row], [column, column]]`` of the detector, from and to).

    Returns
    -------
    xarray.Dataset
        As of `echolith.forward.rocking_curve.rocking_curve_mean`: ``counts`` (scan_y, scan_x, eta,
        detector_y, detector_x), lazy, a chunk for each row of the scan.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds no frames, or lacks numbers that are not given; one
        message names them all.
    """
    path, given = Path(path), dict(motors or {})
    known = (*QUANTITIES, *LAYOUT)
    for name in given:
        if name not in known:
            raise BadInputError(f"there is no '{name}' to give; {near_match(name, known)}")
    if not path.is_file():
        raise BadInputError(f"there is no file '{path}'")
    with opened(path) as root:
        return _read(Stack(path=path, root=root, given=given))


def _read(stack: Stack) -> xr.Dataset:
    shape = stack.shape
    eta_axis, scan_shape = _layout(stack, shape)
    count = len(stack.frames) if stack.parted else shape[0 if eta_axis is None else eta_axis]
    points = int(np.prod(scan_shape))
    eta = _of_angles(stack, "eta", count, points)
    places = _places(stack, count, scan_shape)
    numbers = _geometry(stack)
    _refuse_missing(stack, {"eta": eta, **places, **numbers})
    assert eta is not None
    x, y, index = raster(*(1e10 * place for place in places.values() if place is not None))
    order = np.argsort(eta)
    if count < 2 or not (np.diff(eta[order]) > 0).all():
        raise BadInputError(
            f"'{stack.path}': eta of its {count} frames a point is {eta.min():g} to "
            f"{eta.max():g}°; expected several different angles; choose the entries of one "
            "rocking curve: entries=..."
        )
    region = _region(stack, shape[-2:])
    frames = StackFrames(
        sources=tuple(
            (Path(frames.file.filename).absolute(), frames.name) for frames in stack.frames.values()
        ),
        eta_axis=eta_axis,
        scan_shape=scan_shape,
        index=index,
        order=order,
        region=region,
        dtype=stack.frames[stack.names[0]].dtype,
    )
    return xr.Dataset(
        {"counts": (DIMS, frames.lazy, {"units": "photons"})},
        coords={
            "scan_y": ("scan_y", y, {"units": "Å"}),
            "scan_x": ("scan_x", x, {"units": "Å"}),
            "eta": ("eta", eta[order], {"units": "°"}),
            **_monitor(stack, count, points, order),
            **_valid(stack, shape[-2:], region),
        },
        attrs=_attributes(stack, numbers, region),
    )


def _layout(stack: Stack, shape: tuple[int, ...]) -> tuple[int | None, tuple[int, ...]]:
    """Return the axis of eta in the frames, None where each entry is one, and those of the scan."""
    if stack.parted and len(shape) in (3, 4):
        return None, shape[:-2]
    if len(shape) == 4:
        return 0, (shape[1],)
    if len(shape) == 5:
        axis = _eta_axis(stack, shape)
        return axis, tuple(shape[n] for n in range(3) if n != axis)
    raise BadInputError(
        f"'{stack.path}' has frames of shape {shape}; expected (eta, points, y, x), (eta, scan, "
        "scan, y, x), (scan, scan, eta, y, x), or several entries of (points, y, x)"
    )


def _eta_axis(stack: Stack, shape: tuple[int, ...]) -> int:
    for group in _groups(stack.root[stack.names[0]]):
        axes = [
            name.decode() if isinstance(name, bytes) else str(name)
            for name in np.ravel(group.attrs.get("axes", []))
        ]
        if len(axes) == 5 and "eta" in axes:
            return axes.index("eta")
    lengths = {c.size for c in stack.found(QUANTITIES["eta"])}
    given = stack.given.get("eta")
    lengths |= {np.size(given)} if given is not None and not isinstance(given, str) else set()
    fitting = [axis for axis in (0, 2) if shape[axis] in lengths]
    if len(fitting) == 1:
        return fitting[0]
    raise BadInputError(
        f"'{stack.path}': which axis of the frames {shape} is eta is not clear; say so in the "
        "attribute 'axes' of their NXdata, or give all values of eta"
    )


def _groups(group: h5py.Group, depth: int = 0) -> list[h5py.Group]:
    found = [group]
    for _, inner in members(group) if depth < 3 else ():
        if isinstance(inner, h5py.Group):
            found += _groups(inner, depth + 1)
    return found


def _of_angles(stack: Stack, name: str, count: int, points: int) -> Array | None:
    """Return a number for each eta, the mean over its points."""
    if stack.parted and not np.size(stack.given.get(name, "")) > 1:
        found = [stack.looked_up(name, entry=entry) for entry in stack.names]
        told = [values.mean() for values in found if values is not None]
        return np.array(told) if len(told) == count else None
    values = stack.looked_up(name, sizes=(count, count * points))
    if values is None:
        return None
    if values.size % count:
        raise BadInputError(
            f"'{stack.path}': {values.size} values of {name} for {count} angles; expected {count}"
        )
    return np.asarray(values.reshape(count, -1).mean(axis=1))


def _places(stack: Stack, count: int, scan_shape: tuple[int, ...]) -> dict[str, Array | None]:
    """Return scan_x and scan_y of every point, m, None where they are not told."""
    points = int(np.prod(scan_shape))
    places = {}
    for name in ("scan_x", "scan_y"):
        found = stack.looked_up(name, sizes=(points, count * points))
        places[name] = stack.looked_up(name, sizes=range(2, points)) if found is None else found
    x, y = places.values()
    if x is None or y is None:
        return places
    axes = (y.size, x.size)
    if scan_shape == axes or (len(scan_shape) == 1 and y.size * x.size == points):
        y, x = np.meshgrid(y, x, indexing="ij")
    return {name: _of_points(stack, name, v, points) for name, v in (("scan_x", x), ("scan_y", y))}


def _of_points(stack: Stack, name: str, values: Array, points: int) -> Array:
    """Return one number for each point, the mean over all angles."""
    if values.size % points:
        raise BadInputError(
            f"'{stack.path}': {values.size} values of {name} for {points} points; expected one for "
            "each point, or one for each row and column"
        )
    return np.asarray(values.reshape(-1, points).mean(axis=0))


def _geometry(stack: Stack) -> dict[str, float | None]:
    """Return the numbers that stand still by name, None where they are not told."""
    numbers = {name: stack.standing(name) for name in ("phi", "nu", "delta", "energy")}
    if numbers["energy"] is None:
        found = stack.found(WAVELENGTH)
        if found:
            wavelength = float(in_unit(found[0], WAVELENGTH).mean()) * 1e10
            numbers["energy"] = PLANCK_TIMES_LIGHT / wavelength if wavelength > 0 else None
    numbers |= {name: stack.standing(name) for name in ("distance", "pixel_size")}
    pixel = numbers["pixel_size"]
    sizes = [
        in_unit(c, QUANTITIES["pixel_size"]).mean() for c in stack.found(QUANTITIES["pixel_size"])
    ]
    if "pixel_size" not in stack.given and sizes and max(sizes) > 1.001 * min(sizes):
        raise BadInputError(
            f"'{stack.path}': pixels of {min(sizes):g} x {max(sizes):g} m; expected square ones"
        )
    for name in ("beam_center_x", "beam_center_y"):
        numbers[name] = stack.standing(name, pixel=pixel)
    return numbers


def _refuse_missing(stack: Stack, found: Mapping[str, Any]) -> None:
    missing = [name for name, value in found.items() if value is None]
    if missing:
        looked = "; ".join(f"{name} as {', '.join(QUANTITIES[name].names)}" for name in missing)
        raise BadInputError(
            f"'{stack.path}' does not tell {', '.join(missing)} (looked in {stack.names[0]} for "
            f"{looked}); give each as a number or as the path of a dataset: "
            f"motors={{'{missing[0]}': ...}}, on the command line --given {missing[0]}=..."
        )


def _region(stack: Stack, shape: tuple[int, ...]) -> Region:
    region = stack.given.get("region", [[0, shape[0]], [0, shape[1]]])
    try:
        (top, bottom), (left, right) = ((int(a), int(b)) for a, b in region)
    except (TypeError, ValueError):
        top, bottom, left, right = 0, 0, 0, 0
    if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
        raise BadInputError(
            f"region = {region}; expected [[row, row], [column, column]] within the frames of "
            f"{shape[0]} x {shape[1]} pixels"
        )
    return (top, bottom), (left, right)


def _monitor(stack: Stack, count: int, points: int, order: npt.NDArray[np.int64]) -> dict[str, Any]:
    values = _of_angles(stack, "monitor", count, points)
    if values is None:
        return {}
    if not (values > 0).all():
        raise BadInputError(
            f"'{stack.path}': monitor = {values.min():g} at one eta; expected more than 0"
        )
    return {"monitor": ("eta", values[order] / values.mean(), {"units": "1"})}


def _valid(stack: Stack, shape: tuple[int, ...], region: Region) -> dict[str, Any]:
    mask = stack.looked_up("pixel_mask")
    if mask is None:
        return {}
    if mask.shape != shape:
        raise BadInputError(
            f"'{stack.path}': pixel_mask of shape {mask.shape} for frames of {shape} pixels"
        )
    rows, columns = (slice(*ends) for ends in region)
    return {"valid": (DIMS[3:], mask[rows, columns] == 0)}


def _attributes(
    stack: Stack, numbers: Mapping[str, float | None], region: Region
) -> dict[str, str | float]:
    told = {name: value for name, value in numbers.items() if value is not None}
    if not told["pixel_size"] > 0:
        raise BadInputError(f"pixel_size = {told['pixel_size']:g} m; expected more than 0")
    try:
        goniometer = Goniometer(
            beam_energy=told["energy"],
            phi=told["phi"],
            nu=told["nu"],
            delta=told["delta"],
            distance=told["distance"] / told["pixel_size"],
            centre=(told["beam_center_y"] - region[0][0], told["beam_center_x"] - region[1][0]),
        )
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise BadInputError(f"'{stack.path}': {reasons}") from error
    attrs: dict[str, str | float] = {"goniometer": goniometer.model_dump_json()}
    direction = {name: stack.standing(name) for name in ("inclination", "azimuth")}
    if None not in direction.values():
        attrs["reflection"] = json.dumps(direction)
    saturation = stack.standing("saturation")
    return attrs | ({"saturation": saturation} if saturation is not None else {})
