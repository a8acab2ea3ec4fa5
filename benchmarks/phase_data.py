"""The 4D-STEM sets that SSB and WDD are measured on, and their floor.

One thin phase object, a square lattice of columns as far apart as in SrTiO3 along [001], at 200 kV
and 22.4 mrad: 64 x 64 positions 0.244 Å apart over four by four cells, detector at 1.15 times the
disc; larger scans repeat it. Values matter little for time.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.forward.acquisition import (
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    acquisition_of,
)
from echolith.forward.noise import PoissonCounting
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.overlap_geometry import bright_field_disc
from echolith.processors import processors

SIDE = 3.905
"""Å, edge of a cell."""
POSITIONS_PER_CELL = 16
DOSE = 1e4
FLOOR_BLOCK_BYTES = 1 << 18
"""Images transformed at once by one thread: the fastest of 2**16 to 2**22, and all at once."""

Images = npt.NDArray[np.float32]


def measurement(*, positions: int, detector: int, dtype: str) -> xr.Dataset:
    """Return counts of a square scan: expected counts as floats, drawn ones as integers.

    Parameters
    ----------
    positions : int
        Along each axis of the scan; up to 64, or a multiple of 64.
    detector : int
        Pixels along each axis.
    dtype : str
        ``float32`` or ``uint16``.
    """
    tile = min(positions, 64)
    semiangle = 22.4
    taken = StemAcquisition(
        beam=Beam(energy=200e3, semiangle=semiangle),
        scan=Scan(shape=(tile, tile), step=SIDE / POSITIONS_PER_CELL),
        detector=PixelDetector(
            shape=(detector, detector), pixel_size=2 * semiangle * 1.15 / detector
        ),
        haadf=None,
        dose=DOSE,
    )
    mean = phase_object_mean(columns(tile), acquisition=taken)
    if np.dtype(dtype).kind == "u":
        mean = PoissonCounting().sample(mean, seed=0)
    values = mean["counts"].values.astype(dtype)
    repeats = positions // tile
    whole = taken.model_copy(
        update={"scan": Scan(shape=(positions, positions), step=taken.scan.step)}
    )
    return xr.Dataset(
        {"counts": (mean["counts"].dims, np.tile(values, (repeats, repeats, 1, 1)))},
        attrs={"acquisition": whole.model_dump_json()},
    )


def corner(data: xr.Dataset, *, positions: int) -> xr.Dataset:
    """Return the measurement of the first positions along each axis of the scan."""
    taken = acquisition_of(data)
    scan = taken.scan.model_copy(update={"shape": (positions, positions)})
    part = data.isel(scan_y=slice(positions), scan_x=slice(positions))
    return part.assign_attrs(acquisition=taken.model_copy(update={"scan": scan}).model_dump_json())


def columns(positions: int) -> npt.NDArray[np.float64]:
    """Return the phase of a lattice of columns, one pixel a position, rad."""
    wave = np.cos(2 * np.pi * np.arange(positions) / POSITIONS_PER_CELL)
    return np.asarray(0.3 * np.exp(4 * (wave[:, None] + wave[None] - 2)))


def disc_images(data: xr.Dataset) -> Images:
    """Return the scan images of the bright-field pixels alone, (pixels, ny, nx), float32."""
    pixels = bright_field_disc(acquisition_of(data)).pixels
    counts = data["counts"].values
    images = np.empty((len(pixels), *counts.shape[:2]), np.float32)
    frames = counts.reshape(*counts.shape[:2], -1)
    for row, frame_row in enumerate(frames):
        images[:, row] = frame_row[:, pixels].T
    return images


def floor(images: Images) -> None:
    """Transform every image along both scan axes, as SSB and WDD must, and keep nothing.

    Blocks of images that stay in the cache, one thread each.
    """
    step = max(1, FLOOR_BLOCK_BYTES // images[0].nbytes)
    starts = range(0, len(images), step)
    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(partial(_transform, images, step), starts))


def _transform(images: Images, step: int, start: int) -> None:
    fft.rfft2(images[start : start + step], workers=1)
