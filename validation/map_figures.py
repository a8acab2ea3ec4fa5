"""Pictures of maps that are asked for pixel by pixel: truth, estimate and error side by side.

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
    "optical_density": ("optical density", "magma"),
    "phase": ("phase (rad)", "viridis"),
    "composition": ("fraction of FePO4", "viridis"),
}
"""What is drawn of arrays (y, x), in this order: label and colours."""


def maps(content: "ReportContent") -> "Figure | None":
    """Draw truth, estimate and error of every map, a row for each and each energy."""
    rows = _rows(content)
    if not rows:
        return None
    with style():
        figure = new_figure(9.8, 3.1 * len(rows))
        panels = figure.subplots(len(rows), 3, squeeze=False)
        for axes, (title, name, truth, estimate) in zip(panels, rows, strict=True):
            _draw_row(axes, title, name, truth, estimate)
    return figure


def _rows(content: "ReportContent") -> list[tuple[str, str, xr.DataArray, xr.DataArray]]:
    if content.truth is None:
        return []
    aligned = _aligned(content.estimate, content.truth)
    rows = []
    for name in MAPS:
        if name not in aligned or name not in content.truth:
            continue
        ours, true = aligned[name], content.truth[name]
        if ours.dims == ("y", "x"):
            rows.append(("", name, true, ours))
        elif ours.dims == ("energy", "y", "x"):
            rows += [
                (f", {float(e):g} eV", name, true.isel(energy=n), ours.isel(energy=n))
                for n, e in enumerate(ours["energy"].values)
            ]
    return rows


def _aligned(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Take out what a measurement of phases leaves free."""
    if "phase" not in estimate or "optical_density" not in estimate or "phase" not in truth:
        return estimate
    from echolith.validation.scenarios.lfp_ptychography import align_to_truth

    return align_to_truth(estimate, truth)


def _draw_row(
    panels: "list[Axes]", title: str, name: str, truth: xr.DataArray, estimate: xr.DataArray
) -> None:
    label, colours = MAPS[name]
    known = truth.values[np.isfinite(truth.values)]
    limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    error = estimate - truth
    far = float(np.nanpercentile(np.abs(error.values), 99)) if np.isfinite(error).any() else 1.0
    drawn = (
        (truth, f"Truth{title}", colours, limits, None),
        (estimate, "Estimate", colours, limits, label),
        (error, "Estimate − truth", "RdBu_r", (-far, far), label),
    )
    for axes, (image, words, palette, span, bar) in zip(panels, drawn, strict=True):
        draw_image(axes, image, colours=palette, limits=span, label=bar)
        grid = Grid.of(image)
        left, _, bottom, _ = grid.extent
        scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
        axes.set(title=words, xticks=[], yticks=[])


def ring_correlation(content: "ReportContent") -> "Figure | None":
    """Draw the Fourier ring correlation of two scans, and mean and single far-field frames."""
    found, frames = content.estimate, content.measurement.get("counts")
    if not {"correlation", "threshold", "half_period"} <= set(found.data_vars):
        return None
    with style():
        figure = new_figure(9.8, 3.4)
        left, middle, right = figure.subplots(1, 3)
        for n, (energy, colour) in enumerate(
            zip(np.atleast_1d(found["energy"].values), (ACCENT, SECOND, INK), strict=False)
        ):
            one = found.isel(energy=n)
            half = float(one["half_period"])
            told = f"{half / 10:.1f} nm" if np.isfinite(half) else "not reached"
            left.plot(
                one["frequency"] * 10,
                one["correlation"],
                color=colour,
                label=f"{energy:g} eV: {told}",
            )
        left.plot(one["frequency"] * 10, one["threshold"], color=INK, linestyle=":", label="½ bit")
        left.set(
            title="Two scans, optical density", xlabel="frequency (1/nm)", ylabel="correlation"
        )
        left.legend(loc="upper right")
        bare(left)
        if frames is not None and {"energy", "scan", "position"} <= set(frames.dims):
            first = frames.isel(energy=0, scan=0)
            _draw_frame(middle, first.mean("position"), "Mean frame")
            _draw_frame(right, first.isel(position=first.sizes["position"] // 2), "One frame")
    return figure


def _draw_frame(axes: "Axes", frame: xr.DataArray, title: str) -> None:
    counts = np.maximum(frame.values.astype(float), 0)
    image = frame.copy(data=np.log10(counts + 0.1))
    draw_image(axes, image, colours="magma", label="log10 (photons + 0.1)")
    axes.set(title=title, xticks=[], yticks=[])


def spectra(content: "ReportContent") -> "Figure | None":
    """Draw spectra of pixels poor and rich in FePO4, and the maps of R factor and uncertainty."""
    found, counts = content.estimate, content.measurement.get("counts")
    if counts is None or counts.dims != ("energy", "y", "x") or "r_factor" not in found:
        return None
    incident = float(content.measurement["incident"])
    density = counts.copy(data=-np.log((counts.values + 0.5) / incident))
    share = found["composition"]
    with style():
        figure = new_figure(9.8, 3.3)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
        groups = (("below 30 % FePO4", share < 0.3, ACCENT), ("above 70 %", share > 0.7, SECOND))
        for words, inside, colour in groups:
            if bool(inside.any()):
                mean = density.where(inside).mean(("y", "x"))
                left.plot(
                    counts["energy"], mean, color=colour, label=f"{words}, {int(inside.sum())} px"
                )
        left.set(title="Mean spectra", xlabel="energy (eV)", ylabel="optical density")
        left.legend()
        bare(left)
        known = share.notnull()
        for axes, name, title in (
            (middle, "r_factor", "R factor"),
            (right, "composition_std", "Uncertainty of the fraction"),
        ):
            image = found[name].where(known)
            span = (0.0, float(np.nanpercentile(image.values, 98)) if bool(known.any()) else 1.0)
            draw_image(axes, image, colours="viridis", limits=span, label=title)
            axes.set(title=title, xticks=[], yticks=[])
    return figure
