"""Scenario li-hrtem: conformance, bound, pulls, what is not determined."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.inverse.lattice import Verdict, recover_lattice
from echolith.validation.bounds import cramer_rao
from echolith.validation.conformance import check_scenario

SMALL: dict[str, Any] = {
    "particle": {"size": 36.0, "zone_axis": (1, 1, 1)},
    "acquisition": {"shape": (160, 160), "dose_rate": 4000.0},
    "slice_thickness": 4.0,
}


def test_the_scenario_keeps_the_rules() -> None:
    check_scenario(el.scenario("li-hrtem", **SMALL))


def test_spread_is_near_the_bound_and_errors_fit_their_uncertainty() -> None:
    scenario = el.scenario("li-hrtem", **SMALL)
    specimen, truth = scenario.build(1), scenario.truth(scenario.build(1))
    mean = scenario.forward(specimen).compute()
    bound = cramer_rao(scenario, seed=1)
    found = [
        scenario.gauge(recover_lattice(scenario.noise.sample(mean, seed=s)), truth)
        for s in range(16)
    ]
    for name in scenario.quantities:
        errors = np.array([float(one[name]) - float(truth[name]) for one in found])
        stds = np.array([float(one[f"{name}_std"]) for one in found])
        # The spread of 16 is known to 1 / sqrt(32).
        assert np.sqrt(np.mean((errors / stds) ** 2)) < 1 + 4 / np.sqrt(32), name
        assert errors.std() > (1 - 4 / np.sqrt(32)) * float(bound[name]), name
        assert errors.std() < 1.25 * (1 + 4 / np.sqrt(32)) * float(bound[name]), name


def test_too_few_electrons_are_told() -> None:
    low = el.scenario("li-hrtem", **{**SMALL, "acquisition": {"shape": (160, 160), "dose_rate": 2}})
    sample = low.simulate(seed=2)
    estimate = low.solver(sample.measurement)
    assert estimate.attrs["verdict"] == Verdict.NOT_DETECTED.value
    assert "spacing" not in estimate
    assert low.score(estimate, sample.truth)["spacing_error"].value != pytest.approx(0)


def test_columns_and_way_of_a_movie_have_the_uncertainty_told() -> None:
    taken = {"shape": (160, 160), "dose_rate": 4000.0, "frames": 12}
    movie = el.scenario("li-hrtem", **{**SMALL, "acquisition": taken, "drift": (0.8, -0.5)})
    sample = movie.simulate(seed=5)
    estimate = movie.gauge(movie.solver(sample.measurement), sample.truth)
    scores = movie.score(estimate, sample.truth)
    assert scores["found_columns"].value > 0.8
    assert scores["false_columns"].value == 0
    bound = cramer_rao(movie, seed=5)
    # Frames are moved by whole pixels, and the image of a column is not that of the truth.
    assert scores["column_rms"].value < 130 * float(bound["columns"])
    for name, errors in movie.residuals(estimate, sample.truth).items():
        pulls = errors.error / errors.std
        # Errors of neighbours go together, so that they are as half as many.
        assert abs(np.sqrt(np.mean(pulls**2)) - 1) < 4 / np.sqrt(len(pulls)), name
    one = el.scenario("li-hrtem", **SMALL)
    alone = one.solver(one.simulate(seed=5).measurement)
    # Twelve frames tell the spacing as well as sqrt(12) times one; what one tells varies by itself.
    gain = float(alone["spacing_std"] / estimate["spacing_std"])
    assert gain == pytest.approx(np.sqrt(12), rel=0.25)


def test_one_frame_says_how_many_would_tell_the_columns() -> None:
    few = el.scenario("li-hrtem", **{**SMALL, "acquisition": {"shape": (160, 160)}})
    found = few.solver(few.simulate(seed=3).measurement)
    assert found.sizes["column"] < 10
    assert "frames like this would tell them" in found.attrs["undetermined"]
    assert "spacing" in found
