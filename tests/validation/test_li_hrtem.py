"""Scenario li-hrtem: conformance, bound, pulls, what is not determined."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.inverse.lattice import Verdict
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
        scenario.gauge(scenario.solver(scenario.noise.sample(mean, seed=s)), truth)
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
