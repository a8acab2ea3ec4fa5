"""Interpolation between scan positions, held to plane waves: their values are known anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Scan
from echolith.forward.position_interpolation import BandKernel, Interpolation, band_kernel
from echolith.forward.resampled_scan import on_raster, resampled_scan
from tests.forward.small_specimen import BEAM, acquisition

FLOAT32 = 1e-6
KERNEL = band_kernel(0.35, 0.0, 1e-4)
SPREAD = band_kernel(0.3, 1.2, 1e-4)


def test_kernels_are_as_good_as_asked_and_no_longer_than_needed() -> None:
    for kernel in (KERNEL, SPREAD):
        assert kernel.error < 1e-4
        shorter = BandKernel(limit=kernel.limit, blur=kernel.blur, reach=kernel.reach - 1)
        assert shorter.error > 1e-4
        np.testing.assert_allclose(kernel.table.sum(axis=1), 1, atol=1e-12)
    # At the Nyquist frequency a wave and its image are the same numbers: no kernel can tell.
    assert band_kernel(0.5, 0.0, 1e-4).error > 0.1


@given(
    st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 6.3), st.integers(0, 2**32 - 1), st.booleans()
)
def test_waves_inside_the_band_are_drawn_within_the_stated_error(
    fy: float, fx: float, phase: float, seed: int, spread: bool
) -> None:
    one = SPREAD if spread else KERNEL
    tool = Interpolation(y=one, x=KERNEL)
    qy, qx = fy * one.limit, fx * KERNEL.limit
    y, x = np.arange(50)[:, None], np.arange(46)
    raster = np.cos(2 * np.pi * (qy * y + qx * x) + phase)
    points = np.random.default_rng(seed).uniform(20, 28, (30, 2))
    wanted = np.cos(2 * np.pi * points @ [qy, qx] + phase)
    wanted *= np.exp(-2 * (np.pi * one.blur * qy) ** 2)
    assert np.abs(tool.image(raster, points) - wanted).max() < tool.error + FLOAT32
    stack = np.stack([raster, raster + 1], axis=-1).astype(np.float32)
    frames = tool.frames(stack, points)
    assert np.abs(frames - wanted[:, None] - [0, 1]).max() < tool.error + 10 * FLOAT32


@given(st.integers(-4, 4), st.integers(-5, 5), st.integers(0, 2**32 - 1))
def test_a_period_is_continued(my: int, mx: int, seed: int) -> None:
    tool = Interpolation(y=KERNEL, x=KERNEL)
    y, x = np.arange(14)[:, None], np.arange(16)
    raster = np.cos(2 * np.pi * (my * y / 14 + mx * x / 16))
    points = np.random.default_rng(seed).uniform(-60, 60, (30, 2))
    wanted = np.cos(2 * np.pi * points @ [my / 14, mx / 16])
    assert np.abs(tool.image(raster, points, wraps=True) - wanted).max() < tool.error + FLOAT32


def test_bits_of_a_point_do_not_depend_on_the_others() -> None:
    tool = Interpolation(y=KERNEL, x=KERNEL)
    random = np.random.default_rng(0)
    raster, points = random.random((60, 60)), random.uniform(20, 40, (50, 2))
    np.testing.assert_array_equal(tool.image(raster, points)[7:9], tool.image(raster, points[7:9]))


@pytest.mark.parametrize("step", [0.1, 0.3, 0.6])
def test_the_raster_reaches_as_far_as_is_needed(step: float) -> None:
    scan = Scan(shape=(5, 7), step=(step, 0.9 * step), rotation=10)
    moved = np.random.default_rng(1).normal(scale=0.5, size=(2, 5, 7, 2))
    beam = BEAM.model_copy(update={"source_spread": 0.3})
    resampled = resampled_scan(beam, scan, moved)
    assert max(resampled.raster.step) == 0.7 * beam.wavelength / (4e-3 * beam.semiangle)
    assert resampled.interpolation.error < 3e-4
    middle = (np.array(resampled.raster.shape) - 1) / 2
    steps = np.array(resampled.raster.step)
    meant = (resampled.pixels - middle) * steps - moved[..., ::-1]
    y, x = np.arange(5) * step, np.arange(7) * 0.9 * step
    wanted = np.stack(np.broadcast_arrays(y[:, None] - y.mean(), x - x.mean()), axis=-1)
    np.testing.assert_allclose(meant, np.broadcast_to(wanted, meant.shape), atol=1e-12)
    reach = np.array([resampled.interpolation.y.reach, resampled.interpolation.x.reach])
    low, high = np.floor(resampled.pixels) + 1 - reach, np.floor(resampled.pixels) + reach
    assert low.min() >= 0
    assert (high <= np.array(resampled.raster.shape) - 1).all()
    taken = acquisition(scan=scan)
    other = on_raster(taken, resampled.raster)
    np.testing.assert_allclose(other.electrons_per_position, taken.electrons_per_position)
