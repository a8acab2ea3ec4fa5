"""The scenario ``li-rich-haadf-drift`` on small, quick frames."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward.scan_distortion import ScanDistortion
from echolith.inverse.haadf_reference import haadf_reference
from echolith.structures.projected_cell import named_distances
from echolith.validation.bounds import cramer_rao
from echolith.validation.catalogue import scenario
from echolith.validation.drift_bound import marginal_information
from echolith.validation.scenario import Sample, Scenario
from echolith.validation.scenarios.li_rich_haadf_drift import (
    QUANTITIES,
    LiRichHaadfDriftSettings,
    residual,
)

Array = npt.NDArray[np.float64]

FRAMES = {"frames": 4, "shape": (112, 128), "step": 0.15, "dose": 2e5}
"""Few and small, at a dose that makes up for the thin specimen."""


@cache
def quick() -> Scenario:
    # Two layers of atoms and few plane waves.
    return scenario(
        "li-rich-haadf-drift", thickness=5.7, frames=FRAMES, simulation={"minimum_box": 10.0}
    )


@cache
def sample() -> Sample:
    return quick().simulate(seed=3)


@cache
def estimate() -> xr.Dataset:
    return quick().solver(sample().measurement)


def test_truth_is_that_of_the_cell_and_of_the_settings() -> None:
    truth = sample().truth
    lengths = named_distances(LiRichHaadfDriftSettings().parameters)
    for name in QUANTITIES:
        assert float(truth[name]) == pytest.approx(lengths[name], abs=1e-6)
    assert truth["displacement_x"].sizes == {"frame": 4, "scan_y": 112}
    jitter = (truth["displacement_y"] - truth["drift_y"]).values
    # Of 448 lines, drawn with 2 pm: known to 1 / sqrt(2 n); 4.5 sigma.
    assert jitter.std() == pytest.approx(0.02, rel=4.5 / np.sqrt(2 * 448))


def test_nothing_of_the_drift_is_in_the_measurement() -> None:
    measurement = sample().measurement
    assert set(measurement.data_vars) == {"haadf"}
    assert "drift" not in " ".join(f"{k} {v}" for k, v in measurement.attrs.items())


def test_the_reference_solver_finds_drift_and_distances() -> None:
    scores = quick().score(estimate(), sample().truth)
    assert scores["residual_drift"].value < 2
    assert scores["found_m"].value == 1
    assert scores["false_columns"].value == 0
    for name in QUANTITIES:
        error = float(estimate()[name]) - float(sample().truth[name])
        assert abs(error) < 4.5 * float(estimate()[f"{name}_std"]), name
        assert estimate()[name].attrs["units"] == "Å"
        assert scores[f"{name}_error"].unit == "pm"


def test_stated_errors_of_single_values_are_kept() -> None:
    aligned = quick().gauge(estimate(), sample().truth)
    found = quick().residuals(aligned, sample().truth)
    assert set(found) >= {"drift_x", "drift_y", "displacement_x", "column_m"}
    assert len(found["drift_x"].error) == 4 * 112 / 16
    pull = found["displacement_x"].error / found["displacement_x"].std
    # 28 lines: 4.5 sigma of their rms are 60 %; the jitter's size is itself an estimate.
    assert np.sqrt((pull**2).mean()) < 2


def test_every_seed_drifts_its_own_way_and_the_same_again() -> None:
    first, again, other = (quick().build(seed).distortion.seed for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_shift_of_all_frames_is_no_residual() -> None:
    truth = sample().truth
    moved = truth.assign(drift_x=truth["drift_x"] + 0.3)
    assert residual("drift").score(moved, truth) == pytest.approx(0, abs=1e-9)
    bent = truth.assign(drift_x=truth["drift_x"] + 0.02 * (truth["frame"] % 2))
    assert residual("drift").score(bent, truth) == pytest.approx(100 * 0.01 / np.sqrt(2))
    assert np.isnan(residual("drift").score(xr.Dataset(), truth))


def test_no_estimate_is_better_than_the_bound() -> None:
    """It grants a crystal that is known but for its strain: below what is reached."""
    bound = cramer_rao(quick(), seed=3)
    assert not bound.attrs["undetermined"]
    for name in QUANTITIES:
        assert 0 < float(bound[name]) < float(estimate()[f"{name}_std"])


def test_without_the_largest_drift_no_distance_of_a_lattice_is_given() -> None:
    told = quick().settings.solver  # type: ignore[attr-defined]
    assert told.registration.largest_shift is None
    found = haadf_reference(sample().measurement)
    assert not set(QUANTITIES) & set(found.data_vars)
    reasons = " ".join(found.attrs["undetermined"])
    assert "m_m, m_m_olio, m_m_li" in reasons
    assert "largest_shift" in reasons
    # 2.3 Å from frame to frame: the solver must not be told what is not so.
    fast = scenario("li-rich-haadf-drift", distortion={"drift": (0.0, 4.0)})
    assert fast.solver.keywords["registration"].largest_shift is None  # type: ignore[attr-defined]


# --- the bound's marginal information ----------------------------------------------------------


def some_lines(seed: int, count: int) -> tuple[Array, Array, Array]:
    """Information of lines about six parameters, their slopes (line, datum, 6), and times."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(count, 5, 6)) * np.array([3, 3, 3, 3, 1, 1])
    return np.swapaxes(slopes, 1, 2) @ slopes, slopes, np.cumsum(rng.uniform(0.5, 1, count))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    jitter=st.sampled_from([0.0, 0.3, 2.0]),
    random=st.sampled_from([0.0, 0.5]),
    along=st.floats(1.0, 8.0),
)
def test_marginal_information_is_that_of_the_dense_covariance(
    seed: int, jitter: float, random: float, along: float
) -> None:
    """Data of unit noise plus what drift and jitter add to their covariance, term by term."""
    information, slopes, times = some_lines(seed, 12)
    distortion = ScanDistortion(line_jitter=jitter, random_drift=random, correlation_time=along)
    found = marginal_information(information, times, distortion)
    apart = (times[:, None] - times) / along
    # A flat prior on the velocity is one of 1e3 Å in the series.
    drawn = random**2 * np.exp(-(apart**2) / 2) + jitter**2 * np.eye(12)
    drawn += 1e6 * np.outer(times - times.mean(), times - times.mean())
    moved = np.einsum("lda,mea,lm->ldme", slopes[..., 4:], slopes[..., 4:], drawn).reshape(60, 60)
    flat = slopes.reshape(60, 6)
    wanted = flat.T @ np.linalg.solve(np.eye(60) + moved, flat)
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4 * np.abs(wanted).max())


def test_what_is_unknown_costs_information() -> None:
    information, _, times = some_lines(0, 12)
    calm = marginal_information(information, times, ScanDistortion())
    rough = marginal_information(information, times, ScanDistortion(line_jitter=0.5))
    drifting = ScanDistortion(line_jitter=0.5, random_drift=0.5)
    worst = marginal_information(information, times, drifting)
    for more, less in ((information.sum(axis=0), calm), (calm, rough), (rough, worst)):
        assert np.linalg.eigvalsh(more - less).min() > -1e-9 * np.abs(more).max()
        assert np.trace(more) > 1.001 * np.trace(less)
