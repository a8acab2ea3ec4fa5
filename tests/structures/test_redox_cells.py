from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.projected_potential import check_specimen
from echolith.structures.cation_sites import cation_sites
from echolith.structures.column_composition import true_composition
from echolith.structures.columns import true_columns, true_distances
from echolith.structures.redox_cells import redox_specimen, redox_supercell
from echolith.structures.redox_models import (
    CHARGED_MODELS,
    Reading,
    RedoxModel,
    model_distances,
    model_parameters,
)

MODELS = st.sampled_from(RedoxModel)
SEEDS = st.integers(0, 999)
B = 8.532


def bulk(model: RedoxModel, seed: int) -> Atoms:
    atoms = redox_supercell(model, seed=seed)
    atoms.pbc = True
    return atoms


def vacancies(atoms: Atoms, kind: str) -> np.ndarray:
    sites = cation_sites(atoms)
    return np.asarray(sites.positions[(sites.kind == kind) & (sites.atom < 0)])


@settings(max_examples=30, deadline=None)
@given(MODELS, SEEDS)
def test_projected_means_are_those_of_the_model(model: RedoxModel, seed: int) -> None:
    """Mean over all atoms of each kind of column, from where the tabulated cell has it."""
    atoms = redox_supercell(model, seed=seed)
    vectors, arrays = model_parameters(model).vectors(), atoms.arrays
    place = np.outer(arrays["lattice_i"], vectors["A"]) + np.outer(
        arrays["lattice_j"], vectors["C"]
    )
    rest = atoms.positions[:, :2] - place
    metal = rest[arrays["column_kind"] == "M"].mean(axis=0)
    expected = {("Li", 0): vectors["C"] / 2, ("O", 1): vectors["O"], ("O", -1): -vectors["O"]}
    for (kind, sign), offset in expected.items():
        here = (arrays["column_kind"] == kind) & (arrays["sign"] == sign)
        # 0.1 pm is what is asked for; it holds to rounding.
        assert np.allclose(rest[here].mean(axis=0) - metal, offset, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(MODELS, SEEDS)
def test_content_of_ninety_six_sites(model: RedoxModel, seed: int) -> None:
    found = Counter(redox_supercell(model, seed=seed).symbols)
    assert (found["Mn"], found["Ni"], found["Co"]) == (13, 3, 3)
    assert found["Li"] == (5 if model.charged else 24 if model is RedoxModel.DISCHARGED else 29)
    assert found["O"] == (44 if model is RedoxModel.VO2 else 48)
    if model is RedoxModel.PRISTINE:
        charge = found["Li"] + 4 * found["Mn"] + 2 * found["Ni"] + 3 * found["Co"]
        assert (sum(found.values()), charge) == (96, 2 * found["O"])


@settings(max_examples=30, deadline=None)
@given(MODELS, SEEDS)
def test_no_two_atoms_are_too_near(model: RedoxModel, seed: int) -> None:
    atoms = bulk(model, seed)
    i, j, distance = neighbor_list("ijd", atoms, 2.2)
    molecule = atoms.arrays["in_molecule"]
    bond = molecule[i] & molecule[j] & (distance < 1.5)
    # Molecules are 1.2 to 1.3 Å long, each atom in one; nothing else is nearer than a bond of a
    # small cation, Mn4+-O 1.8 Å at least.
    assert bond.sum() == molecule.sum() == (4 if model is RedoxModel.O2 else 0)
    assert ((distance[bond] > 1.2) & (distance[bond] < 1.3)).all()
    assert distance[~bond].min() > 1.78


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_molecules_lie_between_vacancies_of_the_layer(seed: int) -> None:
    atoms = redox_supercell(RedoxModel.O2, seed=seed)
    empty = vacancies(atoms, "M")
    assert len(empty) == 5
    oxygen = atoms[atoms.arrays["in_molecule"]]
    cell = np.asarray(atoms.cell)
    i, j = neighbor_list("ij", Atoms(oxygen.symbols, oxygen.positions, cell=cell, pbc=True), 1.5)
    for first, second in zip(i, j, strict=True):
        apart = oxygen.positions[second] - oxygen.positions[first]
        apart -= np.rint(apart @ np.linalg.inv(cell)) @ cell
        centre = oxygen.positions[first] + apart / 2
        away = empty - centre
        away -= np.rint(away @ np.linalg.inv(cell)) @ cell
        # The edge of an octahedron across the layer lies between two of its sites, at 1.4 Å; the
        # next two are 2.5 Å away. A molecule at the rim of the cluster touches one and those.
        assert (np.linalg.norm(away, axis=1) < 3.0).sum() >= 2
        assert np.linalg.norm(away, axis=1).min() < 1.6


def spread(model: RedoxModel, seed: int) -> float:
    """Root mean square distance of the vacancies of the layer from their centre, Å."""
    atoms = redox_supercell(model, seed=seed)
    sites = cation_sites(atoms)
    empty = (sites.kind == "M") & (sites.atom < 0)
    # Along the layer by the lattice index, so that no cell edge cuts the cluster.
    along = (sites.i % 4)[empty] * model_parameters(model).A
    plane = np.column_stack([along, sites.positions[empty, 2]])
    return float(np.sqrt(((plane - plane.mean(axis=0)) ** 2).sum(axis=1).mean()))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([RedoxModel.O2, RedoxModel.VO2, RedoxModel.DISCHARGED]), SEEDS)
def test_vacancies_are_gathered_by_migration_in_the_plane(model: RedoxModel, seed: int) -> None:
    # Five sites of the triangular lattice (2.9 Å): 2.2 Å as a trapezium, 3.2 Å at an edge of the
    # block; a straight row would be 4.1 Å.
    assert spread(model, seed) < 3.5
    # What left its site is still in the layer: none in the alkali layer.
    assert true_composition(redox_supercell(model, seed=seed))["tm_in_alkali_layer"] == 0


def test_vacancies_are_scattered_where_nothing_migrates() -> None:
    for model in (RedoxModel.HOLE, RedoxModel.TM):
        # 24 sites of 10 × 17 Å: random ones spread by 6 Å.
        assert np.mean([spread(model, seed) for seed in range(20)]) > 5


@settings(max_examples=15, deadline=None)
@given(MODELS, SEEDS)
def test_supercell_names_its_columns(model: RedoxModel, seed: int) -> None:
    atoms = redox_supercell(model, seed=seed)
    columns = true_columns(atoms)
    parameters = model_parameters(model)
    species = Counter(columns["species"].values.tolist())
    # Charged, lithium columns may be empty.
    assert species["M"] == 4
    assert species["O"] == 8
    assert 1 <= species["Li"] <= 4
    lattice = np.array([[parameters.A, 0], [parameters.Cx, parameters.Cy]])
    metal = columns.isel(column=np.flatnonzero(columns["species"].values == "M"))
    xy = np.column_stack([metal["x"], metal["y"]])
    index = np.column_stack([metal["lattice_i"], metal["lattice_j"]])
    rest = xy - index @ lattice
    assert np.allclose(rest, rest[0], atol=1e-9)
    check_specimen(atoms, 1.0)


@settings(max_examples=8, deadline=None)
@given(
    MODELS, st.tuples(st.floats(14, 24), st.floats(14, 24)), st.sampled_from([B, 17.1, 20.0]), SEEDS
)
def test_fields_hold_the_distances_of_the_model(
    model: RedoxModel, field: tuple[float, float], thickness: float, seed: int
) -> None:
    atoms = redox_specimen(model, field=field, thickness=thickness, seed=seed)
    check_specimen(atoms, 1.0)
    assert not atoms.pbc.any()
    parameters = model_parameters(model)
    vectors, arrays = parameters.vectors(), atoms.arrays
    place = np.outer(arrays["lattice_i"], vectors["A"]) + np.outer(
        arrays["lattice_j"], vectors["C"]
    )
    rest = atoms.positions[:, :2] - place - np.array(field)[::-1] / 2
    for sign in (1, -1):
        here = (arrays["column_kind"] == "O") & (arrays["sign"] == sign)
        assert np.allclose(rest[here].mean(axis=0), sign * vectors["O"], atol=1e-9)
    found = true_distances(true_columns(atoms))
    for name, length in model_distances(model, Reading.PLANE).items():
        # Pairs weigh inner columns more than those at the edge: one molecule, 0.7 Å, in one of
        # some forty columns of six atoms, counted in or out.
        assert abs(found[name].item() - length) < 0.03


def test_a_larger_field_keeps_the_blocks() -> None:
    small, large = (
        redox_specimen(RedoxModel.O2, field=field, thickness=2 * B, seed=4)
        for field in ((14, 14), (24, 30))
    )

    def cations(atoms: Atoms) -> set[tuple[float, ...]]:
        centre = np.append(np.diag(np.asarray(atoms.cell))[:2] / 2, 0)
        rows = np.column_stack([(atoms.positions - centre).round(6) + 0.0, atoms.numbers])
        return set(map(tuple, rows[atoms.arrays["column_kind"] != "O"].tolist()))

    assert cations(small) <= cations(large)


def test_blocks_differ_from_each_other_and_by_seed() -> None:
    one, again, two = (
        redox_specimen(RedoxModel.O2, field=(20, 30), thickness=B, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.positions, again.positions)
    assert len(one) != len(two) or not np.allclose(one.positions, two.positions)
    composition = true_composition(one)
    metal = composition.where(composition["species"] == "M", drop=True)
    assert len(np.unique(metal["tm_fraction"])) > 2


@pytest.mark.parametrize("model", CHARGED_MODELS)
def test_composition_of_a_large_field(model: RedoxModel) -> None:
    composition = true_composition(redox_specimen(model, field=(60, 60), thickness=2 * B, seed=2))
    # 19 of 24 in every block; blocks cut by the edge vary.
    assert composition["tm_in_metal_layer"].item() == pytest.approx(19 / 24, abs=0.02)
    alkali = composition["li_fraction"].where(composition["species"] == "Li").mean().item()
    assert alkali == pytest.approx(5 / 24, abs=0.02)


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="at least one layer"):
        redox_specimen(RedoxModel.O2, field=(20, 20), thickness=1)
    with pytest.raises(BadInputError, match="field = "):
        redox_specimen(RedoxModel.O2, field=(0, 20), thickness=20)
    with pytest.raises(BadInputError, match="seed -1"):
        redox_supercell(RedoxModel.O2, seed=-1)
