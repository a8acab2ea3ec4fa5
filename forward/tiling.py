"""Probe positions that are the same modulo the periodic cell are simulated once."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]

SAME = 1e-6
"""Å. Positions closer than this are one."""


def unique_positions(
    positions: FloatArray, atoms: "Atoms"
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Fold positions into the lateral cell and drop repeats.

    Parameters
    ----------
    positions : array, (n, 2)
        xy in Å.
    atoms : ase.Atoms
        Laterally periodic; the cell may be oblique.

    Returns
    -------
    unique : array, (m, 2)
        Positions in the cell, in order of first occurrence.
    index : array of int, (n,)
        Which unique position each one is.
    """
    cell = np.asarray(atoms.cell)[:2, :2]
    lengths = np.linalg.norm(cell, axis=1)
    fractional = positions @ np.linalg.inv(cell)
    fractional -= np.floor(fractional)
    periods = np.maximum(np.rint(lengths / SAME), 1).astype(np.int64)
    keys = np.rint(fractional * periods).astype(np.int64) % periods
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    joined = _joined(keys[first], periods)
    earliest = np.full(joined.max() + 1, len(positions))
    np.minimum.at(earliest, joined, first)
    order = np.argsort(earliest)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return fractional[earliest[order]] @ cell, rank[joined[inverse.ravel()]]


def _joined(keys: npt.NDArray[np.int64], periods: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each key (n, 2), the same for neighbours that rounding has parted."""
    tree = cKDTree(keys, boxsize=periods)
    near = tree.query_pairs(1.5, p=np.inf, output_type="ndarray")
    graph = coo_matrix((np.ones(len(near)), near.T), shape=(len(keys), len(keys)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
