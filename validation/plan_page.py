"""A plan to look at: one HTML page that needs nothing else, beside ``plan.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echolith.validation.damage import share_left
from echolith.validation.drawing import ACCENT, INK, RULE, SECOND, inline_svg, new_figure, style
from echolith.validation.page import rendered, write_page
from echolith.validation.plan_text import effect_line, left_out, size_text

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
        chosen=summary["recommended"] or summary["nearest"],
        size=size_text,
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
        figure = new_figure(7.2, 3.2)
        axes = figure.add_subplot()
        for fit, colour, label in ((False, RULE, "not chosen"), (True, ACCENT, "meets the target")):
            chosen = [p for p in known if p["fit"] is fit]
            for p in chosen:
                axes.loglog(*_over_range(summary, p, spent), color=colour, lw=0.8)
            places = [p[spent] for p in chosen], [p["excess"] for p in chosen]
            if chosen:
                axes.loglog(*places, ".", color=colour, label=label)
        if not summary["solved"]:
            line = [p for n in summary["best"] if (p := summary["points"][n])[spent]]
            places = [p[spent] for p in line], [p["excess"] for p in line]
            axes.loglog(*places, color=SECOND, lw=1, label="nothing beats these")
        # The doses of a trial are useful ones.
        if summary["trial"] and spent == "dose" and summary["damage"]["critical_dose"] is None:
            tried = [t for t in summary["trial"]["doses"] if t["excess"]]
            places = [t["dose"] for t in tried], [t["excess"] for t in tried]
            axes.loglog(*places, "x", color=SECOND, label="simulated and solved")
        axes.axhline(1.0, color=INK, lw=0.7, ls=":")
        chosen = summary["recommended"] or summary["nearest"]
        if chosen is not None and chosen[spent]:
            label = "recommended" if summary["recommended"] else "the best of the budget"
            place = [chosen[spent]], [chosen["excess"]]
            axes.loglog(*place, "o", ms=9, mfc="none", color=INK, label=label)
        unit = known[0]["dose_unit"] if spent == "dose" else "s"
        axes.set_xlabel(f"{'dose' if spent == 'dose' else 'exposure'} / {unit}")
        axes.set_ylabel("spread / what the target allows")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.5)
    return figure


def _over_range(
    summary: Mapping[str, Any], point: Mapping[str, Any], spent: str
) -> tuple[list[float], list[float]]:
    """Return dose and spread along the setting that was solved for."""
    if not summary["solved"]:
        return [], []
    ((name, low, high),) = summary["solved"]
    here = point["settings"][name]
    ends = np.geomspace(low, high, 60) if low > 0 else np.linspace(low, high, 60)[1:]
    kept = [_useful(summary, point, end / here) / point["useful"] for end in ends]
    return (
        [point[spent] * (end / here if spent == "dose" else 1.0) for end in ends],
        [point["excess"] * (here / end / u) ** 0.5 for end, u in zip(ends, kept, strict=True)],
    )


def _useful(summary: Mapping[str, Any], point: Mapping[str, Any], times: float) -> float:
    """Return the useful share of so many times the dose of a point."""
    critical = summary["damage"]["critical_dose"]
    return 1.0 if critical is None else share_left(times * point["dose"], critical=critical)
