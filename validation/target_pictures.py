"""Classes and instances of pixels, drawn from a truth on the pixels of its measurement."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import Delaunay, cKDTree

from echolith.forward.acquisition import Settings
from echolith.structures.metal_growth import MetalGrowth
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.phosphate_raster import true_volume
from echolith.structures.spinel_sites import SurfacePhase
from echolith.structures.whiskers import hexagon_corners
from echolith.validation.scenario import Sample
from echolith.validation.scenarios.li_growth import LiGrowthSettings
from echolith.validation.scenarios.li_whisker import LiWhiskerSettings, PlacedWhisker

Array = npt.NDArray[np.float64]
Drawer = Callable[[Settings, Sample], xr.DataArray | None]

IMAGES = (("scan_y", "scan_x"), ("y", "x"))
"""Axes of the images of scanning, and of all others."""
FILLED = 0.5
"""Share of a voxel above which it belongs to what fills it."""
SURFACE = ("vacuum", *(phase.value for phase in SurfacePhase))
PHOSPHATE = ("none", "LiFePO4", "FePO4")


def image_axes(measurement: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Return the coordinates of the rows and columns of a measurement's image, Å; None without."""
    for y, x in IMAGES:
        if {y, x} <= set(measurement.coords):
            return measurement[y].reset_coords(drop=True), measurement[x].reset_coords(drop=True)
    return None


def holds_columns(truth: xr.Dataset) -> bool:
    """Say whether a truth tells where columns are."""
    return all(name in truth and truth[name].dims == ("column",) for name in ("x", "y"))


def mask(settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return where the specimen is: 1, and in movies of whiskers 2 for their base."""
    truth = case.truth
    for name in ("label", "grain"):
        if name in truth and truth[name].ndim > 1:
            there = {"label": "particle", "grain": "oxide"}[name]
            return _classes(truth[name] > 0, ("none", there))
    if "density" in truth:
        return _classes(truth["density"] > FILLED, ("none", "particle"))
    if "path" in truth:
        return _classes(truth["composition"].notnull(), ("none", "particle"))
    if "areal_density" in truth:
        return _classes(truth["thickness"] > 0, ("none", "particle"))
    for draw in (_surface_mask, _particle_mask, _growth_mask, _whisker_mask):
        found = draw(settings, case)
        if found is not None:
            return found
    return None


def phases(settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return which phase is where: of a surface layer, or of phosphate by its larger part."""
    truth = case.truth
    if "depth" in truth and "phase" in truth:
        return _surface_phases(settings, case)
    if "composition" in truth and {"y", "x"} <= set(truth["composition"].dims):
        share = truth["composition"]
        there = share.notnull().astype(np.uint8)
        return _classes(there + (share >= FILLED), PHOSPHATE)
    return None


def labels(_settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return which plate fills every voxel, from 1; 0 where none fills half of it."""
    truth = case.truth
    if "density" not in truth or not isinstance(case.specimen, PhosphateSpecimen):
        return None
    density = truth["density"]
    voxel = float(density["x"][1] - density["x"][0])
    nz, ny, nx = (density.sizes[dim] for dim in "zyx")
    found = true_volume(case.specimen, voxel, (nz, ny, nx))["particle"]
    return found.where(density > FILLED, 0).astype(np.int32).assign_attrs(units="1")


def _classes(values: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    drawn = values.astype(np.uint8)
    drawn.attrs = {"units": "1", "classes": json.dumps(list(names))}
    return drawn


def _surface_mask(settings: Settings, case: Sample) -> xr.DataArray | None:
    found = _surface_phases(settings, case)
    return None if found is None else _classes(found > 0, ("vacuum", "crystal"))


def _surface_phases(_settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return the phases of a surface layer; columns tell its plane, for depths are of one."""
    truth, axes = case.truth, image_axes(case.measurement)
    if axes is None or not {"depth", "phase", "surface_phase"} <= set(truth.variables):
        return None
    places = [truth["x"].values, truth["y"].values, np.ones(truth.sizes["column"])]
    along_x, along_y, edge = np.linalg.lstsq(np.stack(places, axis=1), truth["depth"].values)[0]
    depth = edge + along_y * axes[0] + along_x * axes[1]
    layered, surface = SURFACE.index("layered"), SURFACE.index(str(truth["surface_phase"].values))
    deepest = float(truth["surface_depth"]) if "surface_depth" in truth else 0.0
    found = (0 * depth + layered).where(depth >= deepest, surface).where(depth >= 0, 0)
    return _classes(found, SURFACE)


def _particle_mask(_settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return the hull of a particle's columns, for it is convex, and half a column more."""
    truth, axes = case.truth, image_axes(case.measurement)
    if axes is None or "species" in truth or not holds_columns(truth) or truth["x"].size < 3:
        return None
    columns = np.stack([truth["y"].values, truth["x"].values], axis=1)
    tree = cKDTree(columns)
    apart = float(np.median(tree.query(columns, k=2)[0][:, 1]))
    pixels = np.stack(np.meshgrid(*(axis.values for axis in axes), indexing="ij"), axis=-1)
    near = tree.query(pixels, distance_upper_bound=apart / 2)[0] < np.inf
    inside = near | (Delaunay(columns).find_simplex(pixels) >= 0)
    return _classes(xr.DataArray(inside, dims=[axis.name for axis in axes]), ("none", "particle"))


def _growth_mask(settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return in every frame where a growing particle is: inside all of its edges."""
    axes, growth = image_axes(case.measurement), case.specimen
    if (
        axes is None
        or not isinstance(settings, LiGrowthSettings)
        or not isinstance(growth, MetalGrowth)
    ):
        return None
    edge, angle = case.truth["edge"], np.radians(case.truth["angle"])
    height, width = settings.movie.acquisition.field
    drift, times = settings.movie.drift, case.truth["frame"]
    y = axes[0] - (height / 2 + growth.centre[1] + drift[0] * times)
    x = axes[1] - (width / 2 + growth.centre[0] + drift[1] * times)
    inside = (np.cos(angle) * x + np.sin(angle) * y <= edge) | edge.isnull()
    return _classes(inside.all("facet").transpose("frame", "y", "x"), ("none", "particle"))


def _whisker_mask(settings: Settings, case: Sample) -> xr.DataArray | None:
    """Return in every frame where a whisker and its base are, shell included."""
    axes, placed = image_axes(case.measurement), case.specimen
    if (
        axes is None
        or not isinstance(settings, LiWhiskerSettings)
        or not isinstance(placed, PlacedWhisker)
    ):
        return None
    whisker, truth, times = placed.whisker, case.truth, case.measurement["frame"]
    length, width = (truth[name].assign_coords(frame=times) for name in ("length", "width"))
    y, x = (
        axis - float(axis.mean()) - place - speed * times
        for axis, place, speed in zip(axes, placed.place, settings.drift, strict=True)
    )
    c, s = np.cos(np.radians(whisker.direction)), np.sin(np.radians(whisker.direction))
    along, across = c * x + s * y, c * y - s * x
    half = float(hexagon_corners(1.0, whisker.roll)[:, 0].max()) * width
    there = (along >= 0) & (along <= length) & (abs(across) <= half)
    drawn = there.where(along >= 0, 2).transpose("frame", "y", "x")
    return _classes(drawn, ("none", "whisker", "base"))
