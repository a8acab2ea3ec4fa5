import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.structures.projected_cell import (
    PRISTINE,
    PRISTINE_MEASURED,
    ProjectedParameters,
    commensurate,
    named_distances,
    named_vectors,
    parameters_from_distances,
)


def around(value: float, spread: float = 0.08) -> st.SearchStrategy[float]:
    return st.floats(-spread, spread).map(lambda part: value * (1 + part))


CELLS = st.builds(
    ProjectedParameters,
    A=around(2.52),
    Cx=around(-1.69, 0.3),
    Cy=around(4.92),
    Ox=around(0.86),
    Oy=around(1.11),
)

# The table of the eight named distances of the literature's Li2MnO3 cell, pm.
LI2MNO3 = {
    "m_m": 246.85,
    "o_o_mli": 246.85,
    "m_m_olio": 575.57,
    "o_o_li": 307.44,
    "m_m_li": 503.00,
    "o_o_2m": 228.63,
    "o_o_2li": 274.58,
    "o_o_m": 268.86,
}
R3M = {
    "m_m": 246.99,
    "o_o_mli": 246.99,
    "m_m_olio": 577.72,
    "o_o_li": 310.99,
    "m_m_li": 502.42,
    "o_o_2m": 226.35,
    "o_o_2li": 276.37,
    "o_o_m": 267.52,
}


@given(CELLS)
def test_closures_as_vectors(parameters: ProjectedParameters) -> None:
    v = named_vectors(parameters)
    assert np.allclose(v["o_o_m"] + v["o_o_li"], v["m_m_olio"], atol=1e-12)
    assert np.allclose(v["o_o_2m"] + v["o_o_2li"], v["m_m_li"], atol=1e-12)
    assert np.allclose(v["o_o_m"] - v["o_o_2m"], v["m_m"], atol=1e-12)
    assert np.allclose(v["o_o_li"] - v["o_o_2li"], v["m_m"], atol=1e-12)


@given(CELLS)
def test_triangle_inequalities_of_the_lengths(parameters: ProjectedParameters) -> None:
    d = named_distances(parameters)
    assert d["o_o_m"] + d["o_o_li"] >= d["m_m_olio"] - 1e-12
    assert d["o_o_2m"] + d["o_o_2li"] >= d["m_m_li"] - 1e-12


@given(CELLS)
def test_back_from_lengths(parameters: ProjectedParameters) -> None:
    found = parameters_from_distances(named_distances(parameters))
    for name in ("A", "Cx", "Cy", "Ox", "Oy"):
        assert getattr(found, name) == pytest.approx(getattr(parameters, name), abs=1e-9)


@given(CELLS)
def test_to_the_cell_and_back(parameters: ProjectedParameters) -> None:
    cell = parameters.to_cell()
    found = ProjectedParameters.from_cell(**cell)
    for name in ("A", "Cx", "Cy", "Ox", "Oy"):
        assert getattr(found, name) == pytest.approx(getattr(parameters, name), abs=1e-9)


def test_distances_of_the_literature_cell() -> None:
    found = {name: 100 * value for name, value in named_distances(PRISTINE).items()}
    # The reference is printed to 0.01 pm.
    assert found == pytest.approx(LI2MNO3, abs=0.006)
    assert tuple(found) == tuple(LONG_NAMES)


def test_r3m_is_a_special_case() -> None:
    # a_h = 2.852, c_h = 14.24 Å, z = 0.2593 (metal on 3a): A = a_h sqrt(3)/2, Cx = -2A/3,
    # Cy = c_h/3, Dx = 2A/3, and oxygen (1/3 - z) c_h above the metal layer.
    a = 2.852 * np.sqrt(3) / 2
    cell = ProjectedParameters(
        A=a, Cx=-2 * a / 3, Cy=14.24 / 3, Ox=a / 3, Oy=(1 / 3 - 0.2593) * 14.24
    )
    found = {name: 100 * value for name, value in named_distances(cell).items()}
    # The reference is printed to 0.01 pm.
    assert found == pytest.approx(R3M, abs=0.006)
    assert commensurate(cell, tolerance=1e-6)[:2] == (3, 2)


def test_measured_state_fits_the_published_distances() -> None:
    table = Path(__file__).parents[1] / "reference" / "distances_experiment.csv"
    lines = [line for line in table.read_text().splitlines() if not line.startswith("#")]
    names = {long_name: name for name, long_name in LONG_NAMES.items()}
    found = named_distances(PRISTINE_MEASURED)
    residuals = [
        10 * float(row["calibrated"]) - found[names[row["distance"]]]
        for row in csv.DictReader(lines)
        if (row["region"], row["state"]) == ("bulk", "pristine")
    ]
    assert len(residuals) == 8
    # The fit's own residuals: 0.9 pm rms, 1.0 pm at most, printed to 0.1 pm.
    assert np.abs(residuals).max() < 0.0115


@given(CELLS, st.sampled_from([0.003, 0.01, 0.05]))
def test_commensurate_is_perpendicular_and_within_tolerance(
    parameters: ProjectedParameters, tolerance: float
) -> None:
    n, m, sheared = commensurate(parameters, tolerance=tolerance)
    v = sheared.vectors()
    assert abs((n * v["C"] + m * v["A"])[0]) < 1e-9
    assert m % 2 == 0
    assert abs(sheared.Cx - parameters.Cx) <= tolerance * parameters.Cy + 1e-12
    assert sheared.to_cell()["x"] == pytest.approx(parameters.to_cell()["x"])
    assert (sheared.A, sheared.Cy, sheared.Oy) == (parameters.A, parameters.Cy, parameters.Oy)


def test_no_commensurate_cell_within_a_tiny_tolerance() -> None:
    with pytest.raises(BadInputError, match="larger tolerance"):
        commensurate(PRISTINE, tolerance=1e-9)
    with pytest.raises(BadInputError, match="expected a relative shear"):
        commensurate(PRISTINE, tolerance=0)


@pytest.mark.parametrize(("value", "unit"), [(256.0, "pm"), (0.256, "nm")])
def test_wrong_units_are_named(value: float, unit: str) -> None:
    values = PRISTINE.model_dump() | {"A": value}
    with pytest.raises(ValidationError, match=rf"did you mean 2\.56 Å\? .*{unit}"):
        ProjectedParameters(**values)


def test_unknown_names_and_nan_are_refused() -> None:
    values = PRISTINE.model_dump()
    with pytest.raises(ValidationError, match="Extra inputs"):
        ProjectedParameters(**(values | {"B": 1.0}))
    with pytest.raises(ValidationError, match="finite number"):
        ProjectedParameters(**(values | {"Cx": float("nan")}))
    with pytest.raises(ValidationError, match="between the row of M and the row of Li"):
        ProjectedParameters(**(values | {"Oy": 2.45}))


def test_impossible_cells_and_distances_are_refused() -> None:
    with pytest.raises(BadInputError, match="give it in degrees"):
        ProjectedParameters.from_cell(a=4.937, c=5.03, beta=1.91, x=0.2423, z=0.2246)
    with pytest.raises(BadInputError, match="did you mean"):
        ProjectedParameters.from_cell(a=493.7, c=5.03, beta=109.46, x=0.2423, z=0.2246)
    distances = named_distances(PRISTINE)
    with pytest.raises(BadInputError, match="without the distances o_o_m"):
        parameters_from_distances({n: d for n, d in distances.items() if n != "o_o_m"})
    with pytest.raises(BadInputError, match="make no triangle"):
        parameters_from_distances(distances | {"o_o_m": 9.0})
    with pytest.raises(BadInputError, match="make no triangle"):
        parameters_from_distances(distances | {"m_m": 0.0})
