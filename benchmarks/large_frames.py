"""A scan of 256x256 frames of 264x264 pixels, 9.1 GB, written as it is made, block by block.

Counts are drawn from a bright disc in few distinct frames, so that making them costs little. The
floor is making them; ours is writing them, beyond that.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

import echolith as el
from benchmarks.measuring import Figure, Result, in_own_process, peak_beyond, seconds
from echolith.compression import Compression, dataset_options
from echolith.errors import BadInputError

Counts = npt.NDArray[np.uint16]

SIZES = {True: (8, 64, 64, 66), False: (256, 256, 264, 264)}
DISC, MEAN = 0.3, 0.5
"""Radius of the disc in shares of the frame; counts in its pixels, and a twentieth elsewhere."""
FRAMES = 64
TARGETS: dict[str, dict[str, Any]] = {
    "seconds": {"at_most": 60},
    "memory": {"at_most": 1e9},
}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every compression that is installed, each in a process of its own."""
    return {
        f"large_frames-{kind.value}": in_own_process(_one, kind=kind, quick=quick)
        for kind in (Compression.SHARE, Compression.BIG)
        if _installed(kind)
    }


def _installed(kind: Compression) -> bool:
    try:
        dataset_options(kind)
    except BadInputError:
        return False
    return True


def _one(*, kind: Compression, quick: bool) -> Result:
    rows = scan(SIZES[quick])
    data = xr.Dataset({"counts": (("scan_y", "scan_x", "k_y", "k_x"), rows)})
    with TemporaryDirectory() as folder:
        el.save(data.isel(scan_y=slice(2)), Path(folder) / "first.h5", compression=kind)
        save = partial(el.save, data, Path(folder) / "large.h5", compression=kind)
        taken, memory = peak_beyond(partial(seconds, save))
        nowhere: Any = Nowhere()
        making = seconds(partial(da.store, rows, nowhere, lock=False))
    targets = {} if quick else TARGETS
    return Result(
        ours_s=taken - making,
        floor_s=making,
        peak_memory_bytes=memory,
        size={"counts": list(rows.shape)},
        figures={
            "seconds": Figure(value=taken - making, unit="s", **targets.get("seconds", {})),
            "memory": Figure(value=memory, unit="bytes", **targets.get("memory", {})),
        },
    )


def scan(shape: tuple[int, int, int, int]) -> da.Array:
    """Return counts, lazy by rows of the scan."""
    random = np.random.default_rng(1)
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape[2:])
    inside = np.hypot(y[:, None], x) < DISC * shape[2]
    mean = np.where(inside, MEAN, MEAN / 20)
    frames = random.poisson(mean, size=(FRAMES, *shape[2:])).astype(np.uint16)
    chunks = ((1,) * shape[0], *((n,) for n in shape[1:]))
    meta = np.empty((0,) * 4, np.uint16)
    rows: da.Array = da.map_blocks(partial(_row, shape[1], frames), chunks=chunks, meta=meta)
    return rows


def _row(columns: int, frames: Counts, block_id: tuple[int, ...] | None = None) -> Counts:
    first = 0 if block_id is None else 7 * block_id[0]
    return np.asarray(frames[None, (first + 13 * np.arange(columns)) % len(frames)])


class Nowhere:
    """Takes what is stored and keeps nothing."""

    def __setitem__(self, where: object, block: Counts) -> None:
        """Forget."""
