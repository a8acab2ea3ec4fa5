"""The pictures of a round trip: images, columns, diffraction, and the one that sums it up.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from echolith.validation.distance_figures import draw_errors, known_errors
from echolith.validation.drawing import (
    INK,
    SKY,
    SPECIES_COLOURS,
    Grid,
    draw_image,
    new_figure,
    outline,
    scale_bar,
    species_colour,
    style,
)
from echolith.validation.gauge import remove_shift
from echolith.validation.matching import match_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

ZOOM = 8.0
"""Å; side of the magnified crop."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Recovered columns, and the true ones moved into the frame of the image.

    A measurement leaves a common shift free; it is taken out as in scoring.
    """

    estimate: xr.Dataset | None
    truth: xr.Dataset | None

    @classmethod
    def of(cls, content: "ReportContent") -> "Columns":
        """Take the columns from the content of a report."""
        estimate = content.estimate if _has_columns(content.estimate) else None
        truth = content.truth if _has_columns(content.truth) else None
        if estimate is None or truth is None:
            return cls(estimate=estimate, truth=truth)
        aligned = remove_shift(estimate, truth)
        moved = truth.copy()
        for axis in ("x", "y"):
            moved[axis] = truth[axis] + float((estimate[axis] - aligned[axis]).values[0])
        return cls(estimate=estimate, truth=moved)

    @property
    def species(self) -> list[str]:
        """Every species on either side, heaviest columns first where they are known."""
        found = [
            str(s)
            for data in (self.truth, self.estimate)
            if data is not None and "species" in data
            for s in data["species"].values
        ]
        return [s for s in SPECIES_COLOURS if s in found] + sorted({*found} - {*SPECIES_COLOURS})


def _has_columns(data: xr.Dataset | None) -> bool:
    return data is not None and "x" in data and "y" in data and data.sizes.get("column", 0) > 0


def images(content: "ReportContent") -> "Figure | None":
    """Draw the annular dark field and the phase side by side, a row for each exposure."""
    kinds = [name for name in ("haadf", "phase") if _stack(content, name) is not None]
    if not kinds:
        return None
    rows = max(len(_each(content, name)) for name in kinds)
    with style():
        height = _height(next(iter(_each(content, kinds[0]).values())), 4.9)
        figure = new_figure(4.9 * len(kinds), height * rows)
        # Rows laid out each by itself: together they would grow over each other's labels.
        parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
        grid = np.stack([part.subplots(1, len(kinds), squeeze=False)[0] for part in parts])
        for column, name in zip(grid.T, kinds, strict=True):
            for axes, (what, image) in zip(column, _each(content, name).items(), strict=False):
                _draw_image(axes, image, name, title=f"{_TITLES[name]}{what}")
    return figure


def columns(content: "ReportContent") -> "Figure | None":
    """Draw recovered and true columns over the phase, whole and magnified with error vectors."""
    image = _image(content, "phase")
    found = Columns.of(content)
    if image is None or not found.species:
        return None
    with style():
        figure = new_figure(9.8, _height(image, 4.9) + 0.35)
        whole, zoom = figure.subplots(1, 2)
        _draw_image(whole, image, "phase", title="Columns on the phase", bar=False)
        _mark_columns(whole, found, field=Grid.of(image).width)
        draw_image(zoom, image)
        _zoom(zoom, image, found)
        figure.legend(handles=_keys(found), loc="outside lower center", ncols=len(_keys(found)))
    return figure


_TITLES = {"haadf": "Annular dark field", "phase": "Phase"}
_LABELS = {"haadf": "electrons per position", "phase": "phase (rad)"}
MOST_ROWS = 4
"""Of one figure; a series of frames is longer."""


def _stack(content: "ReportContent", name: str) -> xr.DataArray | None:
    """Return an image, or a series of them along one more dim."""
    data = content.measurement if name == "haadf" else content.estimate
    image = data.get(name)
    if image is None or not {"scan_y", "scan_x"} <= set(image.dims) or image.ndim > 3:
        return None
    return image


def _image(content: "ReportContent", name: str) -> xr.DataArray | None:
    """Return an image where there is one only."""
    stack = _stack(content, name)
    return stack if stack is not None and stack.ndim == 2 else None


def _each(content: "ReportContent", name: str) -> dict[str, xr.DataArray]:
    """Return the first images of a series by what tells them apart."""
    stack = _stack(content, name)
    assert stack is not None
    series = [str(dim) for dim in stack.dims if dim not in ("scan_y", "scan_x")]
    if not series:
        return {"": stack}
    labels = stack[series[0]].values if series[0] in stack.coords else range(stack.sizes[series[0]])
    named = {f", {series[0]} {label}": n for n, label in enumerate(list(labels)[:MOST_ROWS])}
    return {what: stack.isel({series[0]: n}) for what, n in named.items()}


def _height(image: xr.DataArray, width: float) -> float:
    """Height in inches of a panel of this width that holds a real-space image and its title."""
    grid = Grid.of(image)
    return float(np.clip(0.78 * width * grid.height / grid.width + 0.65, 2.0, 9.0))


def _draw_image(
    axes: "Axes", image: xr.DataArray, name: str, *, title: str = "", bar: bool = True
) -> None:
    image = image.compute()
    draw_image(axes, image, label=_LABELS[name] if bar else None)
    grid = Grid.of(image)
    left, _, bottom, _ = grid.extent
    scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
    axes.set(title=title or _TITLES[name], xlabel="x (Å)", ylabel="y (Å)")


def _mark_columns(axes: "Axes", found: Columns, *, field: float, emphasis: float = 1.0) -> None:
    """Draw circles at recovered and crosses at true columns, about 0.7 Å wide."""
    size = float(np.clip(0.7 / field * 280 * emphasis, 2.5, 14))
    for species in found.species:
        colour = species_colour(species)
        for data, marker in ((found.estimate, "o"), (found.truth, "+")):
            if data is None:
                continue
            mine = data["species"].values == species
            axes.plot(
                data["x"].values[mine],
                data["y"].values[mine],
                linestyle="none",
                marker=marker,
                markersize=size if marker == "o" else size * 0.6,
                markerfacecolor="none",
                markeredgecolor=colour,
                markeredgewidth=float(np.clip(size / 7, 0.5, 1.3)),
                path_effects=[outline(2.2)] if size > 5 else [],
            )


def _keys(found: Columns) -> list[Any]:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], linestyle="none", marker="s", color=species_colour(s), label=s)
        for s in found.species
    ]
    for data, marker, label in ((found.estimate, "o", "recovered"), (found.truth, "+", "true")):
        if data is not None:
            keys.append(
                Line2D(
                    [],
                    [],
                    linestyle="none",
                    marker=marker,
                    markerfacecolor="none",
                    markeredgecolor=INK,
                    markersize=7,
                    label=label,
                )
            )
    return keys


def _zoom(axes: "Axes", image: xr.DataArray, found: Columns) -> None:
    grid = Grid.of(image)
    left, right, bottom, top = grid.extent
    side = min(ZOOM, grid.width, grid.height)
    x, y = (left + right) / 2 - side / 2, (bottom + top) / 2 - side / 2
    axes.set(xlim=(x, x + side), ylim=(y + side, y), xlabel="x (Å)", ylabel="y (Å)")
    scale_bar(axes, left=x, bottom=y + side, width=side, height=side)
    _mark_columns(axes, found, field=side, emphasis=0.8)
    title = f"Centre, {side:g} Å wide"
    magnification = _error_vectors(axes, found)
    if magnification:
        title += f"; arrows: error × {magnification:g}"
    axes.set_title(title)


def _error_vectors(axes: "Axes", found: Columns) -> float:
    """Draw arrows from true to recovered columns; return their magnification, 0 for none."""
    if found.estimate is None or found.truth is None:
        return 0.0
    match = match_columns(found.estimate, found.truth)
    if not len(match.estimate):
        return 0.0
    start, stop = (
        np.stack([data["x"].values[index], data["y"].values[index]])
        for data, index in ((found.truth, match.truth), (found.estimate, match.estimate))
    )
    error = stop - start
    typical = float(np.sqrt(np.mean(error**2)))
    wanted = 0.35 / max(typical, 1e-4)
    steps = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
    magnification = float(steps[np.abs(np.log(steps / wanted)).argmin()])
    axes.quiver(
        *start,
        *(magnification * error),
        angles="xy",
        scale_units="xy",
        scale=1,
        color="white",
        edgecolor="black",
        linewidth=0.5,
        width=0.007,
        zorder=4,
    )
    return magnification


def diffraction(content: "ReportContent") -> "Figure | None":
    """Draw the mean diffraction pattern and those at two probe positions, angles in mrad."""
    axes_needed = {"scan_y", "scan_x", "detector_y", "detector_x"}
    if set(content.measurement.get("counts", xr.DataArray()).dims) != axes_needed:
        return None
    counts = content.measurement["counts"]
    # skipna would copy a large array to look for NaN.
    patterns = {"Mean over the scan": counts.mean(("scan_y", "scan_x"), skipna=False)}
    for what, (iy, ix) in probe_positions(content).items():
        frame = counts.isel(scan_y=iy, scan_x=ix)
        patterns[f"{what}, scan pixel ({iy}, {ix})"] = frame
    semiangle = _semiangle(content.measurement)
    with style():
        figure = new_figure(3.5 * len(patterns), 3.0)
        panels = np.ravel(figure.subplots(1, len(patterns)))
        for axes, (title, pattern) in zip(panels, patterns.items(), strict=True):
            _draw_pattern(axes, pattern.compute(), title, semiangle)
    return figure


def _draw_pattern(axes: "Axes", pattern: xr.DataArray, title: str, semiangle: float | None) -> None:
    from matplotlib.colors import PowerNorm
    from matplotlib.patches import Circle

    norm = PowerNorm(0.5, vmin=0, vmax=max(float(pattern.max()), 1e-12))
    draw_image(axes, pattern, colours="magma", label="electrons per pixel", norm=norm)
    if semiangle is not None:
        circle = Circle((0, 0), semiangle, fill=False, color=SKY, linestyle="--", linewidth=1.1)
        axes.add_patch(circle)
    axes.set(title=title, xlabel="x (mrad)", ylabel="y (mrad)")


def _semiangle(measurement: xr.Dataset) -> float | None:
    from echolith.errors import BadInputError
    from echolith.forward.acquisition import acquisition_of

    try:
        return acquisition_of(measurement).beam.semiangle
    except BadInputError:
        return None


def probe_positions(content: "ReportContent") -> dict[str, tuple[int, int]]:
    """Choose two scan pixels to look at: on a heavy and on a light column.

    The columns are the true ones nearest to the centre of the scan, the recovered ones where there
    is no truth; without either, the brightest and the darkest pixel of the annular dark field.

    Returns
    -------
    dict
        What is there, and the scan pixel (iy, ix).
    """
    grid = Grid.of(content.measurement["counts"].isel(detector_y=0, detector_x=0))
    for data in (content.truth, content.estimate):
        if data is None or not _has_columns(data) or "species" not in data:
            continue
        present = set(data["species"].values.tolist())
        light = next((s for s in ("O", "Li") if s in present), None)
        chosen = [s for s in ("M", light) if s in present]
        if chosen:
            return {f"On {s}": _central_column(data, str(s), grid) for s in chosen}
    haadf = _image(content, "haadf")
    if haadf is None:
        return {}
    values = np.asarray(haadf.values)
    bright, dark = (np.unravel_index(i, values.shape) for i in (values.argmax(), values.argmin()))
    return {
        "Brightest": (int(bright[0]), int(bright[1])),
        "Darkest": (int(dark[0]), int(dark[1])),
    }


def _central_column(data: xr.Dataset, species: str, grid: Grid) -> tuple[int, int]:
    mine = data["species"].values == species
    x, y = data["x"].values[mine], data["y"].values[mine]
    nearest = np.hypot(x - grid.x.mean(), y - grid.y.mean()).argmin()
    return grid.nearest(float(x[nearest]), float(y[nearest]))


def hero_figure(content: "ReportContent") -> "Figure":
    """Draw the one picture that sums a round trip up: dark field, phase with columns, errors.

    Panels the content has nothing for are left out.

    Returns
    -------
    matplotlib.figure.Figure
        On white, 12 by about 4 inches; save it as PNG with `save_png`.
    """
    found = Columns.of(content)
    panels = [name for name in ("haadf", "phase") if _image(content, name) is not None]
    panels += ["errors"] if known_errors(content) else []
    with style(**{"figure.facecolor": "white", "savefig.facecolor": "white"}):
        figure = new_figure(4.0 * max(len(panels), 1), 4.1)
        if not panels:
            return figure
        drawn = dict(zip(panels, np.ravel(figure.subplots(1, len(panels))), strict=True))
        for name, axes in drawn.items():
            if name == "errors":
                draw_errors(axes, content)
                distances = "pair_name" in content.estimate
                axes.set_title("Distances between columns" if distances else "Quantities")
                continue
            image = _image(content, name)
            assert image is not None
            _draw_image(axes, image, name)
            if name == "phase" and found.species:
                axes.set_title("Phase, recovered and true columns")
                _mark_columns(axes, found, field=Grid.of(image).width, emphasis=0.75)
                figure.legend(handles=_keys(found), loc="outside lower center", ncols=8)
        if "errors" in drawn and len(drawn) > 1:
            _as_tall_as(drawn[panels[0]], drawn["errors"])
    return figure


def _as_tall_as(image: "Axes", other: "Axes") -> None:
    """Give a panel the height of an image beside it, which keeps its own shape in its place."""
    figure = image.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    box, mine = image.get_position(), other.get_position()
    other.set_position((mine.x0, box.y0, mine.width, box.height))
