"""Columns of X-ray absorption in text: XAS Data Interchange, XDI/1.0.

B. Ravel and M. Newville, J. Phys.: Conf. Ser. 712, 012148 (2016), and the specification of the XAS
Data Interchange Working Group: fields ``# Namespace.tag: value``, then ``# ///`` and comments, then
``# ---``, a line of labels and rows of numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echolith import __version__
from echolith.atomic import whole_file
from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]

_FIRST = re.compile(r"#\s*XDI/(\d+)\.(\d+)")
_FIELD = re.compile(r"#\s*([A-Za-z]\w*\.\w[\w-]*)\s*:\s*(.*?)\s*$")


@dataclass(frozen=True, kw_only=True, eq=False)
class XdiColumns:
    """What an XDI file holds.

    Attributes
    ----------
    columns : mapping of array
        By name, in lower case, in the order of the file.
    units : mapping of str
        Of the columns that state one.
    fields : mapping of str
        ``Element.symbol`` and so on, names in lower case, without those of columns.
    """

    columns: Mapping[str, Array]
    units: Mapping[str, str]
    fields: Mapping[str, str]


def write_xdi(content: XdiColumns, path: Path, *, comment: str = "") -> None:
    """Write columns, every digit that is needed to read the same numbers.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    named = [
        f"# Column.{n}: {name} {content.units.get(name, '')}".rstrip()
        for n, name in enumerate(content.columns, start=1)
    ]
    lines = [
        f"# XDI/1.0 echolith/{__version__}",
        *named,
        *(f"# {name}: {value}" for name, value in content.fields.items()),
        "# ///",
        *(f"# {line}" for line in comment.splitlines()),
        "#" + 65 * "-",
        "# " + " ".join(content.columns),
        *(" ".join(map(_text, row)) for row in zip(*content.columns.values(), strict=True)),
    ]
    with whole_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _text(value: float) -> str:
    return repr(float(value))


def read_xdi(path: Path) -> XdiColumns:
    """Read an XDI file.

    Raises
    ------
    BadInputError
        If it is none, or its numbers are not a table of finite ones; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInputError(f"'{path}' cannot be opened: {error.strerror or error}") from error
    version = _FIRST.match(lines[0]) if lines else None
    if version is None or version[1] != "1":
        raise BadInputError(
            f"'{path}' does not start with '# XDI/1.0'; expected XAS Data Interchange"
        )
    fields = {
        found[1].lower(): found[2] for line in lines if (found := _FIELD.match(line)) is not None
    }
    rows = _rows(path, lines)
    names, units = _names(path, fields, lines, rows.shape[1])
    return XdiColumns(
        columns=dict(zip(names, rows.T, strict=True)),
        units=units,
        fields={name: value for name, value in fields.items() if not name.startswith("column.")},
    )


def _rows(path: Path, lines: list[str]) -> Array:
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError as error:
            raise BadInputError(f"'{path}', line {number}: {error}; expected numbers") from error
        if len(rows[-1]) != len(rows[0]) or not np.isfinite(rows[-1]).all():
            raise BadInputError(
                f"'{path}', line {number}: {line.strip()[:60]!r}; expected {len(rows[0])} finite "
                "numbers, as in the first row"
            )
    if len(rows) < 2:
        raise BadInputError(f"'{path}' holds {len(rows)} rows of numbers; expected two or more")
    return np.array(rows)


def _names(
    path: Path, fields: Mapping[str, str], lines: list[str], count: int
) -> tuple[list[str], dict[str, str]]:
    """Return names of columns, from fields or else the line of labels, and units."""
    header = [line.lstrip()[1:].split() for line in lines if line.lstrip().startswith("#")]
    labels = header[-1] if len(header[-1]) == count else []
    names, units = [], {}
    for n in range(count):
        words = fields.get(f"column.{n + 1}", labels[n] if labels else "").split()
        if not words:
            raise BadInputError(
                f"'{path}' does not name its column {n + 1}; add '# Column.{n + 1}'"
            )
        names.append(words[0].lower())
        if len(words) > 1:
            units[names[-1]] = " ".join(words[1:])
    if len(set(names)) < count:
        raise BadInputError(f"'{path}' names columns twice: {', '.join(names)}")
    return names, units
