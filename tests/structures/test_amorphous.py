import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.projected_potential import check_specimen
from echolith.structures.amorphous import BOND, CONTACT, with_amorphous_carbon
from echolith.structures.column_composition import true_composition
from echolith.structures.columns import true_columns
from echolith.structures.crystals import crystal
from echolith.structures.li_rich_oxide import field_specimen, periodic_specimen
from echolith.structures.specimen_shape import wedge

B = 8.532
CARBON = 6


def films(atoms: Atoms) -> Atoms:
    found: Atoms = atoms[np.asarray(atoms.numbers) == CARBON]
    return found


@settings(max_examples=15, deadline=None)
@given(
    st.floats(2, 20),
    st.floats(2, 20),
    st.floats(1, 2.5),
    st.booleans(),
    st.integers(0, 99),
)
def test_films_have_their_density_and_keep_their_distance(
    entrance: float, exit_side: float, density: float, periodic: bool, seed: int
) -> None:
    if periodic:
        atoms = periodic_specimen(thickness=20.0).repeat((3, 2, 1))
        atoms.pbc = (True, True, False)
    else:
        atoms = field_specimen(field=(14.0, 17.0), thickness=20.0)
    for name in ("lattice_i", "lattice_j"):
        if periodic:
            # Copies made by repeat share labels; make it a foreign specimen.
            del atoms.arrays[name]
    coated = with_amorphous_carbon(
        atoms, entrance=entrance, exit=exit_side, density=density, seed=seed
    )
    check_specimen(coated, 1.0)
    assert coated.cell[2, 2] == pytest.approx(20 + entrance + exit_side)
    area = abs(np.linalg.det(np.asarray(atoms.cell)[:2, :2]))
    carbon = films(coated)
    # Grams: 12.011 u of 1.6605e-24 g, in 1e-24 cm³; each film rounds to a whole atom.
    mass = len(carbon) * 12.011 * 1.6605
    rounding = 12.011 * 1.6605
    assert abs(mass - density * area * (entrance + exit_side)) < 1.01 * rounding
    # Distances by brute force, with the images of a periodic cell.
    cell, reach = np.asarray(atoms.cell), (-1, 0, 1) if periodic else (0,)
    images = [i * cell[0] + j * cell[1] for i in reach for j in reach]
    points = carbon.positions
    for shift in images:
        distance = np.linalg.norm(points[:, None] - points[None] - shift, axis=-1)
        if not shift.any():
            np.fill_diagonal(distance, np.inf)
        assert distance.min() >= BOND
        others = coated.positions[np.asarray(coated.numbers) != CARBON]
        assert cKDTree(others + shift).query(points)[0].min() >= CONTACT
    depth = points[:, 2]
    assert ((depth < entrance) | (depth > entrance + 7 * B / 3 - 1e-9)).all()


def test_carbon_fills_its_layer_evenly() -> None:
    atoms = field_specimen(field=(40.0, 40.0), thickness=B)
    carbon = films(with_amorphous_carbon(atoms, entrance=40.0, seed=3))
    count, _ = np.histogramdd(carbon.positions, bins=(4, 4, 4), range=[(0, 40)] * 3)
    # Poisson would spread by sqrt(n); hard spheres spread less. The crystal's side keeps clear.
    mean = len(carbon) / 64
    assert np.abs(count - mean).max() < 4.5 * np.sqrt(mean)


def test_the_specimen_and_its_truth_are_what_they_were() -> None:
    atoms = field_specimen(field=(16.0, 16.0), thickness=20.0)
    before = atoms.copy()
    coated = with_amorphous_carbon(atoms, entrance=12.0, exit=5.0)
    assert np.array_equal(before.positions, atoms.positions)
    inner = coated[np.asarray(coated.numbers) != CARBON]
    assert np.allclose(inner.positions - [0, 0, 12], atoms.positions)
    assert (inner.numbers == atoms.numbers).all()
    assert true_columns(coated).equals(true_columns(atoms))
    assert true_composition(coated).equals(true_composition(atoms))


def test_carbon_follows_the_face_of_a_wedge() -> None:
    thin = wedge(field_specimen(field=(20.0, 40.0), thickness=4 * B), slope=0.5)
    coated = with_amorphous_carbon(thin, exit=10.0, entrance=4.0)
    check_specimen(coated, 1.0)
    behind = films(coated).positions
    behind = behind[behind[:, 2] > 4.0]
    above = behind[:, 2] - (4.0 + 4 * B - 0.5 * behind[:, 0])
    assert above.min() > -1e-9
    assert above.max() < 10
    # It fills all of it, not only the thick end.
    assert np.histogram(behind[:, 0], bins=4, range=(0, 40))[0].min() > 0.8 * len(behind) / 4
    assert true_composition(coated)["vacancy"].max() == 0


def test_seeds() -> None:
    atoms = field_specimen(field=(12.0, 12.0), thickness=B)
    one, again, two = (with_amorphous_carbon(atoms, exit=8.0, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.positions, again.positions)
    assert not np.array_equal(one.positions, two.positions)
    both = with_amorphous_carbon(atoms, entrance=8.0, exit=8.0)
    front, back = np.split(films(both).positions, 2)
    assert not np.allclose(front[:, :2], back[:, :2])


def test_no_film_is_the_specimen() -> None:
    atoms = crystal("LiF")
    atoms.pbc = True
    plain = with_amorphous_carbon(atoms)
    assert np.array_equal(plain.positions, atoms.positions)
    assert np.array_equal(np.asarray(plain.cell), np.asarray(atoms.cell))


def test_bad_input_is_refused() -> None:
    atoms = field_specimen(field=(12.0, 12.0), thickness=B)
    with pytest.raises(BadInputError, match="exit = -1 Å"):
        with_amorphous_carbon(atoms, exit=-1)
    with pytest.raises(BadInputError, match="entrance = nan Å"):
        with_amorphous_carbon(atoms, entrance=float("nan"))
    with pytest.raises(BadInputError, match="density = 2000 g/cm³"):
        with_amorphous_carbon(atoms, exit=10, density=2000)
