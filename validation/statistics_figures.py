"""Pictures of the statistics: errors of single values, pulls, and the spread against the bound.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from echolith.validation.distance_figures import Z95, long_name
from echolith.validation.drawing import (
    ACCENT,
    RULE,
    SECOND,
    bare,
    new_figure,
    plain_ticks,
    small_multiples,
    style,
)
from echolith.validation.statistics import Residuals
from echolith.validation.tables import Reading, readable, readings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Array = npt.NDArray[np.float64]

PULLS = np.linspace(-4, 4, 17)
"""Edges of the bins; pulls beyond are counted in the last ones."""
LEAST_PULLS = 10
"""Fewer make no histogram."""
MOST_SHOWN = 120
"""Values in one panel; of more, an even choice is drawn."""


def kind_name(kind: str, content: "ReportContent") -> str:
    """Return the printed name of a kind of value, e.g. ``M columns`` for ``column_m``."""
    if kind.startswith("column_"):
        return f"{kind.removeprefix('column_').title()} columns"
    return long_name(kind, content.truth, content.estimate)


def pull_histograms(content: "ReportContent") -> "Figure | None":
    """Draw the pulls, error over reported standard deviation, of each kind of value."""
    pulls = {kind: _pulls(r) for kind, r in _kinds(content).items()}
    pulls = {kind: values for kind, values in pulls.items() if len(values) >= LEAST_PULLS}
    if not pulls:
        return None
    with style():
        figure, panels = small_multiples(len(pulls))
        for axes, (kind, values) in zip(panels, pulls.items(), strict=True):
            _draw_pulls(axes, values)
            _titles(
                axes,
                kind_name(kind, content),
                f"n = {len(values)}, variance {np.mean(values**2):.2f}",
            )
        figure.supxlabel("error / reported standard deviation", fontsize=9)
        figure.supylabel("number of values", fontsize=9)
    return figure


def _kinds(content: "ReportContent") -> dict[str, Residuals]:
    return dict(content.residuals or {})


def _pulls(residuals: Residuals) -> Array:
    known = np.isfinite(residuals.error) & (residuals.std > 0)
    return np.asarray(residuals.error[known] / residuals.std[known])


def _draw_pulls(axes: "Axes", pulls: Array) -> None:
    width = PULLS[1] - PULLS[0]
    axes.hist(np.clip(pulls, PULLS[0], PULLS[-1]), bins=list(PULLS), color=ACCENT, alpha=0.75)
    x = np.linspace(PULLS[0], PULLS[-1], 161)
    axes.plot(x, len(pulls) * width * stats.norm.pdf(x), color=SECOND, linewidth=1.6)
    axes.set_xlim(PULLS[0], PULLS[-1])
    axes.margins(y=0.12)
    axes.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    bare(axes)


def _titles(axes: "Axes", name: str, remark: str) -> None:
    axes.set_title(name)
    axes.set_title(remark, loc="right", fontsize=7.5, fontweight="normal")


def value_errors(content: "ReportContent") -> "Figure | None":
    """Draw the error of every single value, averaged over the cases, with its 95 % interval.

    A kind that has one value only is drawn case by case.
    """
    kinds = {kind: _by_value(r) for kind, r in _kinds(content).items()}
    kinds = {kind: rows for kind, rows in kinds.items() if len(rows)}
    if not kinds:
        return None
    units = {kind: _unit(_kinds(content)[kind], content) for kind in kinds}
    names = {unit.name for unit in units.values()}
    with style():
        figure, panels = small_multiples(len(kinds), height=2.0)
        for axes, (kind, rows) in zip(panels, kinds.items(), strict=True):
            unit = units[kind]
            alike = [unit.factor * kinds[other] for other in kinds if units[other] == unit]
            remark = _draw_errors(axes, unit.factor * rows, reach=_reach(alike))
            own = f" ({unit.name})" if len(names) > 1 and unit.name != "1" else ""
            _titles(axes, kind_name(kind, content) + own, remark)
            # A line of its own, since names can be as wide as the panel.
            axes.set_title(kind_name(kind, content) + own, y=1.1)
        common = f" ({names.pop()})" if len(names) == 1 and names != {"1"} else ""
        figure.supylabel(f"estimate - truth{common}", fontsize=9)
    return figure


def _unit(residuals: Residuals, content: "ReportContent") -> Reading:
    """Return the unit to draw errors in: that of the tables, where they have it."""
    known = readings(content.summary).get(residuals.unit)
    return known or readable(residuals.unit, np.abs(residuals.error[:1000]).tolist())


def _by_value(residuals: Residuals) -> Array:
    """Return the mean error of each value and the reported standard error of this mean.

    Shape (values, 2); NaN where a standard deviation is not reported. The cases themselves, where
    there is one value only.
    """
    known = np.isfinite(residuals.error)
    key, error, std = residuals.key[known], residuals.error[known], residuals.std[known]
    if len(np.unique(key)) == 1:
        return np.stack([error, std], axis=1)
    _, index = np.unique(key, return_inverse=True)
    count = np.bincount(index)
    mean = np.bincount(index, weights=error) / count
    return np.stack([mean, np.sqrt(np.bincount(index, weights=std**2)) / count], axis=1)


def _reach(rows: list[Array]) -> float:
    """Half-height that holds 99 % of all bars of panels to be compared."""
    bars = np.concatenate([np.abs(r[:, 0]) + Z95 * np.nan_to_num(r[:, 1]) for r in rows])
    return 1.1 * float(np.percentile(bars, 99)) or 1.0


def _draw_errors(axes: "Axes", rows: Array, *, reach: float) -> str:
    """Draw errors with their intervals; return what is said beside the title."""
    shown = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_SHOWN)).astype(int))
    off = np.abs(rows[:, 0]) > Z95 * rows[:, 1]  # never where there is no standard deviation
    axes.axhline(0, color=RULE, linewidth=1.0)
    for mine, colour in ((~off, ACCENT), (off, SECOND)):
        chosen = shown[mine[shown]]
        bars = np.nan_to_num(Z95 * rows[chosen, 1])
        axes.errorbar(
            chosen,
            rows[chosen, 0],
            yerr=bars,
            fmt="o",
            color=colour,
            markersize=2.2,
            linewidth=0.8,
        )
    axes.set(ylim=(-reach, reach), xticks=[])
    axes.margins(x=0.04)
    bare(axes)
    number = f"n = {len(rows)}"
    if len(shown) < len(rows):
        number = f"{len(shown)} of {len(rows)} shown"
    return f"{number}, {off.sum()} off" if np.isfinite(rows[:, 1]).any() else number


def spread_and_bound(content: "ReportContent") -> "Figure | None":
    """Draw spread over bound of each quantity and of its single values, with 95 % intervals."""
    statistics = content.summary.get("statistics", {})
    rows = {
        name: found
        for name, entry in statistics.items()
        if (found := {part: _ratio(entry, part) for part in ("", "single_")})
        and any(ratio is not None for ratio in found.values())
    }
    if not rows:
        return None
    with style():
        figure = new_figure(9.8, 0.95 + 0.3 * len(rows))
        axes = figure.subplots()
        axes.axvline(1, color=SECOND, linewidth=1.4)
        _draw_ratios(axes, rows)
        axes.set_yticks(
            range(len(rows)), [long_name(n, content.truth, content.estimate) for n in rows]
        )
        axes.set(xscale="log", ylim=(len(rows) - 0.4, -0.6), xlabel="spread / bound")
        plain_ticks(axes.xaxis)
        axes.grid(axis="x", color=RULE, linewidth=0.5)
        axes.set_axisbelow(True)
        bare(axes)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _ratio(entry: dict[str, Any], part: str) -> tuple[float, float, float] | None:
    """Return spread over bound and its interval, from the efficiency (bound / spread)²."""
    value, interval = entry.get(f"{part}efficiency"), entry.get(f"{part}efficiency_ci95")
    if not value or not interval or not interval[0] > 0:
        return None
    return value**-0.5, interval[1] ** -0.5, interval[0] ** -0.5


def _draw_ratios(
    axes: "Axes", rows: dict[str, dict[str, tuple[float, float, float] | None]]
) -> None:
    labels = {"": "of the quantity", "single_": "of one single value"}
    for (part, label), offset, face in zip(
        labels.items(), (-0.12, 0.12), (ACCENT, "white"), strict=True
    ):
        known = [(place, ratio) for place, row in enumerate(rows.values()) if (ratio := row[part])]
        if not known:
            continue
        place = np.array([row[0] for row in known])
        value, low, high = np.array([row[1] for row in known]).T
        axes.errorbar(
            value,
            place + offset,
            xerr=[value - low, high - value],
            fmt="o",
            color=ACCENT,
            markerfacecolor=face,
            markersize=5,
            capsize=2.5,
            linewidth=1.2,
            label=label,
        )
