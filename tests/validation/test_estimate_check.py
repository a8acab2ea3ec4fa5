"""What is refused as no estimate, and what is let through."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.validation.estimate_check import FACTORS, check_estimate, spelled
from echolith.validation.solver_failure import SolverFailure, SolverFailureKind

QUANTITIES = ("o_o_li", "m_m")
LENGTH = {"units": "Å"}


def columns(n: int, **others: Any) -> dict[str, Any]:
    return {
        "x": ("column", np.arange(float(n)), LENGTH),
        "y": ("column", np.arange(float(n)), LENGTH),
        "species": ("column", ["M"] * n),
        **others,
    }


def truth() -> xr.Dataset:
    return xr.Dataset({**columns(5), "o_o_li": ((), 3.0, LENGTH), "m_m": ((), 2.5, LENGTH)})


def refused(variables: object, *, truth: xr.Dataset | None = None) -> str:
    estimate = xr.Dataset(variables) if isinstance(variables, dict) else variables
    with pytest.raises(SolverFailure) as caught:
        check_estimate(estimate, quantities=QUANTITIES, truth=truth)
    assert caught.value.kind is SolverFailureKind.INVALID
    return str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"o_o_li": 3.0},
        {"o_o_li": ((), 3, LENGTH), "m_m": np.float32(2.5), "m_m_std": 0.0},
        {"o_o_li": 3.0, "o_o_li_std": np.inf, "phase": (("a", "b"), np.full((2, 2), np.nan))},
        columns(3),
        columns(0),
        columns(3, x_std=("column", [0.1, 0.2, 0.3]), pair_distance=("pair", [1.0])),
        {"o_o_li": ((), 3.0, {"units": "angstrom"}), "m_m": ((), 2.5, {"units": "\u212b"})},
    ],
)
def test_well_formed_estimates_pass_with_and_without_truth(variables: dict[str, Any]) -> None:
    estimate = xr.Dataset(variables)
    before = estimate.copy(deep=True)
    check_estimate(estimate, quantities=QUANTITIES)
    check_estimate(estimate, quantities=QUANTITIES, truth=truth())
    xr.testing.assert_identical(estimate, before)


def test_the_truth_itself_is_an_estimate() -> None:
    check_estimate(truth(), quantities=QUANTITIES, truth=truth())


@pytest.mark.parametrize("answer", [None, 3.0, {"o_o_li": 3.0}, xr.DataArray(3.0)])
def test_what_is_no_dataset_is_refused(answer: object) -> None:
    with pytest.raises(SolverFailure, match=type(answer).__name__):
        check_estimate(answer, quantities=QUANTITIES)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"o_o_li": np.nan}, ["'o_o_li' = nan", "finite"]),
        ({"m_m": -np.inf}, ["'m_m' = -inf"]),
        ({"o_o_li": ("n", [3.0])}, ["(1,)", "one number"]),
        ({"o_o_li": 3.0 + 1j}, ["complex128", "real"]),
        ({"o_o_li": "3.0"}, ["<U3"]),
        ({"o_o_li": True}, ["bool"]),
        ({"o_o_li": 3.0, "o_o_li_std": -0.1}, ["'o_o_li_std' = -0.1", "0 or more"]),
        ({"o_o_li": 3.0, "o_o_li_std": np.nan}, ["'o_o_li_std' = nan"]),
        ({"o_o_li": 3.0, "m_m_std": np.nan}, ["'m_m_std' = nan"]),
        (columns(2, x_std=("column", [0.1, np.nan])), ["'x_std' = 1 of 2 values"]),
        ({**columns(3), "y": ("other", [1.0, 2.0])}, ["x (3,)", "y (2,)"]),
        ({**columns(3), "species": ("other", ["M"])}, ["species (1,)"]),
        ({**columns(3), "y": ("column", [0.0, np.nan, np.inf])}, ["'y' of 2 of 3", "first at 1"]),
        ({"x": ("column", [1.0])}, ["with x but without y"]),
        ({**columns(1), "x": ("column", ["1"])}, ["'x' is of type <U1"]),
        ({"x": 1.0, "y": 2.0}, ["x ()"]),
        ({}, ["o_o_li, m_m", "no variable at all"]),
        ({"O_O_Li": 3.0, "foo": 1.0}, ["'O_O_Li' (did you mean 'o_o_li'?), 'foo'"]),
    ],
)
def test_what_is_no_estimate_is_refused_with_its_value(
    variables: dict[str, Any], words: list[str]
) -> None:
    message = refused(variables)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"o_o_li": ((), 300.0, {"units": "pm"})}, ["'pm'", "'Å'", "multiply by 0.01"]),
        ({"o_o_li": ((), 0.3, {"units": "nm"})}, ["multiply by 10"]),
        ({"o_o_li": ((), 0.3, {"units": "furlong"})}, ["'furlong'; expected 'Å'"]),
        ({"o_o_li": 3.0, "o_o_li_std": ((), 1.0, {"units": "pm"})}, ["'o_o_li_std'", "0.01"]),
        (columns(2, y=("column", [1.0, 2.0], {"units": "nm"})), ["'y'", "multiply by 10"]),
        ({**columns(2), "species": (("a", "b"), [["M"]])}, ["expected 1 axes: column"]),
    ],
)
def test_units_and_axes_are_those_of_the_truth(variables: dict[str, Any], words: list[str]) -> None:
    message = refused(variables, truth=truth())
    for word in words:
        assert word in message


@given(value=st.floats(0.1, 10), units=st.sampled_from(sorted(FACTORS)))
def test_the_factor_named_leads_to_the_expected_unit(value: float, units: tuple[str, str]) -> None:
    said, expected = units
    there = FACTORS[said, expected]
    back = FACTORS.get((expected, said))
    assert back is None or there * back == pytest.approx(1)
    assert spelled(said) == said
    assert spelled(expected) == expected


@given(
    finite=st.booleans(),
    where=st.integers(0, 4),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    name=st.sampled_from(["x", "y"]),
)
def test_one_bad_position_anywhere_is_found(
    finite: bool, where: int, bad: float, name: str
) -> None:
    variables = columns(5)
    values = variables[name][1].copy()
    if not finite:
        values[where] = bad
    estimate = xr.Dataset({**variables, name: ("column", values, LENGTH)})
    if finite:
        check_estimate(estimate, quantities=QUANTITIES)
        return
    with pytest.raises(SolverFailure, match=f"first at {where}"):
        check_estimate(estimate, quantities=QUANTITIES)


@pytest.mark.parametrize("said", ["o_o_li, m_m: noise alone", ["o_o_li", "m_m"]])
def test_a_solver_that_can_tell_nothing_is_cited(said: str | list[str]) -> None:
    words = refused(xr.Dataset(attrs={"undetermined": said}))
    assert "undetermined: o_o_li, m_m" in words
