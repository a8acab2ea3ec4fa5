"""Hand a measurement to another environment, and an estimate back, as plain files.

One ``.npy`` file for each variable and a ``manifest.json`` with names, dims and attributes. Needs
Python 3.9 and NumPy, nothing else: `solver_runner` loads it in environments without echolith.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAPPED_FROM = 1 << 20
"""Bytes from which an array is mapped from its file rather than read."""


class ReturnError(ValueError):
    """What the solver returned cannot be handed over."""


class Variable:
    """An array with named axes and attributes, as `xarray.DataArray` has them."""

    def __init__(
        self, dims: Sequence[str], values: Any, attrs: Mapping[str, Any] | None = None
    ) -> None:
        self.dims = tuple(dims)
        self.values = values
        self.attrs = dict(attrs or {})

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.values.shape)

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the axes by name."""
        return {dim: self.shape[axis] for axis, dim in enumerate(self.dims)}

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np

        values = np.asarray(self.values, dtype=dtype)
        return values.copy() if copy else values


class Measurement(Mapping):  # type: ignore[type-arg]
    """Variables and coordinates by name: the stand-in where xarray is not installed."""

    def __init__(
        self, variables: dict[str, Variable], coords: set[str], attrs: dict[str, Any]
    ) -> None:
        self.data_vars = {n: v for n, v in variables.items() if n not in coords}
        self.coords = {n: v for n, v in variables.items() if n in coords}
        self.attrs = attrs

    def __getitem__(self, name: str) -> Variable:
        return self.data_vars[name] if name in self.data_vars else self.coords[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data_vars)

    def __len__(self) -> int:
        return len(self.data_vars)

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of all axes by name."""
        every = [*self.data_vars.values(), *self.coords.values()]
        return {dim: size for variable in every for dim, size in variable.sizes.items()}


def save_array(path: Path, values: Any) -> None:
    """Write one array as ``.npy`` without pickles."""
    import numpy as np

    np.save(path, values, allow_pickle=False)


def write_exchange(
    folder: Path,
    variables: Mapping[str, Variable],
    *,
    coords: set[str],
    attrs: Mapping[str, Any],
    save: Callable[[Path, Any], None] = save_array,
) -> None:
    """Write variables to a folder that takes its name only when it is whole."""
    part = folder.with_name(folder.name + ".part")
    part.mkdir()
    listed = {}
    for index, (name, variable) in enumerate(variables.items()):
        save(part / f"{index}.npy", variable.values)
        listed[name] = {
            "file": f"{index}.npy",
            "dims": list(variable.dims),
            "attrs": {str(key): plain(value) for key, value in variable.attrs.items()},
            "coordinate": name in coords,
        }
    manifest = {
        "format": "echolith-exchange",
        "version": 1,
        "attrs": {str(key): plain(value) for key, value in attrs.items()},
        "variables": listed,
    }
    (part / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    os.replace(part, folder)


def read_exchange(
    folder: Path, *, mapped: bool
) -> tuple[dict[str, Variable], set[str], dict[str, Any]]:
    """Read what `write_exchange` wrote; large arrays are mapped copy-on-write if asked."""
    import numpy as np

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    variables, coords = {}, set()
    for name, entry in manifest["variables"].items():
        path = folder / entry["file"]
        mode: Any = "c" if mapped and path.stat().st_size > MAPPED_FROM else None
        values = np.load(path, mmap_mode=mode, allow_pickle=False)
        variables[name] = Variable(entry["dims"], values, entry["attrs"])
        if entry["coordinate"]:
            coords.add(name)
    return variables, coords, manifest["attrs"]


def plain(value: Any) -> Any:
    """Return an attribute as JSON has it; what JSON lacks comes as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def as_measurement(folder: Path) -> Any:
    """Read the measurement as a Dataset where xarray can be imported, else as the stand-in."""
    variables, coords, attrs = read_exchange(folder, mapped=True)
    try:
        import xarray as xr
    except Exception as error:  # not installed, or it does not fit this NumPy
        print(f"without xarray ({error}): the measurement is a plain mapping", file=sys.stderr)
        return Measurement(variables, coords, attrs)
    contents = {n: (v.dims, v.values, v.attrs) for n, v in variables.items()}
    return xr.Dataset(
        {name: content for name, content in contents.items() if name not in coords},
        coords={name: contents[name] for name in coords},
        attrs=attrs,
    )


def write_estimate(estimate: Any, folder: Path) -> None:
    """Write what a solver returned: a Dataset, or a mapping of names to numbers and arrays."""
    if not isinstance(estimate, Mapping):
        raise ReturnError(
            f"returned {_described(estimate)}; expected an xarray.Dataset or a dict of name to "
            "number, array, (dims, array) or (dims, array, attrs)"
        )
    wrong = [name for name in estimate if not isinstance(name, str)]
    if wrong:
        raise ReturnError(f"returned a variable named {wrong[0]!r}; names are text")
    coords = {str(name) for name in getattr(estimate, "coords", ())}
    names = [*estimate, *sorted(coords - set(estimate))]
    length = _length_of_x(estimate)
    variables = {name: _as_variable(name, estimate[name], length) for name in names}
    write_exchange(folder, variables, coords=coords, attrs=getattr(estimate, "attrs", {}))


def _described(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _length_of_x(estimate: Mapping[str, Any]) -> int | None:
    """Return the number of columns: bare arrays of this length lie along them."""
    if estimate.get("x") is None:
        return None
    x = _as_variable("x", estimate["x"], None)
    return int(x.shape[0]) if x.dims in (("column",), ("x_0",)) else None


def _as_variable(name: str, value: Any, length: int | None) -> Variable:
    if hasattr(value, "dims") and hasattr(value, "attrs"):
        return Variable(value.dims, _as_array(name, value.values), value.attrs)
    if isinstance(value, tuple) and len(value) in (2, 3) and _are_dims(value[0]):
        dims = (value[0],) if isinstance(value[0], str) else tuple(value[0])
        values = _as_array(name, value[1])
        if len(dims) != values.ndim:
            raise ReturnError(
                f"returned '{name}' with {len(dims)} dims {dims} for an array of shape "
                f"{values.shape}; name every axis once"
            )
        return Variable(dims, values, value[2] if len(value) == 3 else None)
    values = _as_array(name, value)
    if values.shape == (length,):
        return Variable(("column",), values)
    return Variable([f"{name}_{axis}" for axis in range(values.ndim)], values)


def _are_dims(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)


def _as_array(name: str, value: Any) -> Any:
    import numpy as np

    try:
        values = np.asarray(value)
    except Exception as error:
        raise ReturnError(f"returned '{name}', which is no array: {error}") from error
    if values.dtype.kind in "OT" and all(isinstance(item, str) for item in values.flat):
        values = values.astype(str)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind not in "biufcUMm":
        what = _described(value) if values.ndim == 0 else f"an array of type {values.dtype}"
        raise ReturnError(f"returned '{name}' as {what}; expected numbers or text")
    return values
