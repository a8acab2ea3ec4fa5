"""Scenario lfp-tomography: composition of plates from counts, and bad settings."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.errors import BadInputError
from echolith.validation.bounds import cramer_rao

SMALL = {
    "plates": 3,
    "pixels": 48,
    "tilts": {"angles": tuple(range(-80, 78, 2))},
    "incident": 4000,
    "solver": {"draws": 1},
}


@pytest.fixture(scope="module")
def sample() -> tuple[Any, ...]:
    scenario = el.scenario("lfp-tomography", **SMALL)
    _, measurement, truth = scenario.simulate(seed=3)
    return scenario, measurement, truth, scenario.solver(measurement)


def test_composition_comes_back(sample: tuple[Any, ...]) -> None:
    """The counting floor of a voxel at 3000 transmitted photons and 79 tilts is 0.04.

    sigma = pi / sqrt(12 tilts photons) = 0.0019 in optical density; at 0.1 a voxel and a noise gain
    of 1.64 for each phase 0.03 a phase, 0.04 their share. Positivity and smoothing lower it.
    """
    scenario, _, truth, estimate = sample
    scores = scenario.score(estimate, truth)
    assert scores["composition_rms"].value < 0.06
    assert scores["density_rms"].value < 0.03
    error = float(estimate["state_of_charge"]) - float(truth["state_of_charge"])
    assert abs(error) < 0.02


def test_nothing_is_said_of_empty_voxels(sample: tuple[Any, ...]) -> None:
    _, _, truth, estimate = sample
    empty = truth["density"].values == 0
    far = empty & (estimate["density"].values < 0.5)
    assert np.isnan(estimate["composition"].values[far]).all()
    assert np.isinf(estimate["composition_std"].values[far]).all()
    assert np.isfinite(estimate["density"].values).all()


def test_one_energy_is_refused(sample: tuple[Any, ...]) -> None:
    scenario, measurement, _, _ = sample
    with pytest.raises(BadInputError, match="1 energies; expected 2"):
        scenario.solver(measurement.isel(energy=[0]))
    with pytest.raises(BadInputError, match="twice"):
        el.scenario("lfp-tomography", energies=(708.2, 708.2))


def test_bound_of_the_scenario(sample: tuple[Any, ...]) -> None:
    """Nothing is stated to be known better than it can be."""
    scenario, _, _, estimate = sample
    bound = cramer_rao(scenario, seed=3)
    assert bound.attrs["undetermined"] == []
    least = float(bound["state_of_charge"])
    assert 0 < least < float(estimate["state_of_charge_std"]) < 0.02
    # The counting floor at 3000 photons, see above, without any smoothing.
    assert float(bound["composition"]) > 0.02
