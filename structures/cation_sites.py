"""The cation sites of a labelled specimen of Li-rich oxide, the empty ones too, column by column.

Atoms that are missing leave no trace in `ase.Atoms`, so sites are counted from the layers of b/3:
every one holds one site of each column M (transition-metal layer) and Li (alkali layer). In the
alkali layer there are two tetrahedral sites besides, columns "T" with sign +1 and -1 at
``C/2 ± (E - 2A)/4``, E = C + 2A - 2O, from the lattice point: the centre of the one oxygen
column on one side and of the two on the other that make the tetrahedron in projection.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError
from echolith.structures.column_stack import B, Floats, count_layers
from echolith.structures.occupation import Integers

TRANSITION_METALS = (25, 27, 28)
"""Atomic numbers of Mn, Co, Ni."""
LITHIUM = 3

LABELS = ("column_kind", "lattice_i", "lattice_j", "sign")
"""Arrays by which atoms name their column."""
_KINDS = ("M", "Li", "T")
_GRID = "site_grid"
_COLUMNS = "cation_columns"
_PLACES = "cation_column_places"


@dataclass(frozen=True, kw_only=True)
class SiteGrid:
    """Where the layers of a specimen are, Å along the beam.

    The exit face may be inclined: ``z = exit[0] + exit[1] x + exit[2] y``.
    """

    layer: float
    entrance: float
    layers: int
    exit: tuple[float, float, float]

    def keep(self, atoms: Atoms) -> None:
        """Write the grid into a new specimen's ``info``."""
        atoms.info[_GRID] = np.array([self.layer, self.entrance, self.layers, *self.exit])


@dataclass(frozen=True, kw_only=True)
class CationSites:
    """Sites by column and layer, arrays of equal length.

    ``atom`` is the index of the atom on the site, -1 where it is empty; ``positions`` (n, 3) Å.
    """

    kind: npt.NDArray[np.str_]
    sign: Integers
    i: Integers
    j: Integers
    layer: Integers
    positions: Floats
    atom: Integers

    def numbers(self, atoms: Atoms) -> Integers:
        """Return the atomic number on each site, 0 where it is empty."""
        filled = np.append(np.asarray(atoms.numbers, dtype=np.intp), 0)
        return np.asarray(filled[self.atom])

    def heights(self, grid: "SiteGrid") -> Floats:
        """Return where the sites are along the beam at 1/4 and 3/4 of their layers, (n,) Å."""
        return grid.entrance + grid.layer * (self.layer + _rise(self.kind == "Li", self.i))


def site_grid(atoms: Atoms, *, b: float = B) -> SiteGrid:
    """Return the layers of a specimen: as its ``info`` says, else whole ones of b/3 from 0."""
    if _GRID in atoms.info:
        layer, entrance, layers, z, along_x, along_y = np.ravel(atoms.info[_GRID]).tolist()
        return SiteGrid(
            layer=layer, entrance=entrance, layers=round(layers), exit=(z, along_x, along_y)
        )
    thickness = float(atoms.cell[2, 2])
    layers = count_layers(thickness, b)
    return SiteGrid(layer=b / 3, entrance=0.0, layers=layers, exit=(thickness + b, 0.0, 0.0))


def remember_columns(atoms: Atoms, columns: Integers | None = None) -> None:
    """Write into a new specimen's ``info`` which cation columns it has, should they empty.

    ``columns``: (n, 4) of kind (index in M, Li, T), sign, i, j; those of the atoms by default.
    """
    atoms.info[_COLUMNS] = _columns_of(atoms) if columns is None else columns


def remember_places(atoms: Atoms, columns: Integers, xy: Floats) -> None:
    """As `remember_columns`, with where they are, (n, 2) Å, for specimens strained unevenly."""
    remember_columns(atoms, columns)
    atoms.info[_PLACES] = np.column_stack([columns, xy])


def column_rows(kind: npt.NDArray[np.str_], sign: Integers, i: Integers, j: Integers) -> Integers:
    """Return columns as rows (n, 4) of kind (index in M, Li, T; -1 for oxygen), sign, i, j."""
    code = np.select([kind == name for name in _KINDS], range(len(_KINDS)), -1)
    return np.column_stack([code, sign, i, j]).astype(np.intp)


def tetrahedral_offset(c: Floats, oxygen: Floats) -> Floats:
    """Return where tetrahedral columns of sign +1 are from those of lithium, ``(C - 2 O) / 4``."""
    return np.asarray((c - 2 * oxygen) / 4)


def _columns_of(atoms: Atoms) -> Integers:
    missing = [name for name in LABELS if name not in atoms.arrays]
    if missing:
        raise BadInputError(
            f"the atoms carry no {', '.join(missing)}; expected a specimen of Li-rich oxide made "
            "by echolith.structures"
        )
    rows = _rows(atoms)
    known = np.reshape(atoms.info.get(_COLUMNS, np.empty((0, 4), int)), (-1, 4))
    named = np.concatenate([known, rows[rows[:, 0] >= 0]]).astype(np.intp)
    return np.asarray(np.unique(named, axis=0))


def _rows(atoms: Atoms) -> Integers:
    names = ("column_kind", "sign", "lattice_i", "lattice_j")
    kind, sign, i, j = (atoms.arrays[name] for name in names)
    return column_rows(kind, sign, i, j)


def cation_sites(atoms: Atoms, *, b: float = B, tetrahedral: bool = False) -> CationSites:
    """Return every cation site of a labelled specimen, columns in order, then layers.

    Parameters
    ----------
    atoms : ase.Atoms
        As from `field_specimen` or `periodic_specimen`, whatever has migrated since.
    b : float
        Edge b, Å, where the specimen does not say.
    tetrahedral : bool
        Also both tetrahedral columns of every Li column, where the specimen knows of none.

    Returns
    -------
    CationSites
        Sites beyond an inclined exit face are left out.

    Raises
    ------
    BadInputError
        If the atoms do not name their columns.
    """
    columns, grid = _columns_of(atoms), site_grid(atoms, b=b)
    if tetrahedral and not (columns[:, 0] == _KINDS.index("T")).any():
        columns = _with_tetrahedral(columns)
    rows = np.repeat(columns, grid.layers, axis=0)
    layer = np.tile(np.arange(grid.layers), len(columns))
    atom = _occupants(atoms, columns, grid)
    there = atom >= 0
    xy = np.repeat(_column_positions(atoms, columns), grid.layers, axis=0)
    rise = _rise(rows[:, 0] == _KINDS.index("Li"), rows[:, 2])
    xyz = np.column_stack([xy, grid.entrance + grid.layer * (layer + rise)])
    xyz[there] = atoms.positions[atom[there]]
    plane = grid.exit
    keep = there | (xyz[:, 2] < plane[0] + plane[1] * xyz[:, 0] + plane[2] * xyz[:, 1])
    return CationSites(
        kind=np.array(_KINDS)[rows[keep, 0]],
        sign=rows[keep, 1],
        i=rows[keep, 2],
        j=rows[keep, 3],
        layer=layer[keep],
        positions=xyz[keep],
        atom=atom[keep],
    )


def _with_tetrahedral(columns: Integers) -> Integers:
    lithium = columns[columns[:, 0] == 1]
    both = np.repeat(lithium, 2, axis=0)
    both[:, 0], both[:, 1] = 2, np.tile([-1, 1], len(lithium))
    return np.asarray(np.unique(np.concatenate([columns, both]), axis=0))


def _rise(lithium: npt.NDArray[np.bool_], i: Integers) -> Floats:
    """Height of a site above the face of its layer, in layers: 1/4 or 3/4 (see `column_stack`)."""
    return np.where(lithium == (i % 2 == 1), 0.75, 0.25)


def _occupants(atoms: Atoms, columns: Integers, grid: SiteGrid) -> Integers:
    """Which atom is on each site of ``columns`` × layers, -1 for none."""
    rows = _rows(atoms)
    index = np.flatnonzero(rows[:, 0] >= 0)
    rows = rows[index]
    stacked, inverse = np.unique(np.concatenate([columns, rows]), axis=0, return_inverse=True)
    assert len(stacked) == len(columns)
    column = np.asarray(inverse).reshape(-1)[len(columns) :]
    depth = (atoms.positions[index, 2] - grid.entrance) / grid.layer
    layer = np.clip(np.floor(depth).astype(np.intp), 0, grid.layers - 1)
    found = np.full(len(columns) * grid.layers, -1, dtype=np.intp)
    found[column * grid.layers + layer] = index
    if (found >= 0).sum() != len(index):
        raise BadInputError(
            f"{len(index) - int((found >= 0).sum())} cations share a site with another; expected "
            "one a layer of b/3 in every column; is b the specimen's?"
        )
    return found


def _column_positions(atoms: Atoms, columns: Integers) -> Floats:
    """Where the empty sites of each column are, as remembered or by the lattice, (n, 2) Å."""
    lattice = np.reshape(atoms.info["projected_lattice"], (2, 2))
    offset = np.stack([0 * lattice[1], lattice[1] / 2, lattice[1] / 2])[columns[:, 0]]
    tetrahedral = np.where(columns[:, 0] == _KINDS.index("T"), columns[:, 1], 0)
    if tetrahedral.any():
        offset = offset + tetrahedral[:, None] * tetrahedral_offset(
            lattice[1], _oxygen(atoms, lattice)
        )
    xy = columns[:, 2:] @ lattice + offset + _origin(atoms, lattice)
    if _PLACES in atoms.info:
        known = {tuple(map(int, row[:4])): row[4:] for row in np.asarray(atoms.info[_PLACES])}
        rows = columns.tolist()
        xy = np.array([known.get(tuple(row), here) for row, here in zip(rows, xy, strict=True)])
    return np.asarray(xy)


def _rest(atoms: Atoms, lattice: Floats) -> Floats:
    index = np.stack([atoms.arrays["lattice_i"], atoms.arrays["lattice_j"]], axis=-1)
    return np.asarray(atoms.positions[:, :2] - index @ lattice)


def _origin(atoms: Atoms, lattice: Floats) -> Floats:
    """Position of lattice point (0, 0)."""
    metal = atoms.arrays["column_kind"] == "M"
    return np.asarray(_rest(atoms, lattice)[metal].mean(axis=0))


def _oxygen(atoms: Atoms, lattice: Floats) -> Floats:
    """Mean of +O and -O about their lattice points."""
    rest, kind, sign = _rest(atoms, lattice), atoms.arrays["column_kind"], atoms.arrays["sign"]
    plus, minus = (rest[(kind == "O") & (sign == s)].mean(axis=0) for s in (1, -1))
    return np.asarray((plus - minus) / 2)


def exchanged(atoms: Atoms, sites: CationSites, first: Integers, second: Integers) -> Atoms:
    """Return a specimen in which the contents of sites ``first`` and ``second`` change places.

    Either may be empty. Atoms keep what they carry, but for position and column.
    """
    moved: Atoms = atoms.copy()
    remember_columns(moved)
    for here, there in ((first, second), (second, first)):
        filled = sites.atom[here] >= 0
        atom, goal = sites.atom[here][filled], there[filled]
        moved.positions[atom] = sites.positions[goal]
        for name, values in zip(LABELS, (sites.kind, sites.i, sites.j, sites.sign), strict=True):
            moved.arrays[name][atom] = values[goal]
    return moved


def shifted(atoms: Atoms, shift: Floats) -> Atoms:
    """Return a specimen moved by (3,) Å in its cell, with all that its ``info`` says of places."""
    moved: Atoms = atoms.copy()
    moved.positions += shift
    if _PLACES in atoms.info:
        places = np.array(atoms.info[_PLACES], dtype=float)
        places[:, 4:] += shift[:2]
        moved.info[_PLACES] = places
    if _GRID in atoms.info:
        grid = site_grid(atoms)
        z, along_x, along_y = grid.exit
        face = z + shift[2] - along_x * shift[0] - along_y * shift[1]
        SiteGrid(
            layer=grid.layer,
            entrance=grid.entrance + float(shift[2]),
            layers=grid.layers,
            exit=(float(face), along_x, along_y),
        ).keep(moved)
    if "surface_plane" in atoms.info:
        nx, ny, edge, depth = np.ravel(atoms.info["surface_plane"]).tolist()
        edge += nx * float(shift[0]) + ny * float(shift[1])
        moved.info["surface_plane"] = np.array([nx, ny, edge, depth])
    return moved
