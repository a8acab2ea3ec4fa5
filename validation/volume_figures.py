"""Pictures of volumes: three slices of the composition, truth and estimate with the same scales.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show. Composition is the colour, density the opacity.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from echolith.validation.drawing import INK, Grid, new_figure, scale_bar, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Floats = npt.NDArray[np.float64]

COLOURS = "viridis"
LABEL = "fraction of FePO4"
NEAR = 2
"""Voxels over which colour is carried to where a composition is not given."""
FAINT = 0.02
"""Density below which a voxel has no colour of its own."""
MOST_PIXELS = 400
"""Along a side of a slice; of more, every second, third, ... is drawn."""


@dataclass(frozen=True, kw_only=True)
class Chemistry:
    """Density and composition of a volume, (z, y, x), the composition known wherever drawn."""

    density: xr.DataArray
    composition: xr.DataArray

    @classmethod
    def of(cls, data: xr.Dataset | None) -> "Chemistry | None":
        """Take the chemistry from an estimate or a truth; None where there is none."""
        if data is None or not {"density", "composition"} <= set(data.data_vars):
            return None
        if set(data["density"].dims) != {"z", "y", "x"} or data["density"].size == 0:
            return None
        ordered = data[["density", "composition"]].transpose("z", "y", "x").compute()
        return cls(
            density=ordered["density"].clip(0, 1), composition=_carried(ordered["composition"])
        )


def _carried(composition: xr.DataArray) -> xr.DataArray:
    """Give voxels without a composition that of the nearest one that has one."""
    known = np.isfinite(composition.values)
    if known.all() or not known.any():
        return composition
    away, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
    filled = np.where(away <= NEAR, composition.values[tuple(nearest)], np.nan)
    return composition.copy(data=filled)


def both(content: "ReportContent") -> dict[str, Chemistry]:
    """Return truth and estimate of a volume, those that there are, by their titles."""
    sides = {"Truth": Chemistry.of(content.truth), "Estimate": Chemistry.of(content.estimate)}
    return {title: side for title, side in sides.items() if side is not None}


def slices(content: "ReportContent") -> "Figure | None":
    """Draw three slices of composition through the fullest planes, truth above estimate."""
    sides = both(content)
    if not sides:
        return None
    places = fullest(next(iter(sides.values())).density)
    with style():
        figure = new_figure(9.8, 3.15 * len(sides) + 0.2)
        panels = figure.subplots(len(sides), 3, squeeze=False)
        for row, (title, side) in zip(panels, sides.items(), strict=True):
            for axes, across in zip(row, "zyx", strict=True):
                _draw_slice(axes, side, across, places, title)
        _bar(figure, panels)
    return figure


def fullest(density: xr.DataArray) -> dict[str, int]:
    """Return the plane across each axis that holds the most phosphate."""
    return {
        str(axis): int(density.sum([dim for dim in density.dims if dim != axis]).values.argmax())
        for axis in density.dims
    }


def _slice(volume: xr.DataArray, across: str, places: dict[str, int]) -> xr.DataArray:
    step = max(1, -(-max(volume.shape) // MOST_PIXELS))
    plane = volume.isel({across: places[across]})
    # The beam runs to the right in the slice across x, down in the one across y.
    rows, columns = {"z": ("y", "x"), "y": ("z", "x"), "x": ("y", "z")}[across]
    return plane.transpose(rows, columns)[::step, ::step]


def _draw_slice(
    axes: "Axes", side: Chemistry, across: str, places: dict[str, int], title: str
) -> None:
    shares = _slice(side.composition, across, places)
    grid = Grid.of(shares)
    axes.imshow(
        coloured(shares.values, _slice(side.density, across, places).values),
        extent=grid.extent,
        interpolation="none",
        aspect="equal",
    )
    left, _, bottom, _ = grid.extent
    scale_bar(axes, left=left, bottom=bottom, width=grid.width, height=grid.height)
    at = round(float(side.density[across].values[places[across]]) / 10)
    rows, columns = shares.dims
    axes.set(title=f"{title}, {across} = {at} nm".replace("-", "−"), xticks=[], yticks=[])
    axes.set(xlabel=f"{columns} →", ylabel=f"← {rows}")


def coloured(composition: Floats, density: Floats) -> Floats:
    """Return colours with the density as opacity, (..., 4)."""
    from matplotlib import colormaps

    colours = np.asarray(colormaps[COLOURS](np.nan_to_num(np.clip(composition, 0, 1))))
    known = np.isfinite(composition) & (density > FAINT)
    colours[..., 3] = np.where(known, np.clip(density, 0, 1), 0)
    return colours


def _bar(figure: "Figure", panels: Any) -> None:
    bar = figure.colorbar(composition_scale(), ax=panels, label=LABEL, shrink=0.7, aspect=30)
    bar.outline.set_linewidth(0.5)
    bar.outline.set_edgecolor(INK)


def composition_scale() -> Any:
    """Return what a colour bar of composition is made from."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 1), COLOURS)
