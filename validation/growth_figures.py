"""The picture of a particle's growth: the edges of its facets and the corner facet against time."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from echolith.validation.drawing import bare, new_figure, style
from echolith.validation.scenarios.li_growth import common_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

MOST = 4
"""Facets, those that advance the most."""


def facet_growth(content: "ReportContent") -> "Figure | None":
    """Draw edges and lengths of facets with 95 % bands, and the truth."""
    found = content.estimate
    if "edge" not in found or "facet_length" not in found or "facet" not in found.dims:
        return None
    spans = np.nanmax(found["edge"], axis=1, initial=-1e9) - np.nanmin(
        found["edge"], axis=1, initial=1e9
    )
    if content.truth is not None:
        found = common_middle(found, content.truth)
    shown = found.isel(facet=np.sort(np.argsort(spans)[::-1][:MOST]))
    with style():
        figure = new_figure(9.8, 3.9)
        left, right = figure.subplots(1, 2)
        _draw(left, shown, content.truth, "edge", "edge from the middle (nm)")
        _draw(right, shown, content.truth, "facet_length", "length of the facet (nm)")
        left.legend(loc="upper left")
    return figure


def _draw(axes: "Axes", found: xr.Dataset, truth: xr.Dataset | None, name: str, label: str) -> None:
    times = found["frame"].values
    for n, facet in enumerate(found["facet"].values):
        value, band = (found[one].values[n] / 10 for one in (name, f"{name}_std"))
        axes.plot(times, value, ".", color=f"C{n}", markersize=3, label=str(facet))
        axes.fill_between(
            times, value - 1.96 * band, value + 1.96 * band, color=f"C{n}", alpha=0.2, linewidth=0
        )
        if truth is not None and facet in truth["facet"]:
            axes.plot(times, truth[name].sel(facet=facet) / 10, color=f"C{n}", linewidth=0.9)
    axes.set(xlabel="time (s)", ylabel=label)
    bare(axes)
