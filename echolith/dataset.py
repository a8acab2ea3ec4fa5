"""Save and load measurements, and, apart from them, the truth they were made from.

The truth lives in a file of its own and names the measurement it belongs to by the hash of its
contents: the same data serve for blind and for open use.
"""

import os
from math import inf
from pathlib import Path

import xarray as xr

from echolith import store
from echolith.compression import Compression
from echolith.contents import Progress, content_hash
from echolith.errors import BadInputError
from echolith.faces import write_faces
from echolith.store import Format

__all__ = [
    "Compression",
    "content_hash",
    "load",
    "load_dataset",
    "load_truth",
    "save",
    "save_dataset",
    "save_truth",
    "stored_hash",
    "verify",
]

MEASUREMENT = Format(name="echolith-measurement", group="measurement", what="a measurement")
TRUTH = Format(name="echolith-truth", group="truth", what="a truth")
DATASET = Format(name="echolith-dataset", group="dataset", what="a data set")

Path_ = str | os.PathLike[str]


def save(
    measurement: xr.Dataset,
    path: Path_,
    *,
    truth: xr.Dataset | None = None,
    compression: Compression = Compression.SHARE,
    progress: Progress | None = None,
) -> str:
    """Save a measurement as HDF5; lazy ones stream through memory block by block.

    The file takes its name only when it is whole and on the disk: an interrupted save or a full
    disk leaves nothing behind, and a file that was there before stays as it was. Other programs
    open it as it is (`echolith.faces`).

    Parameters
    ----------
    measurement : xarray.Dataset
        Variables of numbers, booleans or text.
    path : path
        Usually ``*.h5``.
    truth : xarray.Dataset, optional
        Saved beside it as ``<stem>.truth.h5``, linked by hash.
    compression : Compression
    progress : callable, optional
        Told (row blocks written, row blocks in all).

    Returns
    -------
    str
        Hash of the contents, for `save_truth`.

    Raises
    ------
    BadInputError
        If a variable or attribute cannot be stored, or the folder does not exist.
    OSError
        If the disk is full or the file cannot be written.
    """
    digest = store.write(
        measurement,
        path,
        form=MEASUREMENT,
        compression=compression,
        faces=write_faces,
        progress=progress,
    )
    if truth is not None:
        save_truth(truth, Path(path).with_suffix(".truth.h5"), measurement_hash=digest)
    return digest


def load(path: Path_, *, eager_bytes: float = 0) -> xr.Dataset:
    """Load a measurement; numeric variables are dask arrays over blocks of scan rows.

    The file is opened for each block and closed again. If it is replaced in the meantime,
    computing fails rather than mixing two files.

    Parameters
    ----------
    path : path
    eager_bytes : float
        Variables up to this size are read into memory.

    Raises
    ------
    BadInputError
        If the file is missing, not HDF5, cut short, incomplete, not a measurement, from a newer
        version, or lacks a variable.
    """
    return store.read(path, form=MEASUREMENT, eager_bytes=eager_bytes)


def save_truth(truth: xr.Dataset, path: Path_, *, measurement_hash: str) -> None:
    """Save a truth with the hash of the one measurement it belongs to (raises as `save`)."""
    store.write(truth, path, form=TRUTH, marks={"measurement_hash": measurement_hash})


def load_truth(
    path: Path_, *, measurement: xr.Dataset | Path_, eager_bytes: float = inf
) -> xr.Dataset:
    """Load the truth of a measurement.

    Parameters
    ----------
    path : path
    measurement : xarray.Dataset or path
        The measurement itself (its hash is computed), or its file (the hash in it is believed; see
        `verify`).
    eager_bytes : float
        Variables up to this size are read into memory, which is all by default.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    BadInputError
        If the truth belongs to another measurement, or a file cannot be read.
    """
    expected = store.root_attributes(path, form=TRUTH).get("measurement_hash")
    if isinstance(measurement, xr.Dataset):
        found = content_hash(measurement)
    else:
        found = stored_hash(measurement)
    if found != expected:
        raise BadInputError(
            f"the truth '{path}' belongs to the measurement {expected}, not to this one ({found}); "
            "load the truth saved with it, or the measurement as it was saved"
        )
    return store.read(path, form=TRUTH, eager_bytes=eager_bytes)


def stored_hash(path: Path_) -> str:
    """Return the hash that a measurement file states (raises as `load`)."""
    return str(store.root_attributes(path, form=MEASUREMENT)["hash"])


def verify(path: Path_) -> None:
    """Read a whole measurement file and refuse it where contents and stated hash differ.

    Raises
    ------
    BadInputError
        If the contents were changed or damaged.
    """
    stated, found = stored_hash(path), content_hash(load(path))
    if stated != found:
        raise BadInputError(
            f"the contents of '{path}' were changed since it was saved: "
            f"hash {found}, stated {stated}"
        )


def save_dataset(
    dataset: xr.Dataset,
    path: Path_,
    *,
    compression: Compression = Compression.SHARE,
    progress: Progress | None = None,
) -> str:
    """Save any other data set, such as an estimate (as `save`)."""
    return store.write(dataset, path, form=DATASET, compression=compression, progress=progress)


def load_dataset(path: Path_) -> xr.Dataset:
    """Load what `save_dataset` saved (as `load`)."""
    return store.read(path, form=DATASET)
