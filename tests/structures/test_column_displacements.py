"""Displaced and incomplete columns: the truth goes along, and nothing else changes."""

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.column_displacements import displace_columns, remove_atoms
from echolith.structures.columns import true_columns
from echolith.structures.li_rich_oxide import Occupation, field_specimen


def specimen(side: float = 20.0) -> Atoms:
    return field_specimen(field=(side, side), thickness=12.0, occupation=Occupation.RANDOM, seed=3)


def moves(atoms: Atoms, moved: Atoms) -> np.ndarray:
    before, after = true_columns(atoms), true_columns(moved)
    assert np.array_equal(before["lattice_i"], after["lattice_i"])
    return np.stack([after[a].values - before[a].values for a in "xy"], axis=1)


@given(rms=st.floats(0.001, 0.2), seed=st.integers(0, 2**31))
def test_columns_move_as_a_whole_and_as_far_as_asked(rms: float, seed: int) -> None:
    atoms = specimen()
    move = moves(atoms, displace_columns(atoms, rms=rms, seed=seed))
    shifts = displace_columns(atoms, rms=rms, seed=seed).positions - atoms.positions
    assert np.all(shifts[:, 2] == 0)
    # Chi squared with 2 n degrees of freedom, within six of its standard deviations.
    freedom = move.size
    assert abs((move**2).sum() / rms**2 - freedom) < 6 * np.sqrt(2 * freedom)


def test_a_larger_field_keeps_the_displacements() -> None:
    small, large = specimen(), specimen(30.0)
    labels = ("species", "lattice_i", "lattice_j", "sign")
    known: dict[tuple[object, ...], list[np.ndarray]] = {}
    for atoms in (large, small):
        move = moves(atoms, displace_columns(atoms, rms=0.01, seed=5))
        columns = true_columns(atoms)
        for n, label in enumerate(zip(*(columns[name].values for name in labels), strict=True)):
            known.setdefault(label, []).append(move[n])
    shared = [np.abs(pair) for pair in known.values() if len(pair) == 2]
    # Columns at the border of the small field may have been turned inwards.
    assert len(shared) > 100
    assert np.allclose([p[0] for p in shared], [p[1] for p in shared])


def test_no_atom_leaves_the_box() -> None:
    moved = displace_columns(specimen(), rms=0.1, seed=1)
    size = np.diag(np.asarray(moved.cell))[:2]
    assert ((moved.positions[:, :2] >= 0) & (moved.positions[:, :2] <= size)).all()


@given(fraction=st.floats(0, 0.95), seed=st.integers(0, 2**31))
def test_vacancies_come_as_often_as_asked_and_in_the_chosen_columns(
    fraction: float, seed: int
) -> None:
    atoms = specimen()
    left = remove_atoms(atoms, kind="Li", fraction=fraction, seed=seed)
    kinds = atoms.arrays["column_kind"]
    before, after = (np.count_nonzero(a.arrays["column_kind"] == "Li") for a in (atoms, left))
    assert len(atoms) - len(left) == before - after
    columns = true_columns(left)
    lithium = columns["n_atoms"].values[columns["species"].values == "Li"]
    assert lithium.min() >= 1
    assert len(columns["x"]) == len(true_columns(atoms)["x"])
    # The one atom that a column keeps lowers the number missing by one a column at most.
    deviation = 6 * np.sqrt(before * fraction * (1 - fraction)) + 1
    assert before * fraction - len(lithium) - deviation < before - after
    assert before - after < before * fraction + deviation
    assert (kinds == "Li").sum() == before


def test_what_cannot_be_displaced_is_refused() -> None:
    atoms = specimen()
    with pytest.raises(BadInputError, match="give it in Å"):
        displace_columns(atoms, rms=5.0, seed=0)
    with pytest.raises(BadInputError, match="expected 0 to below 1"):
        remove_atoms(atoms, kind="Li", fraction=1.0, seed=0)
    with pytest.raises(BadInputError, match="no 'Na' columns"):
        remove_atoms(atoms, kind="Na", fraction=0.1, seed=0)
    with pytest.raises(BadInputError, match="carry no column_kind"):
        displace_columns(Atoms("O", cell=[3, 3, 3]), rms=0.05, seed=0)
