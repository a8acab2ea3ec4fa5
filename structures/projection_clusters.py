"""Group atoms into columns by where they project to."""

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from echolith.errors import BadInputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


def laterally_periodic(atoms: Atoms) -> bool:
    """Say whether the specimen repeats with its lateral cell."""
    return bool(np.all(atoms.pbc[:2]))


def cluster(atoms: Atoms, *, tolerance: float) -> Integers:
    """Give atoms whose projections are chained within ``tolerance`` Å the same number, from 0.

    Across the edges of the cell too, where the specimen is laterally periodic.
    """
    xy = np.asarray(atoms.positions[:, :2], dtype=float)
    points, source = _with_images(atoms, tolerance) if laterally_periodic(atoms) else (xy, None)
    pairs = cKDTree(points).query_pairs(tolerance, output_type="ndarray")
    if source is not None:
        pairs = source[pairs]
    graph = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(xy), len(xy)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def _with_images(atoms: Atoms, margin: float) -> tuple[Floats, Integers]:
    """Return wrapped positions, then images within ``margin`` of the cell; and whose they are."""
    cell = np.asarray(atoms.cell)[:2, :2]
    _check_lateral(cell)
    inverse = np.linalg.inv(cell)
    fraction = atoms.positions[:, :2] @ inverse
    fraction -= np.floor(fraction)
    # Fractional width of a strip as thick as the margin; columns of the inverse are normals.
    strip = margin * np.linalg.norm(inverse, axis=0)
    points, source = [fraction], [np.arange(len(fraction))]
    for shift in ((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)):
        image = fraction + shift
        near = ((image > -strip) & (image < 1 + strip)).all(axis=1)
        points.append(image[near])
        source.append(np.flatnonzero(near))
    return np.concatenate(points) @ cell, np.concatenate(source)


def _check_lateral(cell: Floats) -> None:
    if abs(np.linalg.det(cell)) < 1e-6:
        raise BadInputError(
            "the specimen is laterally periodic but its cell has no lateral area; "
            "set the first two cell vectors in the xy plane, or pbc to False"
        )


def mean_positions(atoms: Atoms, group: Integers) -> Floats:
    """Return the mean xy of each group, (groups, 2) in Å, whole columns across cell edges."""
    xy = np.asarray(atoms.positions[:, :2], dtype=float)
    _, first = np.unique(group, return_index=True)
    offset = xy - xy[first][group]
    if laterally_periodic(atoms):
        cell = np.asarray(atoms.cell)[:2, :2]
        offset -= np.rint(offset @ np.linalg.inv(cell)) @ cell
    count = np.bincount(group)
    total = np.stack([np.bincount(group, weights=offset[:, axis]) for axis in (0, 1)], axis=-1)
    return np.asarray(xy[first] + total / count[:, None])


def species_of(atoms: Atoms, group: Integers) -> npt.NDArray[np.str_]:
    """Name each group by what it holds.

    "M" with any element from Ca (Z = 20) on, else "O" with any oxygen, else the symbol of the
    heaviest element.
    """
    order = np.lexsort((atoms.numbers, group))
    last = np.append(np.flatnonzero(np.diff(group[order])), len(order) - 1)
    heaviest = order[last]
    oxygen = np.bincount(group, weights=atoms.numbers == atomic_numbers["O"]) > 0
    symbols = np.array(list(atoms.symbols))[heaviest]
    return np.where(atoms.numbers[heaviest] >= 20, "M", np.where(oxygen, "O", symbols))
