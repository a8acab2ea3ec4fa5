"""Baselines on disk: JSON with one line per seed and group, sorted keys, numbers of 6 digits.

A new baseline differs from the old one only where the performance does, and version control shows
it line by line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from echolith.atomic import whole_file
from echolith.errors import BadInputError
from echolith.validation.performance import Group, Performance

FORMAT = "echolith-baseline"
SCHEMA_VERSION = 1
DIGITS = 6
REMAKE = "make the baseline anew, with the solver it is to stand for (pytest --echolith-update)"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A stored performance and what it belongs to.

    Attributes
    ----------
    scenario : str
    settings : dict
        Those that differ from the defaults, by dotted name.
    measurement : dict
        Two sums of each simulated variable; see `sums`.
    versions : dict
    performance : Performance
    """

    scenario: str
    settings: dict[str, Any]
    measurement: dict[str, list[float]]
    versions: dict[str, str]
    performance: Performance


Seed = Annotated[str, Field(pattern=r"^\d+$")]
"""Keys of JSON are text."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class _Case(_Strict):
    """The errors of one group in one seed."""

    group: str
    seed: int
    errors: int = Field(ge=0)
    rms: float | None = Field(default=None, gt=0)
    spread: float | None = Field(default=None, gt=0)


class _Kind(_Strict):
    unit: str
    values: int = Field(ge=0)


class _File(_Strict):
    """What a baseline holds."""

    format: Literal["echolith-baseline"]
    schema_version: Literal[1]
    scenario: str
    settings: dict[str, Any]
    seeds: list[int]
    measurement: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]]
    versions: dict[str, str]
    failures: dict[Seed, str]
    groups: dict[str, _Kind]
    false_columns: dict[Seed, int] | None = None
    cases: list[_Case]


def write_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline; the folder is made, and the file is whole or not there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(_text(_content(baseline)).encode("utf-8"))


def as_stored(baseline: Baseline) -> Baseline:
    """Return a baseline as it will be read back: with rounded numbers."""
    return _baseline(_File.model_validate(_content(baseline)))


def rounded(value: float) -> float:
    """Return a number rounded to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _content(baseline: Baseline) -> dict[str, Any]:
    measured = baseline.performance
    false = measured.false_columns
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "scenario": baseline.scenario,
        "settings": baseline.settings,
        "seeds": list(measured.seeds),
        "measurement": baseline.measurement,
        "versions": baseline.versions,
        "failures": {str(seed): why for seed, why in measured.failures.items()},
        "groups": {
            name: {"unit": group.unit, "values": group.elements}
            for name, group in measured.groups.items()
        },
        "cases": [
            {"group": name, "seed": seed, **row}
            for name, group in sorted(measured.groups.items())
            for seed, row in zip(measured.seeds, _rows(group), strict=True)
        ],
    }
    if false is not None:
        content["false_columns"] = {
            str(seed): round(float(n))
            for seed, n in zip(measured.seeds, false, strict=True)
            if np.isfinite(n)
        }
    return content


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    for count, square, variance in zip(
        group.count.tolist(), group.mean_square.tolist(), group.variance.tolist(), strict=True
    ):
        row: dict[str, Any] = {"errors": count}
        if np.isfinite(square):
            row["rms"] = rounded(np.sqrt(square))
        if np.isfinite(variance):
            row["spread"] = rounded(np.sqrt(variance))
        yield row


def _text(content: Mapping[str, Any]) -> str:
    """Return JSON with one line for every entry of every part."""
    parts = []
    for name, value in sorted(content.items()):
        if isinstance(value, Mapping) and value:
            lines = [f"{_line(key)}: {_line(entry)}" for key, entry in _in_order(value)]
            text = "{\n    " + ",\n    ".join(lines) + "\n  }"
        elif name == "cases" and value:
            text = "[\n    " + ",\n    ".join(map(_line, value)) + "\n  ]"
        else:
            text = _line(value)
        parts.append(f"  {_line(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _in_order(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Sort by name, seeds by number."""
    return sorted(entries.items(), key=lambda e: (int(e[0]) if e[0].isdecimal() else 0, e[0]))


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises
    ------
    BadInputError
        If the file is missing, damaged, foreign, or of another schema version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInputError(f"there is no baseline '{path}'; {REMAKE}") from error
    except (ValueError, OSError) as error:
        raise BadInputError(
            f"the baseline '{path}' cannot be read ({error}); restore it from version control, or "
            f"{REMAKE}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInputError(f"'{path}' is not a baseline of echolith; {REMAKE}")
    found = content.get("schema_version")
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        raise BadInputError(
            f"the baseline '{path}' has schema version {found}, this echolith reads "
            f"{SCHEMA_VERSION}; " + ("install a newer echolith" if newer else REMAKE)
        )
    try:
        return _baseline(_File.model_validate(content))
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        raise _damaged(path, f"{where}: {wrong['msg']}") from error
    except _IncompleteError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> BadInputError:
    return BadInputError(
        f"the baseline '{path}' is damaged ({what}); restore it from version control, or {REMAKE}"
    )


class _IncompleteError(Exception):
    """A seed or group lacks its line, or has two."""


def _baseline(file: _File) -> Baseline:
    rows: dict[tuple[str, int], _Case] = {(case.group, case.seed): case for case in file.cases}
    wanted = {(name, seed) for name in file.groups for seed in file.seeds}
    if rows.keys() != wanted or len(rows) != len(file.cases):
        odd = [f"{group}, seed {seed}" for group, seed in sorted(rows.keys() ^ wanted)]
        what = odd[0] if odd else "a line stands twice"
        raise _IncompleteError(f"expected one line for every seed of every group; {what}")
    false = file.false_columns
    return Baseline(
        scenario=file.scenario,
        settings=file.settings,
        measurement=file.measurement,
        versions=file.versions,
        performance=Performance(
            seeds=tuple(file.seeds),
            groups={
                name: _group(kind, [rows[name, seed] for seed in file.seeds])
                for name, kind in file.groups.items()
            },
            failures={int(seed): why for seed, why in file.failures.items()},
            false_columns=None
            if false is None
            else np.array([false.get(str(seed), np.nan) for seed in file.seeds], dtype=float),
        ),
    )


def _group(kind: _Kind, cases: Sequence[_Case]) -> Group:
    rms, spread = (
        np.array([np.nan if x is None else x for x in column], dtype=float)
        for column in ([c.rms for c in cases], [c.spread for c in cases])
    )
    return Group(
        unit=kind.unit,
        elements=kind.values,
        count=np.array([c.errors for c in cases], dtype=np.int64),
        mean_square=rms**2,
        variance=spread**2,
    )
