"""Images and movies in files of other programs: TIFF and MRC."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.forward.image_kinds import ImageKind, recorded_images
from echolith.forward.image_stack import (
    ImageStack,
    image_name,
    images_of,
    measurement_of,
)
from echolith.forward.mrc_files import read_mrc, write_mrc
from echolith.forward.tiff_files import read_tiff, write_tiff

Write = Callable[[ImageStack, Path], None]
Read = Callable[[Path], ImageStack]

FORMS: Mapping[str, tuple[Write, Read]] = {
    ".tif": (write_tiff, read_tiff),
    ".tiff": (write_tiff, read_tiff),
    ".mrc": (write_mrc, read_mrc),
    ".mrcs": (write_mrc, read_mrc),
}


def holds_images(measurement: xr.Dataset) -> bool:
    """Return whether a measurement can be written as images."""
    return image_name(measurement) is not None


def write_images(measurement: xr.Dataset, path: Path) -> None:
    """Write images, movies and stacks of images, whole or not at all.

    Values are those of the measurement, of whatever type; `read_images` returns it with everything
    that other programs have no place for.

    Parameters
    ----------
    measurement : xarray.Dataset
        One for which `holds_images`. Lazy ones are computed block by block.
    path : Path
        ``.tif``, ``.tiff``, ``.mrc`` or ``.mrcs``.

    Raises
    ------
    BadInputError
        If MRC cannot hold the values exactly.
    OSError
        If the file cannot be written.
    """
    write, _ = FORMS[path.suffix.lower()]
    write(images_of(measurement), path)


def read_images(path: Path, given: Mapping[str, Any]) -> xr.Dataset:
    """Read images, movies and stacks of images, lazily.

    Parameters
    ----------
    path : Path
        As for `write_images`.
    given : mapping
        For files by other programs: ``kind`` (`ImageKind`) and what `recorded_images` asks for.

    Raises
    ------
    BadInputError
        If the file cannot be read, or lacks what is not given.
    """
    _, read = FORMS[path.suffix.lower()]
    stack, values = read(path), dict(given)
    kind = values.pop("kind", None)
    if stack.description is not None:
        if values:
            raise BadInputError(
                f"'{path}' carries its own acquisition; leave out {', '.join(values)}"
            )
        return measurement_of(stack)
    if kind not in list(ImageKind):
        count, rows, columns = stack.pages.shape
        told = (
            f"kind = {kind!r}: {near_match(str(kind), list(ImageKind))}"
            if kind
            else (f"give kind, one of {', '.join(ImageKind)}")
        )
        raise BadInputError(
            f"'{path}' holds {count} images of {rows} × {columns} pixels and does not tell what "
            f"they are of; {told}"
        )
    return recorded_images(stack, values, kind=ImageKind(kind), name=path.name)
