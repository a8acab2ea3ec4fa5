"""Published errors beside bounds and round trips, to look at: a table in text and one HTML page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echolith.validation.drawing import (
    ACCENT,
    INK,
    SECOND,
    bare,
    inline_svg,
    new_figure,
    plain_ticks,
    style,
)
from echolith.validation.page import rendered, write_page
from echolith.validation.tables import readable
from echolith.validation.verdict import spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD = ("quantity", "printed", "bound", "error", "bound, whole", "error, whole", "unit")
NUMBERS = ("printed", "bound", "error", "bound_whole", "error_whole")
MARKS = {
    "printed": ("printed", "D", SECOND, True),
    "bound": ("bound of one value", "|", INK, True),
    "error": ("round trip, one value", "o", ACCENT, True),
    "bound_whole": ("bound, whole measurement", "|", ACCENT, True),
    "error_whole": ("round trip, whole measurement", "o", ACCENT, False),
}
"""Name, marker, colour and whether it is filled."""


def papers_table(content: Mapping[str, Any]) -> str:
    """Return the object of `echolith.validation.paper_trial.papers_tried` as text."""
    lines: list[str] = []
    for paper in content["papers"].values():
        lines += [f"{paper['title']} ({paper['source']})", ""]
        for condition in paper["conditions"]:
            rows = [HEAD, *(_cells(row) for row in condition["rows"])]
            widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
            lines.append(f"{condition['name']}, {condition['scenario']}")
            lines += [
                "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                for row in rows
            ]
            lines.append("")
    return "\n".join(lines).rstrip()


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    unit, factor = readable(row["unit"], [row[name] for name in NUMBERS])
    numbers = ("–" if row[name] is None else f"{factor * row[name]:.3g}" for name in NUMBERS)
    return (spoken(row["quantity"]), *numbers, "" if unit == "1" else unit)


def write_papers(content: Mapping[str, Any], folder: Path | str) -> Path:
    """Write ``papers.html``, one file that needs nothing else, and ``papers.json``.

    Parameters
    ----------
    content : mapping
        As from `echolith.validation.paper_trial.papers_tried`.
    folder : path
        Made where it is missing.

    Returns
    -------
    Path
        The HTML file. Both files are whole or not there.
    """
    return write_page("papers", render(content), content, folder)


def render(content: Mapping[str, Any]) -> str:
    """Return what published settings could have given as one HTML page."""
    from markupsafe import Markup

    return rendered(
        "papers.html.j2",
        head=HEAD,
        content=content,
        papers=[
            {**paper, "conditions": [_shown(c, Markup) for c in paper["conditions"]]}
            for paper in content["papers"].values()
        ],
    )


def _shown(condition: Mapping[str, Any], markup: Any) -> dict[str, Any]:
    picture = errors_figure(condition)
    return {
        **condition,
        "picture": None if picture is None else markup(inline_svg(picture, condition["name"])),
        "cells": [(_cells(row), row["kind"], row["where"]) for row in condition["rows"]],
        "settings": json.dumps(condition["settings"], indent=2, ensure_ascii=False),
    }


def errors_figure(condition: Mapping[str, Any]) -> "Figure | None":
    """Draw printed errors, bounds and errors of round trips on a logarithmic axis for each unit."""
    units: dict[str, list[Mapping[str, Any]]] = {}
    for row in condition["rows"]:
        if any(row[name] for name in NUMBERS):
            units.setdefault(row["unit"], []).append(row)
    if not units:
        return None
    with style():
        heights = [len(rows) + 1.5 for rows in units.values()]
        figure = new_figure(7.4, 0.24 * sum(heights) + 0.5)
        panels = figure.subplots(len(units), 1, squeeze=False, height_ratios=heights)
        for axes, (unit, rows) in zip(panels[:, 0], units.items(), strict=True):
            _draw(axes, rows, unit)
        keys = dict(zip(*reversed(panels[0, 0].get_legend_handles_labels()), strict=True))
        figure.legend(keys.values(), keys, loc="outside lower center", ncols=3)
    return figure


def _draw(axes: "Axes", rows: list[Mapping[str, Any]], unit: str) -> None:
    name, factor = readable(unit, [row[n] for row in rows for n in NUMBERS])
    for key, (label, marker, colour, filled) in MARKS.items():
        places = [(factor * row[key], n) for n, row in enumerate(rows) if row[key]]
        axes.plot(
            *(zip(*places, strict=True) if places else ([], [])),
            linestyle="none",
            marker=marker,
            color=colour,
            markerfacecolor=colour if filled else "none",
            markersize=9 if marker == "|" else 5,
            markeredgewidth=2 if marker == "|" else 1,
            label=label,
        )
    axes.set(xscale="log", ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel("error" if name == "1" else f"error ({name})")
    axes.set_yticks(range(len(rows)), [spoken(row["quantity"]) for row in rows])
    plain_ticks(axes.xaxis)
    bare(axes)
