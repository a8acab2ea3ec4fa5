"""The truth of a specimen: where its columns are, what they hold, how far apart they are."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.structures.columns import Rectangle, true_columns, true_distances, true_pairs
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    Occupation,
    ProjectedParameters,
    commensurate,
    field_specimen,
    orthogonal_specimen,
    periodic_specimen,
)
from echolith.structures.projected_cell import named_distances, named_vectors

Array = npt.NDArray[np.float64]
B = 8.532
LABELS = ("species", "sign", "lattice_i", "lattice_j", "x", "y")


def around(value: float, spread: float = 0.05) -> st.SearchStrategy[float]:
    return st.floats(-spread, spread).map(lambda part: value * (1 + part))


CELLS = st.builds(
    ProjectedParameters,
    A=around(2.52),
    Cx=around(-1.69),
    Cy=around(4.92),
    Ox=around(0.86),
    Oy=around(1.11),
)


def without_labels(atoms: Atoms) -> Atoms:
    """The same atoms as from a foreign file."""
    return Atoms(
        list(atoms.symbols),
        positions=np.asarray(atoms.positions),
        cell=np.asarray(atoms.cell),
        pbc=atoms.pbc,
    )


def rows(columns: xr.Dataset) -> Array:
    """Positions sorted, so that the order does not matter."""
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    return np.asarray(xy[np.lexsort(xy.round(4).T)])


def wrapped(columns: xr.Dataset, atoms: Atoms) -> xr.Dataset:
    """Positions in the periodic cell, a little off its edges."""
    cell = np.asarray(atoms.cell)[:2, :2]
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    xy = (xy @ np.linalg.inv(cell) + 1e-6) % 1 @ cell
    return columns.assign(x=("column", xy[:, 0]), y=("column", xy[:, 1]))


# --- columns --------------------------------------------------------------------------------


@settings(max_examples=15)
@given(CELLS, st.sampled_from(Occupation), st.integers(1, 7), st.integers(0, 99))
def test_labels_and_projections_find_the_same_columns(
    parameters: ProjectedParameters, occupation: Occupation, layers: int, seed: int
) -> None:
    atoms = field_specimen(
        parameters,
        field=(16, 18),
        thickness=(layers + 0.01) * B / 3,
        occupation=occupation,
        seed=seed,
    )
    labelled, found = true_columns(atoms), true_columns(without_labels(atoms))
    np.testing.assert_allclose(rows(labelled), rows(found), atol=1e-9)
    assert int(found["n_atoms"].sum()) == len(atoms)
    assert set(found["n_atoms"].values.tolist()) == {layers}
    # A column of the metal layer may hold lithium alone by chance: labels know, atoms do not.
    assert (found["species"].values == "M").sum() <= (labelled["species"].values == "M").sum()
    assert (found["species"].values == "O").sum() == (labelled["species"].values == "O").sum()


@settings(max_examples=15)
@given(
    CELLS,
    st.sampled_from([periodic_specimen, orthogonal_specimen]),
    st.integers(0, 15),
    st.sampled_from([(0.0, 0.37), (0.61, 0.0), (0.0, 0.0)]),
)
def test_columns_across_the_edge_of_a_periodic_cell_are_whole(
    parameters: ProjectedParameters, make: Any, index: int, place: tuple[float, float]
) -> None:
    """A column shifted onto an edge or the corner, its atoms wrapped into the cell."""
    keywords = {"tolerance": 0.05} if make is orthogonal_specimen else {}
    atoms = make(parameters, thickness=B, **keywords)
    lateral = np.asarray(atoms.cell)[:2, :2]
    ours = true_columns(atoms)
    oxygen = ours.isel(column=ours["species"].values == "O")
    column = oxygen.isel(column=index % oxygen.sizes["column"])
    shift = np.array(place) @ lateral - [float(column["x"]), float(column["y"])]
    moved = without_labels(atoms)
    moved.positions[:, :2] += shift
    moved.wrap(pbc=(True, True, False))
    theirs = true_columns(moved)
    assert set(theirs["n_atoms"].values.tolist()) == {3}
    ours = ours.assign(x=ours["x"] + shift[0], y=ours["y"] + shift[1])
    np.testing.assert_allclose(rows(wrapped(ours, atoms)), rows(wrapped(theirs, atoms)), atol=1e-6)


@settings(max_examples=15)
@given(CELLS)
def test_whole_periods_stand_where_the_parameters_say(parameters: ProjectedParameters) -> None:
    columns = true_columns(field_specimen(parameters, field=(14, 14), thickness=B))
    v = parameters.vectors()
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1) - 7
    expected = np.outer(columns["lattice_i"], v["A"]) + np.outer(columns["lattice_j"], v["C"])
    expected += np.outer(columns["sign"], v["O"])
    expected += np.outer(0.5 * (columns["species"].values == "Li"), v["C"])
    np.testing.assert_allclose(xy, expected, atol=1e-9)
    assert columns["x"].attrs["units"] == "Å"


@settings(max_examples=10)
@given(st.floats(-30, 10), st.floats(-30, 10), st.floats(2, 30), st.floats(2, 30))
def test_a_region_of_a_periodic_specimen_is_filled(
    x: float, y: float, width: float, height: float
) -> None:
    """Every lattice point in it, each once, with labels that go on beyond the cell."""
    atoms = periodic_specimen(thickness=B)
    region = Rectangle(x_min=x, x_max=x + width, y_min=y, y_max=y + height)
    columns = true_columns(atoms, region=region)
    v = PRISTINE.vectors()
    i, j = (n.ravel() for n in np.meshgrid(np.arange(-60, 61), np.arange(-30, 31)))
    origin = np.asarray(atoms.cell)[:2, :2].sum(axis=0) / 2
    nodes = origin + np.outer(i, v["A"]) + np.outer(j, v["C"])
    offsets = {("M", 0): 0 * v["O"], ("Li", 0): v["C"] / 2, ("O", 1): v["O"], ("O", -1): -v["O"]}
    found = {
        (kind, sign, a, b): (px, py)
        for kind, sign, a, b, px, py in zip(
            *(columns[n].values.tolist() for n in LABELS), strict=True
        )
    }
    assert len(found) == columns.sizes["column"]

    def expected(slack: float) -> dict[tuple[str, int, int, int], tuple[float, float]]:
        low, high = np.array([x, y]) - slack, np.array([x + width, y + height]) + slack
        inside = {}
        for (kind, sign), offset in offsets.items():
            places = nodes + offset
            for n in np.flatnonzero(((places > low) & (places < high)).all(axis=1)):
                inside[kind, sign, int(i[n]), int(j[n])] = (places[n, 0], places[n, 1])
        return inside

    # Columns that stand on the border may count or not.
    assert expected(-1e-9).keys() <= found.keys() <= expected(1e-9).keys()
    for key, place in expected(-1e-9).items():
        assert found[key] == pytest.approx(place, abs=1e-9)


def test_a_region_of_a_finite_specimen_is_a_cut() -> None:
    atoms = field_specimen(field=(20, 20), thickness=B)
    everything = true_columns(atoms)
    region = Rectangle(x_min=5, x_max=12, y_min=3, y_max=30)
    part = true_columns(atoms, region=region)
    inside = ((everything["x"] >= 5) & (everything["x"] <= 12) & (everything["y"] >= 3)).values
    np.testing.assert_allclose(rows(part), rows(everything.isel(column=inside)), atol=1e-12)


def test_species_by_content() -> None:
    """The heaviest names the column, any oxygen beside light elements an O column."""
    symbols = ["Mn", "Li", "O", "Li", "Li", "Ni", "O", "F", "P"]
    places = [0, 0, 1, 1, 2, 3, 3, 4, 5]
    atoms = Atoms(symbols, positions=[[3.0 * p, 1, n] for n, p in enumerate(places)])
    columns = true_columns(atoms).sortby("x")
    assert columns["species"].values.tolist() == ["M", "O", "Li", "M", "F", "P"]
    assert columns["n_atoms"].values.tolist() == [2, 2, 1, 2, 1, 1]


# --- pairs and distances --------------------------------------------------------------------


@settings(max_examples=15)
@given(CELLS, st.sampled_from(Occupation))
def test_distances_of_whole_periods_are_those_of_the_cell(
    parameters: ProjectedParameters, occupation: Occupation
) -> None:
    atoms = field_specimen(parameters, field=(18, 18), thickness=2 * B, occupation=occupation)
    found = true_distances(true_columns(atoms))
    assert tuple(found.data_vars) == tuple(LONG_NAMES)
    for name, length in named_distances(parameters).items():
        assert float(found[name]) == pytest.approx(length, abs=1e-9)
        assert found[name].attrs["units"] == "Å"


def test_pairs_join_the_columns_they_are_named_for() -> None:
    """From first to second the vector is the named one, between the right species."""
    columns = true_columns(field_specimen(field=(18, 18), thickness=B))
    pairs = true_pairs(columns)
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    vectors = xy[pairs["pair_second"].values] - xy[pairs["pair_first"].values]
    names = pairs["pair_name"].values
    for name, expected in named_vectors(PRISTINE).items():
        mine = names == name
        np.testing.assert_allclose(vectors[mine], np.tile(expected, (mine.sum(), 1)), atol=1e-9)
        ends = {
            columns["species"].values[pairs[f"pair_{end}"].values[mine]][0]
            for end in ("first", "second")
        }
        assert ends == ({"M"} if name.startswith("m_m") else {"O"})
    # O-O(MLi) is there twice a cell (+O and -O), the others once; fewer at the border.
    count = {name: int((names == name).sum()) for name in LONG_NAMES}
    assert count["o_o_mli"] > 1.5 * count["m_m"]
    assert len(set(zip(names, pairs["pair_first"].values, strict=True))) == len(names)


def test_a_cut_within_a_period_shifts_columns_and_the_truth_says_so() -> None:
    """One layer holds one of the three unequal oxygen atoms of a column."""
    thin = true_distances(true_columns(field_specimen(field=(20, 20), thickness=B / 3)))
    whole = named_distances(PRISTINE)
    assert abs(float(thin["o_o_m"]) - whole["o_o_m"]) > 0.005
    assert float(thin["m_m"]) == pytest.approx(whole["m_m"], abs=1e-9)


def test_periodic_and_finite_specimens_agree() -> None:
    sheared = commensurate(PRISTINE)[2]
    region = Rectangle(x_min=0, x_max=20, y_min=0, y_max=20)
    periodic = true_columns(orthogonal_specimen(thickness=B), region=region)
    for name, length in named_distances(sheared).items():
        assert float(true_distances(periodic)[name]) == pytest.approx(length, abs=1e-9)


def test_only_pairs_inside_count() -> None:
    columns = true_columns(field_specimen(field=(18, 18), thickness=B))
    moved = columns.assign(x=columns["x"] + 0.3 * (columns["x"] > 11.5) * np.sin(columns["y"]))
    inside = Rectangle(x_min=0, x_max=11, y_min=0, y_max=18)
    mask = (columns["x"] <= 11.5).values
    exact = named_distances(PRISTINE)
    for within in (inside, mask):
        found = true_distances(moved, within=within)
        assert {n: float(found[n]) for n in exact} == pytest.approx(exact, abs=1e-9)
    assert abs(float(true_distances(moved)["m_m"]) - exact["m_m"]) > 1e-3
    few = true_distances(columns, within=Rectangle(x_min=7, x_max=12, y_min=7, y_max=11))
    assert "m_m_olio" not in few
    assert "m_m" in few


# --- bad input ------------------------------------------------------------------------------


def shaken(position: list[float]) -> Atoms:
    return Atoms("Li", positions=[position])


@pytest.mark.parametrize(
    ("atoms", "keywords", "message"),
    [
        (Atoms(), {}, "has no atoms"),
        (shaken([0, float("nan"), 0]), {}, "not a finite number"),
        (shaken([0, 0, 0]), {"tolerance": 0.0}, "expected a distance above 0"),
        (Atoms("Li", cell=[0, 0, 5], pbc=True), {}, "no lateral area"),
    ],
)
def test_impossible_specimens_are_refused(
    atoms: Atoms, keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        true_columns(atoms, **keywords)


def test_foreign_columns_have_no_named_pairs() -> None:
    columns = true_columns(without_labels(field_specimen(field=(18, 18), thickness=B)))
    with pytest.raises(BadInputError, match="carry no lattice_i, lattice_j, sign"):
        true_pairs(columns)


def test_impossible_regions_are_refused() -> None:
    columns = true_columns(field_specimen(field=(18, 18), thickness=B))
    with pytest.raises(BadInputError, match="is empty; expected x_min < x_max"):
        Rectangle(x_min=3, x_max=3, y_min=0, y_max=5)
    with pytest.raises(BadInputError, match="no pair of columns is left"):
        true_distances(columns, within=Rectangle(x_min=90, x_max=99, y_min=0, y_max=5))
    with pytest.raises(BadInputError, match=r"mask of shape \(3,\)"):
        true_distances(columns, within=np.ones(3, dtype=bool))
