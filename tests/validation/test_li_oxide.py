"""Scenario li-oxide: conformance, grains found, thickness, bound."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.validation.bounds import cramer_rao
from echolith.validation.conformance import check_scenario
from echolith.validation.grain_matching import grain_overlaps

SMALL: dict[str, Any] = {
    "particle": {"size": 24.0},
    "shell": {"grains": 3, "thickening": {"initial": 8.0, "rate": 0.5}},
    "movie": {"acquisition": {"shape": (160, 160), "pixel": 0.4, "frames": 2, "frame_time": 0.5}},
}


def test_the_scenario_keeps_the_rules() -> None:
    check_scenario(el.scenario("li-oxide", **SMALL))


def test_grains_and_thickness_are_found() -> None:
    scenario = el.scenario("li-oxide", **SMALL)
    bound = cramer_rao(scenario, seed=1)
    sample = scenario.simulate(seed=1)
    found = scenario.gauge(scenario.solver(sample.measurement), sample.truth)
    assert float(found["grain_iou"].mean()) > 0.8
    error = found["grain_rotation"] - sample.truth["grain_rotation"]
    assert float(np.abs(error / found["grain_rotation_std"]).max()) < 5
    away = np.abs(found["thickness"] - sample.truth["thickness"]) / found["thickness_std"]
    assert float(away.max()) < 4
    assert float(bound["first_rotation"]) < float(found["first_rotation_std"])
    assert float(bound["mean_thickness"]) < float(found["mean_thickness_std"])


def test_grains_are_matched_by_what_they_share() -> None:
    true = np.array([[1, 1, 2, 2], [1, 1, 2, 0]], dtype=np.int32)
    ours = np.array([[2, 2, 1, 1], [2, 0, 1, 1]], dtype=np.int32)
    assert grain_overlaps(ours, true) == pytest.approx(np.array([[0, 3 / 4], [3 / 4, 0]]))
