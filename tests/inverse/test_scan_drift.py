"""Drift of a rocking-curve map: found from moments of frames, or said not to be determined."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echolith as el
from echolith.inverse.diffraction_map import DiffractionMap, recover_map
from echolith.inverse.frame_moments import frame_moments
from echolith.inverse.place_gradients import place_gradients
from echolith.inverse.place_peaks import gathered, whole_moves
from echolith.inverse.scan_drift import Drift, drift_of_moments

Array = npt.NDArray[np.float64]

ETAS, PIXELS = 25, 32
TO_Q = 1e-3 * np.array([[1.0, 0.3, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
"""Q along three axes for steps of eta, rows and columns."""
WIDTHS = 1e-3 * np.array([2.5, 3.0, 2.5])
TRIPLES = st.tuples(*[st.floats(-0.15, 0.15)] * 2)


def bent_crystal(drift: tuple[float, float], seed: int, bend: float = 2.0) -> Array:
    """Draw moments of frames of a crystal whose centre of the peak wanders over the map."""
    rng = np.random.default_rng(seed)
    turn = np.arange(ETAS) - (ETAS - 1) / 2
    rows, columns = np.meshgrid(np.arange(26.0), np.arange(24.0), indexing="ij")
    y = rows[..., None] + drift[0] * turn
    x = columns[..., None] + drift[1] * turn
    fields = []
    for _ in range(3):
        waves = rng.uniform(-0.2, 0.2, (3, 2))
        phases = rng.uniform(0, 2 * np.pi, 3)
        field = sum(np.sin(a * y + b * x + c) for (a, b), c in zip(waves, phases, strict=True))
        fields.append(bend * field / np.sqrt(1.5))
    angle, high, wide = fields
    spread = np.linalg.inv(TO_Q) @ np.diag(WIDTHS**2) @ np.linalg.inv(TO_Q).T
    slope = spread[0, 1] / spread[0, 0]
    within = np.array([spread[1, 1] - slope * spread[0, 1], spread[2, 2]])
    away = turn - angle
    mean = 2000 * np.exp(-0.5 * away**2 / spread[0, 0]) / np.sqrt(2 * np.pi * spread[0, 0])
    n = rng.poisson(mean).astype(float)
    noise = rng.standard_normal((2, *n.shape)) * np.sqrt(within[:, None, None, None])
    i = 16 + high + slope * away + noise[0] / np.sqrt(np.maximum(n, 1))
    j = 16 + wide + noise[1] / np.sqrt(np.maximum(n, 1))
    squares = [n * (i * i + within[0]), n * (j * j + within[1]), n * i * j]
    return np.stack([n, n * i, n * j, *squares, np.zeros_like(n)], axis=-1)


def linear_vectors() -> Array:
    grid = np.meshgrid(np.arange(ETAS), np.arange(PIXELS), np.arange(PIXELS), indexing="ij")
    return np.stack(grid, axis=-1).astype(float) @ TO_Q.T


def found_drift(moments: Array) -> Drift:
    return drift_of_moments(moments, linear_vectors())


@settings(max_examples=8)
@given(drift=TRIPLES, seed=st.integers(0, 2**16))
def test_an_injected_drift_is_found_within_its_uncertainty(
    drift: tuple[float, float], seed: int
) -> None:
    found = found_drift(bent_crystal(drift, seed))
    assert not found.undetermined
    pulls = (found.steps - drift) / found.std
    # Beyond 5.5 standard deviations by chance once in 1e7; 0.1 px of steps an eta is resolved.
    assert (np.abs(pulls) < 5.5).all()
    assert (found.std < 0.03).all()


def test_pulls_of_many_crystals_are_normal() -> None:
    found = [found_drift(bent_crystal((0.03, -0.06), seed)) for seed in range(16)]
    pulls = np.array([(one.steps - [0.03, -0.06]) / one.std for one in found]).ravel()
    # The standard deviation of 32 pulls is known to 13 %, their mean to 0.18.
    assert 0.5 < pulls.std() < 1.5
    assert abs(pulls.mean()) < 0.7


@settings(max_examples=3)
@given(drift=TRIPLES, seed=st.integers(0, 2**16))
def test_a_flipped_scan_has_the_flipped_drift(drift: tuple[float, float], seed: int) -> None:
    moments = bent_crystal(drift, seed)
    found = found_drift(moments)
    for flipped, signs in ((moments[::-1], (-1, 1)), (moments[:, ::-1], (1, -1))):
        other = found_drift(flipped)
        # Points that come and go with the last step of the search leave a part of the uncertainty.
        assert np.allclose(other.steps, found.steps * signs, atol=0.3 * found.std.max())
    turned = found_drift(moments.swapaxes(0, 1))
    assert np.allclose(turned.steps, found.steps[::-1], atol=0.3 * found.std.max())


def test_a_crystal_without_gradients_does_not_tell_its_drift() -> None:
    found = found_drift(bent_crystal((0.1, 0.0), 1, bend=1e-3))
    assert "tilt and strain vary too little" in found.undetermined
    assert np.isnan(found.steps).all()
    assert np.isinf(found.std).all()
    assert not found.applied.any()


def test_too_few_points_do_not_tell_a_drift() -> None:
    found = found_drift(bent_crystal((0.0, 0.0), 1)[:6, :6])
    assert "points have a peak" in found.undetermined


@given(
    drift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    shape=st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(5, 12)),
)
def test_every_frame_goes_whole_to_one_place_or_beyond_the_rim(
    drift: tuple[float, float], shape: tuple[int, int, int]
) -> None:
    numbers = np.arange(float(np.prod(shape))).reshape(*shape, 1)
    moves = whole_moves(np.array(drift), shape[2])
    moved = gathered(numbers, moves)
    kept = moved[np.isfinite(moved)]
    assert len(np.unique(kept)) == len(kept)
    # An independent slow count of the frames that stay on the scan.
    lengths = [
        max(shape[0] - abs(int(dy)), 0) * max(shape[1] - abs(int(dx)), 0) for dy, dx in moves
    ]
    assert len(kept) == sum(lengths)
    assert np.abs(moves - (np.arange(shape[2]) - (shape[2] - 1) / 2)[:, None] * drift).max() <= 0.5


@given(terms=st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_gradients_of_a_quadratic_are_exact_and_stop_at_jumps(terms: list[float]) -> None:
    y, x = np.meshgrid(np.arange(14.0), np.arange(12.0), indexing="ij")
    a, b, c, d, e, f = terms
    # A wave as large as the quadratic's own steps, in a second value, keeps the limit of jumps.
    field = a + b * y + c * x + 0.02 * (d * y * y + e * y * x + f * x * x)
    slopes = place_gradients(field[..., None], np.ones(y.shape, dtype=bool))
    known = np.isfinite(slopes[..., 0, 0])
    expected = np.stack([b + 0.04 * d * y + 0.02 * e * x, c + 0.02 * e * y + 0.04 * f * x], -1)
    assert np.allclose(slopes[known][:, 0], expected[known], atol=1e-7)
    steps = np.abs(np.concatenate([np.diff(field, axis=k).ravel() for k in (0, 1)]))
    parted = np.where(x > 5, field + 100 * steps.max() + 1, field)
    torn = place_gradients(parted[..., None], np.ones(y.shape, dtype=bool))
    assert not np.isfinite(torn[:, 5:7]).any()


def test_a_map_with_the_drift_found_is_as_good_as_with_the_drift_known() -> None:
    drift = (0.06, -0.04)
    curve: dict[str, Any] = {"scan": (26, 24), "etas": 31, "drift": drift}
    scenario = el.scenario("nmc622-sxdm", curve=curve, domains=1)
    sample = scenario.simulate(seed=3)
    estimate = scenario.solver(sample.measurement)
    assert estimate.attrs["undetermined"] == []
    for name, true in zip(("drift_y", "drift_x"), drift, strict=True):
        assert float(estimate[name]) == pytest.approx(true, abs=5 * float(estimate[f"{name}_std"]))
    reference = sample.specimen.reference
    known = recover_map(
        sample.measurement, options=DiffractionMap(reference=reference, drift=drift)
    )
    scores, best = (scenario.score(one, sample.truth) for one in (estimate, known))
    for name in ("strain_rms", "tilt_x_rms", "tilt_y_rms"):
        # Frames at a place differ by a whole step for some etas: a tenth for chance.
        assert scores[name].value < 1.1 * best[name].value, name


def test_frames_without_beam_and_without_light_have_no_moments() -> None:
    rng = np.random.default_rng(1)
    i, j = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    spot = 3 * np.exp(-0.5 * ((i - 7) ** 2 + (j - 9) ** 2) / 4)
    counts = rng.poisson(np.stack([np.stack([spot + 0.02] * 9), np.full((9, 16, 16), 0.0)]))
    monitor = np.ones(9)
    monitor[4] = 0
    found = frame_moments(counts, np.ones((16, 16), dtype=bool), monitor)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[0, 4]).all()
    rest = np.delete(found[0], 4, axis=0)
    # 600 photons of standard deviation 2: the centre is known to 0.08.
    assert rest[:, 1].sum() / rest[:, 0].sum() == pytest.approx(7, abs=0.4)
    assert rest[:, 2].sum() / rest[:, 0].sum() == pytest.approx(9, abs=0.4)
    assert rest[:, 0].mean() == pytest.approx(spot.sum(), rel=0.15)


def test_a_known_drift_is_not_searched_for() -> None:
    scenario = el.scenario("nmc622-sxdm", curve={"scan": (9, 8)}, domains=1, tilt=0.02)
    sample = scenario.simulate(seed=1)
    estimate = recover_map(sample.measurement, options=DiffractionMap(drift=(0.1, 0.0)))
    assert float(estimate.drift_y) == 0.1
    assert float(estimate.drift_y_std) == 0
    searched = recover_map(sample.measurement)
    assert np.isnan(float(searched.drift_y))
    assert "points have a peak" in searched.attrs["undetermined"][0]
