"""Samples as plain NumPy arrays of fixed shapes, as training takes them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.validation.packing import FORM, OWN_AXIS, SAMPLE

Array = npt.NDArray[Any]

TRUTH = "truth."
"""Begins the name of an array that is truth."""
MASK = ".mask"
"""Ends the name of the array that says where a padded one holds values."""


@dataclass(frozen=True, kw_only=True)
class FixedShape:
    """What an array is in every sample of a split.

    Attributes
    ----------
    shape : tuple of int
        Of the largest sample along each axis.
    dtype : numpy.dtype
    padded : bool
        Some samples are smaller, or lack it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    padded: bool

    def filled(self, values: Array | None) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return values in an array of this shape, and where they are; the rest is 0."""
        whole, there = np.zeros(self.shape, self.dtype), np.zeros(self.shape, bool)
        if values is not None:
            place = tuple(slice(size) for size in values.shape)
            whole[place], there[place] = values, True
        return whole, there


def fixed_shapes(
    names: Sequence[str], packs: Iterable[Mapping[str, xr.Dataset]], *, masked: bool
) -> dict[str, FixedShape]:
    """Return the shapes of arrays in all samples.

    Parameters
    ----------
    names : sequence of str
        Of a measurement's variables or coordinates; with `TRUTH` before them, of a truth's.
    packs : iterable of mappings
        Of each shard the pack of measurements as ``""``, that of truths as `TRUTH`.
    masked : bool
        Whether arrays that are padded in some samples will do.

    Raises
    ------
    BadInputError
        If there is no such variable, it is text, or its shape differs and is not to be masked.
    """
    shapes: dict[str, list[tuple[int, ...] | None]] = {name: [] for name in names}
    types: dict[str, set[np.dtype[Any]]] = {name: set() for name in names}
    known: set[str] = set()
    for shard in packs:
        for start, pack in shard.items():
            held = {str(n).removesuffix(OWN_AXIS): v for n, v in pack.variables.items()}
            known |= {start + name for name in held if name not in (SAMPLE, FORM)}
            forms = [json.loads(str(text)) for text in pack[FORM].values]
            for name in (name for name in names if _start(name) == start):
                plain = name.removeprefix(start)
                shapes[name] += _shapes(plain, held.get(plain), forms)
                types[name] |= {held[plain].dtype} if plain in held else set()
    for name in names:
        if not types[name]:
            raise BadInputError(f"the samples hold no '{name}'; {near_match(name, known)}")
    return {name: _fixed(name, shapes[name], types[name], masked=masked) for name in names}


def arrays_of(
    found: Mapping[str, xr.Dataset | None], *, shapes: Mapping[str, FixedShape]
) -> dict[str, Array]:
    """Return arrays by name, and masks of those that may be padded, from one sample.

    Parameters
    ----------
    found : mapping
        Its measurement as ``""``, its truth as `TRUTH`.
    shapes : mapping
        From `fixed_shapes`.
    """
    arrays: dict[str, Array] = {}
    for name, fixed in shapes.items():
        one, plain = found[_start(name)], name.removeprefix(TRUTH)
        values = None if one is None or plain not in one.variables else one[plain].values
        arrays[name], there = fixed.filled(values)
        if fixed.padded:
            arrays[name + MASK] = there
    return arrays


def _start(name: str) -> str:
    return TRUTH if name.startswith(TRUTH) else ""


def _shapes(
    name: str, variable: xr.Variable | None, forms: Sequence[Mapping[str, Any]]
) -> list[tuple[int, ...] | None]:
    """Return the shape in each sample of a pack; None where it is absent."""
    if variable is None:
        return [None] * len(forms)
    dims = [dim for dim in variable.dims if dim != SAMPLE]
    return [
        None if name in form["absent"] else tuple(form["sizes"][dim] for dim in dims)
        for form in forms
    ]


def _fixed(
    name: str,
    shapes: Sequence[tuple[int, ...] | None],
    types: Iterable[np.dtype[Any]],
    *,
    masked: bool,
) -> FixedShape:
    dtype = np.result_type(*types)
    if dtype.kind not in "biufc":
        raise BadInputError(
            f"'{name}' is text, which no array of numbers holds; turn it into numbers with "
            "transformed(function)"
        )
    there = [shape for shape in shapes if shape is not None]
    least, largest = (tuple(int(n) for n in f(there, axis=0)) for f in (np.min, np.max))
    padded = len(there) < len(shapes) or least != largest
    if padded and not masked:
        told = f"shapes of {least} to {largest}" if least != largest else "no value in some samples"
        raise BadInputError(
            f"'{name}' has {told}; ask for arrays(..., masked=True), which fills it up to "
            f"{largest} and adds '{name}{MASK}', or make arrays of one shape with "
            "transformed(function)"
        )
    return FixedShape(shape=largest, dtype=dtype, padded=padded)
