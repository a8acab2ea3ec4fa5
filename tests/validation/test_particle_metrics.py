"""Particles of a simulated measurement, end to end, and their scores."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

import echolith as el
from echolith.forward.noise import PoissonCounting
from echolith.inverse.particle_recovery import ParticleSolver, recover_particles
from echolith.protocols import Better
from echolith.structures.phosphate_raster import true_volume
from echolith.validation.particle_metrics import (
    particle_metrics,
    particle_residuals,
    particle_truth,
)

SMALL = {
    "plates": 4,
    "pixels": 48,
    "tilts": {"angles": tuple(range(-80, 78, 3))},
    "incident": 2000,
    "solver": {"tomography": {"draws": 1}},
}


@pytest.fixture(scope="module")
def case() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Return truth, volume recovered from counts, and its particles."""
    scenario: Any = el.scenario("lfp-tomography", **SMALL)
    specimen = scenario.build(21)
    counts = PoissonCounting().sample(scenario.forward(specimen), seed=21).compute()
    volume = scenario.solver(counts)
    truth = particle_truth(specimen, true_volume(specimen, 67.0, (48, 48, 48)))
    return truth, volume, recover_particles(volume)


def test_every_particle_is_found(case: tuple[xr.Dataset, ...]) -> None:
    truth, volume, found = case
    scores = {metric.name: metric.score(found, truth) for metric in particle_metrics()}
    assert scores["found_particles"] == 1
    for mistake in ("missed", "merged", "split", "false"):
        assert scores[f"{mistake}_particles"] == 0
    # Two to four of the stated systematic parts, 0.01 of composition and 2 % of sizes.
    assert scores["particle_composition_rms"] < 0.04
    assert scores["particle_thickness_rms"] < 0.04
    assert scores["particle_volume_rms"] < 0.08
    assert int(found.particles) == 4
    assert not set(volume.data_vars) & set(found.data_vars)  # so that both fit in one dataset


def test_errors_one_by_one_are_those_of_the_table(case: tuple[xr.Dataset, ...]) -> None:
    truth, _, found = case
    residuals = particle_residuals(found, truth)
    assert set(residuals) == {
        f"particle_{name}" for name in ("composition", "volume", "facet_area", "thickness")
    }
    for values in residuals.values():
        assert sorted(values.key.tolist()) == [1, 2, 3, 4]
        assert (values.std > 0).all()
    # Numbers on the two sides differ: the same particle has its volume, not that of its number.
    assert np.abs(residuals["particle_volume"].error).max() < 0.2
    true = truth.particle_volume.values
    assert np.abs(np.subtract(*np.sort(true)[[0, -1]])) > 0.5 * true.min()


def test_truth_scores_perfectly(case: tuple[xr.Dataset, ...]) -> None:
    truth, _, _ = case
    for metric in particle_metrics():
        best = 1.0 if metric.better is Better.HIGHER else 0.0
        assert metric.score(truth, truth) == best, metric.name


def test_nothing_found_is_said(case: tuple[xr.Dataset, ...]) -> None:
    truth, volume, _ = case
    found = recover_particles(volume.assign(density=volume.density * 0))
    assert int(found.particles) == 0
    assert np.isnan(found.active_fraction)
    assert np.isinf(found.active_fraction_std)
    scores = {metric.name: metric.score(found, truth) for metric in particle_metrics()}
    assert (scores["found_particles"], scores["missed_particles"]) == (0, 4)
    assert np.isnan(scores["particle_volume_rms"])
    assert np.isnan(found.trend_p_value).all()
    assert all(np.isnan(m.score(volume, truth)) for m in particle_metrics())


def test_threshold_of_activity_can_be_set(case: tuple[xr.Dataset, ...]) -> None:
    _, volume, found = case
    shares = found.particle_composition.values
    for threshold in (0.01, 0.15, 0.9):
        options = ParticleSolver(activity_threshold=threshold, permutations=99)
        again = recover_particles(volume, options=options)
        assert float(again.active_fraction) == (shares >= threshold).mean()
