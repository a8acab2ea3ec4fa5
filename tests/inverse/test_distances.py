"""The eight named distances: exact on exact columns, honest about their errors on others."""

import csv
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError, BadInputWarning
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.columns import find_columns
from echolith.inverse.distances import Mode, measure_distances
from tests.inverse.weak_phase import Cell, Field, haadf_image, reconstruction, true_columns

Array = npt.NDArray[np.float64]

# Which line of M columns a pair of O columns lies near; the others are read from end to end.
LINES = {"o_o_li": "m_m_olio", "o_o_m": "m_m_olio", "o_o_2m": "m_m_li", "o_o_2li": "m_m_li"}
CLOSURES = [
    ("o_o_m", 1, "o_o_li", "m_m_olio"),  # D + E = F
    ("o_o_2m", 1, "o_o_2li", "m_m_li"),  # B + G = C
    ("o_o_m", -1, "o_o_2m", "m_m"),  # D - B = A
    ("o_o_li", -1, "o_o_2li", "m_m"),  # E - G = A
]


def around(value: float, spread: float = 0.05) -> st.SearchStrategy[float]:
    return st.floats(-spread, spread).map(lambda part: value * (1 + part))


CELLS = st.builds(
    Cell,
    a=around(2.52),
    c=st.tuples(around(-1.69, 0.1), around(4.92)),
    o=st.tuples(around(0.86), around(1.11)),
    rotation=st.floats(0, 360),
    origin=st.tuples(st.floats(0, 3), st.floats(0, 3)),
)


def exact(cell: Cell, *, seed: int = 0, mirror: bool = False) -> xr.Dataset:
    """Columns on 16 Å x 20 Å in any order, mirrored or not."""
    columns = true_columns(Field(cell=cell, shape=(80, 100), pad=0))[["x", "y", "species"]]
    order = np.random.default_rng(seed).permutation(columns.sizes["column"])
    columns = columns.isel(column=order)
    return columns.assign(x=-columns["x"]) if mirror else columns


def named_lengths(cell: Cell, mode: Mode) -> dict[str, float]:
    vectors = cell.named()
    if mode is Mode.PLANE:
        return cell.distances()
    line = {name: vectors[LINES.get(name, name)] for name in vectors}
    return {n: float(v @ line[n] / np.hypot(*line[n])) for n, v in vectors.items()}


def mean_vectors(distances: xr.Dataset) -> dict[str, Array]:
    vectors = np.stack([distances["pair_x"].values, distances["pair_y"].values], axis=-1)
    names = distances["pair_name"].values
    return {name: vectors[names == name].mean(axis=0) for name in LONG_NAMES}


# --- exact columns --------------------------------------------------------------------------


@given(CELLS, st.sampled_from(Mode), st.booleans(), st.integers(0, 99))
def test_distances_of_exact_columns_are_exact(
    cell: Cell, mode: Mode, mirror: bool, seed: int
) -> None:
    """Whatever the direction, the handedness and the order of the columns."""
    found = measure_distances(exact(cell, seed=seed, mirror=mirror), mode=mode)
    for name, length in named_lengths(cell, mode).items():
        assert float(found[name]) == pytest.approx(length, abs=1e-9)
        assert float(found[f"{name}_std"]) == pytest.approx(0, abs=1e-9)
    assert found.attrs["mode"] == mode.value
    assert {found[name].attrs["units"] for name in LONG_NAMES} == {"Å"}


@given(CELLS)
def test_closures_are_exact(cell: Cell) -> None:
    v = mean_vectors(measure_distances(exact(cell)))
    for first, sign, second, whole in CLOSURES:
        # O-O(MLi) and M-M(Li) are summed over all columns, so only rounding is left.
        np.testing.assert_allclose(v[first] + sign * v[second], v[whole], atol=1e-9)


def test_published_distances_close_as_far_as_their_errors_say() -> None:
    """Read on the published numbers: the names stand for the vectors they should.

    Along the lines of M columns D + E = F and B + G = C; in the plane the sums are a little
    longer, by less than 1 pm. Surface tables are known not to close.
    """
    table = Path(__file__).parents[1] / "reference" / "distances_experiment.csv"
    lines = [line for line in table.read_text().splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row["region"] == "bulk"]
    for state in ("pristine", "charged", "discharged"):
        value = {r["distance"]: float(r["calibrated"]) for r in rows if r["state"] == state}
        error = {r["distance"]: float(r["calibrated_err"]) for r in rows if r["state"] == state}
        for first, second, whole in (
            ("o_o_m", "o_o_li", "m_m_olio"),
            ("o_o_2m", "o_o_2li", "m_m_li"),
        ):
            a, b, c = (LONG_NAMES[name] for name in (first, second, whole))
            assert abs(value[a] + value[b] - value[c]) < error[a] + error[b] + error[c]


# --- errors ---------------------------------------------------------------------------------


def displaced(columns: xr.Dataset, std: float, rng: np.random.Generator) -> xr.Dataset:
    dx, dy = rng.normal(0, std, (2, columns.sizes["column"]))
    covariance = np.tile(np.eye(2) * std**2, (len(dx), 1, 1))
    return columns.assign(
        x=columns["x"] + dx,
        y=columns["y"] + dy,
        xy_covariance=(("column", "axis", "axis_"), covariance),
    )


@pytest.mark.parametrize("mode", Mode)
def test_stated_errors_are_those_of_repeated_experiments(mode: Mode) -> None:
    """Columns displaced by 2 pm at random: spread of the means against both stated errors."""
    rng, std, n = np.random.default_rng(5), 0.02, 400
    columns = exact(Cell())
    runs = [measure_distances(displaced(columns, std, rng), mode=mode) for _ in range(n)]
    for name, length in named_lengths(Cell(), mode).items():
        means = np.array([float(run[name]) for run in runs])
        spread = means.std(ddof=1)
        # The relative error of a spread over n runs is 1/sqrt(2 n); 4.5 sigma, one in 1e5.
        tolerance = 4.5 / np.sqrt(2 * n)
        fit_std = np.mean([float(run[f"{name}_fit_std"]) for run in runs])
        assert fit_std == pytest.approx(spread, rel=tolerance), name
        # That from the scatter of pairs which share columns is noisier: the same again.
        stated = np.sqrt(np.mean([float(run[f"{name}_std"]) ** 2 for run in runs]))
        assert stated == pytest.approx(spread, rel=2 * tolerance), name
        # Displacement across a pair lengthens it by std²/length (< 0.2 pm).
        assert abs(means.mean() - length) < 4.5 * spread / np.sqrt(n) + std**2 / length


def test_mean_scatter_and_histogram_belong_together() -> None:
    columns = displaced(exact(Cell()), 0.02, np.random.default_rng(1))
    found = measure_distances(columns)
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    first, second = found["pair_first"].values, found["pair_second"].values
    lengths = np.hypot(*(xy[second] - xy[first]).T)
    np.testing.assert_allclose(found["pair_distance"], lengths, atol=1e-12)
    for name in LONG_NAMES:
        mine = lengths[found["pair_name"].values == name]
        counts, edges = np.histogram(mine, bins=10)
        assert len(mine) > 10
        assert counts.sum() == len(mine)
        assert edges[0] <= float(found[name]) <= edges[-1]
        assert float(found[name]) == pytest.approx(mine.mean())
        assert float(found[f"{name}_scatter"]) == pytest.approx(mine.std(ddof=1))


def test_closures_of_estimates_within_their_uncertainty() -> None:
    """On noisy phase images, found blindly and fitted."""
    field = Field(cell=Cell(split=False))
    for seed in range(2):
        data = reconstruction(field, seed=seed)
        found = find_columns(data["phase"], haadf=haadf_image(field, seed=seed))
        measured = measure_distances(fit_columns(data, found))
        v = mean_vectors(measured)
        for first, sign, second, whole in CLOSURES:
            gap = np.hypot(*(v[first] + sign * v[second] - v[whole]))
            error = np.sqrt(
                sum(float(measured[f"{n}_fit_std"]) ** 2 for n in (first, second, whole))
            )
            # Two components: 4 sigma each at most; the three means share columns.
            assert gap < 4 * np.sqrt(2) * error
            # The fit's error is that of one direction; a gap of a picometre is a fault anyway.
            assert gap < 0.01


@given(CELLS, st.sampled_from(Mode))
def test_line_mode_is_never_longer(cell: Cell, mode: Mode) -> None:
    columns = exact(cell)
    plane, line = (measure_distances(columns, mode=m) for m in (Mode.PLANE, Mode.LINE))
    for name in LONG_NAMES:
        assert float(line[name]) <= float(plane[name]) + 1e-9


# --- which columns count --------------------------------------------------------------------


def test_columns_at_the_edge_are_left_out_unless_asked_for() -> None:
    columns = exact(Cell())
    edge = (columns["x"].values < 3) | (columns["y"].values > 13)
    moved = columns.assign(
        edge=("column", edge), x=columns["x"] + 0.2 * np.where(edge, np.sin(columns["y"]), 0)
    )
    kept = measure_distances(moved)
    assert not edge[kept["pair_first"].values].any()
    assert not edge[kept["pair_second"].values].any()
    everything = measure_distances(moved, include_edges=True)
    assert everything.sizes["pair"] > kept.sizes["pair"]
    for name, length in Cell().distances().items():
        assert float(kept[name]) == pytest.approx(length, abs=1e-9)
    assert float(everything["o_o_m_scatter"]) > 0.01


def test_single_missing_and_foreign_columns_do_no_harm() -> None:
    columns = exact(Cell())
    rng = np.random.default_rng(3)
    keep = rng.random(columns.sizes["column"]) > 0.15
    found = measure_distances(columns.isel(column=keep))
    for name, length in Cell().distances().items():
        assert float(found[name]) == pytest.approx(length, abs=1e-9)


def test_a_distance_without_two_pairs_is_left_out_and_named() -> None:
    columns = exact(Cell())
    small = columns.assign(edge=("column", (columns["x"].values > 6) | (columns["y"].values > 6)))
    with pytest.warns(BadInputWarning, match=r"fewer than two pairs for O-O\(2M\), O-O\(M\) among"):
        found = measure_distances(small)
    assert "o_o_m" not in found
    assert "o_o_m" not in found["pair_name"].values
    for name in set(LONG_NAMES) & set(found.data_vars):
        assert float(found[name]) == pytest.approx(Cell().distances()[name], abs=1e-9)
        assert (found["pair_name"].values == name).sum() >= 2


@pytest.mark.parametrize("swapped", list(product(["M"], ["O", "Li"])))
def test_a_wrong_species_does_not_spoil_the_lattice(swapped: tuple[str, str]) -> None:
    columns = exact(Cell())
    species = columns["species"].values.copy()
    species[np.flatnonzero(species == swapped[0])[3]] = swapped[1]
    found = measure_distances(columns.assign(species=("column", species)))
    for name, length in Cell().distances().items():
        assert float(found[name]) == pytest.approx(length, abs=1e-9)


# --- bad input ------------------------------------------------------------------------------


def species_all(name: str) -> Any:
    return lambda c: c.assign(species=("column", np.full(c.sizes["column"], name)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.drop_vars("species"), "columns lack species"),
        (lambda c: c.isel(column=slice(0)), "0 M columns; expected 4 or more"),
        (species_all("O"), "0 M columns"),
        (species_all("M"), "O columns"),
        (lambda c: c.assign(x=c["x"] * np.nan), "not finite"),
        (lambda c: c.assign(edge=("column", c["x"].values > 0)), "fewer than two pairs for M-M,"),
        (lambda c: c.assign(y=c["y"] * 0), "lattice|row"),
        (
            lambda c: c.assign(x=("column", np.random.default_rng(0).uniform(0, 40, c.x.size))),
            "lattice",
        ),
    ],
)
def test_what_is_no_such_lattice_is_refused(change: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        measure_distances(change(exact(Cell())))
