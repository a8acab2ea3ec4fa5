"""Images of other programs as measurements, by kind."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ValidationError

from echolith.errors import BadInputError, near_match
from echolith.forward.filtered_acquisition import IMAGES, FilteredAcquisition
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.image_stack import ImageStack
from echolith.forward.recorded_metadata import (
    Absorption,
    Diffraction,
    Filtered,
    Movie,
    Recorded,
    Scanned,
)
from echolith.units import Unit

Array = npt.NDArray[Any]
Model = TypeVar("Model", bound=BaseModel)

NOISE = 8.0
"""Standard deviations of the read-out noise below which no pixel falls by chance."""


class ImageKind(StrEnum):
    """What images are of."""

    MOVIE = "movie"
    DIFFRACTION = "diffraction"
    FILTERED = "filtered"
    SCANNED = "scanned"
    ABSORPTION = "absorption"


def recorded_images(
    stack: ImageStack, given: Mapping[str, Any], *, kind: ImageKind, name: str
) -> xr.Dataset:
    """Return images as a measurement of a kind.

    Parameters
    ----------
    stack : ImageStack
        Its pixel and interval are taken where none are given.
    given : mapping
        Fields of `Movie`, `Diffraction`, `Filtered`, `Scanned` or `Absorption`.
    kind : ImageKind
    name : str
        Of the file, for messages.

    Raises
    ------
    BadInputError
        If something is missing, all of which one message names, or makes no measurement. Where
        values are no counts, when they are computed.
    """
    model, build = KINDS[kind]
    told: dict[str, Any] = {}
    if kind is not ImageKind.DIFFRACTION and stack.pixel is not None:
        told["pixel_size"] = stack.pixel
    if kind is ImageKind.MOVIE and stack.interval is not None:
        told["frame_interval"] = stack.interval
    return build(stack, _validated(model, {**told, **given}, name), name)


def _validated(model: type[Model], values: Mapping[str, Any], name: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
    missing = [str(one["loc"][0]) for one in problems if one["type"] == "missing"]
    if missing:
        names = ", ".join(f"{one} ({_unit(model, one)})" for one in dict.fromkeys(missing))
        raise BadInputError(
            f"'{name}' does not tell {names}; give each with --given name=value, or in overrides"
        )
    raise BadInputError(
        f"'{name}' with what is given: " + "; ".join(_wrong(model, one) for one in problems)
    )


def _wrong(model: type[BaseModel], problem: Any) -> str:
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"there is no '{where}' to give; {near_match(where, model.model_fields)}"
    told = problem["msg"].removeprefix("Value error, ")
    return f"{where} = {problem['input']!r}: {told}" if where else str(told)


def _unit(model: type[BaseModel], name: str) -> str:
    metadata = model.model_fields[name].metadata
    return next((one.symbol for one in metadata if isinstance(one, Unit)), "1")


def counts_of(stack: ImageStack, given: Recorded, *, name: str, readout: float = 0.0) -> Any:
    """Return the pages in electrons or photons; integers that are counts already stay so."""
    if stack.pages.dtype.kind == "u" and (given.gain, given.offset) == (1, 0):
        return stack.pages
    return stack.pages.map_blocks(
        _counted, given, -NOISE * readout, name, dtype=np.result_type(np.float32, stack.pages.dtype)
    )


def _counted(pages: Array, given: Recorded, lowest: float, name: str) -> Array:
    if not np.isfinite(pages).all():
        raise BadInputError(
            f"'{name}': {np.count_nonzero(~np.isfinite(pages))} values are not finite; expected "
            "numbers everywhere; cut dead pixels off or fill them from their neighbours"
        )
    counts = (pages.astype(np.float64) - given.offset) / given.gain
    if counts.size and counts.min() < lowest:
        low = int((counts < lowest).sum())
        raise BadInputError(
            f"'{name}': the value {pages.min():g}, less offset = {given.offset:g}, by gain = "
            f"{given.gain:g} is {counts.min():g}, and {low - 1} others are too low for counts; "
            "give the offset (the value without beam) and, for frames of TEM, the noise of the "
            "read-out, readout=<standard deviation in electrons>"
        )
    return counts.astype(np.result_type(np.float32, pages.dtype))


def _axes(stack: ImageStack, step: float, names: tuple[str, str]) -> dict[str, Any]:
    sizes = zip(names, stack.pages.shape[1:], strict=True)
    return {axis: (axis, np.arange(n) * step, {"units": "Å"}) for axis, n in sizes}


def _movie(stack: ImageStack, given: Movie, name: str) -> xr.Dataset:
    counts = counts_of(stack, given, name=name, readout=given.readout)
    rate = given.dose_rate
    if rate is None:
        rate = float(np.mean(counts[0])) / given.pixel_size**2 / given.frame_time
    own = ("energy", "aberrations", "semiangle", "focal_spread", "image_spread", "frame_time")
    values = {key: getattr(given, key) for key in own} | {
        "aberrations": given.aberrations.model_dump(),
        "shape": counts.shape[1:],
        "pixel": given.pixel_size,
        "frames": len(counts),
        "dose_rate": rate,
        "response": given.response,
    }
    acquisition = _validated(HrtemAcquisition, values, name)
    interval = given.frame_interval or given.frame_time
    times = given.frame_time / 2 + interval * np.arange(len(counts))
    return xr.Dataset(
        {"counts": (("frame", "y", "x"), counts, {"units": "electrons"})},
        coords={
            "frame": ("frame", times, {"units": "s"}),
            **_axes(stack, given.pixel_size, ("y", "x")),
        },
        attrs={"hrtem": acquisition.model_dump_json()},
    )


def _diffraction(stack: ImageStack, given: Diffraction, name: str) -> xr.Dataset:
    _expect(stack, 1, "one diffraction pattern", name)
    axes = ("detector_y", "detector_x")
    sizes = zip(axes, stack.pages.shape[1:], strict=True)
    attrs = {key: getattr(given, key) for key in ("energy", "camera_length", "pixel_size")}
    if given.saturation is not None:
        attrs["saturation"] = given.saturation
    counts = counts_of(stack, given, name=name)[0]
    return xr.Dataset(
        {"counts": (axes, counts, {"units": "electrons"})},
        coords={axis: (axis, np.arange(n), {"units": "pixel"}) for axis, n in sizes},
        attrs=attrs,
    )


def _filtered(stack: ImageStack, given: Filtered, name: str) -> xr.Dataset:
    _expect(stack, len(IMAGES), f"images in this order: {', '.join(IMAGES)}", name)
    values = given.model_dump(exclude={"gain", "offset", "pixel_size"})
    values |= {"pixel": given.pixel_size, "shape": stack.pages.shape[1:]}
    acquisition = _validated(FilteredAcquisition, values, name)
    counts = counts_of(stack, given, name=name, readout=given.readout)
    return xr.Dataset(
        {"counts": (("image", "y", "x"), counts, {"units": "electrons"})},
        coords={"image": list(IMAGES), **_axes(stack, given.pixel_size, ("y", "x"))},
        attrs={"energy_filtered": acquisition.model_dump_json()},
    )


def _scanned(stack: ImageStack, given: Scanned, name: str) -> xr.Dataset:
    counts = counts_of(stack, given, name=name)
    _, rows, columns = counts.shape
    line = columns * given.dwell + given.flyback
    starts = np.arange(len(counts)) * (rows * line + given.pause)
    times = starts[:, None] + np.arange(rows) * line
    return xr.Dataset(
        {
            "haadf": (("frame", "scan_y", "scan_x"), counts, {"units": "electrons"}),
            "line_time": (("frame", "scan_y"), times, {"units": "s"}),
        },
        coords={
            "frame": np.arange(len(counts)),
            "time": ("frame", starts, {"units": "s"}),
            **_axes(stack, given.pixel_size, ("scan_y", "scan_x")),
        },
    )


def _absorption(stack: ImageStack, given: Absorption, name: str) -> xr.Dataset:
    _expect(stack, len(given.energies), "images, one for each of the energies", name)
    per_energy = isinstance(given.incident, tuple)
    if isinstance(given.incident, tuple) and len(given.incident) != len(given.energies):
        raise BadInputError(
            f"{len(given.incident)} numbers of incident photons for {len(given.energies)} "
            "energies; expected one in all or one each"
        )
    counts = counts_of(stack, given, name=name)
    photons = (("energy",) if per_energy else (), np.asarray(given.incident), {"units": "photons"})
    return xr.Dataset(
        {"counts": (("energy", "y", "x"), counts, {"units": "photons"}), "incident": photons},
        coords={
            "energy": ("energy", np.array(given.energies), {"units": "eV"}),
            **_axes(stack, given.pixel_size, ("y", "x")),
        },
    ).sortby("energy")


def _expect(stack: ImageStack, count: int, what: str, name: str) -> None:
    if len(stack.pages) != count:
        raise BadInputError(f"'{name}' holds {len(stack.pages)} images; expected {count}: {what}")


KINDS: Mapping[ImageKind, tuple[type[Recorded], Callable[..., xr.Dataset]]] = {
    ImageKind.MOVIE: (Movie, _movie),
    ImageKind.DIFFRACTION: (Diffraction, _diffraction),
    ImageKind.FILTERED: (Filtered, _filtered),
    ImageKind.SCANNED: (Scanned, _scanned),
    ImageKind.ABSORPTION: (Absorption, _absorption),
}
