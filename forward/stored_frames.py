"""Chosen frames of an HDF5 stack as a lazy array that opens its file whenever it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt

from echolith.compression import enable_filters
from echolith.errors import BadInputError
from echolith.stored_array import BLOCK_BYTES


@dataclass(frozen=True, kw_only=True)
class StoredFrames:
    """Frames of a stack (frames, y, x), or of a raster of them, by slices."""

    path: Path
    name: str
    """Path of the stack in the file."""
    numbers: npt.NDArray[np.int64]
    """Of the frames, ascending; those of a raster run row after row."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ndim: int = 3

    @classmethod
    def of(cls, source: h5py.Dataset, numbers: npt.NDArray[np.int64]) -> "StoredFrames":
        """Choose frames of an open stack."""
        return cls(
            path=Path(source.file.filename).absolute(),
            name=source.name,
            numbers=numbers,
            shape=(len(numbers), *source.shape[-2:]),
            dtype=source.dtype,
        )

    @property
    def lazy(self) -> Any:
        """The frames as a dask array, some at a time."""
        frame = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        chunks = (max(1, BLOCK_BYTES // frame), *self.shape[1:])
        return da.from_array(self, chunks=chunks, name=False, asarray=False, fancy=False)  # type: ignore[no-untyped-call, unused-ignore]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        first, *rest = index
        numbers = self.numbers[first]
        try:
            with h5py.File(self.path, "r") as root:
                source = root[self.name]
                enable_filters(source)
                # Slices of a frame may run backwards, which HDF5 does not.
                return _read(source, numbers)[(slice(None), *rest)]
        except (OSError, KeyError, RuntimeError) as error:
            raise BadInputError(
                f"'{self.path}' can no longer be read ({error}); it was moved, changed or damaged"
            ) from error


def _read(source: h5py.Dataset, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    if not len(numbers):
        return np.empty((0, *source.shape[-2:]), source.dtype)
    low, high = int(numbers[0]), int(numbers[-1])
    if source.ndim == 4:
        row = source.shape[1]
        rows = source[low // row : high // row + 1]
        return np.asarray(rows.reshape(-1, *rows.shape[2:])[numbers - low // row * row])
    if high - low + 1 == len(numbers):
        return np.asarray(source[low : high + 1])
    return np.asarray(source[numbers])
