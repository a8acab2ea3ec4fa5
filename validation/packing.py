"""Many samples as one data set: stacked along ``sample``, padded where their sizes differ.

What is the same in all is kept once; what differs beyond values is kept per sample in
``sample_form`` (JSON), so that every sample comes out of the pack as it went in.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError

Array = npt.NDArray[Any]
Form = dict[str, Any]

SAMPLE = "sample"
FORM = "sample_form"
"""JSON per sample: sizes that were padded, variables it lacks, attributes of its own."""
OWN_AXIS = "_of_sample"
"""Ends the name of a dimension's coordinate that differs from sample to sample."""


def pack(samples: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack data sets along a new first dimension ``sample``.

    Parameters
    ----------
    samples : sequence of xarray.Dataset
        In memory; a variable has the same dimensions in all that hold it.

    Returns
    -------
    xarray.Dataset
        Variables that are equal in all are not stacked. Short ones are padded: NaN for floats, 0
        for integers, False, empty text.

    Raises
    ------
    BadInputError
        If there are none, or a variable has other dimensions in another sample.
    """
    if not samples:
        raise BadInputError("there are no samples to pack")
    common = _common([sample.attrs for sample in samples])
    forms = [_form(sample, common) for sample in samples]
    packed, coordinates = {}, set()
    for name in sorted({str(name) for sample in samples for name in sample.variables}):
        held = [sample.variables.get(name) for sample in samples]
        shared = all(v is not None and _identical(v, held[0]) for v in held)
        outer = name if shared or not any(name in s.dims for s in samples) else name + OWN_AXIS
        packed[outer] = held[0] if shared else _stacked(name, held, samples, forms)
        if any(name in sample.coords for sample in samples):
            coordinates.add(outer)
    texts = np.array([json.dumps(form, sort_keys=True) for form in forms], dtype=object)
    packed[FORM] = xr.Variable((SAMPLE,), texts)
    return xr.Dataset(packed, attrs=common).set_coords(coordinates)


def unpack(packed: xr.Dataset, index: int) -> xr.Dataset:
    """Return one sample of a pack, as it was.

    Raises
    ------
    BadInputError
        If there is no such sample, or the data set is no pack.
    """
    if FORM not in packed.variables:
        raise BadInputError(f"the data set is no pack of samples: '{FORM}' is missing")
    count = packed.sizes[SAMPLE]
    if not 0 <= index < count:
        raise BadInputError(f"sample {index}; expected 0 to {count - 1}")
    one = packed.isel({SAMPLE: index})
    form = json.loads(str(one[FORM].values))
    sizes = form["sizes"]
    variables, coordinates = {}, []
    for outer, variable in one.variables.items():
        name = str(outer).removesuffix(OWN_AXIS)
        if name in (SAMPLE, FORM, *form["absent"]):
            continue
        own = form["variables"].get(name, {})
        cut = {dim: slice(sizes[dim]) for dim in variable.dims}
        variables[name] = xr.Variable(
            variable.dims, variable.isel(cut).data, {**variable.attrs, **own}
        )
        if outer in one.coords:
            coordinates.append(name)
    return xr.Dataset(variables, attrs={**one.attrs, **form["attrs"]}).set_coords(coordinates)


def _identical(one: xr.Variable, other: xr.Variable | None) -> bool:
    return bool(one.identical(other))  # type: ignore[no-untyped-call]


def _common(many: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the entries that are equal in all mappings."""
    first = many[0]
    return {
        str(name): first[name]
        for name in first
        if all(name in other and _text(other[name]) == _text(first[name]) for other in many)
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise BadInputError(f"attribute {value!r} is neither number nor text")


def _form(sample: xr.Dataset, common: Mapping[str, Any]) -> Form:
    own = {str(name): value for name, value in sample.attrs.items() if name not in common}
    sizes = {str(dim): size for dim, size in sample.sizes.items()}
    return {"sizes": sizes, "absent": [], "variables": {}, "attrs": json.loads(_text(own))}


def _stacked(
    name: str,
    held: Sequence[xr.Variable | None],
    samples: Sequence[xr.Dataset],
    forms: Sequence[Form],
) -> xr.Variable:
    """Return a variable of all samples, and note in their forms what is their own."""
    present = [variable for variable in held if variable is not None]
    dims = present[0].dims
    if any(variable.dims != dims for variable in present):
        raise BadInputError(f"'{name}' has other dimensions in another sample; none can be stacked")
    shape = [max(sample.sizes.get(dim, 0) for sample in samples) for dim in dims]
    values = _empty((len(held), *shape), [variable.dtype for variable in present])
    common = _common([variable.attrs for variable in present])
    for row, (variable, form) in enumerate(zip(held, forms, strict=True)):
        if variable is None:
            form["absent"].append(name)
            continue
        places: tuple[Any, ...] = (*(slice(size) for size in variable.shape), ...)
        values[row, ...][places] = variable.values
        own = {key: value for key, value in variable.attrs.items() if key not in common}
        if own:
            form["variables"][name] = json.loads(_text(own))
    return xr.Variable((SAMPLE, *dims), values, common)


def _empty(shape: tuple[int, ...], types: Sequence[np.dtype[Any]]) -> Array:
    """Return an array of what stands for nothing in a type that holds all of the given ones."""
    if any(kind.kind in "OUT" for kind in types):
        return np.full(shape, "", dtype=object)
    kind = np.result_type(*types)
    return np.full(shape, np.nan if kind.kind in "fc" else 0, dtype=kind)
