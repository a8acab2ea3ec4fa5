"""Images and movies in MRC, as programs of electron microscopy read them (MRC2014)."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echolith.atomic import whole_file
from echolith.errors import BadInputError
from echolith.forward.image_stack import ImageStack, as_lazy, description_in, narrowest

Array = npt.NDArray[Any]

MODES = {"int8": 0, "int16": 1, "uint16": 6, "float32": 2}
"""Numbers of the types that the format has."""
EXTENDED = b"ECHO"
"""Code of our extended header, JSON; programs that do not know it step over it."""
UNDETERMINED = {"dmin": 0.0, "dmax": -1.0, "dmean": -2.0, "rms": -1.0}
"""How the format says that statistics were not taken."""


def write_mrc(stack: ImageStack, path: Path) -> None:
    """Write pages as an image stack, no value changed; rows in the order of the array.

    Parameters
    ----------
    stack : ImageStack
        Computed block by block, twice where its type has to be found. The size of a pixel goes
        into the header, the description into the extended header.
    path : Path

    Raises
    ------
    BadInputError
        If no type of the format holds every value exactly.
    OSError
        If the file cannot be written.
    """
    own = stack.pages.dtype.newbyteorder("=").name
    dtype = own if own in MODES else narrowest(stack, ("int16", "uint16", "float32"))
    if dtype is None:
        raise BadInputError(
            f"'{path.name}': MRC holds whole numbers from -32768 to 65535 and single precision, "
            f"and values in {own} would change; write .tif"
        )
    text = json.dumps(stack.description).encode()
    with whole_file(path) as file:
        file.write(_header(stack, MODES[dtype], len(text)).tobytes())
        file.write(text)
        for block in stack.blocks():
            file.write(np.ascontiguousarray(block, dtype=dtype))
            file.check()


def _header(stack: ImageStack, mode: int, extended: int) -> Array:
    from mrcfile.dtypes import HEADER_DTYPE
    from mrcfile.utils import machine_stamp_from_byte_order

    header = np.zeros((), dtype=HEADER_DTYPE)
    sizes = dict(zip("zyx", stack.pages.shape, strict=True))
    for axis, size in sizes.items():
        header[f"n{axis}"] = size
        header[f"m{axis}"] = 1 if axis == "z" else size
        header["cella"][axis] = 1 if axis == "z" else size * (stack.pixel or 0)
    header["mode"], header["nsymbt"], header["exttyp"] = mode, extended, EXTENDED
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90
    for name, value in UNDETERMINED.items():
        header[name] = value
    header["map"], header["nversion"] = b"MAP ", 20141
    header["machst"] = machine_stamp_from_byte_order("<" if sys.byteorder == "little" else ">")
    header["nlabl"] = 1
    header["label"][0] = b"echolith; measurement described in the extended header (JSON)"
    return header


def read_mrc(path: Path) -> ImageStack:
    """Read pages, lazily, and what the header tells.

    Parameters
    ----------
    path : Path
        Images, a stack or a volume of real numbers, of either byte order.

    Raises
    ------
    BadInputError
        If the file is no such MRC file, or is cut short.
    """
    import mrcfile

    try:
        with mrcfile.mmap(path, mode="r", permissive=False) as file:
            shape, dtype = file.data.shape, file.data.dtype.newbyteorder("=")
            pixel = float(file.voxel_size.x), float(file.voxel_size.y)
            text = bytes(file.extended_header.tobytes()).decode("utf-8", errors="replace")
    except (ValueError, OSError) as error:
        raise BadInputError(f"'{path}' cannot be read as MRC: {error}") from error
    if dtype.kind not in "iuf" or len(shape) > 3:
        raise BadInputError(f"'{path}' holds {dtype} {shape}; expected a stack of real images")
    shape = (1, *shape) if len(shape) == 2 else shape
    square = pixel[0] > 0 and np.isclose(*pixel, rtol=1e-4)
    return ImageStack(
        pages=as_lazy(partial(_pages, path, shape[1:], dtype.name), shape, dtype),
        description=description_in(text),
        # Single precision: digits beyond the sixth are made up.
        pixel=float(f"{pixel[0]:.6g}") if square else None,
    )


def _pages(path: Path, page: tuple[int, ...], dtype: str, start: int, stop: int) -> Array:
    import mrcfile

    with mrcfile.mmap(path, mode="r", permissive=False) as file:
        pages = file.data.reshape(-1, *page)[start:stop]
        return np.array(pages, dtype=dtype)
