"""Write measurements for other programs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.forward.image_files import holds_images, write_images
from echolith.forward.powder_writers import write_powder
from echolith.forward.ptychography_writer import is_far_field, write_far_field
from echolith.forward.rocking_curve import DIMS
from echolith.forward.spectrum_files import holds_spectra, write_spectrum
from echolith.forward.stack_writer import write_stack
from echolith.forward.tomography_writer import is_tilt_series, write_tilt_series


@dataclass(frozen=True, kw_only=True)
class Writer:
    """How one kind of measurement is written."""

    suffixes: tuple[str, ...]
    """Of the files, in lower case, with their dot."""
    kind: str
    """For messages: "rocking curves of a raster"."""
    holds: Callable[[xr.Dataset], bool]
    """Whether a measurement is of this kind."""
    write: Callable[[xr.Dataset, Path], None]


def write_measurement(measurement: xr.Dataset, path: Path) -> None:
    """Write a measurement in another format; suffix and contents say in which of `WRITERS`.

    Parameters
    ----------
    measurement : xarray.Dataset
        Lazy ones stream through memory.
    path : Path

    Raises
    ------
    BadInputError
        If the suffix is of no format, or of none for this kind of measurement.
    OSError
        If the file cannot be written.
    """
    suffix = path.suffix.lower()
    named = [writer for writer in WRITERS if suffix in writer.suffixes]
    if not named:
        known = sorted({one for writer in WRITERS for one in writer.suffixes})
        raise BadInputError(
            f"'{path.name}': expected one of {', '.join(known)}; {near_match(suffix, known)}"
        )
    for writer in named:
        if writer.holds(measurement):
            writer.write(measurement, path)
            return
    kinds = " or ".join(writer.kind for writer in named)
    fitting = sorted({s for w in WRITERS if w.holds(measurement) for s in w.suffixes})
    raise BadInputError(
        f"'{path.name}': {suffix} holds {kinds}, and the measurement is of another kind "
        f"({_described(measurement)}); "
        + (f"write it as {' or '.join(fitting)}" if fitting else "no other format is known for it")
    )


def _described(measurement: xr.Dataset) -> str:
    return "; ".join(
        f"{name} over {', '.join(map(str, variable.dims)) or 'nothing'}"
        for name, variable in measurement.data_vars.items()
    )


def counts_over(*dims: str) -> Callable[[xr.Dataset], bool]:
    """Return whether a measurement has counts over these dimensions, in this order."""
    return lambda measurement: "counts" in measurement and measurement["counts"].dims == dims


WRITERS: tuple[Writer, ...] = (
    Writer(
        suffixes=(".xy", ".xye", ".dat", ".uxd"),
        kind="a powder pattern",
        holds=counts_over("two_theta"),
        write=write_powder,
    ),
    Writer(
        suffixes=(".nxs", ".h5"),
        kind="rocking curves of a raster",
        holds=counts_over(*DIMS),
        write=write_stack,
    ),
    Writer(
        suffixes=(".nxs", ".h5"),
        kind="projections of a tilt series",
        holds=is_tilt_series,
        write=write_tilt_series,
    ),
    Writer(
        suffixes=(".cxi",),
        kind="far-field frames of scans",
        holds=is_far_field,
        write=write_far_field,
    ),
    Writer(
        suffixes=(".tif", ".mrc"),
        kind="images, a movie or a stack of images",
        holds=holds_images,
        write=write_images,
    ),
    Writer(
        suffixes=(".xdi",),
        kind="images at many energies",
        holds=holds_spectra,
        write=write_spectrum,
    ),
)
"""The first whose suffix and contents fit is taken; `FormatOption` has a name for every suffix."""
