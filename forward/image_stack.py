"""Measurements as pages of images, and what else is in them as a text that a file can carry."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.attributes import plain_attributes
from echolith.errors import BadInputError

Array = npt.NDArray[Any]

FORM = "echolith measurement 1"
AXES = (("y", "x"), ("scan_y", "scan_x"), ("detector_y", "detector_x"))
"""Of an image: rows, then columns."""
BESIDE = 100_000
"""Numbers that go into the text at most."""
BLOCK = 32 << 20
"""Bytes of pages that are in memory at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStack:
    """Pages of images.

    Attributes
    ----------
    pages : array, (n, rows, columns)
        NumPy or dask.
    description : dict, optional
        What `described` returned; None for files by other programs.
    pixel : float, optional
        Å.
    interval : float, optional
        From page to page, s.
    """

    pages: Any
    description: dict[str, Any] | None = None
    pixel: float | None = None
    interval: float | None = None

    def blocks(self) -> Iterator[Array]:
        """Yield the pages, computed, some at a time."""
        page = math.prod(self.pages.shape[1:]) * self.pages.dtype.itemsize
        step = max(1, BLOCK // max(1, page))
        for start in range(0, len(self.pages), step):
            yield np.asarray(self.pages[start : start + step])


def image_name(measurement: xr.Dataset) -> str | None:
    """Return the variable whose pages are images, None where the measurement is of another kind.

    It has at most two axes before those of the images, and all others together are small.
    """
    names = [str(n) for n, v in measurement.data_vars.items() if _is_stack(v.dims)]
    beside = sum(v.size for n, v in measurement.variables.items() if n not in names)
    return names[0] if len(names) == 1 and beside <= BESIDE else None


def _is_stack(dims: tuple[Any, ...]) -> bool:
    images = {name for pair in AXES for name in pair}
    return dims[-2:] in AXES and len(dims) <= 4 and not images & set(dims[:-2])


def images_of(measurement: xr.Dataset) -> ImageStack:
    """Return the pages of a measurement for which there is an `image_name`, and the rest as text.

    Raises
    ------
    BadInputError
        If something beside the images cannot be stored.
    """
    name = str(image_name(measurement))
    images = measurement[name]
    frames = images.coords.get("frame")
    times = frames if frames is not None and frames.attrs.get("units") == "s" else None
    return ImageStack(
        pages=images.data.reshape(-1, *images.shape[-2:]),
        description=described(measurement, name),
        pixel=_pixel(images),
        interval=None if times is None else _step(np.asarray(times.values)),
    )


def _pixel(images: xr.DataArray) -> float | None:
    """Return the size of a square pixel in Å."""
    along = [images.coords.get(dim) for dim in images.dims[-2:]]
    if any(axis is None or axis.attrs.get("units") != "Å" for axis in along):
        return None
    rows, columns = (_step(axis.values) for axis in along if axis is not None)
    return rows if rows and columns and math.isclose(rows, columns, rel_tol=1e-6) else None


def _step(values: Array) -> float | None:
    steps = np.diff(values)
    even = len(steps) and np.allclose(steps, steps[0], rtol=1e-6) and steps[0] > 0
    return float((values[-1] - values[0]) / len(steps)) if even else None


def described(measurement: xr.Dataset, name: str) -> dict[str, Any]:
    """Return everything but the images' values; floats survive JSON bit for bit."""
    images = measurement[name]
    variables = {
        str(key): _told(str(key), value) | {"coordinate": key in measurement.coords}
        for key, value in measurement.variables.items()
        if key != name
    }
    return {
        "form": FORM,
        "name": name,
        "dims": list(images.dims),
        "shape": list(images.shape),
        "dtype": images.dtype.newbyteorder("=").name,
        "attrs": plain_attributes(images.attrs, name, ()),
        "variables": variables,
        "measurement": plain_attributes(measurement.attrs, "the measurement", ()),
    }


def _told(name: str, variable: xr.Variable) -> dict[str, Any]:
    values = np.asarray(variable.values)
    if values.dtype.kind not in "biufU":
        raise BadInputError(
            f"'{name}' of type {values.dtype} goes into no image file; expected numbers or text"
        )
    told = {
        "dims": list(variable.dims),
        "dtype": "str" if values.dtype.kind == "U" else values.dtype.newbyteorder("=").name,
        "attrs": plain_attributes(variable.attrs, name, ()),
    }
    # Coordinates of thousands of pixels would hide what else the text says.
    if values.ndim == 1 and len(values) > 2 and values.dtype.kind in "if":
        start, step = values[0].item(), (values[1] - values[0]).item()
        if np.array_equal(_steps(start, step, values.shape, values.dtype), values):
            return told | {"start": start, "step": step, "shape": list(values.shape)}
    return told | {"values": values.tolist(), "shape": list(values.shape)}


def _steps(start: float, step: float, shape: Any, dtype: Any) -> Array:
    return np.asarray(start + np.arange(*shape) * step, dtype=dtype)


def measurement_of(stack: ImageStack) -> xr.Dataset:
    """Return the measurement that `images_of` took apart.

    Raises
    ------
    BadInputError
        If the pages are not those that the text describes.
    """
    told = stack.description or {}
    try:
        pages = stack.pages.astype(told["dtype"])
        images = pages.reshape(tuple(told["shape"]))
        found = xr.Dataset({told["name"]: (told["dims"], images, told["attrs"])})
        for name, one in told["variables"].items():
            variable = (one["dims"], _values(one), one["attrs"])
            assign = found.assign_coords if one["coordinate"] else found.assign
            found = assign({name: variable})
        return found.assign_attrs(told["measurement"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{len(stack.pages)} images of {stack.pages.shape[1:]} pixels are not the measurement "
            f"{told.get('shape')} that their description tells ({error}); they were changed, or "
            "cut short, after they were exported: export again, or take the description out"
        ) from error


def _values(told: dict[str, Any]) -> Array:
    if "values" in told:
        dtype = np.str_ if told["dtype"] == "str" else told["dtype"]
        return np.asarray(told["values"], dtype=dtype).reshape(told["shape"])
    return _steps(told["start"], told["step"], told["shape"], told["dtype"])


def description_in(text: str) -> dict[str, Any] | None:
    """Return what is described in a text, None where it is by another program."""
    if FORM not in text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("form") == FORM else None


def narrowest(stack: ImageStack, dtypes: tuple[str, ...]) -> str | None:
    """Return the first of some types that holds every value exactly, None where none does."""
    fitting = list(dtypes)
    for block in stack.blocks():
        fitting = [dtype for dtype in fitting if _holds(block, np.dtype(dtype))]
    return fitting[0] if fitting else None


def _holds(values: Array, dtype: np.dtype[Any]) -> bool:
    if np.can_cast(values.dtype, dtype) or not values.size:
        return True
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = values.dtype.kind in "iub" or bool((values == np.rint(values)).all())
        return whole and bool(limits.min <= values.min() and values.max() <= limits.max)
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(dtype), values, equal_nan=True))


def as_lazy(pages: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> da.Array:
    """Return pages (n, rows, columns) that a function ``pages(start, stop)`` reads when asked."""
    from dask.delayed import delayed

    step = max(1, BLOCK // 2 // max(1, math.prod(shape[1:]) * dtype.itemsize))
    task = delayed(pages, pure=False)
    parts = [
        da.from_delayed(
            task(start, min(start + step, shape[0])),
            (min(start + step, shape[0]) - start, *shape[1:]),
            dtype=dtype,
        )
        for start in range(0, shape[0], step)
    ]
    joined: da.Array = da.concatenate(parts)
    return joined
