"""A plan to look at: one HTML page that needs nothing else, beside ``plan.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echolith.validation.drawing import ACCENT, INK, RULE, SECOND, inline_svg, new_figure, style
from echolith.validation.page import rendered, write_page
from echolith.validation.plan_summary import effect_line, left_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_plan(summary: Mapping[str, Any], folder: Path | str) -> Path:
    """Write ``plan.html``, one file that needs nothing else, and ``plan.json``.

    Parameters
    ----------
    summary : mapping
        As from `echolith.validation.plan_summary.plan_summary`.
    folder : path
        Made where it is missing.

    Returns
    -------
    Path
        The HTML file. Both files are whole or not there.
    """
    return write_page("plan", render(summary), summary, folder)


def render(summary: Mapping[str, Any]) -> str:
    """Return a plan as one HTML page."""
    from markupsafe import Markup

    picture = front_figure(summary)
    return rendered(
        "plan.html.j2",
        plan=summary,
        picture=None if picture is None else Markup(inline_svg(picture, "front")),
        effects=[line for effect in summary["effects"] if (line := effect_line(effect))],
        rows=[summary["points"][n] for n in summary["best"]],
        left_out=left_out(summary),
        settings=json.dumps(summary["settings"], indent=2, ensure_ascii=False),
    )


def front_figure(summary: Mapping[str, Any]) -> "Figure | None":
    """Draw the spread of every point by what is allowed, over its dose (or time).

    Where a setting was solved for, as a line over its range: the spread falls with its root.
    """
    spent = "dose" if summary["least"] == "dose" else "seconds"
    known = [p for p in summary["points"] if p[spent] and p["excess"]]
    if not known:
        return None
    with style():
        figure = new_figure(6.4, 3.2)
        axes = figure.add_subplot()
        for fit, colour, label in ((False, RULE, "not chosen"), (True, ACCENT, "meets the target")):
            chosen = [p for p in known if p["fit"] is fit]
            for p in chosen:
                axes.loglog(*_over_range(summary, p, spent), color=colour, lw=0.8)
            places = [p[spent] for p in chosen], [p["excess"] for p in chosen]
            axes.loglog(*places, ".", color=colour, label=label)
        if not summary["solved"]:
            line = [p for n in summary["best"] if (p := summary["points"][n])[spent]]
            axes.loglog([p[spent] for p in line], [p["excess"] for p in line], color=SECOND, lw=1)
        axes.axhline(1.0, color=INK, lw=0.7, ls=":")
        unit = known[0]["dose_unit"] if spent == "dose" else "s"
        axes.set_xlabel(f"{'dose' if spent == 'dose' else 'exposure'} / {unit}")
        axes.set_ylabel("spread / allowed")
        axes.legend()
    return figure


def _over_range(
    summary: Mapping[str, Any], point: Mapping[str, Any], spent: str
) -> tuple[list[float], list[float]]:
    """Return dose and spread at both ends of the setting that was solved for."""
    if not summary["solved"]:
        return [], []
    ((name, low, high),) = summary["solved"]
    here = point["settings"][name]
    return (
        [point[spent] * (end / here if spent == "dose" else 1.0) for end in (low, high)],
        [point["excess"] * (here / end) ** 0.5 for end in (low, high)],
    )
