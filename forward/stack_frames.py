"""Detector frames in HDF5, read a row of the scan at a time whatever their order in the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from echolith.compression import enable_filters
from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Region = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class StackFrames:
    """Where every frame of a raster is."""

    sources: tuple[tuple[Path, str], ...]
    """File and dataset: one that holds every eta, or one for each eta."""
    eta_axis: int | None
    """Of the one dataset; None where there is one for each eta."""
    scan_shape: tuple[int, ...]
    """Of the file: (points,) or two axes."""
    index: Integers
    """Number of the point in the file, (rows, columns)."""
    order: Integers
    """Number of the angle in the file, in increasing order."""
    region: Region
    """Of the detector: rows and columns, from and to."""
    dtype: np.dtype[Any]

    @property
    def lazy(self) -> Any:
        """Frames as a dask array (scan_y, scan_x, eta, detector_y, detector_x), a chunk a row."""
        task, plan = delayed(_row, pure=False), delayed(self, traverse=False, pure=False)
        size = tuple(stop - start for start, stop in self.region)
        block = (1, self.index.shape[1], len(self.order), *size)
        rows = [
            da.from_delayed(task(plan, n), block, dtype=self.dtype)  # type: ignore[no-untyped-call, unused-ignore]
            for n in range(len(self.index))
        ]
        return da.concatenate(rows)  # type: ignore[no-untyped-call, unused-ignore]


def raster(x: Array, y: Array) -> tuple[Array, Array, Integers]:
    """Return columns, rows and the number of the point at each, (rows, columns).

    Positions may have noise of less than half a step; rows may run to and fro, or be columns.

    Raises
    ------
    BadInputError
        If the points make no raster.

    Examples
    --------
    >>> x, y, index = raster(np.array([0.0, 1.0, 1.1, 0.1]), np.array([5.0, 5.0, 6.0, 6.0]))
    >>> index.tolist()
    [[0, 1], [3, 2]]
    """
    (columns, column), (rows, row) = _levels(x), _levels(y)
    place = row * len(columns) + column
    if len(columns) * len(rows) != len(x) or len(np.unique(place)) != len(x):
        raise BadInputError(
            f"{len(x)} points at {len(columns)} places of scan_x and {len(rows)} of scan_y are no "
            "raster; give the places they were to have: scan_x and scan_y"
        )
    index = np.empty(len(x), dtype=np.int64)
    index[place] = np.arange(len(x))
    return columns, rows, index.reshape(len(rows), len(columns))


def _levels(values: Array) -> tuple[Array, Integers]:
    """Part values at the larger gaps between them; return the mean and the number of each part."""
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order])
    apart = gaps > 0.5 * gaps.max() if len(gaps) and gaps.max() > 0 else np.zeros(len(gaps), bool)
    number = np.empty(len(values), dtype=np.int64)
    number[order] = np.concatenate([[0], np.cumsum(apart)])
    return np.bincount(number, weights=values) / np.bincount(number), number


def check_sources(found: h5py.Dataset) -> None:
    """Refuse frames that are kept in files which are not there: HDF5 would say they are all 0.

    Raises
    ------
    BadInputError
        It names the first file.
    """
    if not found.is_virtual:
        return
    here = Path(found.file.filename)
    for source in found.virtual_sources():
        # A name with % stands for many files.
        if source.file_name != "." and "%" not in source.file_name:
            path = here.parent / source.file_name
            if not path.exists():
                raise BadInputError(
                    f"'{here}', {found.name}: its frames are in '{path}', which is missing; copy "
                    "it to the same place"
                )


def _row(frames: StackFrames, row: int) -> npt.NDArray[Any]:
    """Return one row of the scan, (1, columns, eta, rows, columns of the region)."""
    parts = []
    for path, name in frames.sources:
        try:
            with h5py.File(path, "r") as root:
                parts.append(_cut(root[name], frames, row))
        except (OSError, KeyError, RuntimeError) as error:
            raise BadInputError(
                f"'{path}' can no longer be read ({error}); it was moved, changed or damaged"
            ) from error
    whole = parts[0] if frames.eta_axis is not None else np.stack(parts, axis=1)
    return np.ascontiguousarray(whole[None, :, frames.order])


def _cut(source: h5py.Dataset, frames: StackFrames, row: int) -> npt.NDArray[Any]:
    """Return the frames of one row of one dataset, (columns, [eta,] rows, columns)."""
    enable_filters(source)
    points = frames.index[row]
    region = tuple(slice(start, stop) for start, stop in frames.region)
    cuts: list[Any] = []
    inner: list[Any] = []
    for place in np.unravel_index(points, frames.scan_shape):
        wanted, back = np.unique(place, return_inverse=True)
        step = int(wanted[1] - wanted[0]) if len(wanted) > 1 else 1
        even = (np.diff(wanted) == step).all()
        if not even and len(frames.scan_shape) > 1:
            cuts.append(slice(int(wanted[0]), int(wanted[-1]) + 1))
            inner.append(place - wanted[0])
            continue
        cuts.append(slice(int(wanted[0]), int(wanted[-1]) + 1, step) if even else wanted.tolist())
        inner.append(back)
    if frames.eta_axis is None:
        return np.asarray(source[(*cuts, *region)][tuple(inner)])
    cuts.insert(frames.eta_axis, slice(None))
    read = np.moveaxis(source[(*cuts, *region)], frames.eta_axis, len(frames.scan_shape))
    return np.asarray(read[tuple(inner)])
