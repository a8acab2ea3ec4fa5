"""A leaderboard to look at: a text table, and one HTML page that needs nothing else."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from echolith.validation.leaderboard import NUMBERS
from echolith.validation.page import rendered, write_page
from echolith.validation.tables import PRINTED
from echolith.validation.verdict import spoken


def leaderboard_table(content: Mapping[str, Any]) -> str:
    """Return a leaderboard as text (content as `leaderboard` returns it)."""
    lines: list[str] = []
    for name in content["scenarios"]:
        lines += [f"{name}, {len(content['seeds'])} seeds", ""]
        lines += _aligned(
            ("solver", "relative error", "cases", "s/case", ""),
            [_standing_cells(row) for row in _of(content["standings"], name)],
        )
        rows = [_row_cells(row) for row in _of(content["rows"], name)]
        lines += ["", *_aligned(("quantity", "solver", *NUMBERS, "unit"), rows), ""]
    return "\n".join(lines).rstrip()


def _of(rows: Iterable[dict[str, Any]], scenario: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["scenario"] == scenario]


def _standing_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    remarks = [f"lacks {', '.join(map(spoken, row['lacking']))}"] if row["lacking"] else []
    if row["reason"] is not None:
        remarks.append(f"{row['failed']} failed; {row['reason']}")
    return (
        row["solver"],
        _number(row["relative_error"], "{:.3f}"),
        str(row["cases"]),
        _number(row["seconds"], "{:.3g}"),
        "; ".join(remarks),
    )


def _row_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    unit, factor = PRINTED.get(row["unit"], (row["unit"], 1.0))
    lengths = [_number(row[name], "{:.3g}", factor) for name in ("spread", "rmse", "bound")]
    return (
        spoken(row["quantity"]),
        row["solver"],
        _number(row["bias"], "{:+.3g}", factor),
        *lengths,
        _efficiency(row),
        _number(row["coverage95"], "{:.2f}"),
        "" if unit == "1" else unit,
    )


def _efficiency(row: Mapping[str, Any]) -> str:
    interval = row["efficiency_ci95"]
    between = "" if interval is None else " [{:.2f}, {:.2f}]".format(*interval)
    return _number(row["efficiency"], "{:.2f}") + between


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "–" if value is None else form.format(value * factor)


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def write_leaderboard(content: Mapping[str, Any], folder: Path | str) -> Path:
    """Write ``leaderboard.html``, one file that needs nothing else, and ``leaderboard.json``.

    Parameters
    ----------
    content : mapping
        As `leaderboard` returns it.
    folder : path
        Made where it is missing.

    Returns
    -------
    Path
        The HTML file. Both files are whole or not there.
    """
    return write_page("leaderboard", render(content), content, folder)


def render(content: Mapping[str, Any]) -> str:
    """Return a leaderboard as one HTML page."""
    return rendered(
        "leaderboard.html.j2",
        content=content,
        numbers=NUMBERS,
        boards=[
            {
                "name": name,
                "notes": entry["notes"],
                "settings": json.dumps(entry["settings"], indent=2, ensure_ascii=False),
                "standings": [_standing_cells(row) for row in _of(content["standings"], name)],
                "rows": [_row_cells(row) for row in _of(content["rows"], name)],
            }
            for name, entry in content["scenarios"].items()
        ],
    )
