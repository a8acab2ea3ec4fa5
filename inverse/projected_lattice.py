"""The projected lattice of Li-rich oxide, found blindly from its M columns.

The plane lattice is spanned by A, the shortest M-M vector, and C, the M-M vector across Li; O
columns lie at +o and -o from M (plane group p2), Li at C/2. ``F = C + 2 A`` is the M-M vector
across O-Li-O. C is not the second shortest vector S: it is ``S - A`` with the sign of S for which
A.S > 0, since the layers of Li-rich oxide are shifted by about A/3 along A.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

TOLERANCE = 0.5
"""Å; less than half of the smallest distance between two columns (1.3 Å)."""


@dataclass(frozen=True, kw_only=True)
class ProjectedLattice:
    """Lattice vectors and O offset (Å, scan frame), and the position of one M column."""

    a: Array
    c: Array
    o: Array
    origin: Array

    @property
    def vectors(self) -> dict[str, Array]:
        """The eight named vectors A, A, F, E, C, B, G, D by variable name."""
        d, f = 2 * self.o, self.c + 2 * self.a
        e = f - d
        return {
            "m_m": self.a,
            "o_o_mli": self.a,
            "m_m_olio": f,
            "o_o_li": e,
            "m_m_li": self.c,
            "o_o_2m": d - self.a,
            "o_o_2li": e - self.a,
            "o_o_m": d,
        }


def find_lattice(columns: xr.Dataset) -> ProjectedLattice:
    """Find lattice vectors and O offset.

    Parameters
    ----------
    columns : xarray.Dataset
        ``x``, ``y`` (Å) and ``species`` over dim ``column``.

    Returns
    -------
    ProjectedLattice
        The same whatever the order of the columns; turned, shifted or mirrored columns give it
        turned, shifted or mirrored (up to a common sign of all vectors).

    Raises
    ------
    BadInputError
        If there are too few M or O columns or the M columns form no lattice.
    """
    metals, oxygens = (points_of(columns, name) for name in ("M", "O"))
    origin, a, c = metal_lattice(metals)
    return ProjectedLattice(a=a, c=c, o=_oxygen_offset(oxygens, metals, a, c), origin=origin)


def metal_lattice(metals: Array) -> tuple[Array, Array, Array]:
    """Return origin, A and C (Å) of M columns (n, 2) alone, as `find_lattice` does."""
    if len(metals) < 4:
        raise BadInputError(
            f"{len(metals)} M columns; expected 4 or more that span a lattice; scan a larger field "
            "or check the species"
        )
    a, s = _short_vectors(metals)
    if a @ s < 0:
        s = -s
    origin, a, s = _refined(metals, a, s)
    return origin, a, s - a


def sublattices(columns: xr.Dataset, lattice: ProjectedLattice) -> npt.NDArray[np.str_]:
    """Name the sublattice of every column: "M", "Li", "O+" (at M + o), "O-" (at M - o) or "".

    An O column's sign is that of the nearest M it fits within `TOLERANCE`; those that fit none
    are "".
    """
    species = columns["species"].values.astype("<U2")
    result = species.copy()
    oxygens = np.flatnonzero(species == "O")
    tree = cKDTree(points_of(columns, "M"))
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)[oxygens]
    plus, _ = tree.query(xy - lattice.o)
    minus, _ = tree.query(xy + lattice.o)
    result[oxygens] = np.where(plus < minus, "O+", "O-")
    result[oxygens[np.minimum(plus, minus) > TOLERANCE]] = ""
    return result


def points_of(columns: xr.Dataset, species: str) -> Array:
    """Return the positions (n, 2) xy of one species' columns."""
    mine = columns["species"].values == species
    return np.stack([columns["x"].values[mine], columns["y"].values[mine]], axis=-1)


def _short_vectors(points: Array) -> tuple[Array, Array]:
    """Shortest and shortest non-collinear vector that a good part of the points share."""
    tree = cKDTree(points)
    nearest = float(np.median(tree.query(points, k=2)[0][:, 1]))
    pairs = tree.query_pairs(3.2 * nearest, output_type="ndarray")
    vectors = points[pairs[:, 1]] - points[pairs[:, 0]]
    vectors = np.concatenate([vectors, -vectors])
    clusters = _clusters(vectors, least=max(2, len(points) // 4), radius=0.2 * nearest)
    clusters.sort(key=lambda v: float(np.hypot(*v)))
    for first in clusters[:1]:
        for second in clusters[1:]:
            sine = abs(first[0] * second[1] - first[1] * second[0])
            if sine > 0.3 * np.hypot(*first) * np.hypot(*second):
                return first, second
    raise BadInputError(
        f"the {len(points)} M columns form no lattice: no two short vectors in different "
        "directions are shared by a quarter of them; scan a larger field or check the species"
    )


def _clusters(vectors: Array, *, least: int, radius: float) -> list[Array]:
    """Mean of every group of alike vectors with enough members, one of each +v, -v pair."""
    tree = cKDTree(vectors)
    # Clusters are sought from the shortest vectors on, as order-independent as the lengths are.
    order = np.argsort(np.hypot(*vectors.T))
    taken = np.zeros(len(vectors), dtype=bool)
    found: list[Array] = []
    for index in order:
        if taken[index]:
            continue
        centre = vectors[index]
        for _ in range(3):
            members = tree.query_ball_point(centre, radius)
            centre = vectors[members].mean(axis=0)
        taken[members] = True
        taken[tree.query_ball_point(-centre, radius)] = True
        taken[index] = True
        if len(members) >= least:
            found.append(centre)
    return found


def _refined(points: Array, a: Array, s: Array) -> tuple[Array, Array, Array]:
    """Least squares of ``r = origin + n a + m s``, grown from the middle outwards."""
    middle = points[np.argmin(np.hypot(*(points - points.mean(axis=0)).T))]
    origin, basis = middle, np.stack([a, s])
    distance = np.hypot(*(points - middle).T)
    radius, last = 1.5 * float(np.hypot(*s)), float(distance.max())
    while True:
        near = distance <= radius
        index = np.rint((points[near] - origin) @ np.linalg.inv(basis))
        off = np.hypot(*(points[near] - origin - index @ basis).T)
        good = off < TOLERANCE
        design = np.column_stack([np.ones(good.sum()), index[good]])
        if np.linalg.matrix_rank(design) < 3:
            raise BadInputError(
                f"only {int(good.sum())} M columns fit one lattice (within {TOLERANCE} Å); "
                "expected 3 or more, not in one row; scan a larger field or check the species"
            )
        solution = np.linalg.lstsq(design, points[near][good], rcond=None)[0]
        origin, basis = solution[0], solution[1:]
        if radius >= last:
            return origin, basis[0], basis[1]
        radius *= 1.5


def _oxygen_offset(oxygens: Array, metals: Array, a: Array, c: Array) -> Array:
    """Mean of O - M for O columns at +o, with the sign exchanged for those at -o."""
    if len(oxygens) < 2:
        raise BadInputError(
            f"{len(oxygens)} O columns; expected 2 or more; check the species or the field"
        )
    inverse = np.linalg.inv(np.stack([a, c]))
    # Every M within reach of an O votes, so that no single origin matters.
    pairs = cKDTree(oxygens).query_ball_tree(cKDTree(metals), 0.8 * float(np.hypot(*(c + a))))
    first = np.repeat(np.arange(len(oxygens)), [len(p) for p in pairs])
    second = np.concatenate([np.asarray(p, dtype=int) for p in pairs])
    offset = oxygens[first] - metals[second]
    fraction = offset @ inverse
    offset = np.where(fraction[:, 1:] < 0, -offset, offset)
    # o lies between M rows: 0 < v < 1/2 along C, and between two M along A: 0 < u < 1.
    u, v = (offset @ inverse).T
    inside = (u > 0) & (u < 1) & (v > 0.05) & (v < 0.45)
    if inside.sum() < 2:
        raise BadInputError(
            f"none of {len(oxygens)} O columns lies beside an M column as in Li-rich oxide "
            "(between two M along A, less than half way along C); check the species"
        )
    median = np.median(offset[inside], axis=0)
    good = inside & (np.hypot(*(offset - median).T) < TOLERANCE)
    return np.asarray(offset[good].mean(axis=0))
