"""The picture of growth: the kymograph along a whisker, and its length with the law found."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from echolith.validation.drawing import ACCENT, INK, SECOND, bare, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent


def whisker_growth(content: "ReportContent") -> "Figure | None":
    """Draw the counts along the axis against time, and the length with law, band and truth."""
    found, frames = content.estimate, content.measurement.get("frame")
    if frames is None or "kymograph" not in found or "length" not in found:
        return None
    times = frames.values
    with style():
        figure = new_figure(9.8, 3.9)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        _draw_kymograph(left, found, times)
        _draw_lengths(right, found, content.truth, times)
    return figure


def _draw_kymograph(axes: "Axes", found: xr.Dataset, times: np.ndarray) -> None:
    place = found["place"].values / 10
    place = place - place[0]
    low, high = np.percentile(found["kymograph"], [1, 99])
    axes.imshow(
        found["kymograph"].values,
        cmap="gray",
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="none",
        extent=(place[0], place[-1], times[-1], times[0]),
    )
    axes.set(xlabel="place along the axis (nm)", ylabel="time (s)", title="Counts along the axis")


def _draw_lengths(
    axes: "Axes", found: xr.Dataset, truth: xr.Dataset | None, times: np.ndarray
) -> None:
    length, std = found["length"].values / 10, 1.96 * found["length_std"].values / 10
    known = np.isfinite(length)
    axes.errorbar(
        times[known],
        length[known],
        std[known],
        fmt=".",
        color=INK,
        alpha=0.45,
        markersize=3,
        linewidth=0.6,
        label="length, 95 %",
    )
    if truth is not None and "length" in truth:
        axes.plot(times, truth["length"] / 10, color=SECOND, linewidth=1.0, label="truth")
    if "fitted" in found:
        law, band = found["fitted"].values / 10, 1.96 * found["fitted_std"].values / 10
        at = found["time"].values
        axes.fill_between(at, law - band, law + band, color=ACCENT, alpha=0.25, linewidth=0)
        axes.plot(at, law, color=ACCENT, linewidth=0.8, label=str(found["supported"].values))
    for change in np.atleast_1d(found["change_time"].values) if "change_time" in found else ():
        axes.axvline(change, color=ACCENT, linewidth=0.7, linestyle=":")
    axes.set(xlabel="time (s)", ylabel="length (nm)", title=_title(found))
    axes.legend(loc="upper left")
    bare(axes)


def _title(found: xr.Dataset) -> str:
    if "probability" not in found or "law" not in found:
        return "Length"
    names = [str(name) for name in found["law"].values[:2]]
    parts = [
        f"{name}: {float(p):.3f}" for name, p in zip(names, found["probability"], strict=False)
    ]
    return "Probability of " + ", ".join(parts)
