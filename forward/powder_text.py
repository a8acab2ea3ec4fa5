"""Numbers in the text files that powder diffractometers and refinement programs write.

Comments, titles, Windows line ends, byte order marks, Latin-1, commas between columns or as decimal
points: all occur.
"""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from echolith.errors import BadInputError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMENT = tuple("#;!'\"%/*$")
DECIMAL_COMMA = re.compile(r"\d,\d+[\s;]+[+-]?\d")
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of numbers."""

    line: int
    """From 1, as editors count."""
    numbers: tuple[float, ...]
    rest: str = ""
    """Text after the numbers; in a first line only."""


def file_text(path: Path) -> str:
    """Return the text of a file, whatever its encoding.

    Raises
    ------
    BadInputError
        If it cannot be read, is empty, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"'{path}' cannot be read: {error.strerror or error}") from error
    codec = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise BadInputError(
            f"'{path}' is not text; expected .xy, .xye, .dat or .uxd: export it as one of these "
            "from the program of the diffractometer"
        )
    if not text.strip():
        raise BadInputError(f"'{path}' is empty; expected a powder pattern")
    return text


def number_rows(path: Path, text: str) -> list[Row]:
    """Return the lines of numbers of a text; comments and a title before them are left out.

    Raises
    ------
    BadInputError
        If there are none, or one is followed by a line that is none.
    """
    lines = [(n, line.partition("#")[0].strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith(COMMENT)]
    starts = [line for _, line in lines if line[0] in "+-.0123456789"]
    comma = not any("." in line for line in starts) and any(map(DECIMAL_COMMA.search, starts))
    rows: list[Row] = []
    for n, line in lines:
        numbers, rest = line_numbers(line, decimal_comma=comma)
        if rest and rows:
            raise BadInputError(
                f"'{path}', line {n}: {line[:40]!r} is not numbers; expected 2 theta and counts"
            )
        # A title may begin with a number, and the first line of a .dat file may end with a title.
        if not rest or len(numbers) == 3:
            rows.append(Row(line=n, numbers=numbers, rest=rest))
    if not rows:
        raise BadInputError(f"'{path}' holds no numbers; expected a powder pattern")
    return rows


def line_numbers(line: str, *, decimal_comma: bool = False) -> tuple[tuple[float, ...], str]:
    """Return the numbers a line begins with, and the text after them.

    Examples
    --------
    >>> line_numbers("16.0  0.03  136.0  LiCoO2, 12.5 s")
    ((16.0, 0.03, 136.0), 'LiCoO2 12.5 s')
    >>> line_numbers("10,02; 649", decimal_comma=True)
    ((10.02, 649.0), '')
    """
    words = re.split(r"[\s;]+" if decimal_comma else r"[\s,;]+", line.strip(" \t,;"))
    if decimal_comma:
        words = [word.replace(",", ".") for word in words]
    count = next((i for i, word in enumerate(words) if not NUMBER.fullmatch(word)), len(words))
    return tuple(float(word) for word in words[:count]), " ".join(words[count:])
