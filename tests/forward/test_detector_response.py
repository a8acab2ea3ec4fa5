"""A detector's response, held to electrons thrown one by one and to exact sums."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.acquisition import PixelDetector, Scan
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.detector_response import DetectorResponse, detected_mean
from echolith.forward.noise import PoissonCounting
from echolith.forward.simulation import Engine
from echolith.forward.stem import stem_mean
from echolith.validation.distortion_strategies import detector_responses
from tests.forward.small_specimen import PIXEL, SIMULATION, acquisition, specimen

FRAME = ("scan_y", "scan_x", "detector_y", "detector_x")


def frames(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"counts": (FRAME, values, {"units": "electrons"}), "haadf": (FRAME[:2], values[..., 0, 0])}
    )


@given(detector_responses())
def test_kernels_are_probabilities(response: DetectorResponse) -> None:
    for axis in (0, 1):
        kernel = response.kernel(axis)
        assert (kernel >= 0).all()
        np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-14)
        # 2e-9 of a normal distribution lies beyond six standard deviations.
        np.testing.assert_allclose(kernel.sum(), 1, atol=4e-9)
        np.testing.assert_allclose(response.mtf(0.0, axis), 1, atol=4e-9)
        # Second moment: the Gaussian's, and the pixel's own at both ends.
        n = np.arange(len(kernel)) - len(kernel) // 2
        spread = response.point_spread[axis] / response.binning[axis]
        if spread > 0.5:
            assert kernel @ n**2 == pytest.approx(spread**2 + 1 / 6, rel=1e-2)


@given(st.floats(0.1, 3), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_binning_is_a_sum_of_pixels(spread: float, binning: int, seed: int) -> None:
    """Where the mean is even over each recorded pixel, spread first and bin later is the same."""
    mean = np.random.default_rng(seed).random((1, 1, 7, 5))
    binned = DetectorResponse(point_spread=(spread, 0), binning=(binning, 1))
    own = DetectorResponse(point_spread=(spread, 0))
    padded = np.pad(mean, [(0, 0), (0, 0), (20, 20), (0, 0)])
    fine = np.repeat(padded, binning, axis=2) / binning
    one = detected_mean(frames(padded), binned).counts.values
    other = detected_mean(frames(fine), own).counts.values
    other = other.reshape(1, 1, 47, binning, 5).sum(axis=3)
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_electrons_land_where_the_kernel_says() -> None:
    response = DetectorResponse(point_spread=(2.0, 0.6), binning=(4, 1), efficiency=0.7)
    mean = np.zeros((1, 1, 9, 11))
    mean[0, 0, 4, 5], mean[0, 0, 1, 9] = 3.0, 1.0
    random = np.random.default_rng(4)
    thrown = 2_000_000
    which = random.random(thrown) < 0.75
    y = np.where(which, 4, 1) + random.uniform(-0.5, 0.5, thrown)
    x = np.where(which, 5, 9) + random.uniform(-0.5, 0.5, thrown)
    y, x = y + random.normal(scale=2.0 / 4, size=thrown), x + random.normal(scale=0.6, size=thrown)
    counted = random.random(thrown) < 0.7
    edges = [np.arange(n + 1) - 0.5 for n in (9, 11)]
    landed = np.histogram2d(y[counted], x[counted], edges)[0]
    wanted = detected_mean(frames(mean), response).counts.values[0, 0] * thrown / 4
    # Binomial: five and a half standard deviations for 99 pixels, one count where there is none.
    assert (np.abs(landed - wanted) < 5.5 * np.sqrt(wanted) + 1).all()


@given(detector_responses(), st.booleans())
def test_bits_do_not_depend_on_chunks(response: DetectorResponse, transpose: bool) -> None:
    taken = acquisition(detector=PixelDetector(shape=(20, 24), pixel_size=2.5, transpose=transpose))
    shape = (3, 4, *taken.detector.stored_shape)
    mean = frames(np.random.default_rng(0).random(shape).astype(np.float32))
    mean.attrs["acquisition"] = taken.model_dump_json()
    whole = detected_mean(mean, response)
    for chunks in ({"scan_y": 1}, {"scan_y": 2, "scan_x": 3, "detector_x": 7}):
        lazy = detected_mean(mean.chunk(chunks), response)
        assert lazy.counts.chunks is not None
        xr.testing.assert_identical(lazy.compute(), whole)
    assert whole.counts.dtype == np.float32
    assert whole.counts.dims == FRAME
    assert whole.counts.attrs == mean.counts.attrs
    np.testing.assert_array_equal(whole.haadf, mean.haadf)
    assert DetectorResponse.model_validate_json(whole.attrs["detector_response"]) == response
    assert float(whole.counts.sum()) <= response.efficiency * float(mean.counts.sum()) * (1 + 1e-6)


def test_the_axes_are_those_before_a_transpose() -> None:
    frame = np.zeros((1, 1, 9, 9), dtype=np.float32)
    frame[..., 4, 4] = 1
    response = DetectorResponse(point_spread=(1.0, 0.0))
    tall = detected_mean(frames(frame), response).counts.values[0, 0]
    assert (tall[:, 4] > 0).sum() == 9
    assert (tall[4] > 0).sum() == 1
    taken = acquisition(
        detector=PixelDetector(shape=(9, 9), pixel_size=5.0, transpose=True), haadf=None
    )
    turned = frames(frame).assign_attrs(acquisition=taken.model_dump_json())
    np.testing.assert_array_equal(detected_mean(turned, response).counts.values[0, 0], tall.T)


def test_a_perfect_detector_changes_no_bit() -> None:
    mean = frames(np.random.default_rng(0).random((2, 2, 5, 5)).astype(np.float32))
    np.testing.assert_array_equal(detected_mean(mean, DetectorResponse()).counts, mean.counts)


def test_the_whole_chain_of_a_binned_detector() -> None:
    """Rows binned by three with their samples inside, spread, counted, read out, saturated."""
    pixel = PIXEL / 2
    binned = acquisition(
        scan=Scan(shape=(1, 2), step=0.3),
        detector=PixelDetector(shape=(14, 40), pixel_size=(3 * pixel, pixel), subpixels=(3, 1)),
        haadf=None,
    )
    own_pixels = PixelDetector(shape=(44, 40), pixel_size=(pixel, pixel))
    fine = binned.model_copy(update={"detector": own_pixels})
    settings = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    coarse, single = (
        stem_mean(specimen(), acquisition=taken, simulation=settings).compute()
        for taken in (binned, fine)
    )
    response = DetectorResponse(point_spread=(0.7, 0.7), binning=(3, 1), efficiency=0.9)
    own = DetectorResponse(point_spread=(0.7, 0.7), efficiency=0.9)
    ours = detected_mean(coarse, response).counts.values
    # Row 7 of 14 is centred on row 22 of 44: rows 0 to 41 are those of the fourteen.
    exact = detected_mean(single, own).counts.values[:, :, :42].reshape(1, 2, 14, 3, 40).sum(axis=3)
    # Electrons are taken to fall evenly over a binned pixel; at the rim of the disc they do not.
    blind = 0.9 * coarse.counts.values
    assert np.abs(ours - exact).max() < 0.1 * exact.max()
    assert np.abs(ours - exact).max() < 0.5 * np.abs(blind - exact).max()
    np.testing.assert_allclose(ours.sum(), exact.sum(), rtol=0.01)
    noise = DetectorNoise(readout=0.3, saturation=3)
    drawn = noise.sample(detected_mean(coarse, response), seed=1).counts
    assert drawn.dtype == np.float32
    assert 2.5 < float(drawn.max()) < 3 + 6 * 0.3


def test_counts_behind_a_point_spread_are_poisson() -> None:
    flat = frames(np.full((40, 40, 12, 12), 0.8, dtype=np.float32))
    seen = detected_mean(flat, DetectorResponse(point_spread=(1.0, 1.0), efficiency=0.5))
    counts = PoissonCounting().sample(seen, seed=2).counts.values[..., 5:7, 5:7].astype(float)
    np.testing.assert_allclose(seen.counts.values[..., 6, 6], 0.4, rtol=1e-6)
    # 6400 counts of mean and variance 0.4, five standard errors; neighbours are independent.
    assert abs(counts.mean() - 0.4) < 5 * np.sqrt(0.4 / 6400)
    assert abs(counts.var() - 0.4) < 5 * np.sqrt((0.4 + 2 * 0.16) / 6400)
    together = np.cov(counts[..., 0, 0].ravel(), counts[..., 0, 1].ravel())[0, 1]
    assert abs(together) < 5 * 0.4 / 40


def test_stated_transfer_and_efficiency() -> None:
    response = DetectorResponse(point_spread=(0.8, 0.4), efficiency=0.8)
    # A wave over the pixels comes out with the stated contrast.
    x = np.arange(400)
    wave = 1 + np.cos(2 * np.pi * 0.11 * x)
    mean = np.broadcast_to(wave, (1, 1, 3, 400)).astype(np.float64)
    seen = detected_mean(frames(mean), response).counts.values[0, 0, 1, 50:350]
    lost = seen.mean() / wave[50:350].mean()
    contrast = np.ptp(seen) / np.ptp(wave) / lost
    np.testing.assert_allclose(contrast, response.mtf(0.11, 1), rtol=2e-3)
    np.testing.assert_allclose(response.dqe(0.0, 1, electrons=5.0), 0.8)
    # Signal-to-noise of a flat field: out over in, squared.
    out = (0.8 * 5.0) ** 2 / (0.8 * 5.0 + 2.0**2)
    np.testing.assert_allclose(response.dqe(0.0, 1, electrons=5.0, readout=2.0), out / 5.0)
    falling = response.dqe(np.linspace(0, 0.5, 20), 0, electrons=5.0)
    assert (np.diff(falling) < 0).all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="axes detector_y and detector_x"):
        detected_mean(xr.Dataset({"haadf": ("scan_y", np.ones(3))}), DetectorResponse())
    with pytest.raises(BadInputError, match="own pixels"):
        DetectorResponse(point_spread=(40.0, 0.0)).kernel(0)
    with pytest.raises(ValidationError, match="efficiency"):
        DetectorResponse(efficiency=1.2)
