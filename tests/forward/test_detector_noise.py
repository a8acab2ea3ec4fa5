"""Read-out noise and saturation: conformance, moments, and information against plain integrals."""

from functools import partial

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.noise import PoissonCounting
from echolith.forward.readout_information import pixel_information
from echolith.validation.conformance import check_noise
from echolith.validation.distortion_strategies import detector_noises

FRAME = ("scan_y", "scan_x", "detector_y", "detector_x")


def frames(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"counts": (FRAME, values, {"units": "electrons"})})


def flat(mean: float, shape: tuple[int, ...] = (20, 20, 16, 16)) -> xr.Dataset:
    return frames(np.full(shape, mean, dtype=np.float32))


def test_it_conforms() -> None:
    mean = frames(np.random.default_rng(0).gamma(0.5, 6, (6, 8, 12, 12)).astype(np.float32))
    for noise in (DetectorNoise(readout=1.5), DetectorNoise(saturation=4000)):
        check_noise(
            noise,
            mean=mean,
            variance=partial(np.add, noise.readout**2),
            information_at=(2.0,),
        )


@given(detector_noises(), st.integers(0, 2**40), st.sampled_from([1, 2, 3]))
def test_bits_do_not_depend_on_chunks(noise: DetectorNoise, seed: int, rows: int) -> None:
    mean = frames(np.random.default_rng(1).gamma(0.5, 6, (3, 4, 5, 6)).astype(np.float32))
    whole = noise.sample(mean, seed=seed)
    lazy = noise.sample(mean.chunk(scan_y=rows, scan_x=2, detector_x=4), seed=seed)
    assert lazy.counts.chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)
    assert whole.counts.attrs == mean.counts.attrs
    assert noise.sample(mean, seed=seed + 1).counts.values.tolist() != whole.counts.values.tolist()


@given(st.integers(0, 2**40))
def test_the_counts_are_those_of_poisson_counting(seed: int) -> None:
    mean = flat(3.0, (2, 3, 4, 5)).assign(haadf=(FRAME[:2], np.full((2, 3), 4.0)))
    counts = PoissonCounting().sample(mean, seed=seed)
    xr.testing.assert_identical(DetectorNoise().sample(mean, seed=seed), counts)
    clipped = DetectorNoise(saturation=3).sample(mean, seed=seed)
    np.testing.assert_array_equal(clipped.counts, np.minimum(counts.counts, 3))
    assert clipped.counts.dtype == np.uint8  # as small as a detector would record
    noisy = DetectorNoise(saturation=3, readout=1e-3).sample(mean, seed=seed)
    np.testing.assert_allclose(noisy.counts, clipped.counts, atol=6e-3)
    np.testing.assert_array_equal(noisy.haadf, counts.haadf)  # another detector


@pytest.mark.parametrize(("mean", "readout", "most"), [(0.5, 0.7, 2), (6.0, 2.0, 5), (0.0, 0.3, 9)])
def test_moments(mean: float, readout: float, most: int) -> None:
    drawn = DetectorNoise(readout=readout, saturation=most).sample(flat(mean), seed=3)
    values = drawn.counts.values.ravel().astype(float)
    k = np.arange(most + 1)
    share = stats.poisson.pmf(k, mean)
    share[-1] = stats.poisson.sf(most - 1, mean)
    wanted = share @ k
    variance = share @ (k - wanted) ** 2 + readout**2
    n = values.size
    # Five standard errors; a fourth moment below six squared variances for that of the variance.
    assert abs(values.mean() - wanted) < 5 * np.sqrt(variance / n)
    assert abs(values.var() - variance) < 5 * variance * np.sqrt(5 / n)


def plain_information(mean: float, readout: float, most: int) -> float:
    k = np.arange(most + 1)
    # The rectangle rule is exact to rounding for Gaussians that it cuts into twenties.
    y = np.arange(-8 * readout, most + 8 * readout, readout / 20)
    peaks = stats.norm.pdf(y[:, None] - k, scale=readout)

    def density(mu: float) -> np.ndarray:
        share = stats.poisson.pmf(k, mu)
        share[-1] = stats.poisson.sf(most - 1, mu)
        return np.asarray(peaks @ share)

    h = 1e-4 * mean
    slope = (density(mean + h) - density(mean - h)) / (2 * h)
    return float(np.sum(slope**2 / density(mean)) * readout / 20)


@pytest.mark.parametrize(
    ("mean", "readout", "most"),
    [(0.3, 0.4, 30), (2.0, 1.0, 40), (5.0, 0.5, 4), (20.0, 3.0, 80), (3.0, 0.2, 2)],
)
def test_information_is_the_integral(mean: float, readout: float, most: int) -> None:
    ours = DetectorNoise(readout=readout, saturation=most).information(
        np.array([mean]), np.array([[2.0]])
    )
    # Differences of 1e-4.
    np.testing.assert_allclose(ours, 4 * plain_information(mean, readout, most), rtol=1e-5)


@given(st.floats(1e-3, 1e4), st.floats(0.05, 10))
def test_information_lies_between_its_limits(mean: float, readout: float) -> None:
    one = np.array([mean])
    own = float(pixel_information(one, readout=readout, saturation=None)[0])
    # The reciprocal variance is the least of all distributions of that mean (Cramér and Rao);
    # nothing gained on the way from the counts.
    assert 1 / (mean + readout**2) * (1 - 1e-9) <= own <= 1 / mean * (1 + 1e-9)
    clipped = float(pixel_information(one, readout=readout, saturation=10.0)[0])
    assert clipped <= own * (1 + 1e-5)


@given(st.floats(0.3, 5))
def test_a_dark_pixel_informs_by_its_read_out(readout: float) -> None:
    noise = DetectorNoise(readout=readout)
    dark = noise.information(np.array([0.0]), np.array([[1.0]]))
    # chi-squared distance of N(1) from N(0).
    np.testing.assert_allclose(dark, np.expm1(1 / readout**2))
    nearly = pixel_information(np.array([1e-15]), readout=readout, saturation=None)
    np.testing.assert_allclose(nearly, dark[0], rtol=1e-3)


@given(st.floats(0.0, 5), st.sampled_from([None, 3.0, 60.0]))
def test_many_means_as_one_by_one(readout: float, saturation: float | None) -> None:
    mean = np.exp(np.random.default_rng(2).uniform(np.log(1e-4), np.log(100), 600))
    if readout == 0 and saturation is None:
        return
    together = pixel_information(mean, readout=readout, saturation=saturation)
    alone = pixel_information(mean[:40], readout=readout, saturation=saturation)
    # Relative to the noise's own scale: what saturates tells next to nothing.
    scale = mean[:40] + readout**2
    np.testing.assert_allclose(together[:40] * scale, alone * scale, rtol=1e-4, atol=2e-5)


def test_without_read_out_or_saturation_it_is_poisson() -> None:
    mean, jacobian = np.array([0.0, 3.0, 5.0]), np.array([[0.0], [1.0], [2.0]])
    ours = DetectorNoise().information(mean, jacobian)
    np.testing.assert_array_equal(ours, PoissonCounting().information(mean, jacobian))
    far = DetectorNoise(saturation=1000).information(mean, jacobian)
    np.testing.assert_allclose(far, ours)


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="readout = -1 electrons"):
        DetectorNoise(readout=-1)
    with pytest.raises(BadInputError, match=r"saturation = 2\.5 electrons"):
        DetectorNoise(saturation=2.5)
    with pytest.raises(BadInputError, match="none of the variables counts"):
        DetectorNoise(readout=1).sample(xr.Dataset({"haadf": ("x", np.ones(3))}), seed=0)
    with pytest.raises(BadInputError, match="do not belong together"):
        DetectorNoise(readout=1).information(np.ones(3), np.ones((2, 1)))
    with pytest.raises(BadInputError, match="expected finite numbers"):
        DetectorNoise(readout=1).information(np.array([-1.0]), np.ones((1, 1)))
    with pytest.raises(BadInputError, match="infinite Fisher information"):
        DetectorNoise(saturation=5).information(np.array([0.0]), np.ones((1, 1)))
