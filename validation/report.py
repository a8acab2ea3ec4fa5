"""The report of a round trip: one HTML file that needs nothing else, and ``results.json``."""

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from echolith.atomic import whole_file
from echolith.validation.tables import PRINTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report is made of; sections for which something is missing are left out.

    Attributes
    ----------
    title, scenario : str
        Heading, and the name of the scenario.
    settings : dict
        Resolved settings, nested, as JSON.
    summary : dict
        The object ``echolith run --json`` prints.
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x), maybe lazy; ``haadf`` optional.
    estimate : xarray.Dataset
        ``phase`` (scan_y, scan_x) in rad; ``x``, ``y`` (Å, scan frame), ``species``, ``edge`` over
        dim ``column``; ``pair_name``, ``pair_distance`` over dim ``pair``. Each optional.
    truth : xarray.Dataset, optional
        The same columns and pairs; None where recorded data are inverted.
    notes : sequence of str
        What a reader must know, above all how the solver's model differs from the generating one.
    """

    title: str
    scenario: str
    settings: dict[str, Any]
    summary: dict[str, Any]
    measurement: xr.Dataset
    estimate: xr.Dataset
    truth: xr.Dataset | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as it stands in the page."""

    heading: str
    svg: Any
    alternative: str
    caption: str


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write the report and, next to it, the summary as ``results.json``.

    Parameters
    ----------
    content : ReportContent
    path : path
        The ``.html`` file to write, or a folder, made where it is missing, for ``report.html``.

    Returns
    -------
    Path
        The HTML file. Both files are whole or not there.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        target = target / "report.html"
    page = render_report(content)
    results = json.dumps(content.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(target.with_name("results.json"), results.encode("utf-8"))
    _write_whole(target, page.encode("utf-8"))
    return target


def save_png(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Save a figure, e.g. that of `hero_figure`, as PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        The folder is made where it is missing.
    dpi : int
        Pixels per inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(target, buffer.getvalue())
    return target


def _write_whole(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def render_report(content: ReportContent) -> str:
    """Return the page as text (arguments as for `write_report`)."""
    from jinja2 import Environment, StrictUndefined

    source = (files("echolith.validation") / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(
        content=content,
        subtitle=_subtitle(content),
        tiles=_tiles(content),
        quantities=_quantity_rows(content),
        statistics=_statistics_rows(content),
        scores=_score_rows(content),
        timings=content.summary.get("timings", {}),
        memory=_memory(content.summary),
        versions=content.summary.get("versions", {}),
        failures=content.summary.get("failures", {}),
        pictures=_pictures(content),
        settings=json.dumps(content.settings, indent=2, ensure_ascii=False),
    )


def _subtitle(content: ReportContent) -> str:
    summary = content.summary
    parts = [f"scenario {content.scenario}"]
    if len(summary.get("seeds", [])) > 1:
        seeds = summary["seeds"]
        parts.append(f"{len(seeds)} seeds from {seeds[0]}; images and single values of the first")
    elif summary.get("seed") is not None:
        parts.append(f"seed {summary['seed']}")
    if content.truth is None:
        parts.append("recorded measurement, no truth")
    if summary.get("noise_free"):
        parts.append("no counting noise")
    return " · ".join(parts)


def _pictures(content: ReportContent) -> dict[str, Picture]:
    """Draw every figure the content holds something for."""
    from markupsafe import Markup

    from echolith.validation import distance_figures, figures
    from echolith.validation.drawing import inline_svg

    drawn: dict[str, tuple[Callable[[ReportContent], Figure | None], str, str, str]] = {
        "errors": (
            distance_figures.distance_errors,
            "",
            "Error of each distance with its 95 % interval",
            "Mean of each distance: estimate minus truth; bars are ± 1.96 standard errors.",
        ),
        "histograms": (
            distance_figures.histograms,
            "Single distances",
            "Histogram of the single distances of each quantity",
            "Every panel spans the same width. Vertical line: truth. n: number of distances, "
            "s: their standard deviation in pm; values beyond a panel are in its last bin.",
        ),
        "images": (
            figures.images,
            "Images",
            "Annular dark field and phase image",
            "Scan frame, row 0 at the top. Grey from the 0.5th to the 99.5th percentile.",
        ),
        "columns": (
            figures.columns,
            "Columns",
            "Recovered and true columns over the phase image",
            "A shift common to all columns, which a measurement leaves free, is taken out. Arrows "
            "run from the true towards the recovered column, magnified as the title says.",
        ),
        "diffraction": (
            figures.diffraction,
            "Diffraction patterns",
            "Mean diffraction pattern and patterns at two probe positions",
            "Square-root colour scale. Dashed circle: the convergence semiangle.",
        ),
    }
    pictures = {}
    for name, (draw, heading, alternative, caption) in drawn.items():
        figure = draw(content)
        if figure is not None:
            pictures[name] = Picture(
                heading=heading,
                svg=Markup(inline_svg(figure, name)),  # our own drawing; texts in it are escaped
                alternative=alternative,
                caption=caption,
            )
    return pictures


def _printed(value: float | None, unit: str, digits: int = 2, *, sign: bool = False) -> str:
    """Print a number in the unit people read; a dash where there is none."""
    if value is None:
        return "–"
    _, factor = PRINTED.get(unit, (unit, 1.0))
    return f"{value * factor:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _unit(unit: str) -> str:
    """Return the unit people read; nothing for a plain number."""
    return "" if unit == "1" else PRINTED.get(unit, (unit, 1.0))[0]


def _quantity_rows(content: ReportContent) -> Rows:
    from echolith.validation.distance_figures import long_name

    rows = []
    for name, q in content.summary.get("quantities", {}).items():
        both = q["truth"] is not None and q["estimate"] is not None
        error = q["estimate"] - q["truth"] if both else None
        ratio = error / q["std"] if error is not None and q["std"] else None
        rows.append(
            {
                "name": name,
                "printed": long_name(name, content.truth, content.estimate),
                "truth": _printed(q["truth"], q["unit"]),
                "estimate": _printed(q["estimate"], q["unit"]),
                "std": _printed(q["std"], q["unit"]),
                "error": _printed(error, q["unit"], sign=True),
                "ratio": _printed(ratio, "1", 1, sign=True),
                "unit": _unit(q["unit"]),
            }
        )
    return rows


def _statistics_rows(content: ReportContent) -> Rows:
    from echolith.validation.distance_figures import long_name

    rows = []
    for name, s in content.summary.get("statistics", {}).items():
        unit = s["unit"]
        lengths = ("bias", "spread", "rmse", "bound", "single_bias", "single_spread")
        row = {key: _printed(s.get(key), unit, 3, sign=key.endswith("bias")) for key in lengths}
        interval = s.get("bias_ci95")
        row["interval"] = (
            " to ".join(_printed(end, unit, 3, sign=True) for end in interval) if interval else "–"
        )
        row["efficiency"] = _printed(s.get("efficiency"), "1")
        row["coverage"] = _printed(s.get("coverage95"), "1")
        row["printed"] = long_name(name, content.truth, content.estimate)
        row["unit"] = _unit(unit)
        rows.append(row)
    return rows


def _scores(content: ReportContent) -> dict[str, dict[str, Any]]:
    scores = content.summary.get("score_means") or content.summary.get("scores", {})
    return dict(scores)


def _score_rows(content: ReportContent) -> Rows:
    return [
        {"name": name, "value": _printed(s["value"], "1", 3), "unit": _unit(s["unit"])}
        for name, s in _scores(content).items()
    ]


def _memory(summary: dict[str, Any]) -> str | None:
    peak = summary.get("peak_memory_bytes")
    return None if peak is None else f"{peak / 1e9:.2f} GB"


def _tiles(content: ReportContent) -> Rows:
    """Sum the outcome up in a few numbers, each a value and what it is."""
    from echolith.validation.distance_figures import Z95, known_errors, long_name

    tiles = []
    errors = known_errors(content)
    if errors:
        worst = max(errors, key=lambda name: abs(errors[name][0]))
        printed = long_name(worst, content.truth, content.estimate)
        tiles.append(
            {"value": f"{abs(errors[worst][0]):.2f} pm", "what": f"largest error, {printed}"}
        )
        known = [(error, std) for error, std in errors.values() if std > 0]
        inside = sum(abs(error) <= Z95 * std for error, std in known)
        if known:
            tiles.append(
                {"value": f"{inside} of {len(known)}", "what": "truth in the 95 % interval"}
            )
    scores = _scores(content)
    found = {
        name.removeprefix("found_").title(): s["value"]
        for name, s in scores.items()
        if name.startswith("found_") and s["value"] is not None
    }
    if found:
        value = " · ".join(f"{species} {share:.0%}" for species, share in found.items())
        tiles.append({"value": value, "what": "columns found"})
    false = scores.get("false_columns", {}).get("value")
    if false is not None:
        tiles.append({"value": f"{false:g}", "what": "false columns"})
    timings = content.summary.get("timings", {})
    if timings:
        memory = _memory(content.summary)
        what = f"in all, {memory} at most" if memory else "in all"
        tiles.append({"value": f"{sum(timings.values()):.1f} s", "what": what})
    return tiles
