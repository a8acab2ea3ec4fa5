"""Read recorded measurements, whatever kind of file they are in."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from echolith.dataset import load
from echolith.errors import BadInputError, near_match
from echolith.forward.abtem_files import read_abtem
from echolith.forward.image_files import FORMS, read_images
from echolith.forward.powder_files import read_powder
from echolith.forward.ptychography_files import holds_far_field, read_far_field
from echolith.forward.spectrum_files import read_spectrum
from echolith.forward.stack_files import read_stack
from echolith.forward.tomography_files import holds_tilt_series, read_tilt_series
from echolith.store import format_name

OWN_SUFFIXES = (".h5", ".hdf5", ".hspy")
POWDER: Mapping[str, tuple[type, ...]] = {"step_time": (int, float), "part": (int,)}
"""What can be given for a powder pattern."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How one kind of file is read."""

    kind: str
    """For messages."""
    knows: Callable[[Path], bool]
    """Whether a file or folder is of this kind; it may look into it."""
    read: Callable[[Path, Mapping[str, Any]], xr.Dataset]
    """From the path and what is given besides."""
    dosed: bool = False
    """Whether a dose can be given."""


def read_measurement(
    path: str | os.PathLike[str],
    *,
    dose: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read a measurement; what the file is follows from what is in it.

    Parameters
    ----------
    path : path
        Our own HDF5 (``.h5``); a 4D-STEM measurement saved by abTEM's ``to_zarr`` (a folder or a
        ``.zip``; images saved with it are read as the annular detector if its angles are given);
        far-field frames as CXI (`read_far_field`); a tilt series as NXtomo or Scientific Data
        Exchange (`read_tilt_series`); rocking curves of a raster in HDF5 with NeXus names
        (`read_stack`); images (`read_images`); a spectrum (`read_spectrum`); or a powder pattern
        (`read_powder`).
    dose : float, optional
        Electrons per Å², for files by abTEM: intensity fractions are scaled to it. Where it is
        missing, a default (fractions) or the counts themselves give it, with a warning.
    overrides : mapping, optional
        What the file lacks or has wrong. By abTEM: values of `StemAcquisition`, nested
        (``{"beam": {"semiangle": 22.4, "aberrations": {"C10": -50}}}``). Rocking curves: motors, as
        for `read_stack`. Tilt series, images, spectra: as for their readers. Powder patterns:
        ``step_time`` and ``part`` of `read_powder`.

    Returns
    -------
    xarray.Dataset
        Lazy where it is large.

    Raises
    ------
    BadInputError
        If the file is none of these, cannot be read, or lacks metadata that is not given.
    """
    path = Path(path)
    given = dict(overrides or {})
    if not path.exists():
        raise BadInputError(f"there is no file or folder '{path}'")
    reader = next(reader for reader in READERS if reader.knows(path))
    if dose is not None:
        if not reader.dosed:
            raise BadInputError(
                f"dose = {dose} e/Å²; '{path}', {reader.kind}, carries its own acquisition, or "
                "needs no dose"
            )
        given["dose"] = dose
    return reader.read(path, given)


def _own(path: Path, given: Mapping[str, Any]) -> xr.Dataset:
    if given:
        raise BadInputError(f"'{path}' carries its own acquisition; overrides are for others")
    return load(path)


def _abtem(path: Path, given: Mapping[str, Any]) -> xr.Dataset:
    overrides = dict(given)
    return read_abtem(path, dose=overrides.pop("dose", None), overrides=overrides)


def _powder(path: Path, given: Mapping[str, Any]) -> xr.Dataset:
    for name, value in given.items():
        if name not in POWDER:
            raise BadInputError(
                f"'{name}' cannot be given for a powder pattern; {near_match(name, POWDER)}"
            )
        if not isinstance(value, POWDER[name]):
            raise BadInputError(f"{name} = {value!r}; expected a number")
    try:
        return read_powder(path, **given)
    except BadInputError as error:
        if path.suffix.lower() in (".xy", ".xye", ".dat", ".uxd"):
            raise
        kinds = "; ".join(reader.kind for reader in READERS)
        raise BadInputError(f"'{path}' is of no known kind; expected {kinds}: {error}") from error


READERS: tuple[Reader, ...] = (
    Reader(
        kind="a measurement saved by abTEM (Zarr folder or .zip)",
        knows=lambda path: path.is_dir() or path.suffix == ".zip",
        read=_abtem,
        dosed=True,
    ),
    Reader(
        kind=f"an echolith measurement ({', '.join(OWN_SUFFIXES)})",
        knows=lambda path: (
            format_name(path) is not None
            or (path.suffix in OWN_SUFFIXES and not h5py.is_hdf5(path))
        ),
        read=_own,
    ),
    Reader(
        kind="far-field frames of scans (CXI)",
        knows=holds_far_field,
        read=lambda path, given: read_far_field(path, given=given),
    ),
    Reader(
        kind="a tilt series (NXtomo, or Scientific Data Exchange)",
        knows=holds_tilt_series,
        read=lambda path, given: read_tilt_series(path, given=given),
    ),
    Reader(
        kind="rocking curves of a raster in HDF5 with NeXus names",
        knows=h5py.is_hdf5,
        read=lambda path, given: read_stack(path, motors=given),
    ),
    Reader(
        kind=f"images ({', '.join(FORMS)})",
        knows=lambda path: path.suffix.lower() in FORMS,
        read=read_images,
    ),
    Reader(
        kind="a spectrum (.xdi)",
        knows=lambda path: path.suffix.lower() == ".xdi",
        read=read_spectrum,
    ),
    Reader(kind="a powder pattern (.xy, .xye, .dat, .uxd)", knows=Path.is_file, read=_powder),
)
"""The first that knows a file is taken; the last one knows every file."""
