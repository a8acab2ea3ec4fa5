"""Where the frames of a measurement were taken, in the units, axes and terms of CXI.

CXI (Maia, *Nature Methods* 9 (2012) 854, and its file format, version 1.6) holds one entry per
stack of frames, in metres and joules. Only angles are known of our detectors: they are put at a
distance of 1 m, where a pixel is as large as the angle it spans (small angles). CXI looks along +z
with x to the left and y up; so our x and y (right and down in an image) are its -x and -y, and the
specimen moves against the probe: its translation in CXI's axes is the probe's place in ours.
"""

import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import constants

Array = npt.NDArray[np.float64]

SCAN = ("scan_y", "scan_x")
FRAME = ("detector_y", "detector_x")
POSITION = "position"
DISTANCE = 1.0
"""Of the detector, m."""


@dataclass(frozen=True, kw_only=True)
class CxiEntry:
    """A stack of frames.

    Attributes
    ----------
    index : tuple of int
        Of the leading dimensions of ``counts`` that the stack is taken from; empty: all.
    translation : array (frames, 3)
        Of the specimen (x, y, 0), m, in CXI's axes, frame after frame.
    energy : float or None
        Of an electron or photon, J; None where it is not known.
    pixel_size : (float, float) or None
        Of the detector (y, x), m, at `DISTANCE`; None where no angle is known.
    """

    index: tuple[int, ...]
    translation: Array
    energy: float | None
    pixel_size: tuple[float, float] | None


def cxi_entries(measurement: xr.Dataset) -> tuple[CxiEntry, ...]:
    """Return the stacks of frames whose places are known; none for other measurements.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x), or (..., position, detector_y,
        detector_x) with ``position_y`` and ``position_x``.
    """
    if "counts" not in measurement:
        return ()
    dims = tuple(str(dim) for dim in measurement["counts"].dims)
    if dims == (*SCAN, *FRAME):
        named: tuple[str, ...] = SCAN
        outer: tuple[str, ...] = ()
    elif dims[-3:] == (POSITION, *FRAME):
        named, outer = (f"{POSITION}_y", f"{POSITION}_x"), dims[:-3]
    else:
        return ()
    if not all(name in measurement and _unit(measurement[name]) == "Å" for name in named):
        return ()
    places = _places(measurement, named)
    found = []
    for index in np.ndindex(tuple(measurement.sizes[dim] for dim in outer)):
        at: dict[str, int] = dict(zip(outer, index, strict=True))
        energy = _electronvolts(measurement, at)
        found.append(
            CxiEntry(
                index=index,
                translation=places[index].reshape(-1, 3),
                energy=None if energy is None else energy * constants.e,
                pixel_size=_pixel_size(measurement, energy),
            )
        )
    return tuple(found)


def write_geometry(entry: h5py.Group, told: CxiEntry, *, frame: tuple[int, int]) -> None:
    """Write all that is known of a stack of frames but the frames into an ``entry_N``.

    Parameters
    ----------
    entry : h5py.Group
        Without ``sample_1``; ``instrument_1/detector_1`` may hold the frames already.
    told : CxiEntry
    frame : (int, int)
        Pixels (rows, columns); zero angle is at n // 2.
    """
    detector = entry.require_group("instrument_1/detector_1")
    detector["distance"] = DISTANCE
    if told.pixel_size is not None:
        y, x = told.pixel_size
        detector["y_pixel_size"], detector["x_pixel_size"] = y, x
        detector["basis_vectors"] = np.array([[0.0, -y, 0.0], [-x, 0.0, 0.0]])
        detector["corner_position"] = np.array([frame[1] // 2 * x, frame[0] // 2 * y, DISTANCE])
    if told.energy is not None:
        entry["instrument_1/source_1/energy"] = told.energy
    # Places on a raster are so alike that they shrink to a fifteenth.
    places = entry.create_dataset(
        "sample_1/geometry_1/translation",
        data=told.translation,
        compression="gzip",
        shuffle=True,
    )
    detector["translation"] = places


def even_step(values: npt.NDArray[np.number]) -> float | None:
    """Return the step of evenly spaced values, None for others and for single ones."""
    if len(values) < 2 or not np.all(np.isfinite(values)):
        return None
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    # Rounding of stored coordinates, far below a thousandth of a step.
    return step if step and np.allclose(values, even, rtol=0, atol=1e-6 * abs(step)) else None


def _unit(variable: xr.DataArray) -> str:
    return str(variable.attrs.get("units", ""))


def _electronvolts(measurement: xr.Dataset, at: dict[str, int]) -> float | None:
    """Return the energy of an electron or photon."""
    if "energy" in measurement.coords and set(measurement["energy"].dims) <= set(at):
        return _positive(measurement["energy"].isel(at, missing_dims="ignore").values)
    if "energy" in measurement.attrs:
        return _positive(measurement.attrs["energy"])
    try:
        return _positive(json.loads(measurement.attrs["acquisition"])["beam"]["energy"])
    except (KeyError, TypeError, ValueError):
        return None


def _positive(value: Any) -> float | None:
    """Return a number above zero; None for whatever else somebody stored under its name."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < np.inf else None


def _places(measurement: xr.Dataset, named: tuple[str, ...]) -> Array:
    """Return (x, y, 0) in m of every frame, over the dimensions before those of a frame."""
    first = measurement["counts"].isel(dict.fromkeys(FRAME, 0))
    bare = [one.reset_coords(drop=True) for one in (*(measurement[n] for n in named), first)]
    y, x, _ = (one.transpose(*first.dims) for one in xr.broadcast(*bare))
    return 1e-10 * np.stack([x, y, np.zeros(x.shape)], axis=-1)


def _pixel_size(measurement: xr.Dataset, energy: float | None) -> tuple[float, float] | None:
    if "pixel_size" not in measurement.attrs:
        angles = [measurement[dim] for dim in FRAME if dim in measurement.coords]
        steps = [even_step(angle.values) for angle in angles if _unit(angle) == "mrad"]
        known = [1e-3 * DISTANCE * step for step in steps if step is not None]
        return (known[0], known[1]) if len(known) == 2 else None
    side = _positive(measurement.attrs["pixel_size"])
    if energy is None or side is None:
        return None
    # Photons: p = lambda z / (n d) where frames of n pixels reconstruct pixels of d.
    wavelength = constants.h * constants.c / constants.e / energy * 1e10
    y, x = (wavelength * DISTANCE / (measurement.sizes[dim] * side) for dim in FRAME)
    return y, x
