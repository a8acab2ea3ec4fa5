"""Scan-axis Fourier transform of the bright-field pixels, streamed.

``G(K, Q) = (1/N) sum_R I(K, R) exp(-2 pi i Q.R)`` is wanted for every pixel K of the bright-field
disc and half the plane of Q. Pixels are gathered group by group from frame-major counts to
pixel-major float32, transformed block by block and handed on while still in the cache; neither G
nor a second copy of the counts is ever whole in memory.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition, acquisition_of
from echolith.inverse.frame_gathering import gather
from echolith.inverse.overlap_geometry import Disc, FloatArray, HalfPlane, IntArray
from echolith.processors import threads

Block = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]

DIMS = ("scan_y", "scan_x", "detector_y", "detector_x")
PIXELS_PER_TASK = 64
"""Pixels summed into one partial sum; fixed, so that the order of summation is."""
PIXELS_AT_ONCE = 1024
"""Most pixels gathered at once from counts in memory: few enough that those of a small scan stay
in the cache, enough that some kilobytes are read of each frame."""
BLOCK_BYTES = 1 << 20
"""Counts transformed at once: they and their spectra stay in the cache."""
ROWS_READ_BYTES = 1 << 26
"""Most counts read at once from a lazy array, if its chunks allow."""
CERTAIN_ELECTRONS = 50.0
"""Mean electrons per position above which an empty frame (chance exp(-50)) is a fault."""


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How much memory and how many threads; neither changes a bit of the result but `memory`.

    Parameters
    ----------
    memory : int
        Bytes for the gathered disc pixels. Where they do not fit, the counts are gone through in
        several passes over groups of detector rows; counts in memory cost nothing more for that,
        lazy ones are read once per pass.
    workers : int or None
        Threads; None for dask's ``num_workers`` if set, else all processors.
    """

    memory: int = 1 << 28
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise BadInputError(f"memory = {self.memory} bytes; expected 1 or more")
        if self.workers is not None and self.workers < 1:
            raise BadInputError(f"workers = {self.workers} threads; expected 1 or more, or None")

    def threads(self) -> int:
        """Return the number of threads to use."""
        return threads(self.workers)


def checked_counts(measurement: xr.Dataset) -> tuple[xr.DataArray, StemAcquisition]:
    """Return counts and acquisition of a measurement that can be inverted.

    Raises
    ------
    BadInputError
        If counts or metadata are missing, or their shapes disagree.
    """
    acquisition = acquisition_of(measurement)
    if "counts" not in measurement:
        raise BadInputError(
            f"the measurement has no variable 'counts' (it has: {', '.join(map(str, measurement))})"
            f"; expected electron counts with dims {DIMS}"
        )
    counts = measurement["counts"]
    if set(counts.dims) != set(DIMS):
        raise BadInputError(f"counts have dims {counts.dims}; expected {DIMS}; rename them")
    counts = counts.transpose(*DIMS)
    expected = (*acquisition.scan.shape, *acquisition.detector.stored_shape)
    if counts.shape != expected:
        raise BadInputError(
            f"counts have shape {counts.shape}, but the acquisition says {expected} "
            "(scan_y, scan_x, detector_y, detector_x); correct one of them"
        )
    if counts.dtype.kind not in "uif":
        raise BadInputError(f"counts are of type {counts.dtype}; expected integers or floats")
    acquisition.warn_if_undersampled()
    return counts, acquisition


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What `project_spectra` returns: the kernel's sums and the mean electrons per position."""

    sums: Sums
    electrons: float


def project_spectra(
    counts: xr.DataArray,
    disc: Disc,
    plane: HalfPlane,
    project: Callable[[Block, slice, Sums], None],
    *,
    channels: int,
    streaming: Streaming,
) -> Projection:
    """Transform every disc pixel along the scan and sum over pixels with a kernel.

    Parameters
    ----------
    counts : DataArray, dims (scan_y, scan_x, detector_y, detector_x)
        In memory or lazy (dask).
    disc, plane : Disc, HalfPlane
        Which K and Q.
    project : callable
        ``project(spectra, pixels, sums)`` adds the pixels of one block to ``sums`` (channels, Q);
        ``spectra`` is (pixels, scan rows, 2 columns or more) float32: real and imaginary parts in
        turn of sum_R I(K, R) exp(-2 pi i Q.R).
    channels : int
    streaming : Streaming

    Returns
    -------
    Projection

    Raises
    ------
    BadInputError
        If a count is not a number of 0 or more, or frames are empty.
    """
    positions = int(np.prod(plane.shape))
    totals = np.zeros(positions)
    sums = np.zeros((channels, plane.size))
    most = streaming.memory // (4 * positions)
    if isinstance(counts.data, np.ndarray):
        most = min(most, PIXELS_AT_ONCE)
    groups = pixel_groups(disc, counts.shape[-2:], most=most)
    largest = max(last - first for first, last, _, _ in groups)
    buffer = np.empty((largest, positions), np.float32)
    per_block = max(1, BLOCK_BYTES // (4 * positions))

    def task(gathered: Block, first: int, last: int, offset: int) -> Sums:
        part = np.zeros_like(sums)
        for start in range(first, last, per_block):
            stop = min(start + per_block, last)
            images = gathered[start:stop].reshape(-1, *plane.shape)
            lines = fft.rfft(images, axis=2)
            spectra = fft.fft(lines[:, :, : plane.columns], axis=1, overwrite_x=True)
            # In place it leaves the columns that are not wanted behind; either is contiguous.
            block = lines if np.may_share_memory(spectra, lines) else spectra
            project(block.view(np.float32), slice(offset + start, offset + stop), part)
        return part

    with ThreadPoolExecutor(streaming.threads()) as pool:
        for first, last, start, stop in groups:
            gathered = buffer[: last - first]
            pixels = disc.pixels[first:last]
            _gather_group(counts, start, stop, pixels, gathered, totals, pool, streaming)
            edges = [*range(0, last - first, PIXELS_PER_TASK), last - first]
            jobs = [pool.submit(task, gathered, a, b, first) for a, b in pairwise(edges)]
            for job in jobs:
                sums += job.result()
    return Projection(sums=sums, electrons=_mean_electrons(totals, plane.shape))


def pixel_groups(
    disc: Disc, frame: tuple[int, ...], *, most: int
) -> list[tuple[int, int, int, int]]:
    """Divide the disc into groups of whole detector rows of at most so many pixels each.

    Returns
    -------
    list of (first, last, start, stop)
        Disc pixels first:last are gathered from flat detector pixels start:stop; together the
        groups cover the whole detector once.
    """
    rows, columns = frame
    cuts = np.searchsorted(disc.pixels, np.arange(rows + 1) * columns)
    groups: list[tuple[int, int, int, int]] = []
    top = 0
    for row in range(1, rows + 1):
        ends = row == rows
        if ends or cuts[row + 1] - cuts[top] > max(most, PIXELS_PER_TASK):
            groups.append((int(cuts[top]), int(cuts[row]), top * columns, row * columns))
            top = row
    return groups


def _gather_group(
    counts: xr.DataArray,
    start: int,
    stop: int,
    pixels: IntArray,
    out: Block,
    totals: FloatArray,
    pool: Executor,
    streaming: Streaming,
) -> None:
    scan_x = counts.shape[1]

    def part(frames: npt.NDArray[Any], first: int) -> bool:
        return bool(gather(frames, start, stop, pixels, out, first, totals))

    for row, rows in _read_rows(counts):
        frames = rows.reshape(rows.shape[0] * scan_x, -1)
        share = -(-len(frames) // streaming.threads())
        share += -share % 64  # threads then never write to one cache line
        firsts = range(0, len(frames), share)
        jobs = [pool.submit(part, frames[f : f + share], row * scan_x + f) for f in firsts]
        if not all(job.result() for job in jobs):
            raise BadInputError(_describe_bad_counts(frames, row, scan_x))


def _read_rows(counts: xr.DataArray) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (first scan row, counts of some whole scan rows), C-contiguous, native numbers."""
    data = counts.data
    if isinstance(data, np.ndarray) and _is_plain(data):
        yield 0, data
        return
    row_bytes = max(1, data[:1].nbytes)
    most = max(1, ROWS_READ_BYTES // row_bytes)
    chunks = data.chunks[0] if hasattr(data, "chunks") else (data.shape[0],)
    row = 0
    for chunk in chunks:
        # A chunk is computed whole, once; only arrays in memory are read in smaller pieces.
        size = chunk if hasattr(data, "chunks") else most
        for first in range(row, row + chunk, size):
            part = data[first : min(first + size, row + chunk)]
            rows = np.asarray(part.compute() if hasattr(part, "compute") else part)
            kind = rows.dtype if rows.dtype.itemsize in _NUMBA_SIZES[rows.dtype.kind] else "f8"
            yield first, np.ascontiguousarray(rows, np.dtype(kind).newbyteorder("="))
        row += chunk


_NUMBA_SIZES = {"u": (1, 2, 4, 8), "i": (1, 2, 4, 8), "f": (4, 8)}


def _is_plain(data: npt.NDArray[Any]) -> bool:
    sizes = _NUMBA_SIZES[data.dtype.kind]
    return data.flags.c_contiguous and data.dtype.isnative and data.dtype.itemsize in sizes


def _describe_bad_counts(frames: npt.NDArray[Any], row: int, scan_x: int) -> str:
    for index, frame in enumerate(frames):
        wrong = np.flatnonzero(~(frame >= 0))
        if wrong.size:
            y, x = divmod(index, scan_x)
            value = frame[wrong[0]]
            what = "NaN" if np.isnan(value) else f"{value:g} electrons"
            return (
                f"counts at scan position ({row + y}, {x}) contain {what}; expected counts of 0 or "
                "more; subtract no dark level beyond zero, and mask or repair dead pixels first"
            )
    raise AssertionError("no bad count found")


def _mean_electrons(totals: FloatArray, shape: tuple[int, int]) -> float:
    mean = float(totals.mean())
    if not np.isfinite(mean):
        raise BadInputError("counts contain infinite values; expected counts of 0 or more")
    if mean == 0:
        raise BadInputError("all frames are empty (0 electrons); nothing can be reconstructed")
    empty = np.flatnonzero(totals == 0)
    if empty.size and mean > CERTAIN_ELECTRONS:
        y, x = divmod(int(empty[0]), shape[1])
        raise BadInputError(
            f"{empty.size} of {totals.size} frames are empty, the first at scan position "
            f"({y}, {x}), where {mean:.4g} electrons are expected; replace dropped frames first"
        )
    return mean
