"""Picture of a map of oxide grains: frame, true and found grains with rotations, thickness."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.validation.drawing import (
    ACCENT,
    INK,
    Grid,
    bare,
    draw_image,
    new_figure,
    scale_bar,
    style,
)
from echolith.validation.grain_matching import named_grains

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

PERIOD = 180.0
"""Degree; rotations are coloured round this circle."""


def grain_maps(content: "ReportContent") -> "Figure | None":
    """Draw the summed frames, true and found grains coloured by rotation, thickness in time."""
    found, truth = content.estimate, content.truth
    if truth is None or "grain" not in found or "grain_rotation" not in truth:
        return None
    named = named_grains(found, truth)
    frames = content.measurement["counts"]
    with style():
        figure = new_figure(9.8, 2.9)
        panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.9))
        total = frames.sum("frame")
        limits = tuple(float(q) for q in np.percentile(total.values, (0.5, 99.5)))
        draw_image(panels[0], total, colours="gray", limits=(limits[0], limits[1]), label=None)
        panels[0].set(title="Sum of frames", xticks=[], yticks=[])
        for axes, title, data, known in (
            (panels[1], "True grains", truth["grain"], truth["grain_rotation"].values),
            (panels[2], "Found", named["grain"], named["grain_rotation"].values),
        ):
            _draw_grains(axes, title, data, known)
        _draw_thickness(panels[3], found, truth)
    return figure


def _draw_grains(
    axes: "Axes", title: str, grain: xr.DataArray, rotation: npt.NDArray[np.float64]
) -> None:
    # False grains have numbers beyond the true ones, and no rotation that is asked for.
    angles = np.concatenate([[np.nan], rotation % PERIOD, np.full(grain.values.max() + 1, np.nan)])
    draw_image(
        axes,
        grain.copy(data=angles[grain.values]),
        colours="twilight",
        limits=(0.0, PERIOD),
        label="rotation (°)" if title == "Found" else None,
    )
    grid = Grid.of(grain)
    left, _, bottom, _ = grid.extent
    scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
    axes.set(title=title, xticks=[], yticks=[])


def _draw_thickness(axes: "Axes", found: xr.Dataset, truth: xr.Dataset) -> None:
    axes.plot(truth["frame"], truth["thickness"], color=INK, linestyle=":", label="truth")
    if "thickness" in found:
        axes.errorbar(
            found["frame"],
            found["thickness"],
            1.96 * found["thickness_std"],
            color=ACCENT,
            marker="o",
            markersize=3,
            linestyle="none",
            label="found",
        )
    axes.set(title="Thickness of the shell", xlabel="time (s)", ylabel="Å")
    axes.legend()
    bare(axes)
