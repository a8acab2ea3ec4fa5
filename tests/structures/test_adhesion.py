"""Work of adhesion: sums by hand, sign, area, and bookkeeping of slabs."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc110
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.adhesion import (
    PUBLISHED,
    adhesion_from_energies,
    interface_area,
    split_by_height,
    split_by_tag,
    work_of_adhesion,
)


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=2.8, epsilon=0.2, rc=7.0)


def interface(*, size: tuple[int, int] = (1, 1), gap: float = 2.6) -> Atoms:
    lower: Atoms = bcc110("Li", (*size, 2), vacuum=10.0, periodic=True)
    upper = lower.copy()
    upper.positions[:, 2] += lower.positions[:, 2].max() - lower.positions[:, 2].min() + gap
    lower.set_tags(1)
    upper.set_tags(2)
    both: Atoms = lower + upper
    both.center(vacuum=10.0, axis=2)
    return both


def pair_energy(atoms: Atoms, first: np.ndarray) -> float:
    """Sum Lennard-Jones over pairs of unlike slabs and images, shifted to 0 at the cut-off."""
    sigma, epsilon, cut = 2.8, 0.2, 7.0
    a, b = (np.asarray(atoms.cell)[axis] for axis in (0, 1))
    total, edge = 0.0, 4 * epsilon * ((sigma / cut) ** 12 - (sigma / cut) ** 6)
    for i in range(-6, 7):
        for j in range(-6, 7):
            apart = atoms.positions[first][:, None] - atoms.positions[~first] + i * a + j * b
            r = np.linalg.norm(apart, axis=-1)
            pair = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6) - edge
            total += float(pair[r < cut].sum())
    return total


@given(gap=st.floats(2.2, 5.0))
def test_unrelaxed_it_is_the_energy_of_pairs_across_the_interface(gap: float) -> None:
    atoms = interface(gap=gap)
    first = split_by_tag(atoms, 1)
    found = work_of_adhesion(atoms, first, calculator=lennard_jones)
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    joules = pair_energy(atoms, first) * 1.602176634e-19 / (area * 1e-20)
    assert found.work == pytest.approx(joules, rel=1e-9, abs=1e-9)
    assert found.atoms == (2, 2)
    assert not found.relaxed


def test_what_attracts_is_negative_and_what_is_apart_is_nothing() -> None:
    near, far = interface(gap=2.6), interface(gap=9.0)
    works = [
        work_of_adhesion(a, split_by_tag(a, 1), calculator=lennard_jones).work for a in (near, far)
    ]
    assert works[0] < -0.1
    assert works[1] == pytest.approx(0, abs=1e-12)


def test_it_does_not_grow_with_the_cell_nor_depend_on_which_slab_is_first() -> None:
    small, large = interface(), interface(size=(2, 3))
    one = work_of_adhesion(small, split_by_tag(small, 1), calculator=lennard_jones)
    other = work_of_adhesion(large, split_by_tag(large, 2), calculator=lennard_jones)
    assert other.area == pytest.approx(6 * one.area)
    assert other.work == pytest.approx(one.work, rel=1e-9)


def test_slabs_split_by_height_and_by_tag_are_the_same_and_the_input_stays() -> None:
    atoms = interface()
    before = atoms.copy()
    middle = float(atoms.positions[:, 2].mean())
    assert (split_by_height(atoms, middle) == split_by_tag(atoms, 1)).all()
    atoms.calc = EMT()  # has no lithium: never asked
    work_of_adhesion(atoms, split_by_height(atoms, middle), calculator=lennard_jones)
    assert (atoms.positions == before.positions).all()


def test_relaxed_slabs_hold_each_other_less() -> None:
    """Alone, each slab can only lower its energy."""
    atoms = interface(gap=2.3)
    first = split_by_tag(atoms, 1)

    def relaxed(slab: Atoms) -> Atoms:
        BFGS(slab, logfile=None).run(fmax=0.01, steps=30)
        return slab

    rigid = work_of_adhesion(atoms, first, calculator=lennard_jones)
    found = work_of_adhesion(atoms, first, calculator=lennard_jones, relax=relaxed)
    assert found.relaxed
    assert found.first < rigid.first
    assert found.work > rigid.work


def test_the_calculator_of_the_interface_serves_all_three() -> None:
    lower = Atoms("Cu2", [(0, 0, 0), (1.28, 1.28, 1.8)], cell=(2.56, 2.56, 30), pbc=True)
    upper = lower.copy()
    both: Atoms = lower + upper
    both.positions[2:, 2] += 3.6
    both.calc = EMT()
    found = work_of_adhesion(both, split_by_height(both, 2.7))
    assert found.work < 0
    assert found.work == pytest.approx(
        adhesion_from_energies(found.interface, found.first, found.second, area=found.area)
    )


def test_published_values_keep_the_sign_and_name_their_source() -> None:
    assert PUBLISHED["Li110-Li110"].value == -1.01
    assert all(one.value < 0 and "Nat. Commun." in one.source for one in PUBLISHED.values())


def test_bad_input_is_refused() -> None:
    atoms = interface()
    first = split_by_tag(atoms, 1)
    with pytest.raises(BadInputError, match="no calculator"):
        work_of_adhesion(atoms, first)
    with pytest.raises(BadInputError, match="holds 0 of 4 atoms"):
        work_of_adhesion(atoms, split_by_tag(atoms, 7), calculator=lennard_jones)
    with pytest.raises(BadInputError, match="one bool for each"):
        work_of_adhesion(atoms, np.array([0, 1]), calculator=lennard_jones)
    tight = atoms.copy()
    tight.center(vacuum=1.0, axis=2)
    with pytest.raises(BadInputError, match=r"gap along the normal is 2\.\d+ Å; expected 8 Å"):
        work_of_adhesion(tight, first, calculator=lennard_jones)

    def swollen(slab: Atoms) -> Atoms:
        slab.set_cell(slab.cell * 1.01)
        return slab

    with pytest.raises(BadInputError, match="relaxation changed the cell"):
        work_of_adhesion(atoms, first, calculator=lennard_jones, relax=swollen)
    with pytest.raises(BadInputError, match="relaxation turned Li2 into Li"):
        work_of_adhesion(atoms, first, calculator=lennard_jones, relax=lambda slab: slab[:1])
    with pytest.raises(BadInputError, match="no area across axis 2"):
        interface_area(Atoms("Li"))
    with pytest.raises(BadInputError, match="area = 0"):
        adhesion_from_energies(0, 0, 0, area=0)
