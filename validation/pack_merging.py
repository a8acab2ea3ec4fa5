"""Packs of samples as one, lazily: a whole split to look at, to slice and to reduce."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from echolith.validation.packing import FORM, OWN_AXIS, SAMPLE


def merged(packs: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return packs as one pack of all their samples.

    Parameters
    ----------
    packs : sequence of xarray.Dataset
        As from `echolith.validation.packing.pack`; may be lazy.

    Returns
    -------
    xarray.Dataset
        Padded to the largest sample of all; lazy where the packs are.
    """
    sizes = {dim: max(p.sizes.get(dim, 0) for p in packs) for p in packs for dim in p.sizes}
    forms = [[json.loads(str(text)) for text in pack[FORM].values] for pack in packs]
    for own, attrs in zip(forms, _own_attributes([pack.attrs for pack in packs]), strict=True):
        for form in own:
            form["attrs"] = {**attrs, **form["attrs"]}
    variables, coordinates = {}, set()
    for name in dict.fromkeys(_base(name) for pack in packs for name in pack.variables):
        if name == FORM:
            continue
        held = [pack.variables.get(name, pack.variables.get(name + OWN_AXIS)) for pack in packs]
        shared = all(
            v is not None and SAMPLE not in v.dims and v.identical(held[0])  # type: ignore[no-untyped-call]
            for v in held
        )
        outer = name + OWN_AXIS if not shared and name in sizes and name != SAMPLE else name
        variables[outer] = held[0] if shared else _joined(name, held, forms, sizes)
        if any(name in pack.coords or name + OWN_AXIS in pack.coords for pack in packs):
            coordinates.add(outer)
    texts = [json.dumps(form, sort_keys=True) for own in forms for form in own]
    variables[FORM] = xr.Variable((SAMPLE,), np.array(texts, dtype=object))
    common = _common([pack.attrs for pack in packs])
    return xr.Dataset(variables, attrs=common).set_coords(coordinates)


def _base(name: Any) -> str:
    return str(name).removesuffix(OWN_AXIS)


def _joined(
    name: str,
    held: Sequence[xr.Variable | None],
    forms: Sequence[Sequence[dict[str, Any]]],
    sizes: Mapping[Any, int],
) -> xr.Variable:
    """Return a variable of all samples, and note in their forms what is their own."""
    present = [variable for variable in held if variable is not None]
    own = iter(_own_attributes([variable.attrs for variable in present]))
    like = next((v for v in present if SAMPLE in v.dims), present[0])
    dims = (SAMPLE, *(dim for dim in like.dims if dim != SAMPLE))
    parts = []
    for variable, mine in zip(held, forms, strict=True):
        if variable is None:
            for form in mine:
                form["absent"].append(name)
            shape = [len(mine), *[0] * (len(dims) - 1)]
            variable = xr.Variable(dims, np.full(shape, _nothing(like), like.dtype))
        else:
            attrs = next(own)
            for form in mine if attrs else ():
                form["variables"][name] = {**attrs, **form["variables"].get(name, {})}
        sizes_of = {SAMPLE: len(mine), **dict(variable.sizes)}
        whole = variable.set_dims(sizes_of).transpose(*dims)  # type: ignore[no-untyped-call]
        parts.append(_padded(whole, sizes))
    joined = xr.Variable.concat(parts, dim=SAMPLE)  # type: ignore[no-untyped-call]
    return xr.Variable(dims, joined.data, _common([variable.attrs for variable in present]))


def _padded(variable: xr.Variable, sizes: Mapping[Any, int]) -> xr.Variable:
    """Return a variable filled up with what stands for nothing in its type."""
    wanted = {
        dim: (0, sizes[dim] - size)
        for dim, size in variable.sizes.items()
        if dim != SAMPLE and sizes[dim] > size
    }
    return variable.pad(wanted, constant_values=_nothing(variable)) if wanted else variable


def _nothing(variable: xr.Variable) -> Any:
    return {"f": np.nan, "c": np.nan, "U": "", "O": ""}.get(variable.dtype.kind, 0)


def _common(many: Iterable[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Return the entries that are equal in all mappings."""
    first, *others = many
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _own_attributes(many: Sequence[Mapping[Any, Any]]) -> list[dict[Any, Any]]:
    """Return of each mapping what is not common to all."""
    common = _common(many)
    return [{name: v for name, v in one.items() if name not in common} for one in many]
