"""Pictures of the distances: distribution of the single ones, and errors of the means.

Lengths are in Å in the data and in pm where people read.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from echolith.validation.drawing import (
    ACCENT,
    RULE,
    SECOND,
    bare,
    new_figure,
    small_multiples,
    style,
)
from echolith.validation.tables import Reading, readings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

PM = 100.0
"""Picometres in one ångström."""
Z95 = 1.96
"""Half-width of the central 95 % of a normal distribution, in standard deviations."""


def long_name(name: str, *datasets: xr.Dataset | None) -> str:
    """Return the printed name of a quantity, e.g. ``O-O(Li)`` for ``o_o_li``."""
    for data in datasets:
        if data is not None and name in data:
            return str(data[name].attrs.get("long_name", name))
    return name


def histograms(content: "ReportContent") -> "Figure | None":
    """Draw the distribution of the individual distances of each quantity, truth over it."""
    estimate = content.estimate
    if "pair_name" not in estimate or "pair_distance" not in estimate:
        return None
    names = estimate["pair_name"].values.astype(str)
    present = [n for n in _quantity_order(content) if (names == n).any()]
    if not present:
        return None
    singles = {n: PM * estimate["pair_distance"].values[names == n] for n in present}
    spread = np.median([values.std() for values in singles.values()])
    half = max(4 * float(spread), 1.0, *(_reach(v) for v in singles.values()))
    with style():
        figure, panels = small_multiples(len(present))
        for axes, name in zip(panels, present, strict=True):
            _draw_histogram(axes, content, name, singles[name], half)
        figure.supxlabel("single distance (pm)", fontsize=9)
        figure.supylabel("number of distances", fontsize=9)
    return figure


def _reach(values: Any) -> float:
    """Half-width about the median that holds 98 % of the values."""
    return float(np.percentile(np.abs(values - np.median(values)), 98))


def _quantity_order(content: "ReportContent") -> list[str]:
    listed = list(content.summary.get("quantities", {}))
    return listed or list(dict.fromkeys(content.estimate["pair_name"].values.astype(str)))


def _draw_histogram(
    axes: "Axes", content: "ReportContent", name: str, values: Any, half: float
) -> None:
    centre = float(np.median(values))
    true = _truth_of(content, name)
    edges = centre + np.linspace(-1.05 * half, 1.05 * half, 25)
    axes.hist(np.clip(values, edges[0], edges[-1]), bins=list(edges), color=ACCENT, alpha=0.75)
    if true is not None:
        axes.axvline(true, color=SECOND, linewidth=1.8)
    deviation = f", s = {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    axes.set_title(long_name(name, content.truth, content.estimate))
    axes.set_title(f"n = {len(values)}{deviation}", loc="right", fontsize=7.5, fontweight="normal")
    axes.margins(y=0.12)
    axes.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    bare(axes)


def _truth_of(content: "ReportContent", name: str) -> float | None:
    value = content.summary.get("quantities", {}).get(name, {}).get("truth")
    return None if value is None else PM * float(value)


def distance_errors(content: "ReportContent") -> "Figure | None":
    """Draw estimate minus truth of each quantity with its 95 % interval."""
    with style():
        figure = new_figure(9.8, 0.6 + 0.3 * max(len(known_errors(content)), 1))
        if not draw_errors(figure.subplots(), content):
            return None
    return figure


def error_unit(content: "ReportContent") -> Reading:
    """Return the unit that errors of quantities are printed in: that of the first quantity."""
    quantities = content.summary.get("quantities", {})
    unit = next((q["unit"] for q in quantities.values()), "1")
    found = readings(content.summary).get(unit, Reading(unit, 1.0))
    return Reading("", 1.0) if unit == "1" else found


def known_errors(content: "ReportContent") -> dict[str, tuple[float, float]]:
    """Return error and standard error of each quantity with a truth and an estimate.

    In `error_unit`; quantities of another unit than the first are left out.
    """
    quantities = content.summary.get("quantities", {})
    factor = error_unit(content).factor
    unit = next((q["unit"] for q in quantities.values()), "1")
    return {
        name: (factor * (q["estimate"] - q["truth"]), factor * (q.get("std") or 0.0))
        for name, q in quantities.items()
        if q.get("unit") == unit and None not in (q.get("truth"), q.get("estimate"))
    }


def draw_errors(axes: "Axes", content: "ReportContent") -> bool:
    """Draw the errors into given axes; return whether there were any."""
    errors = known_errors(content)
    if not errors:
        return False
    rows = np.arange(len(errors))
    error, std = np.array(list(errors.values())).T
    axes.axvline(0, color=SECOND, linewidth=1.2)
    axes.errorbar(
        error, rows, xerr=Z95 * std, fmt="o", color=ACCENT, markersize=5, capsize=3, linewidth=1.3
    )
    axes.set_yticks(rows, [long_name(n, content.truth, content.estimate) for n in errors])
    unit = error_unit(content).name
    label = f"estimate - truth{unit and f' ({unit})'}, bars ± 1.96 std"
    axes.set(ylim=(len(errors) - 0.4, -0.6), xlabel=label)
    reach = 1.15 * float(np.max(np.abs(error) + Z95 * std)) or 1.0
    axes.set_xlim(-reach, reach)
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    bare(axes)
    return True
