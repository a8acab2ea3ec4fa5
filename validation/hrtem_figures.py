"""The picture of a lattice in HRTEM: a frame, what its filter shows, and its power spectrum."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.forward.hrtem_acquisition import HrtemAcquisition, hrtem_acquisition_of
from echolith.inverse.image_filters import bragg_masked
from echolith.validation.drawing import (
    ORANGE,
    SECOND,
    SKY,
    Grid,
    draw_image,
    new_figure,
    scale_bar,
    style,
)
from echolith.zone_axes import projected_reflections

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Array = npt.NDArray[np.float64]

LARGEST = 0.9
"""1/Å, of reflections and frequencies that are shown."""
WIDTH = 0.03
"""1/Å, of the filter about each reflection."""


def lattice(content: "ReportContent") -> "Figure | None":
    """Draw the first frame, its Bragg filter with the columns, and the power with reflections."""
    counts = content.measurement.get("counts")
    if (
        counts is None
        or counts.dims != ("frame", "y", "x")
        or content.estimate.get("noise_probability", counts).ndim
    ):
        return None
    acquisition = hrtem_acquisition_of(content.measurement)
    frame = counts.isel(frame=0).compute().astype(float)
    places = _reflections(content.estimate)
    with style():
        figure = new_figure(12.6, 4.4)
        raw, filtered, power = figure.subplots(1, 3)
        _draw(raw, frame, "First frame")
        if len(places):
            passed = bragg_masked(
                frame.values, pixel=acquisition.pixel, reflections=places, radius=WIDTH
            )
            _draw(filtered, frame.copy(data=passed), "Bragg filter of it, and columns")
        else:
            _draw(filtered, frame, "No lattice determined")
        _mark(filtered, content)
        _draw_power(power, frame.values, acquisition, places)
    return figure


def _reflections(estimate: xr.Dataset) -> Array:
    """Return the reflections of the lattice found, (n, 2) xy, 1/Å."""
    if "spacing" not in estimate or "zone_axis" not in estimate:
        return np.empty((0, 2))
    u, v, w = (int(n) for n in estimate["zone_axis"].values)
    g = projected_reflections(
        (u, v, w), spacing=float(estimate["spacing"]), rotation=float(estimate["rotation"])
    )
    return np.asarray(g[np.hypot(*g.T) < LARGEST])


def _draw(axes: "Axes", image: xr.DataArray, title: str) -> None:
    draw_image(axes, image)
    grid = Grid.of(image)
    left, _, bottom, _ = grid.extent
    scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
    axes.set(title=title, xlabel="x (Å)", ylabel="y (Å)")


def _mark(axes: "Axes", content: "ReportContent") -> None:
    """Draw circles at columns found and crosses at true ones."""
    kinds = (("true", content.truth, "+", ORANGE), ("found", content.estimate, "o", SKY))
    for label, data, marker, colour in kinds:
        if data is not None and data.sizes.get("column", 0):
            axes.plot(
                data["x"].values,
                data["y"].values,
                linestyle="none",
                marker=marker,
                markersize=3.5,
                markerfacecolor="none",
                markeredgecolor=colour,
                markeredgewidth=0.7,
                label=f"{data.sizes['column']} {label}",
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", facecolor="black", framealpha=0.65, frameon=True,
                    labelcolor="white")  # fmt: skip


def _draw_power(axes: "Axes", image: Array, acquisition: HrtemAcquisition, places: Array) -> None:
    taper = np.outer(*(np.hanning(n) for n in image.shape))
    spectrum = np.abs(fft.fftshift(fft.fft2((image - image.mean()) * taper))) ** 2
    # 1 is the power of counting.
    spectrum /= image.mean() * (taper**2).sum()
    ky, kx = (fft.fftshift(fft.fftfreq(n, acquisition.pixel)) for n in image.shape)
    shown = xr.DataArray(spectrum, dims=("ky", "kx"), coords={"ky": ky, "kx": kx})
    shown = shown.sel(ky=slice(-LARGEST, LARGEST), kx=slice(-LARGEST, LARGEST))
    draw_image(axes, shown, colours="magma", limits=(0, 12), label="power by that of counting")
    both = np.concatenate([places, -places])
    axes.plot(*both.T, linestyle="none", marker="o", markersize=9, markerfacecolor="none",
              markeredgecolor=SECOND, markeredgewidth=0.9)  # fmt: skip
    axes.set(title="Power spectrum, and reflections", xlabel="kx (1/Å)", ylabel="ky (1/Å)")
