"""Filters of lattice images: their gains, what they pass of noise, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from echolith.errors import BadInputError
from echolith.inverse.image_filters import (
    background_subtracted,
    bragg_masked,
    low_passed,
    rotational_average,
    wiener_filtered,
)

images = arrays(float, st.tuples(st.integers(8, 24), st.integers(8, 24)), elements=st.floats(-9, 9))


@given(image=images, scale=st.floats(0.1, 10), level=st.floats(-5, 5))
def test_background_filters_scale_keep_the_mean_and_never_amplify(
    image: np.ndarray, scale: float, level: float
) -> None:
    for filter_ in (background_subtracted, wiener_filtered):
        filtered = filter_(image)
        assert filtered.mean() == pytest.approx(image.mean(), abs=1e-9)
        assert filtered.var() <= image.var() * (1 + 1e-9) + 1e-12
        assert np.allclose(filter_(scale * image + level), scale * filtered + level, atol=1e-6)


def test_background_subtraction_alone_passes_an_eighth_of_pure_noise() -> None:
    noise = np.random.default_rng(1).poisson(5.0, (256, 256)).astype(float)
    # Amplitudes of noise are Rayleigh distributed with mean B = sqrt(pi) / 2 of the rms; the
    # integral of (a - B)² above B is 0.126, that of (a² - B²)² / a² is 0.295.
    assert background_subtracted(noise).var() / noise.var() == pytest.approx(0.126, abs=0.01)
    assert wiener_filtered(noise).var() / noise.var() == pytest.approx(0.295, abs=0.012)


@given(cutoff=st.floats(0.2, 0.8), cycles=st.integers(1, 20))
def test_low_pass_damps_a_wave_by_its_gain(cutoff: float, cycles: int) -> None:
    wave = np.cos(2 * np.pi * cycles * np.arange(64) / 64)
    image = np.tile(wave, (48, 1))
    gain = np.exp(-np.log(2) * (cycles / (64 * 0.5) / cutoff) ** 4)
    assert np.allclose(low_passed(image, pixel=0.5, cutoff=cutoff), gain * image, atol=1e-9)


def test_a_bragg_mask_passes_what_it_names() -> None:
    x, y = np.meshgrid(np.arange(64) * 0.5, np.arange(48) * 0.5)
    kept = 3 + np.cos(2 * np.pi * (0.25 * x + 0.125 * y))
    lost = np.cos(2 * np.pi * (0.25 * x - 0.125 * y))
    found = bragg_masked(kept + lost, pixel=0.5, reflections=[[0.25, 0.125]], radius=0.05)
    assert np.allclose(found, kept, atol=1e-9)


def test_a_rotational_average_is_that_of_each_ring() -> None:
    radius = np.hypot(*np.meshgrid(np.arange(-20, 21), np.arange(-15, 16)))
    # Beyond the middles of the first and the last ring nothing is extrapolated.
    inner = (radius > 3) & (radius < 23)
    ramp = rotational_average(3 * radius, radius, rings=12)
    assert np.allclose(ramp[inner], 3 * radius[inner], atol=1.5)
    assert np.allclose(rotational_average(np.ones_like(radius), radius, rings=12), 1)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(BadInputError, match="two axes"):
        background_subtracted(np.zeros((3, 8, 8)))
    with pytest.raises(BadInputError, match="not finite"):
        wiener_filtered(np.full((8, 8), np.nan))
