"""Powder patterns in UXD, the text format of Bruker's (Siemens') diffractometers.

Keys ``_NAME=value``, comments after ``;``, and for every range a key such as ``_2THETACOUNTS``
(pairs) or ``_COUNTS`` (with ``_START`` and ``_STEPSIZE``), then numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.powder_text import line_numbers

Array = npt.NDArray[np.float64]

DATA = re.compile(r"_(2THETA)?(COUNTS|CPS)")
KEY = re.compile(r"(_\w+)\s*(?:=\s*(.*))?")
OF_ONE_RANGE = ("_START", "_2THETA", "_STEPSIZE", "_STEPCOUNT", "_STEPTIME")


@dataclass(frozen=True, kw_only=True)
class UxdRange:
    """One range of a measurement."""

    angles: Array
    values: Array
    per_second: bool
    step_time: float | None
    """s."""
    lines: tuple[tuple[float, float], ...]
    """Wavelength in Å and relative intensity, where the file tells."""


@dataclass(kw_only=True)
class _Block:
    line: int
    marker: str
    keys: dict[str, str]
    numbers: list[float] = field(default_factory=list)


def is_uxd(text: str) -> bool:
    """Return whether a text is of this kind."""
    return re.search(r"^\s*_(FILEVERSION|2?THETA(COUNTS|CPS)|COUNTS|CPS)\b", text, re.M) is not None


def uxd_ranges(path: Path, text: str) -> list[UxdRange]:
    """Return every range of a file.

    Raises
    ------
    BadInputError
        If there is none, or one is cut short or lacks a key.
    """
    blocks = _blocks(path, text)
    if not blocks:
        raise BadInputError(
            f"'{path}' holds no counts; expected '_2THETACOUNTS' or '_COUNTS' and numbers after it"
        )
    return [_range(path, block) for block in blocks]


def _blocks(path: Path, text: str) -> list[_Block]:
    blocks: list[_Block] = []
    keys: dict[str, str] = {}
    reading = False
    for n, raw in enumerate(text.splitlines(), 1):
        line = raw.partition(";")[0].strip()
        if not line:
            continue
        if key := KEY.match(line):
            reading = DATA.fullmatch(key[1].upper()) is not None
            if reading:
                blocks.append(_Block(line=n, marker=key[1].upper(), keys=keys))
                keys = {name: v for name, v in keys.items() if name not in OF_ONE_RANGE}
            else:
                keys = keys | {key[1].upper(): (key[2] or "").strip("' \"")}
            continue
        numbers, rest = line_numbers(line)
        if rest or not reading:
            raise BadInputError(f"'{path}', line {n}: {line[:40]!r}; expected a key or counts")
        blocks[-1].numbers.extend(numbers)
    return blocks


def _range(path: Path, block: _Block) -> UxdRange:
    where = f"'{path}', range from line {block.line}"
    values = np.array(block.numbers)
    if block.marker.startswith("_2THETA"):
        if len(values) % 2:
            raise BadInputError(f"{where}: {len(values)} numbers are no pairs; it is cut short")
        angles, values = values[::2], values[1::2]
    else:
        start, step = (_needed(block.keys, names, where) for names in (FIRST, ("_STEPSIZE",)))
        if not step > 0:
            raise BadInputError(f"{where}: _STEPSIZE = {step:g}°; expected more than 0")
        angles = start + step * np.arange(len(values))
    announced = _number(block.keys, "_STEPCOUNT", where)
    if announced is not None and len(values) != round(announced):
        raise BadInputError(
            f"{where}: {len(values)} points, {announced:g} are announced (_STEPCOUNT); the file is "
            "cut short: export it again"
        )
    return UxdRange(
        angles=angles,
        values=values,
        per_second=block.marker.endswith("CPS"),
        step_time=_number(block.keys, "_STEPTIME", where),
        lines=_lines(block.keys, where),
    )


FIRST = ("_START", "_2THETA")


def _needed(keys: Mapping[str, str], names: tuple[str, ...], where: str) -> float:
    for name in names:
        value = _number(keys, name, where)
        if value is not None:
            return value
    raise BadInputError(f"{where}: no {' or '.join(names)}, so 2 theta of its counts is not known")


def _number(keys: Mapping[str, str], name: str, where: str) -> float | None:
    if name not in keys:
        return None
    numbers, rest = line_numbers(keys[name])
    if len(numbers) != 1 or rest or not abs(numbers[0]) < 1e9:
        raise BadInputError(f"{where}: {name} = {keys[name]!r}; expected a number")
    return numbers[0]


def _lines(keys: Mapping[str, str], where: str) -> tuple[tuple[float, float], ...]:
    first, second, ratio = (_number(keys, n, where) for n in ("_WL1", "_WL2", "_WLRATIO"))
    if not first:
        return ()
    return ((first, 1.0), (second, ratio)) if second and ratio else ((first, 1.0),)
