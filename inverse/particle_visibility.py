"""Which points of a body see each other: rays through a density, and groups of points that agree.

In a convex particle every point sees every other along a straight line inside it. Through a
contact a point sees a small part of its neighbour. Points that see the same are one particle:
weakly convex decomposition (Asafi, Goren, Cohen-Or, Comput. Graph. Forum 32 (2013) 23).
"""

import numba
import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

STEP = 0.7
"""Between two readings of the density along a ray, voxels."""


def mutual_visibility(density: Singles, points: Floats, *, level: float) -> Singles:
    """Return 1 where two points see each other and 0 elsewhere, (points, points).

    Parameters
    ----------
    density : array, (z, y, x)
    points : array, (points, 3)
        Indices of voxels.
    level : float
        Density below which a ray is cut off.
    """
    return np.asarray(_mutual(density, points, level))


def groups(visible: Singles, *, difference: float) -> Indices:
    """Group points that see the same, by average linkage.

    Two points differ by 1 - |A & B| / |A | B|, A and B the sets of points that they see.

    Parameters
    ----------
    visible : array, (points, points)
    difference : float
        Mean over the pairs of two groups, above which the groups are two.

    Returns
    -------
    array, (points,)
        Number of the group, from 1.
    """
    if len(visible) < 2:
        return np.ones(len(visible), dtype=np.intp)
    shared = visible @ visible.T
    seen = visible.sum(axis=1)
    unlike = 1 - shared / (seen[:, None] + seen - shared)
    tree = linkage(squareform(unlike, checks=False), "average")
    return np.asarray(fcluster(tree, difference, "distance"), dtype=np.intp)


def most_alike(
    density: Singles, voxels: Floats, points: Floats, group: Indices, *, level: float
) -> Indices:
    """Return for each voxel the group that is most like the set of points it sees.

    Parameters
    ----------
    density : array, (z, y, x)
    voxels : array, (voxels, 3)
    points : array, (points, 3)
    group : array, (points,)
        From 1.
    level : float
        As in `mutual_visibility`.
    """
    return np.asarray(_most_alike(density, voxels, points, group, level))


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _at(density: Singles, z: float, y: float, x: float) -> float:
    """Trilinear interpolation."""
    value = 0.0
    k, j, i = int(z), int(y), int(x)
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                weight = abs(1 - dk - (z - k)) * abs(1 - dj - (y - j)) * abs(1 - di - (x - i))
                if weight > 0:  # so that nothing is read beyond the last voxel
                    value += weight * density[k + dk, j + dj, i + di]
    return value


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _sees(density: Singles, start: Floats, end: Floats, level: float) -> bool:
    dz, dy, dx = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    count = int(np.ceil(np.sqrt(dz * dz + dy * dy + dx * dx) / STEP))
    for n in range(1, count):
        part = n / count
        here = _at(density, start[0] + part * dz, start[1] + part * dy, start[2] + part * dx)
        if here < level:
            return False
    return True


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _mutual(density: Singles, points: Floats, level: float) -> Singles:
    visible = np.zeros((len(points), len(points)), dtype=np.float32)
    for i in range(len(points)):
        visible[i, i] = 1
        for j in range(i):
            if _sees(density, points[i], points[j], level):
                visible[i, j] = 1
                visible[j, i] = 1
    return visible


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _most_alike(
    density: Singles, voxels: Floats, points: Floats, group: Indices, level: float
) -> Indices:
    members = np.zeros(group.max() + 1)
    for number in group:
        members[number] += 1
    chosen = np.zeros(len(voxels), dtype=np.intp)
    seen = np.zeros(len(members))
    for v in range(len(voxels)):
        seen[:] = 0
        for p in range(len(points)):
            if _sees(density, voxels[v], points[p], level):
                seen[group[p]] += 1
        total, best = seen.sum(), -1.0
        for g in range(1, len(members)):
            alike = seen[g] / (members[g] + total - seen[g])
            if alike > best:
                best = alike
                chosen[v] = g
    return chosen
