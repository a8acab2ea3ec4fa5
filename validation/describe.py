"""The settings of a scenario as rows: name, unit, default, choices."""

from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel

from echolith.units import Unit


def describe_settings(model: type[BaseModel], *, prefix: str = "") -> list[dict[str, Any]]:
    """List every setting of a model, nested ones by dotted name.

    Parameters
    ----------
    model : type
        A settings model every field of which has a default.
    prefix : str
        Dotted name of the model inside a larger one.

    Returns
    -------
    list of dict
        ``name``, ``unit`` (or None), ``default`` (JSON value), ``choices`` (or None).
    """
    return _rows(model(), prefix)


def _rows(defaults: BaseModel, prefix: str) -> list[dict[str, Any]]:
    """List the values of a model, which may differ from the defaults of its own class."""
    plain = defaults.model_dump(mode="json")
    rows: list[dict[str, Any]] = []
    for name, field in type(defaults).model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            rows += _rows(value, f"{prefix}{name}.")
            continue
        choices = [str(item.value) for item in type(value)] if isinstance(value, Enum) else None
        rows.append(
            {
                "name": prefix + name,
                "unit": _unit(field.annotation, list(field.metadata)),
                "default": plain[name],
                "choices": choices,
            }
        )
    return rows


def _unit(annotation: Any, metadata: list[Any]) -> str | None:
    """Find the unit in an annotation, in a tuple of annotated numbers too."""
    for item in metadata:
        if isinstance(item, Unit):
            return item.symbol
    for inner in get_args(annotation):
        found = _unit(inner, list(getattr(inner, "__metadata__", ())))
        if found is not None:
            return found
    return None
