"""Images and movies in TIFF, as ImageJ and most cameras write them."""

import json
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from echolith.atomic import whole_file
from echolith.errors import BadInputError
from echolith.forward.image_stack import ImageStack, as_lazy, description_in, narrowest

Array = npt.NDArray[Any]

IMAGEJ = ("uint8", "uint16", "float32")
"""Types of pixels that ImageJ reads as they are."""
LARGEST = (1 << 32) - (1 << 25)
"""Bytes of a file that ImageJ reads; larger ones are BigTIFF."""
KEY = "echolith"
UNITS = {
    "nm": 10.0, "um": 1e4, "µm": 1e4, "μm": 1e4, "\\u00B5m": 1e4, "micron": 1e4, "microns": 1e4,
    "Å": 1.0, "\\u00C5": 1.0, "A": 1.0, "angstrom": 1.0, "Angstrom": 1.0, "pm": 0.01, "mm": 1e7,
}  # fmt: skip
"""Å in each."""


def write_tiff(stack: ImageStack, path: Path) -> None:
    """Write pages one by one, no value changed.

    Counts that fit into 16 bits, and single-precision numbers, are written as ImageJ does, with the
    size of a pixel in nm and the time from frame to frame; others, and more than 4 GB, as plain
    (Big)TIFF. The description of the stack is in the image description either way.

    Parameters
    ----------
    stack : ImageStack
        Computed block by block, twice where its type has to be found.
    path : Path

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    own = stack.pages.dtype.newbyteorder("=").name
    wide = stack.pages.dtype.itemsize > 2 and own != "float32"
    dtype = (narrowest(stack, IMAGEJ[1:]) if wide else None) or own
    size = int(np.prod(stack.pages.shape)) * np.dtype(dtype).itemsize
    text = json.dumps(stack.description)
    imagej = dtype in IMAGEJ and size < LARGEST
    options: dict[str, Any] = {"description": text, "metadata": None}
    if imagej:
        times = {} if stack.interval is None else {"finterval": stack.interval}
        axes = "ZYX" if stack.interval is None else "TYX"
        options = {"metadata": {"axes": axes, "unit": "nm", **times, KEY: text}}
        if stack.pixel is None:
            del options["metadata"]["unit"]
        else:
            options["resolution"] = (10 / stack.pixel, 10 / stack.pixel)
    pages = (page.astype(dtype) for block in stack.blocks() for page in block)
    with (
        whole_file(path) as file,
        tifffile.TiffWriter(file, imagej=imagej, bigtiff=size >= LARGEST) as writer,  # type: ignore[arg-type]
    ):
        writer.write(
            pages, shape=stack.pages.shape, dtype=dtype, photometric="minisblack", **options
        )


def read_tiff(path: Path) -> ImageStack:
    """Read pages, lazily, and what the file tells.

    Parameters
    ----------
    path : Path
        Of one series of grey images: TIFF, BigTIFF, ImageJ's or OME's.

    Raises
    ------
    BadInputError
        If the file is no such TIFF, or is cut short.
    """
    try:
        with _remarks() as remarks, tifffile.TiffFile(path) as file:
            series = _only_series(file, path)
            _check_remarks(remarks, path)
            _check_whole(series, path)
            shape = (int(np.prod(series.shape[:-2])), *map(int, series.shape[-2:]))
            dtype = np.dtype(series.dtype).newbyteorder("=")
            told, text = _told(file)
    except (tifffile.TiffFileError, struct.error, ValueError, KeyError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"'{path}' cannot be read as TIFF: {error}") from error
    return ImageStack(
        pages=as_lazy(partial(_pages, path, shape, dtype.name), shape, dtype),
        description=description_in(text),
        **told,
    )


def _pages(path: Path, shape: tuple[int, ...], dtype: str, start: int, stop: int) -> Array:
    """Read some pages; a chunk of the store is a page, whatever strips and tiles it has."""
    import zarr

    with tifffile.TiffFile(path) as file:
        store = file.series[0].aszarr(chunkmode="page")
        stored = zarr.open_array(store, mode="r")
        leading = stored.shape[:-2]
        read = [stored[_place(n, leading)] for n in range(start, stop)]
    return np.asarray(read, dtype=dtype).reshape(-1, *shape[1:])


def _place(page: int, leading: tuple[int, ...]) -> Any:
    return tuple(map(int, np.unravel_index(page, leading))) if leading else ...


def _only_series(file: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    if len(file.series) != 1:
        shapes = ", ".join(str(one.shape) for one in file.series)
        raise BadInputError(
            f"'{path}' holds {len(file.series)} series of images, {shapes}; expected one; save the "
            "one wanted by itself"
        )
    series = file.series[0]
    if not series.axes.endswith("YX"):
        # Planes of three frames may be called colours; samples of a pixel side by side are.
        raise BadInputError(
            f"'{path}' holds {series.keyframe.samplesperpixel} values a pixel, as of colours (axes "
            f"{series.axes}); expected grey values: export the counts"
        )
    if series.dtype is None or np.dtype(series.dtype).kind not in "iuf":
        raise BadInputError(f"'{path}' holds {series.dtype}; expected real numbers")
    return series


@contextmanager
def _remarks() -> Iterator[list[str]]:
    """Collect what the library logs: of pages that are not there it says no more than this."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _check_remarks(remarks: list[str], path: Path) -> None:
    lost = [one for one in remarks if "page offset" in one or "series" in one]
    if lost:
        raise BadInputError(
            f"'{path}' is damaged or cut short ({lost[0]}); copy or export it again"
        )


def _check_whole(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file that ends before its images: missing ones would be read as zeros."""
    size = path.stat().st_size
    if series.dataoffset is not None:
        needed = series.dataoffset + series.nbytes
    else:
        needed = max(
            offset + count
            for page in series.pages
            if page is not None
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
    if needed > size:
        raise BadInputError(
            f"'{path}' is cut short: its images end at byte {needed}, the file at {size}; copy or "
            "export it again"
        )


def _told(file: tifffile.TiffFile) -> tuple[dict[str, Any], str]:
    """Return pixel and interval where the file tells them, and the text that may be ours."""
    imagej = file.imagej_metadata or {}
    if not imagej:
        return {}, str(file.pages.first.description)
    told: dict[str, Any] = {}
    ratio = file.pages.first.tags.valueof("XResolution") or (0, 1)
    unit = UNITS.get(str(imagej.get("unit", "")))
    if unit is not None and ratio[0]:
        told["pixel"] = unit * ratio[1] / ratio[0]
    if imagej.get("finterval"):
        told["interval"] = float(imagej["finterval"])
    return told, str(imagej.get(KEY, ""))
