"""Ring and shell correlation: thresholds as published, the frequency where the signal ends."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.resolution import (
    ShellCorrelation,
    Threshold,
    bit_threshold,
    shell_correlation,
)


def labelled(values: np.ndarray, step: float = 1.0) -> xr.DataArray:
    dims = ("z", "y", "x")[-values.ndim :]
    coords = {dim: np.arange(n) * step for dim, n in zip(dims, values.shape, strict=True)}
    return xr.DataArray(values, dims=dims, coords=coords)


def band_limited(shape: tuple[int, ...], limit: float, seed: int) -> np.ndarray:
    """Noise whose spectrum is flat up to a frequency and nothing beyond."""
    spectrum = np.fft.fftn(np.random.default_rng(seed).normal(size=shape))
    grids = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    spectrum[np.sqrt(sum(g**2 for g in grids)) > limit] = 0
    values = np.fft.ifftn(spectrum).real
    return np.asarray(values / values.std())


@given(n=st.floats(2, 1e6))
def test_thresholds_as_the_numbers_in_print(n: float) -> None:
    """van Heel & Schatz (2005): the rounded constants of their half-bit and one-bit curves."""
    half = (0.2071 + 1.9102 / np.sqrt(n)) / (1.2071 + 0.9102 / np.sqrt(n))
    one = (0.5 + 2.4142 / np.sqrt(n)) / (1.5 + 1.4142 / np.sqrt(n))
    assert bit_threshold(np.array([n]), Threshold.HALF_BIT)[0] == pytest.approx(half, abs=1e-4)
    assert bit_threshold(np.array([n]), Threshold.ONE_BIT)[0] == pytest.approx(one, abs=1e-4)


@given(
    limit=st.floats(0.1, 0.35),
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(96, 96), (80, 100), (40, 44, 48)]),
    step=st.floats(0.5, 100),
)
def test_the_end_of_the_signal_is_found(
    limit: float, seed: int, shape: tuple[int, ...], step: float
) -> None:
    signal = band_limited(shape, limit, seed)
    rng = np.random.default_rng(seed)
    halves = [labelled(signal + rng.normal(0, 1.0, shape), step) for _ in range(2)]
    found = shell_correlation(*halves, options=ShellCorrelation(taper=0.5))
    # The taper smears the edge over about two rings; one more for chance.
    ring = 1 / min(shape)
    assert step / float(found.full_period) == pytest.approx(limit, abs=3 * ring)
    assert float(found.half_period) == pytest.approx(float(found.full_period) / 2)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_twice_never_ends(seed: int) -> None:
    image = labelled(np.random.default_rng(seed).normal(size=(64, 64)))
    found = shell_correlation(image, image * 3)
    assert np.isnan(found.full_period)
    assert bool(found.beyond_two_thirds)
    np.testing.assert_allclose(found.correlation.values, 1)


def test_independent_noise_resolves_nothing() -> None:
    """In how many of 200 pairs of noise a ring beyond the first few is called resolved."""
    rng = np.random.default_rng(5)
    ends = []
    for _ in range(200):
        pair = [labelled(rng.normal(size=(48, 48))) for _ in range(2)]
        ends.append(float(shell_correlation(*pair).full_period))
    assert np.mean(np.array(ends) < 48 / 4) < 0.02
    assert np.isinf(ends).mean() > 0.5


def test_a_cone_sees_one_direction_only() -> None:
    """Sharp along y, blurred along x."""
    shape = (96, 96)
    spectrum = np.fft.fftn(np.random.default_rng(3).normal(size=shape))
    spectrum[:, np.abs(np.fft.fftfreq(96)) > 0.1] = 0
    signal = np.fft.ifftn(spectrum).real
    rng = np.random.default_rng(4)
    halves = [labelled(signal / signal.std() + rng.normal(0, 0.2, shape)) for _ in range(2)]
    along = [
        float(shell_correlation(*halves, options=ShellCorrelation(cone=20, axis=axis)).full_period)
        for axis in (0, 1)
    ]
    assert along[1] == pytest.approx(10, rel=0.3)
    assert not along[0] > 4


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (labelled(np.eye(16)[:, :15]), "alike"),
        (labelled(np.eye(16), 2.0), "resample"),
        (labelled(np.full((16, 16), np.nan)), "not finite"),
        (labelled(np.ones((16, 16))), "one value only"),
    ],
)
def test_what_cannot_be_correlated_is_refused(second: xr.DataArray, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        shell_correlation(labelled(np.eye(16)), second)
