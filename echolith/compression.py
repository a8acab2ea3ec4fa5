"""How the large variables of a file are compressed, by workers beside each other."""

import zlib
from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError

Array = npt.NDArray[Any]

CHUNK_BYTES = 1 << 22
"""Rows are cut along the second axis into HDF5 chunks of at most about this size."""
SMALL_CHUNK_BYTES = 1 << 18


class Compression(Enum):
    """Trade of size, speed and who can read the file."""

    SHARE = "share"
    """gzip-1 after byte shuffling: every HDF5 reader can open it."""
    NONE = "none"
    """As it is: fastest, largest."""
    BIG = "big"
    """Bitshuffle and LZ4: fast and small; writer and reader need the package hdf5plugin."""


def dataset_options(compression: Compression) -> Mapping[str, Any]:
    """Return the filter arguments of ``h5py.Group.create_dataset``.

    Raises
    ------
    BadInputError
        If the filter needs a package that is not installed.
    """
    if compression is Compression.SHARE:
        return {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    if compression is Compression.NONE:
        return {}
    return dict(_plugin("Compression.BIG (bitshuffle-LZ4)", "use Compression.SHARE").Bitshuffle())


def enable_filters(source: h5py.Dataset) -> None:
    """Make the filters of a stored variable known to HDF5.

    Raises
    ------
    BadInputError
        If one needs a package that is not installed.
    """
    plist = source.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if not all(h5py.h5z.filter_avail(code) for code in filters):
        _plugin(f"'{source.file.filename}'", "have the file saved with Compression.SHARE")


def _plugin(what: str, otherwise: str) -> Any:
    try:
        # Importing it makes its filters known to HDF5.
        return import_module("hdf5plugin")
    except ImportError:
        raise BadInputError(
            f"{what} needs the package hdf5plugin, which is not installed; install it, or "
            f"{otherwise}"
        ) from None


def row_chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the HDF5 chunk of a variable stored row by row: one row, or a part of it.

    Examples
    --------
    >>> row_chunk((256, 256, 264, 264), 2)
    (1, 30, 264, 264)
    """
    inner = int(np.prod(shape[2:])) * itemsize
    return (1, min(shape[1], max(1, CHUNK_BYTES // inner)), *shape[2:])


def whole_chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the HDF5 chunk of a variable stored whole."""
    row = int(np.prod(shape[1:])) * itemsize
    return (min(shape[0], max(1, SMALL_CHUNK_BYTES // row)), *shape[1:])


def deflate_row(row: Array, chunk: tuple[int, ...]) -> list[bytes]:
    """Compress one row as HDF5's own shuffle and gzip filters would, chunk by chunk.

    Parameters
    ----------
    row : array
        One index of the first axis, C-contiguous.
    chunk : tuple of int
        From `row_chunk`.
    """
    return [
        _deflate(row[start : start + chunk[1]], chunk[1]) for start in range(0, len(row), chunk[1])
    ]


def _deflate(part: Array, length: int) -> bytes:
    if len(part) < length:
        part = np.concatenate([part, np.zeros((length - len(part), *part.shape[1:]), part.dtype)])
    planes = part.reshape(-1).view(np.uint8).reshape(-1, part.dtype.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).data, 1)


def inflate(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Undo the shuffle and gzip filters of one chunk."""
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(dtype.itemsize, -1)
    values = np.empty(planes.shape[1], dtype)
    by_byte = values.view(np.uint8)
    for place, plane in enumerate(planes):
        # Six times faster than copying the transpose.
        by_byte[place :: dtype.itemsize] = plane
    return values.reshape(shape)
