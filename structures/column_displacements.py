"""Columns off their places: random displacements of whole columns, and atoms left out of them.

A perfect crystal hides a solver's bias: one that shrinks towards the mean position looks better
than physics allows. Displaced, incomplete columns do not.
"""

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.occupation import zigzag
from echolith.structures.projection_clusters import laterally_periodic

_LABELS = ("column_kind", "lattice_i", "lattice_j", "sign")
_KINDS = {"M": 0, "Li": 1, "O": 2}


def displace_columns(atoms: Atoms, *, rms: float, seed: int) -> Atoms:
    """Return a copy in which every column as a whole is displaced across the beam.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled by column, as from `field_specimen`; the truth (`true_columns`) moves along.
    rms : float
        Root mean square along one axis, Å, of independent normal displacements. They depend on
        the seed and on a column's label alone. A column that would leave the box of a specimen
        that does not repeat moves the other way.
    seed : int

    Returns
    -------
    ase.Atoms

    Raises
    ------
    BadInputError
        If the atoms carry no labels or the displacement is not 0 to 1 Å.
    """
    if not 0 <= rms <= 1:
        raise BadInputError(f"rms = {rms:g} Å; expected 0 to 1 Å (0.05 is 5 pm); give it in Å")
    labels, column = _labels(atoms)
    normal = np.array(
        [stream(seed, "displacement", *_path(label)).normal(size=2) for label in labels]
    )
    shift = rms * normal.reshape(-1, 2)[column]
    moved: Atoms = atoms.copy()
    if not laterally_periodic(atoms):
        size = np.diag(np.asarray(atoms.cell))[:2]
        trial = atoms.positions[:, :2] + shift
        outside = np.zeros((len(labels), 2), dtype=bool)
        np.logical_or.at(outside, column, (trial < 0) | (trial > size))
        shift = np.where(outside[column], -shift, shift)
    moved.positions[:, :2] += shift
    return moved


def remove_atoms(atoms: Atoms, *, kind: str, fraction: float, seed: int) -> Atoms:
    """Return a copy in which atoms of one kind of column are missing at random.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled by column, as from `field_specimen`.
    kind : str
        "M", "O" or "Li": the kind of column, not the element.
    fraction : float
        Probability that an atom is missing, 0 to below 1. Every column keeps one atom at least.
    seed : int

    Raises
    ------
    BadInputError
        If the atoms carry no labels, hold no such column, or the fraction is outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise BadInputError(f"fraction = {fraction:g}; expected 0 to below 1")
    labels, column = _labels(atoms)
    if kind not in {label[0] for label in labels}:
        raise BadInputError(
            f"the specimen has no {kind!r} columns; expected one of "
            f"{', '.join(sorted({label[0] for label in labels}))}"
        )
    missing = np.zeros(len(atoms), dtype=bool)
    for n, label in enumerate(labels):
        if label[0] == kind:
            mine = np.flatnonzero(column == n)
            uniform = stream(seed, "vacancies", *_path(label)).random(len(mine))
            missing[mine] = (uniform < fraction) & (uniform != uniform.max())
    kept: Atoms = atoms[~missing]
    return kept


def _labels(atoms: Atoms) -> tuple[list[tuple[str, int, int, int]], npt.NDArray[np.int64]]:
    """Return the labels of the columns, and the column of each atom."""
    absent = [name for name in _LABELS if name not in atoms.arrays]
    if absent:
        raise BadInputError(
            f"the atoms carry no {', '.join(absent)}; give a specimen of Li-rich oxide, whose "
            "atoms know their column"
        )
    kind, i, j, sign = (atoms.arrays[name].tolist() for name in _LABELS)
    labels = [(str(a), int(b), int(c), int(d)) for a, b, c, d in zip(kind, i, j, sign, strict=True)]
    unique = sorted(set(labels))
    place = {label: n for n, label in enumerate(unique)}
    return unique, np.array([place[label] for label in labels], dtype=np.int64)


def _path(label: tuple[str, int, int, int]) -> tuple[int, int, int, int]:
    kind, i, j, sign = label
    return _KINDS[kind], zigzag(i), zigzag(j), sign + 1
