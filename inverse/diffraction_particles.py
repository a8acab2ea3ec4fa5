"""The crystals of a diffraction map one by one: size, cell, orientation, how uniform they are."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import ndimage

from echolith.forward.acquisition import Settings
from echolith.inverse.diffraction_segmentation import DIMS, MapSegmentation, segment_map
from echolith.inverse.particle_recovery import prefixed

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

UNITS = {"spacing": "Å", "c": "Å", "strain": "1", "tilt_x": "°", "tilt_y": "°"}
"""Of the maps whose mean and spread are told of every crystal."""


class MapParticles(Settings):
    """How the crystals of a map are found and measured."""

    segmentation: MapSegmentation = MapSegmentation()
    order: Annotated[int, Field(ge=1, le=100)] = 3
    """l of the reflection 00l: c is so many times the spacing."""
    bins: Annotated[int, Field(ge=1, le=1000)] = 24
    """Of the histograms of c."""


def recover_map_particles(maps: xr.Dataset, *, options: MapParticles | None = None) -> xr.Dataset:
    """Find the crystals of a map and measure each of them.

    Parameters
    ----------
    maps : xarray.Dataset
        As from `echolith.inverse.diffraction_map.recover_map`.
    options : MapParticles, optional

    Returns
    -------
    xarray.Dataset
        The maps, ``c`` (Å) with its ``_std``, ``label`` of `segment_map`, the columns of
        `map_particle_table` along ``particle``, each name with ``particle_`` before it, and
        ``particles``, their number.

    Raises
    ------
    BadInputError
        As `segment_map`.
    """
    options = options or MapParticles()
    label = segment_map(maps, options=options.segmentation)
    named = {
        f"c{end}": (options.order * maps[f"spacing{end}"]).assign_attrs(units="Å")
        for end in ("", "_std")
    }
    maps = maps.assign(named)
    table = prefixed(map_particle_table(maps, label, bins=options.bins))
    count = xr.DataArray(table.sizes["particle"], attrs={"units": "1"})
    return maps.merge(table).assign(label=label, particles=count)


def map_particle_table(maps: xr.Dataset, label: xr.DataArray, *, bins: int = 24) -> xr.Dataset:
    """Return what is known of each crystal.

    Means and spreads are over the points that do not touch another crystal, which the beam may
    show at the same time. Of a spread, what the uncertainty of the points makes up is taken off:

        V = s² - <σ²>,    var(V) = 4 <(x - x̄)² σ²> / n + 2 <σ⁴> / n,

    and the standard deviation is the longer side of the interval that V ± std(V) becomes for the
    root of V. It is that of noise alone; the spread is of these points, not of a population.

    Parameters
    ----------
    maps : xarray.Dataset
        ``spacing``, ``c``, ``strain``, ``tilt_x``, ``tilt_y`` with their ``_std`` over (scan_y,
        scan_x), Å.
    label : xarray.DataArray
        Of `segment_map`.
    bins : int
        Of the histograms of c.

    Returns
    -------
    xarray.Dataset
        Along ``particle``, numbered from 1 as in the label: ``area`` (Å², of points with data; its
        ``_std`` is that of counting points), ``y``, ``x`` (Å, middle), ``points`` that were
        averaged, ``spacing``, ``c``, ``strain``, ``tilt_x``, ``tilt_y`` with ``_std``;
        ``spacing_spread``, ``c_spread``, ``strain_spread``, ``tilt_spread`` with ``_std``;
        ``c_histogram`` over ``c_bin`` (Å), numbers of points. NaN and an infinite ``_std`` where
        fewer than two points are left.
    """
    numbers = np.arange(1, int(label.max()) + 1)
    inner = _inner(label.values)
    rows = [_row(maps, label.values == n, inner) for n in numbers]
    table = xr.Dataset(coords={"particle": numbers})
    for name, unit in _columns().items():
        values = np.array([row[name] for row in rows], dtype=float)
        table[name] = ("particle", values, {"units": unit})
    return table.assign(_histograms(maps, label.values, inner, bins))


def _columns() -> dict[str, str]:
    """Return names and units of all columns but the histograms."""
    columns = {"area": "Å²", "area_std": "Å²", "y": "Å", "x": "Å", "points": "1"}
    spreads = {"spacing": "Å", "c": "Å", "strain": "1", "tilt": "°"}
    for name, unit in [*UNITS.items(), *((f"{n}_spread", unit) for n, unit in spreads.items())]:
        columns |= {name: unit, f"{name}_std": unit}
    return columns


def _inner(labels: npt.NDArray[np.integer]) -> Mask:
    """Return the points that have none of another crystal beside them."""
    highest = ndimage.maximum_filter(labels, 3, mode="nearest")
    # 0 is no crystal, and must not be the lowest.
    most = labels.max(initial=0) + 1
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, most), 3, mode="nearest")
    return np.asarray((labels > 0) & (highest == labels) & (lowest == labels))


def _row(maps: xr.Dataset, mine: Mask, inner: Mask) -> dict[str, float]:
    places = dict(zip(DIMS, np.nonzero(mine), strict=True))
    point = float(np.prod([np.diff(maps[dim].values[:2]) for dim in DIMS]))
    rim = mine & ~ndimage.binary_erosion(mine)
    row = {
        "area": mine.sum() * point,
        # A point of the rim counts in whole or not at all: uniform, so 1/12 each.
        "area_std": np.sqrt(rim.sum() / 12) * point,
        "y": maps["scan_y"].values[places["scan_y"]].mean(),
        "x": maps["scan_x"].values[places["scan_x"]].mean(),
        "points": (mine & inner).sum(),
    }
    variances = {}
    for name in UNITS:
        values, stds = (maps[which].values[mine & inner] for which in (name, f"{name}_std"))
        row[name], row[f"{name}_std"] = _mean(values, stds)
        variances[name] = _variance(values, stds)
    variances["tilt"] = variances["tilt_x"] + variances["tilt_y"]
    for name in ("spacing", "c", "strain", "tilt"):
        row[f"{name}_spread"], row[f"{name}_spread_std"] = _root(*variances[name])
    return row


def _mean(values: Array, stds: Array) -> tuple[float, float]:
    if not len(values):
        return np.nan, np.inf
    return float(values.mean()), float(np.sqrt((stds**2).sum()) / len(values))


def _variance(values: Array, stds: Array) -> Array:
    """Return the variance that noise does not make up, and its own, (2,)."""
    count = len(values)
    if count < 2:
        return np.array([np.nan, np.inf])
    found = values.var(ddof=1) - (stds**2).mean()
    # The noise in the squares is taken off, or it would be counted twice.
    away = (values - values.mean()) ** 2 - stds**2
    mixed = max(float((away * stds**2).mean()), 0.0)
    return np.array([found, (4 * mixed + 2 * float((stds**4).mean())) / count])


def _root(value: float, variance: float) -> tuple[float, float]:
    """Return the root of a variance and the longer side of its interval."""
    if not np.isfinite(variance):
        return np.nan, np.inf
    low, middle, high = np.sqrt(np.maximum(value + np.array([-1, 0, 1]) * np.sqrt(variance), 0))
    return float(middle), float(max(middle - low, high - middle))


def _histograms(
    maps: xr.Dataset, labels: npt.NDArray[np.integer], inner: Mask, bins: int
) -> dict[str, xr.DataArray]:
    """Return how often each c is found in each crystal, in common bins."""
    c = maps["c"].values
    shown = c[inner]
    edges = np.histogram_bin_edges(shown if len(shown) else np.ones(1), bins=bins)
    counts = [
        np.histogram(c[inner & (labels == n)], bins=edges)[0] for n in range(1, labels.max() + 1)
    ]
    middles = xr.DataArray((edges[1:] + edges[:-1]) / 2, dims="c_bin", attrs={"units": "Å"})
    found = xr.DataArray(
        np.array(counts, dtype=np.int64).reshape(-1, bins),
        dims=("particle", "c_bin"),
        coords={"c_bin": middles},
        attrs={"units": "1"},
    )
    return {"c_histogram": found}
