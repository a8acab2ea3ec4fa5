"""Drift and jitter of a scan: their statistics, and where things appear in the image."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import least_squares

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan
from echolith.forward.displacement_field import displacement_at
from echolith.forward.scan_distortion import (
    AffineDistortion,
    ScanDistortion,
    affine_part,
    image_to_true,
    true_to_image,
)
from echolith.validation.distortion_strategies import scan_distortions
from echolith.validation.strategies import scans

FloatArray = npt.NDArray[np.float64]
SCAN = Scan(shape=(40, 60), step=(0.2, 0.25), rotation=15)


def pixels(scan: Scan) -> FloatArray:
    y, x = (np.arange(n) * step for n, step in zip(scan.shape, scan.step, strict=True))
    return np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)


@given(scan_distortions(), scans())
def test_displacements_are_repeatable_and_centred(distortion: ScanDistortion, scan: Scan) -> None:
    one = distortion.displacements(scan)
    assert one.shape == (*scan.shape, 2)
    np.testing.assert_array_equal(one, distortion.displacements(scan))
    # Rounding of a sum, relative to the path it is taken from.
    np.testing.assert_allclose(one.mean(axis=(0, 1)), 0, atol=1e-9 * (1 + np.abs(one).max()))
    assert one.any() == (not distortion.still) or np.prod(scan.shape) == 1


@given(scan_distortions(), st.integers(3, 30))
def test_more_lines_do_not_change_those_before(distortion: ScanDistortion, lines: int) -> None:
    short, long = (Scan(shape=(n, 7), step=0.2) for n in (lines, lines + 11))
    np.testing.assert_array_equal(distortion.path(long)[:lines], distortion.path(short))


@given(scan_distortions(), st.floats(0, 100))
def test_frames_continue_the_drift_and_have_their_own_jitter(
    distortion: ScanDistortion, start: float
) -> None:
    smooth = distortion.model_copy(update={"line_jitter": 0.0, "position_jitter": 0.0})
    scan = Scan(shape=(4, 5), step=0.2)
    twice = Scan(shape=(8, 5), step=0.2)
    whole = smooth.path(twice, start=start)
    second = smooth.path(scan, start=start + smooth.frame_time(scan), frame=1)
    scale = 1 + float(np.abs(whole).max())
    # The time of a position is a sum rounded in another order; drift may be fast.
    np.testing.assert_allclose(second, whole[4:], atol=1e-6 * scale)
    shaken = ScanDistortion(line_jitter=0.1, seed=distortion.seed)
    assert (shaken.path(scan, frame=1) != shaken.path(scan)).all()


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), scans(smallest=3))
def test_drift_has_the_strain_asked_for(y: float, x: float, scan: Scan) -> None:
    drifting = ScanDistortion.from_strain(scan, strain=(y, x), flyback=0.01)
    strain = drifting.linear_strain(scan)
    np.testing.assert_allclose(strain[:, 1], [x, y], atol=1e-12)
    parts = affine_part(drifting.displacements(scan), scan)
    np.testing.assert_allclose(parts.strain, strain, atol=1e-9)
    np.testing.assert_allclose(parts.residual, 0, atol=1e-9)
    corner = pixels(scan)[-1, -1]
    moved = drifting.displacements(scan)
    np.testing.assert_allclose(moved[-1, -1] - moved[0, 0], strain @ corner, atol=1e-9)


def test_drift_in_seconds() -> None:
    # 0.5 Å/s along x, 60 positions of 10 ms and 0.4 s of flyback a line: a line a second.
    drifting = ScanDistortion(drift=(0.0, 0.5), dwell=0.01, flyback=0.4)
    assert drifting.line_time(SCAN) == pytest.approx(1.0)
    assert drifting.frame_time(SCAN) == pytest.approx(40.0)
    path = drifting.path(SCAN)
    np.testing.assert_allclose(path[:, 0, 0], 0.5 * np.arange(40), atol=1e-12)
    np.testing.assert_allclose(path[0, :, 0], 0.005 * np.arange(60), atol=1e-12)
    assert not path[..., 1].any()


def test_random_drift_has_the_deviation_and_correlation_it_states() -> None:
    scan = Scan(shape=(2000, 1), step=0.1)
    every = []
    for seed in range(100):
        wandering = ScanDistortion(
            random_drift=0.3, correlation_time=2.0, dwell=0.25, seed=seed
        )  # fmt: skip
        every.append(wandering.path(scan)[:, 0])
    path = np.array(every)  # (seeds, times, xy)
    # 500 s of correlation time 2 s, twice over, a hundred times: about 2e4 independent values
    # (correlation integral 2 sqrt(pi)), so 1/sqrt(2e4) = 0.7 % of a variance; five of these.
    for lag in (0, 4, 8, 16):
        seen = (path[:, : 2000 - lag] * path[:, lag:]).mean()
        wanted = 0.09 * np.exp(-((0.25 * lag) ** 2) / (2 * 2.0**2))
        assert abs(seen - wanted) < 5 * 0.09 * 0.01
    assert abs((path[..., 0] * path[..., 1]).mean()) < 5 * 0.09 * 0.01
    assert np.abs(np.diff(path, axis=1)).max() < 0.3 * 5 * 0.25 / 2.0 * 1.5  # smooth


def test_jitter_has_the_deviation_it_states() -> None:
    scan = Scan(shape=(400, 50), step=0.1)
    lines = ScanDistortion(line_jitter=0.05, seed=3).path(scan)
    assert np.ptp(lines, axis=1).max() == 0
    # 800 normal draws: 1/sqrt(1600) of the deviation, five times.
    np.testing.assert_allclose(lines[:, 0].std(), 0.05, rtol=5 / 40)
    shaken = ScanDistortion(position_jitter=0.02, seed=3).path(scan)
    np.testing.assert_allclose(shaken.std(), 0.02, rtol=5 / 280)
    # Neighbours are independent: 2e4 products.
    assert abs((shaken[:, 1:] * shaken[:, :-1]).mean()) < 5 * 0.02**2 / 141
    assert (ScanDistortion(position_jitter=0.02, seed=4).path(scan) != shaken).all()


SMOOTH = ScanDistortion.from_strain(
    SCAN, strain=(0.06, -0.04), random_drift=0.3, correlation_time=0.1, seed=1
)


@given(st.floats(1, 7), st.floats(1, 13), st.sampled_from([0.0, 0.3, 0.5]))
def test_the_way_there_and_back(y: float, x: float, width: float) -> None:
    point = np.array([x, y])
    image = SMOOTH.true_to_image(point, SCAN, width=width)
    np.testing.assert_allclose(SMOOTH.image_to_true(image, SCAN, width=width), point, atol=2e-6)


def test_what_a_position_sees_appears_at_that_position() -> None:
    moved = SMOOTH.displacements(SCAN)
    there = pixels(SCAN) + moved
    np.testing.assert_allclose(true_to_image(there, moved, SCAN, width=0), pixels(SCAN), atol=2e-6)
    np.testing.assert_allclose(image_to_true(pixels(SCAN), moved, SCAN, width=0), there, atol=1e-12)


def test_an_affine_field_is_inverted_exactly_even_outside_the_scan() -> None:
    strain = np.array([[0.03, -0.05], [0.02, 0.08]])
    distortion = AffineDistortion(strain=(tuple(strain[0]), tuple(strain[1])))
    moved = distortion.displacements(SCAN)
    points = np.array([[3.0, 4.0], [-5.0, 20.0]])
    middle = pixels(SCAN).mean(axis=(0, 1))
    wanted = middle + np.linalg.solve(np.eye(2) + strain, (points - middle).T).T
    np.testing.assert_allclose(true_to_image(points, moved, SCAN, width=0), wanted, atol=2e-6)


def test_the_truth_in_the_image_is_where_a_fit_finds_the_column() -> None:
    width = 0.4
    shaken = ScanDistortion.from_strain(
        SCAN, strain=(0.05, 0.03), line_jitter=0.03, position_jitter=0.03, seed=8
    )  # fmt: skip
    moved = shaken.displacements(SCAN)
    there = pixels(SCAN) + moved
    points = np.random.default_rng(2).uniform([2, 2], [12, 6], (20, 2))
    for point, stated in zip(points, true_to_image(points, moved, SCAN, width=width), strict=True):
        image = np.exp(-((there - point) ** 2).sum(axis=-1) / (2 * width**2))

        def misfit(p: FloatArray, image: FloatArray = image) -> FloatArray:
            d = pixels(SCAN) - p[:2]
            shape = (p[2] * d[..., 0] ** 2 + 2 * p[3] * d[..., 0] * d[..., 1]
                     + p[4] * d[..., 1] ** 2)  # fmt: skip
            return np.asarray((p[5] * np.exp(-shape / 2) - image).ravel())

        found = least_squares(misfit, [*stated, 1 / width**2, 0, 1 / width**2, 1]).x[:2]
        # Second order in jitter over width, (0.03/0.4)² 0.4 Å = 2 mÅ; first order is 20 mÅ.
        assert np.abs(found - stated).max() < 4e-3
        assert np.abs(true_to_image(point, moved * 0, SCAN) - found).max() > 4e-3


def test_jitter_averages_over_a_column() -> None:
    shaken = ScanDistortion(position_jitter=0.05, seed=1).displacements(SCAN)
    seen = displacement_at(np.array([[7.0, 4.0]]), shaken, SCAN, width=0.5)
    assert np.abs(seen).max() < 0.05  # some 40 positions: 0.05/sqrt(20) along each axis
    wide = displacement_at(np.array([[7.0, 4.0]]), np.full_like(shaken, 0.1), SCAN, width=0.5)
    np.testing.assert_allclose(wide, 0.1, atol=1e-12)


def test_a_decomposition_is_the_field_again() -> None:
    shaken = SMOOTH.model_copy(update={"line_jitter": 0.1}).displacements(SCAN)
    parts = affine_part(shaken, SCAN)
    again = parts.offset + pixels(SCAN) @ parts.strain.T + parts.residual
    np.testing.assert_allclose(again, shaken, atol=1e-12)
    residual = affine_part(parts.residual, SCAN)
    np.testing.assert_allclose(residual.strain, 0, atol=1e-12)
    np.testing.assert_allclose(residual.offset, 0, atol=1e-12)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValidationError, match="give it in seconds"):
        ScanDistortion(dwell=133.0)
    with pytest.raises(ValidationError, match="give it in Å"):
        ScanDistortion(line_jitter=5000.0)
    with pytest.raises(ValidationError, match="drfit"):
        ScanDistortion(drfit=(1, 0))  # type: ignore[call-arg]
    with pytest.raises(BadInputError, match="strain = "):
        ScanDistortion.from_strain(SCAN, strain=(5.0, 0.0))
    with pytest.raises(BadInputError, match="two names"):
        ScanDistortion.from_strain(SCAN, strain=(0.05, 0.0), drift=(1.0, 0.0))
    with pytest.raises(BadInputError, match="start = -1 s"):
        ScanDistortion().path(SCAN, start=-1.0)
    with pytest.raises(BadInputError, match="do not belong to a scan"):
        affine_part(np.zeros((3, 3, 2)), SCAN)
    with pytest.raises(BadInputError, match="NaN"):
        affine_part(np.full((*SCAN.shape, 2), np.nan), SCAN)
    with pytest.raises(BadInputError, match="turns the image over"):
        true_to_image(
            np.zeros(2), AffineDistortion(strain=((0, 0), (0, -2))).displacements(SCAN), SCAN
        )
    wild = ScanDistortion(line_jitter=3.0).displacements(SCAN)
    with pytest.raises(BadInputError, match="fold the image"):
        true_to_image(pixels(SCAN)[10:30], wild, SCAN, width=0)
