"""The picture of a particle's growth: its outline in a frame, edges and facets against time."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter

from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.validation.drawing import ORANGE, SKY, bare, draw_image, new_figure, outline, style
from echolith.validation.scenarios.li_growth import common_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Array = npt.NDArray[np.float64]

MOST = 4
"""Facets, those that advance the most."""
SMOOTHED = 0.8
"""Å, of the frame that is shown."""


def facet_growth(content: "ReportContent") -> "Figure | None":
    """Draw the outline in the last frame, edges and lengths of facets with bands, and the truth."""
    found = content.estimate
    if "edge" not in found or "facet_length" not in found or "facet" not in found.dims:
        return None
    if content.truth is not None:
        found = common_middle(found, content.truth)
    spans = found["edge"].max("frame") - found["edge"].min("frame")
    shown = found.isel(facet=np.sort(np.argsort(spans.fillna(-1).values)[::-1][:MOST]))
    with style():
        figure = new_figure(13.4, 3.9)
        image, left, right = figure.subplots(1, 3)
        _draw_outline(image, content, found)
        _draw(left, shown, content.truth, "edge", "edge from the middle (nm)")
        _draw(right, shown, content.truth, "facet_length", "length of the facet (nm)")
        left.legend(loc="upper left")
    return figure


def _draw_outline(axes: "Axes", content: "ReportContent", found: xr.Dataset) -> None:
    """Draw the last frame that shows the lattice, smoothed, with outlines found and true."""
    last = int(np.flatnonzero(np.isfinite(found["middle"].values[:, 0]))[-1])
    frame = content.measurement["counts"].isel(frame=last).compute().astype(float)
    pixel = hrtem_acquisition_of(content.measurement).pixel
    draw_image(axes, frame.copy(data=gaussian_filter(frame.values, SMOOTHED / pixel)))
    middle = found["middle"].values[last]
    drawn = [("true", content.truth, ORANGE, "-"), ("found", found, SKY, "--")]
    for label, data, colour, line in drawn:
        if data is not None:
            x, y = (middle + _corners(data.isel(frame=last))).T
            axes.plot(
                np.append(x, x[0]),
                np.append(y, y[0]),
                line,
                color=colour,
                linewidth=1.3,
                path_effects=[outline()],
                label=label,
            )
    time = float(found["frame"][last])
    axes.set(title=f"Outline at {time:.2f} s", xlabel="x (Å)", ylabel="y (Å)")
    axes.legend(loc="lower right", facecolor="black", framealpha=0.65, frameon=True,
                labelcolor="white")  # fmt: skip


def _corners(facets: xr.Dataset) -> Array:
    """Return where neighbouring facets meet, (corners, 2) x, y from the middle, Å."""
    there = np.isfinite(facets["edge"].values) & (facets["facet_length"].values > 0)
    angles = np.radians(facets["angle"].values[there])
    order = np.argsort(angles % (2 * np.pi))
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)[order]
    edges = facets["edge"].values[there][order]
    pairs = np.stack([normals, np.roll(normals, -1, axis=0)], axis=1)
    offsets = np.stack([edges, np.roll(edges, -1)], axis=1)
    return np.asarray(np.linalg.solve(pairs, offsets[..., None])[..., 0])


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
