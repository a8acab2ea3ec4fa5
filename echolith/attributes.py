"""Names, types and attributes as a file can hold them; everything else is refused by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from echolith.errors import BadInputError

Plain = str | bool | int | float | list[Any]


def plain_name(name: Any, kind: str) -> str:
    """Return the name of a variable or dimension as text."""
    if not isinstance(name, str) or name in ("", ".") or "/" in name or "\0" in name:
        raise BadInputError(
            f"{kind} name {name!r} cannot be stored; expected a non-empty string without '/'"
        )
    return name


def storable_type(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the little-endian type of numbers, object for text."""
    if dtype.kind in "UOT":
        return np.dtype(object)
    if dtype.kind in "biufc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8):
        return dtype.newbyteorder("<")
    raise BadInputError(
        f"{where} of type {dtype} cannot be stored; expected numbers (up to 64 bits, or "
        "complex128), booleans or strings"
    )


def plain_text(value: Any, where: str) -> str:
    """Return text that can be stored as UTF-8."""
    if not isinstance(value, str):
        raise BadInputError(f"{where} is {value!r} ({type(value).__name__}); expected a string")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadInputError(f"{where}, {value!r}, holds characters that no text file can hold")
    return str(value)


def plain_attributes(
    attrs: Mapping[Any, Any], where: str, reserved: tuple[str, ...]
) -> dict[str, Plain]:
    """Return attributes as text, numbers, booleans, or lists of one of these."""
    plain = {}
    for name, value in attrs.items():
        if name in reserved:
            raise BadInputError(
                f"attribute {name!r} of {where} is used by the file format itself; rename it"
            )
        at = f"attribute {name!r} of {where}"
        plain[plain_text(name, f"an attribute name of {where}")] = _plain_attribute(value, at)
    return plain


def _plain_attribute(value: Any, where: str) -> Plain:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, list | tuple):
        return _plain_list([_plain_scalar(item, where) for item in value], where)
    return _plain_scalar(value, where)


def _plain_scalar(value: Any, where: str) -> str | bool | int | float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return plain_text(value, where)
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    raise BadInputError(
        f"{where} is {value!r} ({type(value).__name__}) and cannot be stored; expected text, a "
        "number of up to 64 bits, true or false, or a list of one of them (JSON text for more)"
    )


def _plain_list(items: list[Any], where: str) -> list[Any]:
    kinds = {str if isinstance(item, str) else bool if isinstance(item, bool) else float
             for item in items}  # fmt: skip
    if len(kinds) > 1:
        raise BadInputError(f"{where} mixes text, numbers and booleans; use one kind, or JSON text")
    if any(isinstance(item, float) for item in items):
        return [float(item) for item in items]
    return items
