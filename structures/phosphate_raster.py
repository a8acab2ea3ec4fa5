"""A specimen of plates on voxels of any size: exact along z, finer than the voxels across.

Each voxel holds the parts of its volume that are phosphate and binder, and the mean composition of
its phosphate: edges are not stepped. Memory: the volume, and the box of one plate at a time.
"""

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.structures.body_rays import (
    MOST_PIECES,
    PackedBodies,
    owned_pieces,
    packed_bodies,
    reacted_length,
)
from echolith.structures.phosphate_plates import PhosphateSpecimen

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

CELL = 24.0
"""Å along z; the composition is read at two points in each."""


def true_volume(
    specimen: PhosphateSpecimen,
    voxel: float,
    shape: tuple[int, int, int],
    *,
    rays: int = 3,
) -> xr.Dataset:
    """Return the chemistry of a specimen on voxels.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    voxel : float
        Edge of the cubic voxels, Å.
    shape : (int, int, int)
        Voxels (z, y, x), the specimen's origin in the middle. What is outside is left out.
    rays : int
        Along y and x of a voxel, 1 to 16.

    Returns
    -------
    xarray.Dataset
        Over (z, y, x), Å: ``density`` and ``binder`` (parts of the voxel), ``composition``
        (fraction of FePO4 of the phosphate; 0 where density is 0), ``particle`` (number of the
        plate with the largest part, from 1; 0 for none).

    Raises
    ------
    BadInputError
        If voxel, shape or rays make no raster.
    """
    _check(voxel, shape, rays)
    bodies = packed_bodies(specimen)
    density, reacted, binder, largest = (np.zeros(shape, dtype=np.float32) for _ in range(4))
    particle = np.zeros(shape, dtype=np.int16)
    for index in range(len(specimen.bodies)):
        place, corner = _box(bodies, index, voxel, shape)
        part = np.zeros((2, *(s.stop - s.start for s in place)), dtype=np.float32)
        if not part.size:
            continue
        _fill(bodies, index, corner, voxel, rays, CELL, part)
        if index >= bodies.plates:
            binder[place] += part[0]
            continue
        density[place] += part[0]
        reacted[place] += part[1]
        more = part[0] > largest[place]
        largest[place][more] = part[0][more]
        particle[place][more] = index + 1
    composition = np.divide(reacted, density, out=np.zeros_like(density), where=density > 0)
    return _dataset(
        {"composition": composition, "density": density, "binder": binder, "particle": particle},
        voxel,
    )


def _check(voxel: float, shape: tuple[int, int, int], rays: int) -> None:
    if not 0.1 <= voxel <= 1e6:
        raise BadInputError(f"voxel = {voxel:g} Å; expected 0.1 to 1e6 Å; give it in Å")
    if len(shape) != 3 or min(shape) < 1:
        raise BadInputError(f"shape = {shape}; expected three numbers of voxels (z, y, x)")
    if not 1 <= rays <= 16:
        raise BadInputError(f"rays = {rays}; expected 1 to 16 along each side of a voxel")


def _box(
    bodies: PackedBodies, index: int, voxel: float, shape: tuple[int, int, int]
) -> tuple[tuple[slice, slice, slice], Floats]:
    """Return the voxels (z, y, x) about a body and the low corner (x, y, z) of their box, Å."""
    corners = bodies.vertices[bodies.vertex_start[index] : bodies.vertex_start[index + 1]]
    counts = np.array(shape[::-1])
    edges = corners / voxel + counts / 2
    low = np.clip(np.floor(edges.min(axis=0)), 0, counts).astype(int)
    high = np.clip(np.ceil(edges.max(axis=0)), low, counts).astype(int)
    z, y, x = (slice(int(low[axis]), int(high[axis])) for axis in (2, 1, 0))
    return (z, y, x), (low - counts / 2) * voxel


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fill(
    bodies: PackedBodies,
    index: int,
    corner: Floats,
    voxel: float,
    rays: int,
    cell: float,
    part: Singles,
) -> None:
    """Add the parts of voxels (z, y, x) that a body fills, and that have reacted, in place."""
    pieces, ray, origin = np.empty((MOST_PIECES, 2)), np.empty((2, 3)), np.empty(3)
    direction = np.array([0.0, 0.0, 1.0])
    weight = 1.0 / (rays * rays * voxel)
    origin[2] = corner[2]
    for i in range(part.shape[2] * rays):
        for j in range(part.shape[3] * rays):
            origin[0] = corner[0] + (j + 0.5) * voxel / rays
            origin[1] = corner[1] + (i + 0.5) * voxel / rays
            count = owned_pieces(bodies, index, origin, direction, pieces, ray)
            for p in range(count):
                first = max(int(np.floor(pieces[p, 0] / voxel)), 0)
                last = min(int(np.ceil(pieces[p, 1] / voxel)), part.shape[1])
                for k in range(first, last):
                    start = max(pieces[p, 0], k * voxel)
                    end = min(pieces[p, 1], (k + 1) * voxel)
                    if end <= start:
                        continue
                    part[0, k, i // rays, j // rays] += weight * (end - start)
                    if index < bodies.plates:
                        length = reacted_length(bodies, index, ray, start, end, cell)
                        part[1, k, i // rays, j // rays] += weight * length


def _dataset(variables: dict[str, npt.NDArray[np.generic]], voxel: float) -> xr.Dataset:
    shape = variables["density"].shape
    coords = {
        dim: (dim, (np.arange(n) - (n - 1) / 2) * voxel, {"units": "Å"})
        for dim, n in zip("zyx", shape, strict=True)
    }
    volume = xr.Dataset(
        {name: (tuple("zyx"), values, {"units": "1"}) for name, values in variables.items()},
        coords=coords,
    )
    volume.composition.attrs["outside"] = "0 where density is 0"
    return volume
