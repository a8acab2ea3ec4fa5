"""One HDF5 dataset as an array that opens its file whenever it is read.

Nothing stays open between reads, so it can be passed to other threads and processes.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt
from dask.base import tokenize

from echolith.compression import enable_filters, inflate
from echolith.errors import BadInputError

Array = npt.NDArray[Any]

BLOCK_BYTES = 1 << 25
"""Rows are read in blocks of about this size."""
LONGEST_ROW = 1 << 28
"""Longer rows, as all projections of one energy are, are read in blocks of their second axis."""
SHUFFLE_AND_GZIP = ["shuffle", "gzip"]


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """An array in a file, by slices."""

    path: Path
    name: str
    """Path of the dataset in the file."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    hash: str
    """Contents the file had when it was opened first."""

    @classmethod
    def of(cls, path: Path, source: h5py.Dataset, content_hash: str) -> "StoredArray":
        """Describe an open dataset."""
        return cls(
            path=path.absolute(),
            name=source.name,
            shape=source.shape,
            dtype=source.dtype,
            hash=content_hash,
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Array:
        try:
            with h5py.File(self.path, "r") as root:
                if root.attrs.get("hash") != self.hash:
                    raise BadInputError(
                        f"'{self.path}' was replaced since it was loaded; load again"
                    )
                source = root[self.name]
                enable_filters(source)
                rows = _whole_rows(source, index)
                if rows is None:
                    return np.asarray(source[index])
                chunks = _stored_rows(source, rows)
            # Outside HDF5's lock, so that threads decompress beside each other.
            return _inflate_rows(chunks, self.shape, self.dtype)
        except (OSError, KeyError, RuntimeError, zlib.error) as error:
            raise BadInputError(
                f"'{self.path}' can no longer be read ({error}); it was moved, changed or damaged"
            ) from error


def lazy(stored: StoredArray) -> Any:
    """Return a dask array over blocks of rows, or of parts of very long ones."""
    row = int(np.prod(stored.shape[1:])) * stored.dtype.itemsize
    chunks = (max(1, BLOCK_BYTES // row), *stored.shape[1:]) if stored.shape else ()
    if row > LONGEST_ROW and stored.ndim > 2:
        part = max(1, BLOCK_BYTES * stored.shape[1] // row)
        chunks = (1, part, *stored.shape[2:])
    name = f"stored-{stored.hash[:16]}-{tokenize(stored.path, stored.name)}"
    return da.from_array(stored, chunks=chunks, name=name, asarray=False, fancy=False)  # type: ignore[no-untyped-call, unused-ignore]


def _whole_rows(source: h5py.Dataset, index: Any) -> range | None:
    """Rows asked for, where they are whole and stored row by row as gzip; else None."""
    gzip = source.shuffle and source.compression == "gzip" and not source.fletcher32
    if not gzip or source.ndim < 2 or not isinstance(index, tuple):
        return None
    if source.chunks[0] != 1 or source.chunks[2:] != source.shape[2:]:
        return None
    if len(index) != source.ndim or not all(isinstance(cut, slice) for cut in index):
        return None
    whole = (
        cut.indices(n) == (0, n, 1) for cut, n in zip(index[1:], source.shape[1:], strict=True)
    )
    start, stop, step = index[0].indices(source.shape[0])
    return range(start, stop) if step == 1 and all(whole) else None


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    row: int
    start: int
    shape: tuple[int, ...]
    data: bytes


def _stored_rows(source: h5py.Dataset, rows: range) -> tuple[range, list[_Chunk]]:
    parts = range(0, source.shape[1], source.chunks[1])
    tail = (0,) * (source.ndim - 2)
    chunks = [
        _Chunk(
            row=row - rows.start,
            start=start,
            shape=source.chunks[1:],
            data=source.id.read_direct_chunk((row, start, *tail))[1],
        )
        for row in rows
        for start in parts
    ]
    return rows, chunks


def _inflate_rows(
    stored: tuple[range, list[_Chunk]], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    rows, chunks = stored
    values = np.empty((len(rows), *shape[1:]), dtype)
    for chunk in chunks:
        part = values[chunk.row, chunk.start : chunk.start + chunk.shape[0]]
        part[...] = inflate(chunk.data, chunk.shape, dtype)[: len(part)]
    return values
