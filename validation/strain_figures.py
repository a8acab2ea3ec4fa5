"""Pictures of diffraction maps: strain, c, tilt and widths, the poles of tilts, crystals and c.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.validation.drawing import (
    ACCENT,
    INK,
    RULE,
    SECOND,
    Grid,
    bare,
    draw_image,
    new_figure,
    scale_bar,
    small_multiples,
    style,
)
from echolith.validation.particle_matching import match_particles
from echolith.validation.volume_surfaces import particle_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Floats = npt.NDArray[np.float64]


class Row(NamedTuple):
    """How a map is drawn: name, printed name, unit people read, units per data unit, colours."""

    name: str
    title: str
    unit: str
    scale: float
    colours: str


ROWS = (
    Row("strain", "Strain", "%", 100.0, "viridis"),
    Row("c", "c", "Å", 1.0, "viridis"),
    Row("tilt_x", "Tilt towards x", "°", 1.0, "cividis"),
    Row("tilt_y", "Tilt towards y", "°", 1.0, "cividis"),
    Row("width_x", "Width along Qx", "10⁻³/Å", 1e3, "magma"),
    Row("width_y", "Width along Qy", "10⁻³/Å", 1e3, "magma"),
    Row("width_z", "Width along Qz", "10⁻³/Å", 1e3, "magma"),
)
LIGHTNESS, CHROMA = (8.0, 72.0), 40.0
"""Of tilts in CIELAB, of none and the largest: equal steps look equal, whatever the direction."""
DIMS = ("scan_y", "scan_x")
MOST_CRYSTALS = 12
"""Whose c is drawn, the largest ones."""


def strain_maps(content: "ReportContent") -> "Figure | None":
    """Draw strain, c, tilts and widths, a row each: truth, estimate, difference, uncertainty."""
    rows = [row for row in ROWS if _is_map(content.estimate, row.name)]
    if not rows:
        return None
    with style():
        figure = new_figure(13.0, 2.9 * len(rows))
        panels = figure.subplots(len(rows), 4, squeeze=False)
        for axes, row in zip(panels, rows, strict=True):
            _draw_row(axes, row, content)
    return figure


def _is_map(data: xr.Dataset | None, name: str) -> bool:
    return data is not None and name in data and data[name].dims == DIMS


def _draw_row(panels: "list[Axes]", row: Row, content: "ReportContent") -> None:
    unit = f" ({row.unit})"
    ours = row.scale * content.estimate[row.name]
    drawn: list[tuple[str, xr.DataArray, str, tuple[float, float]]] = []
    true = None
    if content.truth is not None and _is_map(content.truth, row.name):
        true = ours.copy(data=row.scale * content.truth[row.name].values)
        drawn.append((f"{row.title}: truth", true, row.colours, _limits(true)))
    shared = _limits(ours if true is None else true)
    drawn.append((f"{row.title}: estimate", ours, row.colours, shared))
    if true is not None:
        error = ours - true
        reach = float(np.abs(_limits(error)).max())
        drawn.append(("Estimate − truth", error, "RdBu_r", (-reach, reach)))
    if _is_map(content.estimate, f"{row.name}_std"):
        std = row.scale * content.estimate[f"{row.name}_std"]
        std = std.where(np.isfinite(std))
        drawn.append(("Uncertainty", std, row.colours, (0.0, _limits(std)[1])))
    for axes, (title, image, colours, span) in zip(panels, drawn, strict=False):
        _draw_map(axes, image, title, f"{row.title}{unit}", colours, span)
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()


def _limits(image: xr.DataArray) -> tuple[float, float]:
    """Return what holds 98 % of the known values."""
    known = image.values[np.isfinite(image.values)]
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    return float(low), float(high)


def _draw_map(
    axes: "Axes",
    image: xr.DataArray,
    title: str,
    label: str,
    colours: str,
    span: tuple[float, float],
) -> None:
    draw_image(axes, image, colours=colours, limits=span, label=label)
    _frame(axes, image, title)


def _frame(axes: "Axes", image: xr.DataArray, title: str) -> None:
    grid = Grid.of(image)
    left, _, bottom, _ = grid.extent
    scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
    axes.set(title=title, xticks=[], yticks=[])


def tilt_directions(content: "ReportContent") -> "Figure | None":
    """Draw the tilt, direction as hue and magnitude as brightness, and the poles of all points."""
    sides = {
        title: np.stack([data["tilt_x"].values, data["tilt_y"].values], axis=-1)
        for title, data in (("Truth", content.truth), ("Estimate", content.estimate))
        if data is not None and _is_map(data, "tilt_x") and _is_map(data, "tilt_y")
    }
    sizes = [np.hypot(*np.moveaxis(tilt, -1, 0)) for tilt in sides.values()]
    known = np.concatenate([size[np.isfinite(size)] for size in sizes] or [np.empty(0)])
    if not known.size:
        return None
    most = float(np.percentile(known, 99)) or 1.0
    with style():
        figure = new_figure(12.0, 7.4)
        for n, (title, tilt) in enumerate(sides.items(), start=1):
            image = content.estimate["tilt_x"]
            axes = figure.add_subplot(2, 3, n)
            axes.imshow(_coloured(tilt, most), extent=Grid.of(image).extent, interpolation="none")
            _frame(axes, image, f"Tilt: {title.lower()}")
            _draw_poles(figure.add_subplot(2, 3, 3 + n, projection="polar"), tilt, most, title)
        _wheel(figure.add_subplot(2, 3, 3, projection="polar"), most)
    return figure


def _coloured(tilt: Floats, most: float) -> Floats:
    """Return colours of tilts (..., 2), with those unknown left out, (..., 4)."""
    from skimage.color import lab2rgb

    size = np.hypot(tilt[..., 0], tilt[..., 1])
    part = np.clip(np.nan_to_num(size) / most, 0, 1)
    towards = np.nan_to_num(tilt / np.maximum(size, 1e-12)[..., None])
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * part
    lab = np.concatenate([lightness[..., None], CHROMA * part[..., None] * towards], axis=-1)
    return np.concatenate([lab2rgb(lab), np.isfinite(size)[..., None]], axis=-1)


def _wheel(axes: Any, most: float) -> None:
    """Draw what the colours of directions and magnitudes mean; y points down as in the maps."""
    turn, size = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(0, most, 41))
    middle = (turn[:-1, :-1] + np.pi / 120, (size[:-1, :-1] + size[1:, 1:]) / 2)
    tilt = np.stack([middle[1] * np.cos(middle[0]), middle[1] * np.sin(middle[0])], axis=-1)
    axes.pcolormesh(turn, size, _coloured(tilt, most), rasterized=True)
    axes.set_title("Direction and magnitude")
    _polar(axes, most, ink="white")


def _polar(axes: Any, most: float, *, ink: str = INK) -> None:
    axes.set_theta_direction(-1)
    axes.set(rlim=(0, most))
    axes.grid(color=RULE, linewidth=0.5)
    axes.set_thetagrids([0, 90, 180, 270], ["x", "y", "−x", "−y"])
    rings = most * np.array([1, 2, 3]) / 3
    axes.set_rgrids(rings, [f"{ring:.2g}°" for ring in rings], angle=45, color=ink)


def _draw_poles(axes: Any, tilt: Floats, most: float, title: str) -> None:
    """Draw the share of points by direction and magnitude, per square degree."""
    turn, size = np.arctan2(tilt[..., 1], tilt[..., 0]), np.hypot(tilt[..., 0], tilt[..., 1])
    known = np.isfinite(size)
    edges = (np.linspace(-np.pi, np.pi, 37), np.linspace(0, most, 11))
    counts, _, _ = np.histogram2d(turn[known], size[known], bins=edges)
    areas = np.diff(edges[0])[:, None] * np.diff(edges[1] ** 2) / 2
    density = counts / areas / max(int(known.sum()), 1)
    shown = axes.pcolormesh(
        edges[0], edges[1], np.ma.masked_equal(density, 0).T, cmap="viridis", rasterized=True
    )
    bar = axes.figure.colorbar(shown, ax=axes, label="share of points per (°)²", shrink=0.8)
    bar.outline.set_linewidth(0.5)
    axes.set_title(f"Poles: {title.lower()}")
    _polar(axes, most)


def crystals(content: "ReportContent") -> "Figure | None":
    """Draw which points are one crystal, the same colour for those that agree."""
    if not _is_map(content.estimate, "label"):
        return None
    colours = particle_colours(content)
    sides = {"Truth": content.truth, "Estimate": content.estimate}
    with style():
        figure = new_figure(4.9 * len(colours), 4.4)
        panels = np.ravel(figure.subplots(1, len(colours), squeeze=False))
        for axes, (title, palette) in zip(panels, colours.items(), strict=True):
            data = sides[title]
            assert data is not None
            label = content.estimate["label"].copy(data=data["label"].values)
            image = palette[label.values.astype(int)].copy()
            image[..., 3] = label.values > 0
            axes.imshow(image, extent=Grid.of(label).extent, interpolation="none")
            _frame(
                axes, label, f"{title}: {len(np.unique(label.values[label.values > 0]))} crystals"
            )
            _number(axes, label)
    return figure


def _number(axes: "Axes", label: xr.DataArray) -> None:
    """Write the numbers of the largest crystals into them."""
    from echolith.validation.drawing import outline

    grid = Grid.of(label)
    points = np.bincount(label.values.ravel())
    for n in np.argsort(-points[1:])[:MOST_CRYSTALS] + 1:
        y, x = np.nonzero(label.values == n)
        # The point of the crystal next to its middle, which may be outside of it.
        at = np.hypot(y - y.mean(), x - x.mean()).argmin() if len(y) else 0
        if len(y):
            axes.text(
                grid.x[x[at]],
                grid.y[y[at]],
                str(n),
                color="white",
                ha="center",
                va="center",
                fontsize=8,
                path_effects=[outline(1.5)],
            )


def c_histograms(content: "ReportContent") -> "Figure | None":
    """Draw the c of the points of every crystal, with its mean and the true one."""
    found = content.estimate
    if "particle_c_histogram" not in found:
        return None
    numbers = found["particle"].values[np.isfinite(found["particle_c_spread_std"].values)]
    if not len(numbers):
        return None
    true = _true_c(content)
    c = found["c_bin"].values
    with style():
        figure, panels = small_multiples(min(len(numbers), MOST_CRYSTALS))
        for axes, n in zip(panels, numbers, strict=False):
            one = found.sel(particle=n)
            axes.bar(c, one["particle_c_histogram"], width=c[1] - c[0], color=ACCENT, alpha=0.75)
            axes.axvline(float(one["particle_c"]), color=INK, linewidth=1.2)
            if n in true:
                axes.axvline(true[n], color=SECOND, linewidth=1.4, linestyle="--")
            spread, std = (100 * float(one[f"particle_c_spread{end}"]) for end in ("", "_std"))
            axes.set_title(f"Crystal {n}")
            remark = f"s = {spread:.2f} ± {std:.2f} pm"
            axes.set_title(remark, loc="right", fontsize=7.5, fontweight="normal")
            bare(axes)
        figure.supxlabel("c (Å)", fontsize=9)
        figure.supylabel("points", fontsize=9)
    return figure


def _true_c(content: "ReportContent") -> dict[int, float]:
    """Return the true mean c by the number of the crystal found."""
    truth = content.truth
    if truth is None or not {"label", "particle_c"} <= set(truth.data_vars):
        return {}
    match = match_particles(content.estimate["label"], truth["label"])
    values = truth["particle_c"].sel(particle=match.truth).values
    return dict(zip(match.estimate.tolist(), values.tolist(), strict=True))


def drift(content: "ReportContent") -> "Figure | None":
    """Draw where the specimen has moved to at every angle eta, as it was found."""
    found, eta = content.estimate, content.measurement.get("eta")
    names = ("drift_x", "drift_y")
    if eta is None or not all(np.isfinite(found.get(name, np.nan)) for name in names):
        return None
    turn = np.arange(eta.size) - (eta.size - 1) / 2
    with style():
        figure = new_figure(9.8, 3.0)
        panels = figure.subplots(1, 2)
        for axes, name in zip(panels, names, strict=True):
            steps = float(found[name])
            std = float(found.get(f"{name}_std", 0.0))
            axes.plot(eta, steps * turn, color=ACCENT, label="found")
            if 0 < std < np.inf:
                reach = 1.96 * std * np.abs(turn)
                low, high = steps * turn - reach, steps * turn + reach
                axes.fill_between(eta, low, high, color=ACCENT, alpha=0.3, linewidth=0)
            if content.truth is not None and name in content.truth:
                axes.plot(
                    eta,
                    float(content.truth[name]) * turn,
                    color=SECOND,
                    linestyle="--",
                    label="true",
                )
            axes.set(
                title=f"Drift along {name[-1]}",
                xlabel="eta (°)",
                ylabel="place (steps of the scan)",
            )
            axes.legend()
            bare(axes)
    return figure
