import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.column_stack import SPLIT_4I
from echolith.structures.crystals import crystal
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    PRISTINE_MEASURED,
    Occupation,
    ProjectedParameters,
    commensurate,
    field_specimen,
    orthogonal_specimen,
    periodic_specimen,
    unit_cell,
)
from echolith.structures.site_occupancy import cell_content

B = 8.532


def as_rows(atoms: Atoms, *, centre: bool) -> set[tuple[float, ...]]:
    """Atoms as (x, y, z, Z) rows, x and y from the box centre, rounded to 1e-6 Å."""
    xyz = np.asarray(atoms.positions).copy()
    if centre:
        xyz[:, :2] -= np.asarray(atoms.cell)[:2, :2].sum(axis=0) / 2
    # Adding zero turns -0 into 0.
    rows = np.column_stack([xyz.round(6) + 0.0, atoms.numbers])
    return set(map(tuple, rows.tolist()))


def test_unit_cell_is_the_published_crystal() -> None:
    ours, theirs = unit_cell(), crystal("Li2MnO3")
    assert ours.get_chemical_formula() == theirs.get_chemical_formula() == "Li8Mn4O12"
    assert np.allclose(np.asarray(ours.cell), np.asarray(theirs.cell), atol=1e-9)
    assert np.allclose(ours.positions, theirs.positions, atol=1e-9)


def test_unit_cell_of_the_random_material_has_its_composition() -> None:
    for occupation in (Occupation.RANDOM, Occupation.DISORDERED):
        content = cell_content(unit_cell(occupation=occupation))
        per_formula = {element: n / 6 for element, n in content.items()}
        # Li1.2Ni0.13Mn0.54Co0.13O2
        assert per_formula == pytest.approx(
            {"Li": 1.2, "Ni": 0.13, "Mn": 0.54, "Co": 0.13, "O": 2.0}
        )


@pytest.mark.parametrize("make", [periodic_specimen, orthogonal_specimen])
def test_whole_periods_hold_the_distances_of_the_crystal(make: object) -> None:
    """Every interatomic distance of the bulk, to 4 Å, in the same proportions."""
    assert callable(make)
    atoms = make(thickness=2 * B) if make is periodic_specimen else make(_SHEARED, thickness=B)
    atoms.pbc = True
    # The sheared cell belongs to other parameters than the periodic one.
    reference = unit_cell(PRISTINE if make is periodic_specimen else _SHEARED)
    for first in ("Mn", "Li", "O"):
        for second in ("Mn", "Li", "O"):
            ours, theirs = (_distances(a, first, second) for a in (atoms, reference))
            repeats = len(atoms) // len(reference)
            assert np.allclose(ours, np.repeat(theirs, repeats), atol=1e-6)


_SHEARED = commensurate(PRISTINE)[2]


def _distances(atoms: Atoms, first: str, second: str) -> np.ndarray:
    i, j, distance = neighbor_list("ijd", atoms, 4.0)
    chosen = (atoms.numbers[i] == atomic_numbers[first]) & (
        atoms.numbers[j] == atomic_numbers[second]
    )
    return np.sort(distance[chosen])


def test_layers_hold_one_atom_of_every_column() -> None:
    atoms = field_specimen(field=(20, 20), thickness=5 * B / 3)
    layer = np.floor(np.asarray(atoms.positions)[:, 2] / (B / 3)).astype(int)
    names = np.column_stack(
        [
            np.unique(atoms.arrays["column_kind"], return_inverse=True)[1],
            *(atoms.arrays[name] for name in ("sign", "lattice_i", "lattice_j")),
            layer,
        ]
    )
    assert len(np.unique(names, axis=0)) == len(atoms)
    assert sorted(set(layer.tolist())) == [0, 1, 2, 3, 4]
    assert len(atoms) % 5 == 0


@pytest.mark.parametrize(
    ("thickness", "layers"), [(B / 3, 1), (B, 3), (20.0, 7), (2 * B - 1e-3, 5), (2 * B, 6)]
)
def test_thickness_is_cut_into_whole_layers(thickness: float, layers: int) -> None:
    atoms = periodic_specimen(thickness=thickness)
    assert len(atoms) == 8 * layers
    assert np.asarray(atoms.cell)[2].tolist() == [0, 0, thickness]
    heights = np.asarray(atoms.positions)[:, 2]
    assert heights.min() >= 0
    assert heights.max() < layers * B / 3 + 1e-9


@settings(max_examples=20, deadline=None)
@given(
    small=st.tuples(st.floats(8, 20), st.floats(8, 20)),
    extra=st.tuples(st.floats(0, 15), st.floats(0, 15)),
    layers=st.integers(1, 5),
    seed=st.integers(0, 1000),
    occupation=st.sampled_from(Occupation),
)
def test_a_larger_field_keeps_the_centre(
    small: tuple[float, float],
    extra: tuple[float, float],
    layers: int,
    seed: int,
    occupation: Occupation,
) -> None:
    thickness = (layers + 0.01) * B / 3
    large = (small[0] + extra[0], small[1] + extra[1])
    inner = field_specimen(field=small, thickness=thickness, occupation=occupation, seed=seed)
    outer = field_specimen(field=large, thickness=thickness + B, occupation=occupation, seed=seed)
    assert as_rows(inner, centre=True) <= as_rows(outer, centre=True)


@settings(max_examples=20, deadline=None)
@given(field=st.tuples(st.floats(6, 30), st.floats(6, 30)))
def test_field_is_filled_and_not_left(field: tuple[float, float]) -> None:
    atoms = field_specimen(PRISTINE_MEASURED, field=field, thickness=B)
    xyz, box = np.asarray(atoms.positions), np.diag(np.asarray(atoms.cell))
    assert box.tolist() == [field[1], field[0], B]
    assert (xyz >= 0).all()
    assert (xyz < box).all()
    p = PRISTINE_MEASURED
    # 8 columns in 2A x Cy of area, 3 atoms each. The margin that may be empty is narrower than
    # the oxygen split, 0.12 Å, all round; the rest is the granularity of whole columns.
    expected = 8 * 3 * field[0] * field[1] / (2 * p.A * p.Cy)
    edge = 8 * 3 * (field[0] + field[1]) * 2 / (2 * p.A * p.Cy)
    assert abs(len(atoms) - expected) < edge * 1.5
    centre = xyz[(atoms.arrays["lattice_i"] == 0) & (atoms.arrays["lattice_j"] == 0)]
    kinds = atoms.arrays["column_kind"]
    metal = xyz[
        (kinds == "M") & (atoms.arrays["lattice_i"] == 0) & (atoms.arrays["lattice_j"] == 0)
    ]
    assert len(centre)
    assert np.allclose(metal[:, :2], box[:2] / 2, atol=1e-12)
    assert not atoms.pbc.any()


def test_every_ordered_column_is_the_same_up_to_a_shift_along_the_beam() -> None:
    atoms = field_specimen(field=(25, 25), thickness=2 * B, occupation=Occupation.ORDERED)
    kinds, numbers = atoms.arrays["column_kind"], np.asarray(atoms.numbers)
    key = np.column_stack([atoms.arrays["lattice_i"], atoms.arrays["lattice_j"]])[kinds == "M"]
    metal = numbers[kinds == "M"]
    for index in np.unique(key, axis=0):
        column = metal[(key == index).all(axis=1)]
        assert sorted(column.tolist()) == [3, 3, 25, 25, 25, 25]


@pytest.mark.parametrize("occupation", [Occupation.RANDOM, Occupation.DISORDERED])
def test_composition_within_the_binomial_error(occupation: Occupation) -> None:
    atoms = field_specimen(field=(120, 120), thickness=2 * B, occupation=occupation, seed=3)
    metal = np.asarray(atoms.numbers)[atoms.arrays["column_kind"] == "M"]
    n = len(metal)
    assert n > 5000
    for element, share in (("Li", 0.2), ("Mn", 0.54), ("Ni", 0.13), ("Co", 0.13)):
        found = np.mean(metal == atomic_numbers[element])
        # 4.5 standard errors: one in 1e5 by chance, for a fixed seed once and for all. RANDOM
        # mixes two kinds of site and spreads less than the binomial.
        assert abs(found - share) < 4.5 * np.sqrt(share * (1 - share) / n)


def test_random_occupation_differs_from_column_to_column_and_by_seed() -> None:
    first, again, other = (
        field_specimen(field=(30, 30), thickness=B, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.numbers, again.numbers)
    assert not np.array_equal(first.numbers, other.numbers)
    assert np.array_equal(first.positions, other.positions)


def test_random_layer_has_no_lithium_on_4g() -> None:
    ordered, random = (
        field_specimen(field=(40, 40), thickness=B, occupation=o)
        for o in (Occupation.ORDERED, Occupation.RANDOM)
    )
    majority = np.asarray(ordered.numbers) == atomic_numbers["Mn"]
    assert (np.asarray(random.numbers)[majority] >= 25).all()


def test_orthogonal_cell_is_that_of_the_sheared_lattice() -> None:
    n, _, sheared = commensurate(PRISTINE)
    atoms = orthogonal_specimen(thickness=B, repeats=(2, 3))
    cell = np.asarray(atoms.cell)
    assert np.allclose(cell, np.diag([6 * PRISTINE.A, 2 * n * sheared.Cy, B]))
    assert len(atoms) == 24 * n * 6
    assert atoms.pbc.tolist() == [True, True, False]
    xyz = np.asarray(atoms.positions)
    assert (xyz > -1e-9).all()
    assert (xyz < np.diag(cell)).all()


CELLS = st.builds(
    ProjectedParameters,
    A=st.floats(2.4, 2.7),
    Cx=st.floats(-1.9, -1.5),
    Cy=st.floats(4.6, 5.2),
    Ox=st.floats(0.78, 0.95),
    Oy=st.floats(1.0, 1.2),
)


@settings(max_examples=20, deadline=None)
@given(CELLS, st.sampled_from([periodic_specimen, orthogonal_specimen]))
def test_lattice_indices_say_where_the_atoms_are(
    parameters: ProjectedParameters, make: object
) -> None:
    assert callable(make)
    kwargs = {} if make is periodic_specimen else {"tolerance": 0.05}
    atoms = make(parameters, thickness=B, **kwargs)
    lattice = np.reshape(atoms.info["projected_lattice"], (2, 2))
    xy = np.asarray(atoms.positions)[:, :2] - np.asarray(atoms.cell)[:2, :2].sum(axis=0) / 2
    ij = np.stack([atoms.arrays["lattice_i"], atoms.arrays["lattice_j"]], axis=-1)
    kind = atoms.arrays["column_kind"]
    rest = xy - ij @ lattice
    assert np.abs(rest[kind == "M"]).max() < 1e-9
    assert np.abs(rest[kind == "Li"] - lattice[1] / 2).max() < 1e-9
    sheared = (
        parameters if make is periodic_specimen else commensurate(parameters, tolerance=0.05)[2]
    )
    oxygen = kind == "O"
    expected = atoms.arrays["sign"][oxygen, None] * np.array([sheared.Ox, sheared.Oy])
    # The 4i site stands SPLIT_4I of the cell from the mean, 8j half as far.
    along_a, along_c = np.abs(SPLIT_4I)
    split = along_c * np.abs([sheared.Cx, sheared.Cy]) + [along_a * 2 * sheared.A, 0]
    assert (np.abs(rest[oxygen] - expected) <= split + 1e-9).all()


def test_too_thin_or_absurd_input_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"at least one layer of b/3 = 2\.844 Å"):
        periodic_specimen(thickness=2.5)
    with pytest.raises(BadInputError, match="thickness = nan"):
        field_specimen(field=(20, 20), thickness=float("nan"))
    with pytest.raises(BadInputError, match="field = "):
        field_specimen(field=(0, 20), thickness=20)
    with pytest.raises(BadInputError, match="b = 853"):
        periodic_specimen(thickness=20, b=853.2)
    with pytest.raises(BadInputError, match="repeats"):
        orthogonal_specimen(thickness=20, repeats=(0, 1))
    with pytest.raises(BadInputError, match="seed -1"):
        field_specimen(field=(20, 20), thickness=20, seed=-1)
