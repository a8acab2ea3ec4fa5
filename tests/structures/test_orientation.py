"""A crystal seen along a zone axis: the same as ASE makes by turning a large block of it."""

from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import rotate
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan
from echolith.structures.columns import true_columns
from echolith.structures.crystals import crystal
from echolith.structures.files import write_structure
from echolith.structures.li_rich_oxide import field_specimen
from echolith.structures.orientation import project_structure
from echolith.structures.site_occupancy import cell_content
from echolith.validation.scenarios.li_rich_oxide import LiRichOxideSettings, li_rich_oxide

Array = npt.NDArray[np.float64]

AXES = {
    ("LiFePO4", (0, 1, 0)): 6.010,
    ("LiFePO4", (0, 0, 1)): 4.692,
    ("LiFePO4", (1, 0, 1)): float(np.hypot(10.332, 4.692)),
    # Hexagonal [100] and [110] with a = 2.8784 Å; [001] with c.
    ("LiNiO2", (1, 0, 0)): 2.8784,
    ("LiNiO2", (1, 1, 0)): 2.8784,
    ("LiNiO2", (0, 0, 1)): 14.1944,
    ("Li2MnO3", (0, 1, 0)): 8.532,
    ("Li2MnO3", (1, 0, -1)): None,
}
"""Period along the beam, Å, where an edge of the literature's cell gives it."""


def turned_by_ase(atoms: Atoms, axis: tuple[int, int, int]) -> Atoms:
    """Turn a crystal with ASE: the axis to -z, the projection of a (else b) to x."""
    turned: Atoms = atoms.copy()
    cell = np.asarray(atoms.cell)
    direction = np.array(axis) @ cell
    first = 0 if np.linalg.norm(np.cross(cell[0], direction)) > 1e-6 else 1
    rotate(turned, direction, (0, 0, -1), cell[first], (1, 0, 0), rotate_cell=True)
    return turned


def block(atoms: Atoms, *, reach: float) -> Atoms:
    """Repeat a cell around the origin until a cube of twice the reach is full."""
    cell = np.asarray(atoms.cell)
    # Lattice planes are 1/|reciprocal vector| apart.
    counts = [int(np.ceil(reach * n)) + 1 for n in np.linalg.norm(np.linalg.inv(cell).T, axis=1)]
    large: Atoms = atoms.repeat([2 * n for n in counts])
    large.positions -= np.array(counts) @ cell
    return large


def cut(atoms: Atoms, low: Array, high: Array) -> Array:
    """Return (x, y, z, Z) rows of the atoms in a box."""
    xyz = np.asarray(atoms.positions)
    inside = ((xyz > low) & (xyz < high)).all(axis=1)
    return np.column_stack([xyz[inside], np.asarray(atoms.numbers)[inside]])


# --- against ASE ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_atoms_are_those_of_a_block_turned_by_ase(name: str, axis: tuple[int, int, int]) -> None:
    """Up to the depth at which the crystal is cut: found from the lowest layer of atoms."""
    field, thickness = (11.0, 14.0), 16.0
    ours = project_structure(crystal(name), zone_axis=axis, field=field, thickness=thickness)
    theirs = block(turned_by_ase(crystal(name), axis), reach=28.0)
    box = np.array([field[1], field[0], thickness])
    # The entrance face lies between two layers, so it splits none: shift by whole layers.
    low = np.asarray(ours.positions)[:, 2].min()
    mine = np.column_stack([np.asarray(ours.positions), ours.numbers])
    shifted = theirs.copy()
    shifted.positions[:, :2] += box[:2] / 2
    matches = []
    depths = np.unique(np.asarray(theirs.positions)[:, 2].round(5))
    for depth in depths[(depths > -15) & (depths <= 1e-3)]:
        shifted.positions[:, 2] = np.asarray(theirs.positions)[:, 2] - depth + low
        candidate = cut(shifted, np.full(3, -1e-6), box - 1e-6)
        if len(candidate) == len(mine):
            distance = np.linalg.norm(candidate[:, None] - mine[None], axis=-1)
            matches.append(distance.min(axis=0).max() < 1e-4)
    assert any(matches)


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_columns_are_the_projection_of_the_cell(name: str, axis: tuple[int, int, int]) -> None:
    """Where every atom of the cell projects to, and nowhere else, with whole periods in depth."""
    atoms = crystal(name)
    period = float(np.linalg.norm(np.array(axis) @ np.asarray(atoms.cell)))
    if AXES[name, axis] is not None:
        assert period == pytest.approx(AXES[name, axis], abs=1e-3)
    field = (9.0, 10.0)
    ours = project_structure(atoms, zone_axis=axis, field=field, thickness=2 * period + 1e-3)
    columns = true_columns(ours, tolerance=0.05)
    theirs = block(turned_by_ase(atoms, axis), reach=22.0)
    xy = np.asarray(theirs.positions)[:, :2] + np.array(field[::-1]) / 2
    inner = ((xy > 0.3) & (xy < np.array(field[::-1]) - 0.3)).all(axis=1)
    found = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    distance = np.hypot(*(xy[inner][:, None] - found[None]).transpose(2, 0, 1))
    assert distance.min(axis=1).max() < 0.05
    far = ((found > 0.35) & (found < np.array(field[::-1]) - 0.35)).all(axis=1)
    assert distance.min(axis=0)[far].max() < 0.05


def test_olivine_along_010_shows_its_channels() -> None:
    """LiFePO4: Li alone at the corners and the middle of the edges of the projected cell."""
    ours = project_structure(crystal("LiFePO4"), field=(12.0, 24.0), thickness=6.02)
    columns = true_columns(ours)
    lithium = columns.isel(column=columns["species"].values == "Li")
    # x along a, y along c up to its sign.
    relative = np.stack([lithium["x"].values - 12, lithium["y"].values - 6], axis=-1)
    units = relative / np.array([10.332 / 2, 4.692 / 2])
    np.testing.assert_allclose(units, np.rint(units), atol=1e-6)
    # Sites 4a: (0, 0, 0), (1/2, 0, 1/2) and two more half a period deeper: both parities alike.
    assert set((np.rint(units).sum(axis=1) % 2).tolist()) == {0}
    assert set(lithium["n_atoms"].values.tolist()) == {2}
    metal = columns.isel(column=columns["species"].values == "M")
    inside = (metal["x"] > 6) & (metal["x"] < 18) & (metal["y"] > 2) & (metal["y"] < 10)
    density = float(inside.sum()) / (12 * 8)
    # Four Fe a cell, no two in one column along b.
    assert density == pytest.approx(4 / (10.332 * 4.692), rel=0.25)


def test_the_builtin_frame_is_that_of_the_zone_axis() -> None:
    """[010] of Li2MnO3 and the built-in specimen: the same columns at the same places."""
    ours = project_structure(crystal("Li2MnO3"), field=(15.0, 17.0), thickness=8.54)
    theirs = field_specimen(field=(15.0, 17.0), thickness=8.54)
    ours.wrap()
    one, two = (
        np.stack([c["x"].values, c["y"].values], axis=-1)
        for c in (true_columns(ours), true_columns(theirs))
    )
    distance = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1))
    # Columns that the border splits differ; the inner ones are the same.
    inner = ((two > 0.3) & (two < np.array([16.7, 14.7]))).all(axis=1)
    assert inner.sum() > 50
    assert distance[:, inner].min(axis=0).max() < 1e-6


# --- properties -----------------------------------------------------------------------------

ZONES = st.tuples(*[st.integers(-2, 2)] * 3).filter(lambda axis: any(axis))
NAMES = st.sampled_from(["LiFePO4", "LiNiO2", "Li2MnO3", "Li2CO3", "LiMn2O4"])


@settings(max_examples=15)
@given(NAMES, ZONES)
def test_turning_keeps_handedness_and_every_bond(name: str, axis: tuple[int, int, int]) -> None:
    """Distances to 3 Å around atoms in the middle are those of the crystal."""
    atoms = crystal(name)
    ours = project_structure(atoms, zone_axis=axis, field=(11.0, 11.0), thickness=11.0)
    xyz = np.asarray(ours.positions)
    assert ((xyz >= 0) & (xyz < 11)).all()
    i, distance = neighbor_list("id", ours, 3.0)
    middle = np.flatnonzero((np.abs(xyz - 5.5) < 2.4).all(axis=1))
    first, length = neighbor_list("id", atoms, 3.0)
    shells = {
        (int(atoms.numbers[n]), *np.sort(length[first == n]).round(4).tolist())
        for n in range(len(atoms))
    }
    assume(len(middle))
    for n in middle:
        shell = (int(ours.numbers[n]), *np.sort(distance[i == n]).round(4).tolist())
        assert any(
            len(shell) == len(other) and np.allclose(shell, other, atol=2e-4) for other in shells
        )


@settings(max_examples=15)
@given(NAMES, ZONES)
def test_opposite_axes_are_mirror_images(name: str, axis: tuple[int, int, int]) -> None:
    """The crystal seen from behind: x stays, y is reversed."""
    period = float(np.linalg.norm(np.array(axis) / gcd(*axis) @ np.asarray(crystal(name).cell)))
    front, back = (
        true_columns(
            project_structure(
                crystal(name),
                zone_axis=tuple(sign * n for n in axis),  # type: ignore[arg-type]
                field=(9.0, 9.0),
                thickness=period + 1e-3,
            ),
            tolerance=1e-3,
        )
        for sign in (1, -1)
    )
    one, two = (np.stack([c["x"].values, c["y"].values], axis=-1) - 4.5 for c in (front, back))
    distance = np.hypot(*(one[:, None] - (two * [1, -1])[None]).transpose(2, 0, 1))
    inner = (np.abs(one) < 4.4).all(axis=1)
    assume(inner.any())
    assert distance[inner].min(axis=1).max() < 2e-3


@settings(max_examples=15)
@given(ZONES, st.tuples(st.floats(6, 12), st.floats(6, 12)), st.integers(0, 99))
def test_a_larger_box_keeps_what_a_smaller_one_held(
    axis: tuple[int, int, int], field: tuple[float, float], seed: int
) -> None:
    """Elements drawn on shared sites too: they depend on the site, not on the box."""
    small, large = (
        project_structure(
            crystal("NMC622"), zone_axis=axis, field=size, thickness=thickness, seed=seed
        )
        for size, thickness in ((field, 8.0), ((field[0] + 5, field[1] + 3), 11.0))
    )
    rows = [
        np.column_stack([np.asarray(a.positions), a.numbers])
        - [*(np.asarray(a.cell).diagonal()[:2] / 2), 0, 0]
        for a in (small, large)
    ]
    distance = np.linalg.norm(rows[0][:, None] - rows[1][None], axis=-1)
    assert distance.min(axis=1).max() < 1e-6


def test_shared_sites_are_drawn_in_their_proportions() -> None:
    atoms = crystal("NMC622")
    box = project_structure(atoms, zone_axis=(0, 0, 1), field=(60, 60), thickness=60, seed=4)
    other = project_structure(atoms, zone_axis=(0, 0, 1), field=(60, 60), thickness=60, seed=5)
    assert box.get_chemical_formula() != other.get_chemical_formula()
    symbols = np.array(list(box.symbols))
    content = cell_content(atoms)
    # Whole cells up to the granularity of the border: compare with oxygen, which is not drawn.
    oxygen = (symbols == "O").sum() / content["O"]
    for element in ("Ni", "Mn", "Co"):
        expected = oxygen * content[element]
        # 4.5 standard deviations of a binomial, and 1 % for the border.
        assert abs((symbols == element).sum() - expected) < 4.5 * expected**0.5 + 0.01 * expected


def test_as_many_atoms_as_the_volume_holds() -> None:
    for axis in ((0, 1, 0), (1, 1, 1), (2, -1, 0)):
        atoms = crystal("LiFePO4")
        box = project_structure(atoms, zone_axis=axis, field=(40, 50), thickness=30)
        expected = 40 * 50 * 30 * len(atoms) / atoms.get_volume()
        # Fluctuation of the number of lattice points in a box: below its surface / area per atom.
        assert len(box) == pytest.approx(expected, rel=0.02)


def test_a_users_own_file_becomes_the_specimen_of_the_scenario(tmp_path: Path) -> None:
    """From a POSCAR to columns in the scan frame, along the zone axis asked for."""
    path = tmp_path / "mine.vasp"
    write_structure(crystal("LiFePO4"), path)
    settings = LiRichOxideSettings(
        structure=path, zone_axis=(0, 1, 0), thickness=12.1, scan=Scan(shape=(60, 90))
    )
    scenario = li_rich_oxide(settings)
    truth = scenario.truth(scenario.build(0))
    assert set(truth["species"].values.tolist()) == {"Li", "M", "O", "P"}
    # Lithium columns form a centred net of 10.332 x 4.692 Å.
    lithium = (truth["species"] == "Li").values
    xy = np.stack([truth["x"].values, truth["y"].values], axis=-1)[lithium]
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) + 99 * np.eye(len(xy))
    assert distance.min() == pytest.approx(4.692, abs=1e-6)
    assert np.abs(distance - np.hypot(10.332, 4.692) / 2).min() < 1e-6
    assert 15 < truth["x"].max() < 18
    assert 10 < truth["y"].max() < 12


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zone_axis": (0, 0, 0)}, "has no direction"),
        ({"zone_axis": (0, 1)}, "expected three integers"),
        ({"zone_axis": (0, 0.5, 1)}, "expected three integers"),
        ({"field": (0, 10)}, "field = "),
        ({"field": (10, float("nan"))}, "field = "),
        ({"thickness": 0.0}, "thickness = 0 Å"),
        ({"thickness": float("inf")}, "thickness = inf"),
        ({"field": (5000, 5000), "thickness": 900.0}, "would hold .* atoms; expected at most"),
    ],
)
def test_impossible_boxes_are_refused(changes: dict[str, object], message: str) -> None:
    settings = {"zone_axis": (0, 1, 0), "field": (10, 10), "thickness": 10.0} | changes
    with pytest.raises(BadInputError, match=message):
        project_structure(crystal("LiFePO4"), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "has no atoms"),
        (Atoms("Li"), "no cell of three independent vectors"),
        (Atoms("Li", cell=[[1, 0, 0], [0, 1, 0], [1, 1, 0]]), "no cell of three independent"),
        (Atoms("Li", cell=[40, 40, 40], positions=[[20, 20, 20]]), "no atom lies in the box"),
    ],
)
def test_structures_that_are_no_crystal_are_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        project_structure(atoms, field=(5, 5), thickness=5)
