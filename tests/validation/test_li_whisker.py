"""Scenario li-whisker: conformance, and what a whisker's movie tells."""

from typing import Any

import numpy as np

import echolith as el
from echolith.inverse.whisker_length import LengthState
from echolith.validation.bounds import cramer_rao

SMALL: dict[str, Any] = {
    "whisker": {"start_length": 60.0, "acceleration": 100.0},
    "acquisition": {"shape": (48, 112), "frames": 40, "dose_rate": 100.0},
    "contrast": {"points": 1},
    "foot": -0.25,
}


def test_lengths_and_rate_fit_their_uncertainty() -> None:
    scenario = el.scenario("li-whisker", **SMALL)
    sample = scenario.simulate(seed=1)
    dropped = sample.measurement.copy(deep=True)
    dropped["counts"][7] = 0
    found = scenario.solver(dropped)
    assert str(found["state"].values[7]) == LengthState.DROPPED.value
    assert np.isnan(found["length"].values[7])
    known = np.isfinite(found["length"].values)
    assert known.sum() >= 36
    error = (found["length"] - sample.truth["length"]).values[known]
    # The model is one-dimensional, and the wave is sampled coarsely here: twice the error.
    assert error.std() < 2 * np.median(found["length_std"].values[known])
    if "rate" in found:
        assert abs(float(found["rate"]) - 100) < 5 * float(found["rate_std"])
    few = el.scenario("li-whisker", **SMALL | {"acquisition": SMALL["acquisition"] | {"frames": 8}})
    assert np.isfinite(float(cramer_rao(few, seed=1)["rate"]))


def test_a_movie_in_which_nothing_grows_is_told() -> None:
    still = {**SMALL, "whisker": {"start_length": 150.0, "acceleration": 0.0}}
    scenario = el.scenario("li-whisker", **still)
    found = scenario.solver(scenario.simulate(seed=2).measurement)
    assert "nothing grows" in found.attrs["undetermined"]
    assert np.isnan(found["length"].values).all()
