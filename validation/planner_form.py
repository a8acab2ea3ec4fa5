"""The settings of a scenario as a form: every setting with unit, range, help and default."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from echolith.validation.catalogue import Entry
from echolith.validation.describe import describe_settings
from echolith.validation.plan_axes import Range
from echolith.validation.scenario import Scenario

LIMITS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
}


def form(entry: Entry, scenario: Scenario) -> dict[str, Any]:
    """Return the form of a scenario as plain values.

    Parameters
    ----------
    entry : Entry
    scenario : Scenario
        Its scenario with default settings.

    Returns
    -------
    dict
        ``groups`` of ``fields`` in the order of the settings (those not in a group first), and the
        ``quantities`` with a scalar truth.
    """
    schema = entry.settings.model_json_schema()
    exposure = scenario.exposure
    proportional = () if exposure is None else exposure.proportional
    groups: dict[str, dict[str, Any]] = {}
    helps: dict[str, dict[str, str]] = {}
    for row in describe_settings(entry.settings):
        *path, last = row["name"].split(".")
        name = ".".join(path)
        if name not in groups:
            model = _model_at(scenario.settings, path)
            helps[name] = _helps(model)
            groups[name] = {"name": name, "help": _summary(model) if path else "", "fields": []}
        groups[name]["fields"].append(
            _field(
                row,
                _node(schema, [*path, last]),
                helps[name].get(last, ""),
                proportional=row["name"] in proportional,
            )
        )
    return {
        "name": scenario.name,
        "summary": entry.summary,
        "quantities": list(scenario.quantities),
        "groups": sorted(groups.values(), key=lambda group: group["name"] != ""),
        "dose_unit": None if exposure is None else exposure.dose_unit,
    }


def _field(
    row: Mapping[str, Any], node: Mapping[str, Any], help_text: str, *, proportional: bool
) -> dict[str, Any]:
    choices = node.get("enum") or row["choices"]
    if node.get("type") == "boolean":
        choices = ["true", "false"]
    elif choices and row["default"] is None:
        choices = [*choices, "null"]
    return {
        "name": row["name"],
        "unit": None if row["unit"] == "1" else row["unit"],
        "default": as_text(row["default"]),
        "choices": choices,
        "help": help_text,
        "range": _range(node),
        "over": _over(row["default"], node, choices, times=10 if proportional else 2),
        "integer": node.get("type") == "integer",
        "proportional": proportional,
    }


def as_text(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _range(node: Mapping[str, Any]) -> str:
    """Return the limits of a number in words; of a pair, those of its first."""
    inner = node["prefixItems"][0] if "prefixItems" in node else node
    return " ".join(f"{word} {as_text(inner[key])}" for key, word in LIMITS.items() if key in inner)


def _over(default: Any, node: Mapping[str, Any], choices: list[str] | None, *, times: float) -> str:
    """Return what to begin with where a plan goes through a setting: a range, or a list."""
    if choices:
        return f"[{', '.join(choices)}]"
    if isinstance(default, bool) or not isinstance(default, int | float) or default <= 0:
        return f"[{as_text(default)}]"
    low = max(default / times, node.get("minimum", 0), 1.01 * node.get("exclusiveMinimum", 0))
    high = min(default * times, node.get("maximum", default * times))
    if not low < high:
        return f"[{as_text(default)}]"
    if isinstance(default, int) and times < 10:
        values = sorted({round(value) for value in Range(low, high).steps()})
        return f"[{', '.join(map(str, values))}]"
    return "..".join(as_text(float(f"{value:.4g}")) for value in (low, high))


def _node(schema: Mapping[str, Any], path: list[str]) -> Mapping[str, Any]:
    """Return the part of a JSON Schema that describes a setting; empty where it does not say."""
    found = [schema]
    for name in path:
        found = [
            node["properties"][name]
            for start in found
            for node in _plain(schema, start)
            if name in node.get("properties", {})
        ]
    kinds = [node for start in found for node in _plain(schema, start)]
    return next((node for node in kinds if node.get("type") != "null"), {})


def _plain(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a node, or each of those it stands for."""
    if "$ref" in node:
        yield from _plain(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    elif "anyOf" in node:
        for inner in node["anyOf"]:
            yield from _plain(schema, inner)
    else:
        yield node


def _model_at(settings: BaseModel, path: list[str]) -> type[BaseModel]:
    for name in path:
        settings = getattr(settings, name)
    return type(settings)


def _summary(model: type[BaseModel]) -> str:
    """Return the first paragraph of a class's docstring on one line."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())


def _helps(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a model, those of its bases too."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind.model_fields:
            found |= _below_fields(kind)
    return found


def _below_fields(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):  # a model made at run time has none
        return {}
    (made,) = ast.parse(source).body
    assert isinstance(made, ast.ClassDef)
    return {
        line.target.id: " ".join(inspect.cleandoc(below.value.value).split())
        for line, below in zip(made.body, made.body[1:], strict=False)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
