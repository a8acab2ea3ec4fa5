"""Pictures of energy-filtered TEM: maps of t/lambda and lithium, their pulls, and profiles.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from echolith.validation.drawing import (
    ACCENT,
    INK,
    SECOND,
    Grid,
    bare,
    draw_image,
    new_figure,
    scale_bar,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

MAPS = {
    "t_over_lambda": ("t/λ", "magma", "t_over_lambda"),
    "areal_density": ("Li atoms per Å²", "viridis", "areal_density_uncorrected"),
}
"""Label, colours, and what else the profile shows."""


def thickness_maps(content: "ReportContent") -> "Figure | None":
    """Draw truth, estimate, pull and a profile through the thickest place, of t/lambda and Li."""
    truth, found = content.truth, content.estimate
    if truth is None or not set(MAPS) <= set(found.data_vars) & set(truth.data_vars):
        return None
    with style():
        figure = new_figure(9.8, 6.0)
        panels = figure.subplots(2, 4, width_ratios=(1, 1, 1, 1.15))
        for row, name in zip(panels, MAPS, strict=True):
            _draw_row(row, name, found, truth)
    return figure


def _draw_row(panels: "list[Axes]", name: str, found: xr.Dataset, truth: xr.Dataset) -> None:
    label, colours, _ = MAPS[name]
    ours, true = found[name].transpose("y", "x"), truth[name].transpose("y", "x")
    top = (0.0, float(true.max()))
    pull = (ours - true.values) / found[f"{name}_std"]
    drawn = (
        (true, f"Truth, {label}", colours, top),
        (ours, "Estimate", colours, top),
        (pull, "(estimate − truth) / std", "RdBu_r", (-4.0, 4.0)),
    )
    for axes, (image, words, palette, span) in zip(panels[:3], drawn, strict=True):
        draw_image(axes, image, colours=palette, limits=span, label=None)
        grid = Grid.of(image)
        left, _, bottom, _ = grid.extent
        scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
        axes.set(title=words, xticks=[], yticks=[])
    _draw_profile(panels[3], name, found, truth)


def _draw_profile(axes: "Axes", name: str, found: xr.Dataset, truth: xr.Dataset) -> None:
    """Draw a line of pixels with a band of 1.96 standard deviations."""
    label, _, other = MAPS[name]
    row = int(truth["thickness"].sum("x").values.argmax())
    at = found["x"].values / 10
    value, std = (found[key].isel(y=row).values for key in (name, f"{name}_std"))
    true = truth[name].isel(y=row).values
    axes.fill_between(at, value - 1.96 * std, value + 1.96 * std, color=ACCENT, alpha=0.25, lw=0)
    axes.plot(at, value, color=ACCENT, label="found")
    if other != name:
        axes.plot(at, found[other].isel(y=row).values, color=SECOND, label="single losses assumed")
    axes.plot(at, true, color=INK, linestyle="--", linewidth=0.9, label="true")
    top = 1.35 * float(np.nanmax(true))
    axes.set(title=f"{label}, a line", xlabel="x (nm)", ylim=(-0.05 * top, top))
    axes.legend(loc="upper right", fontsize=7)
    bare(axes)
