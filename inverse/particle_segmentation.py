"""Particles in a volume: which voxel belongs to which, also where thin plates touch.

A distance transform cannot tell plates apart that are three voxels thick: it is as high at every
contact as inside. What tells them apart is that plates are convex. So voxels of a connected body
are grouped by what they see along straight rays through the body, and a watershed on the density
grows the groups to their borders.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import ndimage
from skimage.segmentation import watershed

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.particle_visibility import groups, most_alike, mutual_visibility

Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Indices = npt.NDArray[np.intp]


class SegmentationOptions(Settings):
    """How particles are told apart."""

    core_density: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Filling above which a voxel is surely of a particle. Carbon binder, which absorbs without the
    white line, has a density below 0.1."""
    ray_density: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Below which two points do not see each other."""
    rim_density: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Down to which partly filled voxels about a core belong to its particle."""
    rim: Annotated[int, Field(ge=0, le=20)] = 2
    """Voxels about a core that may belong to it."""
    difference: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Between the sets of points that two parts see, above which they are two particles."""
    smallest: Annotated[int, Field(ge=1)] = 20
    """Voxels of a core, below which it is no particle."""
    points: Annotated[int, Field(ge=10, le=10_000)] = 2500
    """Of one connected body that are compared, at most; memory grows with the square."""


def segment_particles(
    volume: xr.Dataset, *, options: SegmentationOptions | None = None
) -> xr.DataArray:
    """Return which particle each voxel belongs to.

    Parameters
    ----------
    volume : xarray.Dataset
        ``density``, part of each voxel that is phosphate, dims z, y, x.
    options : SegmentationOptions, optional

    Returns
    -------
    xarray.DataArray
        ``label``, int32 (z, y, x): numbers from 1, from the largest particle down; 0 where there
        is none.

    Raises
    ------
    BadInputError
        If there is no density over z, y and x, or it is not finite.

    References
    ----------
    Asafi, Goren & Cohen-Or, Comput. Graph. Forum 32, 23 (2013); watershed of scikit-image.
    """
    options = options or SegmentationOptions()
    density = _density(volume)
    values = density.values.astype(np.float32)
    labels = _grown(values, _cores(values, options), options)
    found = xr.DataArray(
        _numbered_by_size(labels), dims=("z", "y", "x"), coords=density.coords, name="label"
    )
    return found.assign_attrs(units="1", outside="0 where there is no particle")


def _density(volume: xr.Dataset) -> xr.DataArray:
    if "density" not in volume or set(volume["density"].dims) != {"z", "y", "x"}:
        held = ", ".join(f"{name} {array.dims}" for name, array in volume.data_vars.items())
        raise BadInputError(
            f"volume holds {held or 'nothing'}; expected density with dims z, y, x, as of "
            "recover_composition"
        )
    density = volume["density"].transpose("z", "y", "x")
    bad = int((~np.isfinite(density.values)).sum())
    if bad:
        raise BadInputError(
            f"density is not finite in {bad} of {density.size} voxels; expected a number in each; "
            "put 0 where nothing is known"
        )
    return density


def _cores(density: Singles, options: SegmentationOptions) -> Labels:
    """Return the particles' voxels above the density of cores."""
    bodies, _ = ndimage.label(density > options.core_density)
    cores, count = np.zeros(density.shape, dtype=np.int32), 0
    for body, place in enumerate(ndimage.find_objects(bodies), start=1):
        inside = bodies[place] == body
        if np.count_nonzero(inside) < options.smallest:
            continue
        parts = _parted(np.ascontiguousarray(density[place]), inside, options)
        for part in range(1, parts.max() + 1):
            core = _largest_piece(parts == part)
            if np.count_nonzero(core) >= options.smallest:
                count += 1
                cores[place][core] = count
    return cores


def _parted(
    density: Singles, inside: npt.NDArray[np.bool_], options: SegmentationOptions
) -> Indices:
    """Part one connected body into convex ones, numbered from 1."""
    voxels = np.argwhere(inside)
    points = _spread(voxels, density[inside], options.points)
    level = options.ray_density
    # Rays leave the body into others of its box only through what is empty.
    visible = mutual_visibility(density, points.astype(np.float64), level=level)
    group = groups(visible, difference=options.difference)
    parts = np.zeros(density.shape, dtype=np.intp)
    parts[inside] = 1
    if group.max() > 1:
        parts[inside] = most_alike(
            density, voxels.astype(np.float64), points.astype(np.float64), group, level=level
        )
    return parts


def _spread(voxels: Indices, density: Singles, most: int) -> Indices:
    """Return the fullest voxel of every block of 2³ voxels, of larger ones where they are many."""
    block = 2
    while True:
        _, cell = np.unique(voxels // block, axis=0, return_inverse=True)
        order = np.lexsort((-density, cell.ravel()))
        _, first = np.unique(cell.ravel()[order], return_index=True)
        if len(first) <= most:
            return np.asarray(voxels[order[first]])
        block += 1


def _largest_piece(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == 1 + sizes[1:].argmax())


def _grown(density: Singles, cores: Labels, options: SegmentationOptions) -> Labels:
    """Grow cores by watershed into partly filled voxels near them."""
    if not cores.any() or not options.rim:
        return cores
    away = ndimage.distance_transform_edt(cores == 0)
    # Voxels of a body that were parted from a core too small to be a particle may join as well.
    near = (density > options.rim_density) & (away <= options.rim + 0.5)
    grown = watershed(-density, cores, mask=near | (cores > 0))  # type: ignore[no-untyped-call]
    return np.asarray(grown, dtype=np.int32)


def _numbered_by_size(labels: Labels) -> Labels:
    sizes = np.bincount(labels.ravel())
    order = 1 + np.argsort(-sizes[1:], kind="stable")
    numbers = np.zeros(len(sizes), dtype=np.int32)
    numbers[order] = np.arange(1, len(sizes))
    return np.asarray(numbers[labels])
