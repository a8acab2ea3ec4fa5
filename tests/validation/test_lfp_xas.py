"""Scenario lfp-xas: calibrated composition of every pixel, its bound, and bad input."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError
from echolith.forward.noise import PoissonCounting
from echolith.forward.xray_absorption import phosphate_response
from echolith.inverse.composition_map import CompositionMap, recover_composition_map
from echolith.validation.bounds import bound_of
from echolith.validation.spectral_bound import spectral_information
from echolith.validation.statistics import calibration

ENERGIES = tuple(np.linspace(700, 730, 31).tolist())
RESPONSE = phosphate_response(ENERGIES)
SMALL = {"plates": 4, "pixels": 40, "energy_count": 31, "incident": 2000}


def stack(path: np.ndarray, *, incident: int = 2000, carbon: float = 0.1) -> xr.Dataset:
    """Expected counts of paths (2, y, x) over a sloping background."""
    slope = 1 - 0.005 * (np.array(ENERGIES) - 715)
    density = np.tensordot(RESPONSE.values.T, path, axes=1) + carbon * slope[:, None, None]
    counts = (("energy", "y", "x"), incident * np.exp(-density))
    return xr.Dataset(
        {"counts": counts, "incident": incident}, coords={"energy": np.array(ENERGIES)}
    )


@pytest.fixture(scope="module")
def sample() -> tuple[Any, ...]:
    scenario = el.scenario("lfp-xas", **SMALL)
    specimen, measurement, truth = scenario.simulate(seed=3)
    return scenario, specimen, measurement, truth, scenario.solver(measurement)


@given(
    share=st.floats(0, 1), total=st.floats(250, 500), carbon=st.floats(0, 0.5),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_pulls_of_every_pixel(share: float, total: float, carbon: float, seed: int) -> None:
    """400 pixels: standard error of a mean pull 0.05, of its variance 0.07; five of each.

    Every pixel is some 8 standard deviations thick, so that none is chosen by its noise.
    """
    path = np.array([1 - share, share])[:, None, None] * np.full((2, 20, 20), total)
    mean = stack(path, carbon=carbon)
    counts = PoissonCounting().sample(mean, seed=seed)
    found = recover_composition_map(
        counts, response=RESPONSE, options=CompositionMap(significance=3)
    )
    for name, true in (("path", path), ("composition", np.full((20, 20), share))):
        pull = ((found[name].values - true) / found[f"{name}_std"].values).reshape(-1, 400)
        assert np.abs(pull.mean(axis=1)).max() < 0.25
        assert (pull**2).mean(axis=1) == pytest.approx(1, abs=0.35)


def test_exact_paths_come_back_and_empty_pixels_say_nothing() -> None:
    path = np.zeros((2, 5, 6))
    path[:, 2, 3] = 100, 200
    mean = stack(path, incident=10**9)
    found = recover_composition_map(mean, response=RESPONSE)
    assert found["path"].values == pytest.approx(path, abs=1e-3)
    assert float(found["composition"][2, 3]) == pytest.approx(2 / 3, abs=1e-4)
    assert np.isfinite(found["composition"]).sum() == 1
    assert np.isinf(found["composition_std"].values[0, 0])
    assert float(found["state_of_charge"]) == pytest.approx(2 / 3, abs=1e-4)
    nothing = recover_composition_map(stack(path * 0), response=RESPONSE)
    assert "state_of_charge" not in nothing


def test_a_specimen_is_mapped_to_its_bound(sample: tuple[Any, ...]) -> None:
    scenario, _, _, truth, estimate = sample
    scores = scenario.score(estimate, truth)
    bound = el.cramer_rao(scenario, seed=3)
    pixels = int(np.isfinite(estimate["composition"]).sum())
    # Errors of a few hundred pixels, of which thin ones are the worst.
    assert pixels > 150
    assert scores["composition_rms"].value < 1.15 * float(bound["composition"])
    assert float(estimate["state_of_charge_std"]) == pytest.approx(
        float(bound["state_of_charge"]), rel=0.05
    )
    pull = float((estimate.state_of_charge - truth.state_of_charge) / estimate.state_of_charge_std)
    assert abs(pull) < 4
    residuals = scenario.residuals(estimate, truth)["composition"]
    found = calibration(residuals.error, residuals.std)
    assert (
        0.68 - 4 * np.sqrt(0.22 / pixels) < found["coverage68"] < 0.68 + 4 * np.sqrt(0.22 / pixels)
    )
    assert scores["r_factor_below_0.15"].value > 0.9


def test_bound_is_that_of_a_single_pixel_by_hand() -> None:
    """Two unknowns, no background: the variance of a 2 x 2 inverse."""
    path = np.array([200.0, 100.0])[:, None, None]
    mean = xr.Dataset(
        {
            "counts": (
                ("energy", "y", "x"),
                500 * np.exp(-RESPONSE.values.T @ path[:, :, 0])[..., None],
            )
        },
        coords={"energy": np.array(ENERGIES)},
    )["counts"]
    information = spectral_information(
        mean, xr.DataArray(path, dims=("species", "y", "x")), response=RESPONSE,
        background_degree=-1, significance=3,
    )  # fmt: skip
    mu = RESPONSE.values
    fisher = (mu * mean.values[:, 0, 0]) @ mu.T
    slope = np.array([-100, 200]) / 300**2
    expected = np.sqrt(slope @ np.linalg.inv(fisher) @ slope)
    found = bound_of(information)
    assert float(found["composition"]) == pytest.approx(expected, rel=1e-9)
    assert float(found["state_of_charge"]) == pytest.approx(expected, rel=1e-9)


def test_what_tells_no_composition_is_refused(sample: tuple[Any, ...]) -> None:
    scenario, _, measurement, _, _ = sample
    with pytest.raises(BadInputError, match="1 energies for 4 unknowns"):
        scenario.solver(measurement.isel(energy=[0]))
    with pytest.raises(BadInputError, match="1 energies from 700"):
        el.scenario("lfp-xas", energy_count=1)
    with pytest.raises(BadInputError, match=r"energy = 0\.7 eV"):
        el.scenario("lfp-xas", first_energy=0.7)
    with pytest.raises(BadInputError, match="expected two, LiFePO4 then FePO4"):
        recover_composition_map(measurement, response=RESPONSE.isel(species=[0]))
    twice = RESPONSE.isel(species=[0, 0]).assign_coords(species=["a", "b"])
    with pytest.raises(BadInputError, match="cannot be told apart"):
        recover_composition_map(measurement, response=twice, options=CompositionMap())
