"""Atoms of Li-rich oxide as columns on the projected lattice, layer by layer along the beam.

The beam runs along z = -b. The crystal is cut at the height ``y = 1/12`` of the unit cell, midway
between two groups of atoms: then every layer of thickness b/3 holds exactly one atom of every
column, and three layers make one period.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError
from echolith.structures.occupation import Integers, Occupation, draw_column
from echolith.structures.projected_cell import ProjectedParameters

Floats = npt.NDArray[np.float64]

B = 8.532
"""Edge b of Li2MnO3, Å."""

# Split of the oxygen column into its 4i site and its two 8j sites: fractional (x, z) from the
# mean, from O 4i (.2189, 0, .2273) and O 8j (.2540, .3214, .2233) of Li2MnO3.
SPLIT_4I = np.array([0.2189 - 0.2540, 0.2273 - 0.2233]) * 2 / 3
SPLIT_8J = -SPLIT_4I / 2

# Heights y/b of the atoms of a column with even i, and which of them is the odd one out (2b among
# 4g, 4i among 8j; 2c among 4h). Columns with odd i are the same shifted by b/2.
Y_4G, Y_4H, Y_8J = 0.1672, 0.6606, 0.3214
_HEIGHTS = {
    "M": ((Y_4G, False), (0.5, True), (1 - Y_4G, False)),
    "Li": ((0.0, True), (1 - Y_4H, False), (Y_4H, False)),
    "O": ((0.0, True), (Y_8J, False), (1 - Y_8J, False)),
}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns by name, arrays of equal length.

    ``kind`` is "M", "Li" or "O"; ``sign`` +1 or -1 for O at +O or -O of lattice point (i, j),
    else 0.
    """

    kind: npt.NDArray[np.str_]
    sign: Integers
    i: Integers
    j: Integers

    def select(self, keep: npt.NDArray[np.bool_] | Integers) -> "Columns":
        """Return the chosen columns."""
        return Columns(kind=self.kind[keep], sign=self.sign[keep], i=self.i[keep], j=self.j[keep])

    def positions(self, parameters: ProjectedParameters) -> Floats:
        """Return where the columns stand (mean of a whole period), (n, 2) xy in Å."""
        v = parameters.vectors()
        offset = 0.5 * (self.kind == "Li")[:, None] * v["C"] + self.sign[:, None] * v["O"]
        return np.asarray(self.i[:, None] * v["A"] + self.j[:, None] * v["C"] + offset)


def columns_at(i: Integers, j: Integers) -> Columns:
    """Return the four columns M, Li, +O, -O of each lattice point (i, j)."""
    n = len(i)
    return Columns(
        kind=np.repeat(np.array(["M", "Li", "O", "O"]), n),
        sign=np.repeat(np.array([0, 0, 1, -1]), n),
        i=np.tile(i, 4),
        j=np.tile(j, 4),
    )


def lattice_points(parameters: ProjectedParameters, box: Floats) -> tuple[Integers, Integers]:
    """Return every (i, j) whose columns may lie in a box (width, height) around (0, 0), Å."""
    rows = int(np.ceil(box[1] / 2 / parameters.Cy)) + 1
    reach = box[0] / 2 + rows * abs(parameters.Cx)
    half = int(np.ceil(reach / parameters.A)) + 2
    i, j = np.meshgrid(np.arange(-half, half + 1), np.arange(-rows, rows + 1))
    return i.ravel(), j.ravel()


def wholly_inside(
    columns: Columns, parameters: ProjectedParameters, box: Floats
) -> npt.NDArray[np.bool_]:
    """Say which columns lie in a box (width, height) around (0, 0) with all their atoms."""
    mean = columns.positions(parameters)
    cell = np.array([[2 * parameters.A, 0.0], [parameters.Cx, parameters.Cy]])
    inside = np.ones(len(mean), dtype=bool)
    for split in (SPLIT_4I, SPLIT_8J):
        xy = mean + columns.sign[:, None] * (split @ cell) + box / 2
        inside &= ((xy >= 0) & (xy < box)).all(axis=1)
    return inside


def count_layers(thickness: float, b: float) -> int:
    """Return how many whole layers of b/3 fit into a thickness.

    Raises
    ------
    BadInputError
        If not even one fits, or it is beyond 10000 Å.
    """
    if not (thickness * (1 + 1e-9) >= b / 3 and thickness <= 1e4):
        raise BadInputError(
            f"thickness = {thickness:g} Å; expected at least one layer of b/3 = {b / 3:.3f} Å and "
            "at most 10000 Å; give it in Å"
        )
    # The relative slack keeps 3 layers for thickness = b whatever the rounding.
    return int(np.floor(thickness / (b / 3) * (1 + 1e-9)))


def stack(
    columns: Columns,
    parameters: ProjectedParameters,
    *,
    layers: int,
    b: float,
    occupation: Occupation,
    seed: int,
) -> Atoms:
    """Fill columns with atoms.

    Parameters
    ----------
    columns : Columns
    parameters : ProjectedParameters
    layers : int
        Layers of b/3, so atoms per column.
    b : float
        Edge b, Å.
    occupation : Occupation
    seed : int

    Returns
    -------
    ase.Atoms
        No cell yet; lattice point (0, 0) at x = y = 0; z from 0 to ``layers b / 3``. Arrays
        ``column_kind``, ``lattice_i``, ``lattice_j``, ``sign`` name the column of each atom.
    """
    height, odd_one = _heights(columns, layers)
    split = np.where(odd_one[..., None], SPLIT_4I, SPLIT_8J) * columns.sign[:, None, None]
    cell = np.array([[2 * parameters.A, 0.0], [parameters.Cx, parameters.Cy]])
    xy = columns.positions(parameters)[:, None] + split @ cell
    positions = np.concatenate([xy, b * height[..., None]], axis=-1)
    atoms = Atoms(
        _symbols(columns, odd_one, occupation, seed).ravel().tolist(),
        positions=positions.reshape(-1, 3),
    )
    for name, values in (
        ("column_kind", columns.kind),
        ("lattice_i", columns.i),
        ("lattice_j", columns.j),
        ("sign", columns.sign),
    ):
        atoms.arrays[name] = np.repeat(values, layers)
    atoms.info["projected_lattice"] = np.array([parameters.A, 0.0, parameters.Cx, parameters.Cy])
    return atoms


def translations(atoms: Atoms, lateral: Floats) -> Integers:
    """Return lateral cell vectors, (2, 2) rows xy in Å, as integer combinations of A and C."""
    lattice = np.reshape(atoms.info["projected_lattice"], (2, 2))
    return np.rint(lateral @ np.linalg.inv(lattice)).astype(int)


def _heights(columns: Columns, layers: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Height above the entrance in units of b and whether the site is the odd one out, (n, layers).

    z = -b turns the crystal upside down; the mirror plane of C2/m makes that the same set.
    """
    height = np.empty((len(columns.kind), layers))
    odd_one = np.empty((len(columns.kind), layers), dtype=bool)
    layer = np.arange(layers)
    for kind, sites in _HEIGHTS.items():
        for parity in (0, 1):
            period = sorted(((1 / 12 + parity / 2 - y) % 1, odd) for y, odd in sites)
            chosen = (columns.kind == kind) & (columns.i % 2 == parity)
            height[chosen] = np.array([h for h, _ in period])[layer % 3] + layer // 3
            odd_one[chosen] = np.array([odd for _, odd in period])[layer % 3]
    return height, odd_one


def _symbols(
    columns: Columns, odd_one: npt.NDArray[np.bool_], occupation: Occupation, seed: int
) -> npt.NDArray[np.str_]:
    symbols = np.broadcast_to(columns.kind[:, None], odd_one.shape).astype("<U2")
    for row in np.flatnonzero(columns.kind == "M"):
        symbols[row] = draw_column(
            occupation, odd_one[row], i=int(columns.i[row]), j=int(columns.j[row]), seed=seed
        )
    return symbols
