"""The truth of a projected specimen: its atom columns and their named distances."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.structures.column_stack import translations
from echolith.structures.projection_clusters import (
    Floats,
    Integers,
    cluster,
    laterally_periodic,
    mean_positions,
    species_of,
)

Mask = npt.NDArray[np.bool_]

_LABELS = ("column_kind", "lattice_i", "lattice_j", "sign")

_O_MINUS, _O_PLUS, _M = ("O", -1), ("O", 1), ("M", 0)
# Which column to which: (from, to, (di, dj)), so that the vector from first to second is that of
# `named_vectors`, e.g. O-O(M) = D from -O to +O of one lattice point.
_STEPS = {
    "m_m": ((_M, _M, (1, 0)),),
    "o_o_mli": ((_O_PLUS, _O_PLUS, (1, 0)), (_O_MINUS, _O_MINUS, (1, 0))),
    "m_m_olio": ((_M, _M, (2, 1)),),
    "o_o_li": ((_O_PLUS, _O_MINUS, (2, 1)),),
    "m_m_li": ((_M, _M, (0, 1)),),
    "o_o_2m": ((_O_MINUS, _O_PLUS, (-1, 0)),),
    "o_o_2li": ((_O_PLUS, _O_MINUS, (1, 1)),),
    "o_o_m": ((_O_MINUS, _O_PLUS, (0, 0)),),
}


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """A part of the specimen frame, edges included, Å."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    def __post_init__(self) -> None:
        if not (self.x_min < self.x_max and self.y_min < self.y_max):
            raise BadInputError(
                f"rectangle x {self.x_min:g} to {self.x_max:g} Å, y {self.y_min:g} to "
                f"{self.y_max:g} Å is empty; expected x_min < x_max and y_min < y_max"
            )

    def holds(self, xy: Floats) -> Mask:
        """Say which positions (n, 2) xy lie inside."""
        low = np.array([self.x_min, self.y_min])
        high = np.array([self.x_max, self.y_max])
        return np.asarray(((xy >= low) & (xy <= high)).all(axis=1))


def true_columns(
    atoms: Atoms, *, region: Rectangle | None = None, tolerance: float = 0.4
) -> xr.Dataset:
    """Return the columns of a specimen: where they really are and what they hold.

    Atoms that carry their column (arrays ``column_kind``, ``lattice_i``, ``lattice_j``, ``sign``)
    are grouped by it, others by the distance of their projections. The position is the mean of
    the atoms that are there: in a specimen cut within a period of the crystal it differs a little
    from column to column.

    Parameters
    ----------
    atoms : ase.Atoms
        Beam along z. Laterally periodic where ``pbc[:2]`` is true.
    region : Rectangle, optional
        Only the columns in it; those of a laterally periodic specimen are repeated to fill it.
    tolerance : float
        Å; foreign atoms nearer than this in projection belong to one column.

    Returns
    -------
    xarray.Dataset
        Over dim ``column``: ``x``, ``y`` (Å, specimen frame), ``species`` ("M", "O", "Li", or
        the symbol of the heaviest element), ``n_atoms`` and, where the atoms carry them,
        ``lattice_i``, ``lattice_j``, ``sign``. Li-rich oxide keeps "M" for a column of the
        transition-metal layer that holds lithium by chance.

    Raises
    ------
    BadInputError
        If there are no atoms, a position is not finite, or the tolerance is not positive.
    """
    _check_atoms(atoms, tolerance)
    labelled = all(name in atoms.arrays for name in _LABELS)
    if labelled and (atoms.arrays["column_kind"] == "").any():
        # Amorphous layers belong to no column.
        atoms = atoms[atoms.arrays["column_kind"] != ""]
    group = _labelled_groups(atoms) if labelled else cluster(atoms, tolerance=tolerance)
    xy = mean_positions(atoms, group)
    variables: dict[str, npt.NDArray[np.generic]] = {"n_atoms": np.bincount(group)}
    if labelled:
        _, first = np.unique(group, return_index=True)
        variables["species"] = atoms.arrays["column_kind"][first]
        for name in _LABELS[1:]:
            variables[name] = atoms.arrays[name][first].astype(np.int64)
    else:
        variables["species"] = species_of(atoms, group)
    if region is not None:
        xy, variables = _fill(atoms, xy, variables, region)
    return _dataset(xy, variables)


def _check_atoms(atoms: Atoms, tolerance: float) -> None:
    if not len(atoms):
        raise BadInputError("the specimen has no atoms; expected at least one")
    if not np.isfinite(atoms.positions).all():
        raise BadInputError("the specimen has an atom whose position is not a finite number of Å")
    if not tolerance > 0:
        raise BadInputError(f"tolerance = {tolerance:g} Å; expected a distance above 0")


def _labelled_groups(atoms: Atoms) -> Integers:
    index = np.stack([atoms.arrays["lattice_i"], atoms.arrays["lattice_j"]], axis=-1)
    if laterally_periodic(atoms) and "projected_lattice" in atoms.info:
        index = _reduce(index, translations(atoms, np.asarray(atoms.cell)[:2, :2]))
    kind = np.unique(atoms.arrays["column_kind"], return_inverse=True)[1]
    key = np.column_stack([kind, atoms.arrays["sign"], index])
    return np.asarray(np.unique(key, axis=0, return_inverse=True)[1]).reshape(-1)


def _reduce(index: Integers, cell: Integers) -> Integers:
    """Bring lattice indices (n, 2) into the periodic cell whose rows are translations, exactly."""
    (a, b), (c, d) = cell.tolist()
    determinant = a * d - b * c
    adjugate = np.array([[d, -b], [-c, a]])
    cells = (index @ adjugate) // determinant
    return np.asarray(index - cells @ cell)


def _fill(
    atoms: Atoms,
    xy: Floats,
    variables: dict[str, npt.NDArray[np.generic]],
    region: Rectangle,
) -> tuple[Floats, dict[str, npt.NDArray[np.generic]]]:
    shifts = _shifts(atoms, xy, region) if laterally_periodic(atoms) else np.zeros((1, 2), int)
    cell = np.asarray(atoms.cell)[:2, :2]
    images = (xy[None] + (shifts @ cell)[:, None]).reshape(-1, 2)
    repeated = {name: np.tile(values, len(shifts)) for name, values in variables.items()}
    if "lattice_i" in variables and "projected_lattice" in atoms.info:
        moves = np.repeat(shifts @ translations(atoms, cell), len(xy), axis=0)
        repeated["lattice_i"] = repeated["lattice_i"] + moves[:, 0]
        repeated["lattice_j"] = repeated["lattice_j"] + moves[:, 1]
    keep = region.holds(images)
    return images[keep], {name: values[keep] for name, values in repeated.items()}


def _shifts(atoms: Atoms, xy: Floats, region: Rectangle) -> Integers:
    """Whole cells to move by so that the columns of one cell cover the region."""
    inverse = np.linalg.inv(np.asarray(atoms.cell)[:2, :2])
    corners = np.array(
        [[x, y] for x in (region.x_min, region.x_max) for y in (region.y_min, region.y_max)]
    )
    wanted, there = corners @ inverse, xy @ inverse
    low = np.floor(wanted.min(axis=0) - there.max(axis=0)).astype(int)
    high = np.ceil(wanted.max(axis=0) - there.min(axis=0)).astype(int)
    i, j = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    return np.stack([i.ravel(), j.ravel()], axis=-1)


def _dataset(xy: Floats, variables: dict[str, npt.NDArray[np.generic]]) -> xr.Dataset:
    notes = {
        "n_atoms": {"units": "1", "long_name": "atoms in the column"},
        "species": {"long_name": "what the column holds"},
        "lattice_i": {"units": "1", "long_name": "lattice index along A"},
        "lattice_j": {"units": "1", "long_name": "lattice index along C"},
        "sign": {"units": "1", "long_name": "O at +O or -O of the lattice point, else 0"},
    }
    columns = xr.Dataset(
        {
            "x": ("column", xy[:, 0], {"units": "Å", "long_name": "x in the specimen frame"}),
            "y": ("column", xy[:, 1], {"units": "Å", "long_name": "y in the specimen frame"}),
        }
    )
    for name in ("species", "n_atoms", "lattice_i", "lattice_j", "sign"):
        if name in variables:
            columns[name] = ("column", variables[name], notes[name])
    return columns


def true_pairs(columns: xr.Dataset) -> xr.Dataset:
    """Return every pair of columns that one of the eight named distances joins.

    Parameters
    ----------
    columns : xarray.Dataset
        As from `true_columns`, with lattice indices. Pairs are looked for among these columns
        only, never across the edge of a periodic cell: ask `true_columns` for a region.

    Returns
    -------
    xarray.Dataset
        Over dim ``pair``: ``pair_name``, ``pair_first`` and ``pair_second`` (indices of columns;
        the vector from first to second is that of `named_vectors`), ``pair_distance`` (Å).

    Raises
    ------
    BadInputError
        If the columns carry no lattice indices.
    """
    missing = [name for name in ("lattice_i", "lattice_j", "sign") if name not in columns]
    if missing:
        raise BadInputError(
            f"the columns carry no {', '.join(missing)}, so their named pairs are unknown; "
            "measure distances of foreign specimens with the inverse instead"
        )
    index = {label: n for n, label in enumerate(_names(columns))}
    found = [
        (name, n, index[target])
        for name, steps in _STEPS.items()
        for first, second, (di, dj) in steps
        for (*kind, i, j), n in index.items()
        if tuple(kind) == first and (target := (*second, i + di, j + dj)) in index
    ]
    first = np.array([pair[1] for pair in found], dtype=np.int64)
    second = np.array([pair[2] for pair in found], dtype=np.int64)
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    distance = np.hypot(*(xy[second] - xy[first]).T)
    return xr.Dataset(
        {
            "pair_name": ("pair", np.array([pair[0] for pair in found], dtype="<U8")),
            "pair_first": ("pair", first, {"units": "1", "long_name": "index of first column"}),
            "pair_second": ("pair", second, {"units": "1", "long_name": "index of second column"}),
            "pair_distance": ("pair", distance, {"units": "Å", "long_name": "projected distance"}),
        }
    )


def _names(columns: xr.Dataset) -> list[tuple[str, int, int, int]]:
    return list(
        zip(
            columns["species"].values.tolist(),
            columns["sign"].values.tolist(),
            columns["lattice_i"].values.tolist(),
            columns["lattice_j"].values.tolist(),
            strict=True,
        )
    )


def true_distances(columns: xr.Dataset, *, within: Rectangle | Mask | None = None) -> xr.Dataset:
    """Return the mean of each of the eight named distances.

    Parameters
    ----------
    columns : xarray.Dataset
        As from `true_columns`, with lattice indices.
    within : Rectangle or array of bool, optional
        Only pairs both columns of which lie in the rectangle or are marked in the mask (column,).

    Returns
    -------
    xarray.Dataset
        Scalars in Å, in the published order; a distance of which there is no pair is left out.

    Raises
    ------
    BadInputError
        If the columns carry no lattice indices, or no pair is left.
    """
    pairs = true_pairs(columns)
    if within is not None:
        xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
        mask = within.holds(xy) if isinstance(within, Rectangle) else np.asarray(within, bool)
        if mask.shape != (len(xy),):
            raise BadInputError(f"mask of shape {mask.shape}; expected ({len(xy)},), one a column")
        keep = mask[pairs["pair_first"].values] & mask[pairs["pair_second"].values]
        pairs = pairs.isel(pair=np.flatnonzero(keep))
    if not pairs.sizes["pair"]:
        raise BadInputError("no pair of columns is left to measure a distance on; widen the field")
    names, lengths = pairs["pair_name"].values, pairs["pair_distance"].values
    return xr.Dataset(
        {
            name: ((), lengths[names == name].mean(), {"units": "Å", "long_name": long_name})
            for name, long_name in LONG_NAMES.items()
            if (names == name).any()
        }
    )
