"""From what users type (keywords, ``a.b=value``, YAML) to a validated settings object."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from echolith.errors import BadInputError, near_match

Model = TypeVar("Model", bound=BaseModel)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read ``a.b=value`` texts into a nested mapping; values are read as YAML.

    Parameters
    ----------
    assignments : iterable of str
        Each ``name=value`` with a dotted name, e.g. ``"beam.energy=2e5"``.

    Returns
    -------
    dict
        Nested by the dots.

    Raises
    ------
    BadInputError
        If a text has no ``=`` or an empty name.

    Examples
    --------
    >>> parse_assignments(["beam.energy=2e5", "scan.shape=[64, 64]"])
    {'beam': {'energy': 200000.0}, 'scan': {'shape': [64, 64]}}
    """
    found: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadInputError(f"'{text}' is not of the form name=value, e.g. beam.energy=2e5")
        try:
            parsed = number_or(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise BadInputError(f"the value in '{text}' cannot be read as YAML: {error}") from error
        found = merge(found, nested(name.strip(), parsed))
    return found


def number_or(value: Any) -> Any:
    """Return a number for text like ``2e5``, which YAML 1.1 does not read as one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def nested(name: str, value: Any) -> dict[str, Any]:
    """Return ``{"a": {"b": value}}`` for the dotted name ``a.b``."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with over's entries laid on top, nested mappings merged."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file of settings.

    Raises
    ------
    BadInputError
        If the file is missing, cannot be read, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInputError(f"settings file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BadInputError(
            f"settings file {path} holds no names and values; expected 'name: value'"
        )
    return content


def resolve(model: type[Model], overrides: Mapping[str, Any]) -> Model:
    """Validate overrides laid on top of the model's defaults.

    Parameters
    ----------
    model : type
        A settings model every field of which has a default.
    overrides : mapping
        Nested names and values.

    Returns
    -------
    Model

    Raises
    ------
    BadInputError
        With one line for each wrong entry: its name, value, what was expected, the near match.
    """
    try:
        return model.model_validate(merge(model().model_dump(), overrides))
    except ValidationError as error:
        lines = [message for _name, message in explanations(model, error)]
        raise BadInputError("; ".join(dict.fromkeys(lines))) from error


def explanations(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Return the dotted name of every wrong entry and what is wrong with it, in words."""
    return [
        (".".join(map(str, detail["loc"])), _explain(model, detail)) for detail in error.errors()
    ]


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    location = [str(part) for part in detail["loc"]]
    name = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        return f"unknown setting '{name}'; {near_match(location[-1], known)}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name} = {detail['input']!r}: {message}"


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        field = model.model_fields.get(name)
        if field is None:
            break
        candidates = [field.annotation, *get_args(field.annotation)]
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            break
        model = inner[0]
    return list(model.model_fields)


def setting_value(settings: Mapping[str, Any], name: str) -> Any:
    """Return the value of a setting by its dotted name; ``drift.0`` is the first of a pair.

    Raises
    ------
    BadInputError
        If there is no such setting.
    """
    inner: Any = settings
    for part in name.split("."):
        if isinstance(inner, list | tuple) and part.isdigit() and int(part) < len(inner):
            inner = inner[int(part)]
            continue
        if not isinstance(inner, Mapping) or part not in inner:
            known = setting_names(settings)
            raise BadInputError(f"unknown setting '{name}'; {near_match(name, known)}")
        inner = inner[part]
    return inner


def setting_names(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of all settings."""
    found = []
    for name, value in settings.items():
        inner = setting_names(value, f"{prefix}{name}.") if isinstance(value, Mapping) else []
        found += inner or [prefix + name]
    return found


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings with other values, given by dotted names, on top.

    Examples
    --------
    >>> with_values({"drift": (0.0, 1.0), "dose": 5}, {"drift.0": 2.0})
    {'drift': (2.0, 1.0), 'dose': 5}
    """
    changed = dict(settings)
    for name, value in values.items():
        outer, _, index = name.rpartition(".")
        if outer and index.isdigit():
            several = list(setting_value(changed, outer))
            several[int(index)] = value
            name, value = outer, tuple(several)
        changed = merge(changed, nested(name, value))
    return changed
