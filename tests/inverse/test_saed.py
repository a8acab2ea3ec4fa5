"""Diffraction patterns solved: centre and ellipse, phases, orientation, what is not determined."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError
from echolith.forward.crystal_phases import crystal_phase
from echolith.inverse.saed import solve_pattern
from echolith.inverse.saed_geometry import Geometry, radius_and_slopes
from echolith.validation.bounds import cramer_rao
from echolith.validation.scenarios.li_saed import CANDIDATES

PHASES = tuple(crystal_phase(name) for name in CANDIDATES)


@cache
def solved(seed: int, **changes: Any) -> tuple[Any, Any, xr.Dataset]:
    scenario = el.scenario("li-saed", phases=("Li2O", "LiF"), **changes)
    sample = scenario.simulate(seed=seed)
    return scenario, sample, scenario.solver(sample.measurement)


@given(
    values=st.tuples(
        st.floats(-5, 5), st.floats(-5, 5), st.floats(-0.04, 0.04), st.floats(-0.04, 0.04)
    ),
    x=st.floats(10, 200),
    y=st.floats(-200, -10),
)
def test_slopes_of_the_radius_are_its_derivatives(
    values: tuple[float, ...], x: float, y: float
) -> None:
    places, at = np.array([[x, y]]), np.array(values)
    _, slopes = radius_and_slopes(places, Geometry(values=at))
    for index, step in enumerate((1e-4, 1e-4, 1e-6, 1e-6)):
        sides = []
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * step
            sides.append(radius_and_slopes(places, Geometry(values=moved))[0][0])
        numeric = (sides[0] - sides[1]) / (2 * step)
        assert slopes[0, index] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_centre_and_ellipse_come_back_behind_the_beam_stop_near_their_bound() -> None:
    scenario, sample, found = solved(3)
    bound = cramer_rao(scenario, seed=3)
    for name in ("centre_x", "centre_y", "stretch_p", "stretch_q"):
        std = float(found[f"{name}_std"])
        assert abs(float(found[name] - sample.truth[name])) < 4.5 * std
        assert 0.9 < std / float(bound[name]) < 1.8, name
    scores = scenario.score(found, sample.truth)
    assert scores["centre_error"].value < 0.05
    assert scores["ellipse_error"].value < 0.1


def test_two_phases_with_rings_that_nearly_coincide_are_both_found() -> None:
    _, _, found = solved(3)
    assert found.attrs["present"] == ["Li", "Li2O", "LiF"]


@pytest.mark.parametrize("alone", ["Li2O", "LiF"])
def test_one_of_two_look_alikes_is_not_taken_for_the_other(alone: str) -> None:
    scenario = el.scenario("li-saed", phases=alone, crystal="none")
    found = scenario.solver(scenario.simulate(seed=5).measurement)
    assert found.attrs["present"] == [alone]
    assert any("orientation" in reason for reason in found.attrs["undetermined"])


def test_a_phase_that_is_no_candidate_is_unknown() -> None:
    scenario = el.scenario("li-saed", phases="LiMn2O4", crystal="none")
    found = scenario.solver(scenario.simulate(seed=2).measurement)
    # Beside it a phase of many rings may be named too: see docs/li_saed.md.
    assert "unknown" in found.attrs["present"]


def test_without_rings_nothing_is_told_of_the_ellipse() -> None:
    scenario, _, _ = solved(3)
    empty = scenario.simulate(seed=3).measurement
    rng = np.random.default_rng(1)
    flat = empty.assign(counts=empty.counts * 0 + rng.poisson(5.0, empty.counts.shape))
    found = solve_pattern(flat, candidates=PHASES)
    assert "centre_x" not in found
    assert found.attrs["present"] == []
    assert any(reason.startswith("centre") for reason in found.attrs["undetermined"])
    blank = solve_pattern(empty.assign(counts=empty.counts * 0), candidates=PHASES)
    assert blank.attrs["present"] == []
    assert any(reason.startswith("centre") for reason in blank.attrs["undetermined"])


def test_what_is_no_pattern_is_refused() -> None:
    _, sample, _ = solved(3)
    good = sample.measurement
    wrong = {
        "expected counts": good.rename(counts="image"),
        "camera_length": good.drop_attrs(),
        "expected finite": good.assign(counts=good.counts - 5.0),
        "64 or more": good.isel(detector_y=slice(0, 20)),
    }
    for message, bad in wrong.items():
        with pytest.raises(BadInputError, match=message):
            solve_pattern(bad, candidates=PHASES)
