from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.structures.cation_sites import TRANSITION_METALS, cation_sites
from echolith.structures.columns import true_columns, true_distances
from echolith.structures.delithiation import delithiated
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    Occupation,
    field_specimen,
    named_distances,
    orthogonal_specimen,
    periodic_specimen,
)
from echolith.structures.tm_migration import (
    in_plane_migration,
    out_of_plane_migration,
    true_composition,
)

B = 8.532

SPECIMENS = st.one_of(
    st.builds(
        field_specimen,
        field=st.tuples(st.floats(11, 18), st.floats(11, 18)),
        thickness=st.sampled_from([B, 2 * B, 17.5]),
        occupation=st.sampled_from([Occupation.RANDOM, Occupation.DISORDERED]),
        seed=st.integers(0, 99),
    ),
    st.builds(
        periodic_specimen,
        thickness=st.just(10 * B),
        occupation=st.just(Occupation.RANDOM),
        seed=st.integers(0, 99),
    ),
)
FRACTIONS = st.floats(0, 0.1)
SEEDS = st.integers(0, 99)


def is_metal(atoms: Atoms) -> np.ndarray:
    return np.isin(atoms.numbers, TRANSITION_METALS)


def on(atoms: Atoms, kind: str) -> np.ndarray:
    return np.asarray(atoms.arrays["column_kind"] == kind)


@settings(max_examples=20, deadline=None)
@given(SPECIMENS, FRACTIONS, FRACTIONS, SEEDS)
def test_migration_conserves_every_element_and_every_site(
    atoms: Atoms, inside: float, outside: float, seed: int
) -> None:
    before = atoms.copy()
    moved = in_plane_migration(atoms, fraction=inside, seed=seed)
    moved = out_of_plane_migration(moved, fraction=outside, seed=seed)
    assert Counter(moved.symbols) == Counter(atoms.symbols)
    # The input is left alone, and a full specimen has the same sites afterwards.
    assert np.array_equal(before.positions, atoms.positions)
    assert np.array_equal(before.numbers, atoms.numbers)
    ours, theirs = (np.sort(a.positions.round(6).view("f8,f8,f8"), axis=0) for a in (moved, atoms))
    assert np.array_equal(ours, theirs)
    assert np.array_equal(moved.numbers == 8, atoms.numbers == 8)


@settings(max_examples=20, deadline=None)
@given(SPECIMENS, FRACTIONS, SEEDS)
def test_the_number_that_leaves_the_layer_is_exact(
    atoms: Atoms, fraction: float, seed: int
) -> None:
    total = is_metal(atoms).sum()
    moved = out_of_plane_migration(atoms, fraction=fraction, seed=seed)
    gone = (is_metal(moved) & on(moved, "Li")).sum()
    assert gone == round(fraction * total)
    composition = true_composition(moved)
    share = composition["tm_in_alkali_layer"].item()
    assert share == pytest.approx(gone / on(atoms, "Li").sum())


@settings(max_examples=15, deadline=None)
@given(SPECIMENS, FRACTIONS, SEEDS)
def test_in_plane_migration_moves_that_many_within_each_layer(
    atoms: Atoms, fraction: float, seed: int
) -> None:
    moved = in_plane_migration(atoms, fraction=fraction, seed=seed)
    was = {tuple(p) for p in atoms.positions[is_metal(atoms)].round(6).tolist()}
    now = {tuple(p) for p in moved.positions[is_metal(moved)].round(6).tolist()}
    assert len(now - was) == round(fraction * len(was))
    for j in np.unique(atoms.arrays["lattice_j"]):
        counts = [(is_metal(a) & (a.arrays["lattice_j"] == j)).sum() for a in (atoms, moved)]
        assert counts[0] == counts[1]
    assert not (is_metal(moved) & on(moved, "Li")).any()


def test_composition_is_what_a_count_by_projection_finds() -> None:
    """The oracle forgets the labels and groups atoms by where they project to."""
    atoms = field_specimen(field=(16, 20), thickness=2 * B, seed=5)
    moved = out_of_plane_migration(atoms, fraction=0.1, seed=1)
    composition = true_composition(moved)
    bare = Atoms(moved.symbols, positions=moved.positions, cell=moved.cell)
    found = true_columns(bare)
    xy = np.stack([found["x"].values, found["y"].values], axis=-1)
    cation = moved[~on(moved, "O")]
    assert composition.sizes["column"] == (found["species"] != "O").sum()
    for n in range(composition.sizes["column"]):
        column = composition.isel(column=n)
        here = np.array([column["x"].item(), column["y"].item()])
        assert np.hypot(*(xy - here).T).min() < 1e-6
        near = np.hypot(*(cation.positions[:, :2] - here).T) < 0.3
        assert column["n_sites"] == near.sum() == 6
        assert column["tm_fraction"].item() == pytest.approx(is_metal(cation[near]).mean())
        assert column["li_fraction"].item() == pytest.approx((cation.numbers[near] == 3).mean())


@settings(max_examples=15, deadline=None)
@given(SPECIMENS, st.floats(0, 1), st.floats(0, 1), SEEDS)
def test_delithiation_is_exact_and_leaves_vacancies(
    atoms: Atoms, alkali: float, metal: float, seed: int
) -> None:
    charged = delithiated(atoms, alkali_layer=alkali, metal_layer=metal, seed=seed)
    for kind, part in (("Li", alkali), ("M", metal)):
        start = (on(atoms, kind) & (atoms.numbers == 3)).sum()
        assert (on(charged, kind) & (charged.numbers == 3)).sum() == round(part * start)
    composition = true_composition(charged)
    parts = composition["tm_fraction"] + composition["li_fraction"] + composition["vacancy"]
    assert np.allclose(parts, 1)
    # Empty columns stay known.
    assert composition["n_sites"].sum() == (~on(atoms, "O")).sum()
    missing = (composition["vacancy"] * composition["n_sites"]).sum().item()
    assert round(missing) == len(atoms) - len(charged)


@settings(max_examples=10, deadline=None)
@given(SPECIMENS, st.floats(0, 1), SEEDS)
def test_atoms_that_fill_vacancies_stand_on_the_sites_of_the_crystal(
    atoms: Atoms, alkali: float, seed: int
) -> None:
    charged = delithiated(atoms, alkali_layer=alkali, seed=seed)
    moved = out_of_plane_migration(
        in_plane_migration(charged, fraction=0.05, seed=seed), fraction=0.1, seed=seed
    )
    assert Counter(moved.symbols) == Counter(charged.symbols)
    # Sites are put at 1/4 and 3/4 of a layer; 4h, the farthest from that, is at
    # (2/3 - 0.6606) b = 0.052 Å.
    distance, index = cKDTree(atoms.positions).query(moved.positions)
    assert distance.max() < 0.055
    assert len(set(index.tolist())) == len(moved)


@pytest.mark.parametrize("periodic", [True, False])
def test_tetrahedral_metals_sit_in_tetrahedra_of_oxygen(periodic: bool) -> None:
    make = orthogonal_specimen if periodic else field_specimen
    size = {"repeats": (1, 2)} if periodic else {"field": (22.0, 22.0)}
    atoms = make(thickness=3 * B, **size)
    charged = delithiated(atoms, alkali_layer=0.2)
    moved = out_of_plane_migration(charged, fraction=0.06, tetrahedral=0.5, seed=3)
    count = round(0.06 * is_metal(charged).sum())
    tetrahedral = on(moved, "T")
    assert tetrahedral.sum() == round(0.5 * count) > 1
    assert (is_metal(moved) & ~on(moved, "M")).sum() == count
    assert Counter(moved.symbols) == Counter(charged.symbols)
    i, j, distance = neighbor_list("ijd", moved, 2.3)
    inner = tetrahedral & (np.abs(moved.positions[:, 2] - 1.5 * B) < B)
    box = np.diag(np.asarray(moved.cell))
    off = np.minimum(moved.positions, box - moved.positions)[:, :2].min(axis=1)
    inner &= periodic | (off > 2.5)
    for atom in np.flatnonzero(inner):
        oxygen = (i == atom) & (moved.numbers[j] == 8)
        # Four bonds; the tetrahedron of the layered crystal is not quite regular.
        assert oxygen.sum() == 4
        assert (np.abs(distance[oxygen] - 1.85) < 0.25).all()
    # The octahedron it left is empty, and so are the others of metal that share its faces.
    close = (i[:, None] == np.flatnonzero(inner)).any(axis=1) & is_metal(moved)[j]
    assert not close.any()
    composition = true_composition(moved, tetrahedral=True)
    columns = composition.where(composition["species"] == "T", drop=True)
    held = (columns["tm_fraction"] * columns["n_sites"]).sum().item()
    assert round(held) == tetrahedral.sum()


def test_oxygen_and_its_distances_are_untouched() -> None:
    atoms = field_specimen(field=(18, 18), thickness=B)
    moved = out_of_plane_migration(
        delithiated(atoms, alkali_layer=0.3), fraction=0.1, tetrahedral=0.3
    )
    found = true_distances(true_columns(moved))
    for name, length in named_distances(PRISTINE).items():
        assert found[name].item() == pytest.approx(length, abs=1e-6)


def test_streams_differ_by_seed_and_repeat() -> None:
    atoms = field_specimen(field=(18, 18), thickness=B)
    one, again, two = (out_of_plane_migration(atoms, fraction=0.1, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.positions, again.positions)
    assert not np.array_equal(one.positions, two.positions)


def test_bad_input_is_refused() -> None:
    atoms = field_specimen(field=(12, 12), thickness=B)
    with pytest.raises(BadInputError, match=r"give 5 % as 0\.05"):
        out_of_plane_migration(atoms, fraction=5)
    with pytest.raises(BadInputError, match="fraction = nan"):
        in_plane_migration(atoms, fraction=float("nan"))
    with pytest.raises(BadInputError, match=r"tetrahedral = 1\.5"):
        out_of_plane_migration(atoms, fraction=0.1, tetrahedral=1.5)
    with pytest.raises(BadInputError, match="ask for a smaller fraction"):
        in_plane_migration(atoms, fraction=0.5)
    with pytest.raises(BadInputError, match="carry no column_kind"):
        true_composition(Atoms("Li"))
    with pytest.raises(BadInputError, match="is b the specimen's"):
        cation_sites(atoms, b=15)
    with pytest.raises(BadInputError, match="lithium left on Li sites = 20"):
        delithiated(atoms, alkali_layer=20)
