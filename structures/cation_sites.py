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
import xarray as xr
from ase import Atoms

from echolith.errors import BadInputError
from echolith.structures.column_stack import B, Floats, count_layers
from echolith.structures.occupation import Integers

TRANSITION_METALS = (25, 27, 28)
"""Atomic numbers of Mn, Co, Ni."""
LITHIUM = 3

_LABELS = ("column_kind", "lattice_i", "lattice_j", "sign")
_KINDS = ("M", "Li", "T")
_GRID = "site_grid"
_COLUMNS = "cation_columns"


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


def _columns_of(atoms: Atoms) -> Integers:
    missing = [name for name in _LABELS if name not in atoms.arrays]
    if missing:
        raise BadInputError(
            f"the atoms carry no {', '.join(missing)}; expected a specimen of Li-rich oxide made "
            "by echolith.structures"
        )
    kind = atoms.arrays["column_kind"]
    labels = (atoms.arrays[name] for name in ("sign", "lattice_i", "lattice_j"))
    code = np.select([kind == name for name in _KINDS], range(len(_KINDS)), -1)
    rows = np.column_stack([code, *labels])[code >= 0]
    known = np.reshape(atoms.info.get(_COLUMNS, np.empty((0, 4), int)), (-1, 4))
    return np.asarray(np.unique(np.concatenate([known, rows]).astype(np.intp), axis=0))


def cation_sites(atoms: Atoms, *, b: float = B, tetrahedral: bool = False) -> CationSites:
    """Return every cation site of a labelled specimen, columns in order, then layers.

    Parameters
    ----------
    atoms : ase.Atoms
        As from `field_specimen` or `periodic_specimen`, whatever has migrated since.
    b : float
        Edge b, Å, where the specimen does not say.
    tetrahedral : bool
        Also both tetrahedral columns of every Li column, even where all are empty.

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
    if tetrahedral:
        columns = _with_tetrahedral(columns)
    rows = np.repeat(columns, grid.layers, axis=0)
    layer = np.tile(np.arange(grid.layers), len(columns))
    atom = _occupants(atoms, columns, grid)
    there = atom >= 0
    xy = np.repeat(_column_positions(atoms, columns), grid.layers, axis=0)
    xyz = np.column_stack([xy, grid.entrance + grid.layer * (layer + _rise(rows))])
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


def _rise(rows: Integers) -> Floats:
    """Height of a site above the face of its layer, in layers: 1/4 or 3/4 (see `column_stack`)."""
    odd = rows[:, 2] % 2 == 1
    return np.where((rows[:, 0] == 1) == odd, 0.75, 0.25)


def _occupants(atoms: Atoms, columns: Integers, grid: SiteGrid) -> Integers:
    """Which atom is on each site of ``columns`` × layers, -1 for none."""
    kind = atoms.arrays["column_kind"]
    index = np.flatnonzero(np.isin(kind, _KINDS))
    code = np.select([kind[index] == name for name in _KINDS], range(len(_KINDS)), -1)
    labels = (atoms.arrays[name][index] for name in ("sign", "lattice_i", "lattice_j"))
    rows = np.column_stack([code, *labels]).astype(np.intp)
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
    """Where the empty sites of each column are, by the lattice, (n, 2) Å."""
    lattice = np.reshape(atoms.info["projected_lattice"], (2, 2))
    oxygen = _oxygen(atoms, lattice)
    tetrahedral = (lattice[1] - 2 * oxygen) / 4
    offset = np.stack([0 * lattice[1], lattice[1] / 2, lattice[1] / 2])[columns[:, 0]]
    offset = offset + columns[:, 1:2] * (columns[:, :1] == 2) * tetrahedral
    return np.asarray(columns[:, 2:] @ lattice + offset + _origin(atoms, lattice))


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
        for name, values in zip(_LABELS, (sites.kind, sites.i, sites.j, sites.sign), strict=True):
            moved.arrays[name][atom] = values[goal]
    return moved


def true_composition(atoms: Atoms, *, b: float = B, tetrahedral: bool = False) -> xr.Dataset:
    """Return what every cation column holds.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled specimen.
    b : float
        Edge b, Å, where the specimen does not say.
    tetrahedral : bool
        Also the tetrahedral columns of the alkali layer, the empty ones too.

    Returns
    -------
    xarray.Dataset
        Over ``column``: ``x``, ``y`` (Å, mean of the column's sites), ``species`` ("M", "Li",
        "T"), ``lattice_i``, ``lattice_j``, ``sign``, ``n_sites``, and the fractions of sites
        ``tm_fraction``, ``li_fraction``, ``vacancy``, whose sum is 1. Scalars
        ``tm_in_alkali_layer`` and ``tm_in_metal_layer``: mean occupancy of the octahedral sites.

    Raises
    ------
    BadInputError
        If the atoms do not name their columns.
    """
    sites = cation_sites(atoms, b=b, tetrahedral=tetrahedral)
    names = np.column_stack(
        [np.searchsorted(sorted(_KINDS), sites.kind), sites.sign, sites.i, sites.j]
    )
    _, first, group = np.unique(names, axis=0, return_index=True, return_inverse=True)
    group, count = np.asarray(group).reshape(-1), np.bincount(np.asarray(group).reshape(-1))
    number = sites.numbers(atoms)

    def mean(values: npt.NDArray[np.generic]) -> Floats:
        return np.asarray(np.bincount(group, weights=values) / count)

    metal = np.isin(number, TRANSITION_METALS)
    found = xr.Dataset(
        {
            "x": ("column", mean(sites.positions[:, 0]), {"units": "Å"}),
            "y": ("column", mean(sites.positions[:, 1]), {"units": "Å"}),
            "species": ("column", sites.kind[first]),
            "lattice_i": ("column", sites.i[first], {"units": "1"}),
            "lattice_j": ("column", sites.j[first], {"units": "1"}),
            "sign": ("column", sites.sign[first], {"units": "1"}),
            "n_sites": ("column", count, {"units": "1"}),
            "tm_fraction": ("column", mean(metal), {"units": "1"}),
            "li_fraction": ("column", mean(number == LITHIUM), {"units": "1"}),
            "vacancy": ("column", mean(number == 0), {"units": "1"}),
        }
    )
    for name, kind in (("tm_in_alkali_layer", "Li"), ("tm_in_metal_layer", "M")):
        here = sites.kind == kind
        if here.any():
            found[name] = ((), metal[here].mean(), {"units": "1", "long_name": f"TM on {kind}"})
    return found
