"""Size and attitude of one plate from the filling of its voxels.

Partly filled voxels keep the volume between them, so that no edge has to be found: the thickness is
the integral of the filling along the normal of the plate, well inside its rim.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

PARTS = 3
"""Along each side, into which a voxel is cut before it is put into columns."""
FULL = 0.5
"""Of the height of full columns; lower ones are outside of the plate or at its rim."""
RIM = 2
"""Columns about the border that are left out, fewer where nothing would be left."""
FEWEST = 4
"""Columns to take a mean of."""


@dataclass(frozen=True, kw_only=True)
class PlateShape:
    """Size and attitude of a plate.

    Attributes
    ----------
    centre : array, (3,)
        Centre of mass (x, y, z), Å.
    normal : array, (3,)
        Unit vector (x, y, z) along the thickness; z, or else y, or else x is positive.
    thickness : float
        Mean over the columns inside the rim, Å.
    spread : float
        Standard deviation of the height of one column, Å.
    columns : int
        That were averaged.
    """

    centre: Floats
    normal: Floats
    thickness: float
    spread: float
    columns: int


def plate_shape(places: Floats, filling: Floats, *, voxel: float) -> PlateShape:
    """Measure a plate.

    Parameters
    ----------
    places : array, (voxels, 3)
        Centres (x, y, z), Å.
    filling : array, (voxels,)
        Part of each voxel; those below 0 count as empty.
    voxel : float
        Edge, Å.

    Returns
    -------
    PlateShape
    """
    weight = np.maximum(filling, 0)
    centre = weight @ places / weight.sum()
    away = places - centre
    covariance = (away * weight[:, None]).T @ away / weight.sum()
    frame = np.linalg.eigh(covariance)[1]  # columns; the thickness first
    heights = column_heights(away @ frame[:, 1:], weight, frame[:, 1:], voxel=voxel)
    inside = _inside(heights)
    return PlateShape(
        centre=np.asarray(centre),
        normal=_upward(frame[:, 0]),
        thickness=float(heights[inside].mean()),
        spread=float(heights[inside].std()),
        columns=int(inside.sum()),
    )


def column_heights(across: Floats, filling: Floats, axes: Floats, *, voxel: float) -> Floats:
    """Return the filled length of square columns of the voxel's width, Å.

    Parameters
    ----------
    across : array, (voxels, 2)
        Where the voxels lie in the plane across the columns, Å.
    filling : array, (voxels,)
    axes : array, (3, 2)
        The two directions of the plane in the frame of the voxels.
    voxel : float
        Å.
    """
    parts = (np.arange(PARTS) - (PARTS - 1) / 2) * voxel / PARTS
    corners = np.stack(np.meshgrid(parts, parts, parts, indexing="ij"), axis=-1).reshape(-1, 3)
    spread = (across[:, None] + corners @ axes).reshape(-1, 2) / voxel
    cell = np.floor(spread - spread.min(axis=0)).astype(int) + 1
    shape = cell.max(axis=0) + 2
    index = cell[:, 0] * shape[1] + cell[:, 1]
    weight = np.repeat(filling, len(corners)) * (voxel / len(corners))
    return np.asarray(np.bincount(index, weight, minlength=shape.prod()).reshape(shape))


def _inside(heights: Floats) -> npt.NDArray[np.bool_]:
    """Return the columns well inside the rim."""
    filled = heights[heights > 0]
    # Half of the columns of any plate wider than a few voxels are full.
    full = heights > FULL * np.average(filled, weights=filled)
    for rim in range(RIM, 0, -1):
        inside = ndimage.binary_erosion(full, iterations=rim)
        if np.count_nonzero(inside) >= FEWEST:
            return np.asarray(inside)
    return np.asarray(full)


def _upward(normal: Floats) -> Floats:
    first = normal[::-1][np.flatnonzero(np.abs(normal[::-1]) > 1e-9)[0]]
    return np.asarray(normal * np.sign(first))
