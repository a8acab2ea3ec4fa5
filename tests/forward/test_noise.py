"""Counting noise: Poisson in every moment, and the same bits whatever the chunking."""

from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    acquisition_of,
)
from echolith.forward.noise import ARRIVALS_UP_TO, PoissonCounting, _count_arrivals, thin

Array = npt.NDArray[Any]
FRAME = ("scan_y", "scan_x", "detector_y", "detector_x")
NOISE = PoissonCounting()

MEANS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=4, max_dims=4, max_side=9),
    elements=st.sampled_from([0.0, 1e-6, 0.3, 1.0, 7.0, 40.0]),
)


def measurement(counts: Array, *, dose: float = 8e4) -> xr.Dataset:
    """A data set of frames, and one pixel of each as a HAADF image."""
    acquisition = StemAcquisition(
        beam=Beam(semiangle=0.5),
        scan=Scan(shape=counts.shape[:2], step=0.2),
        detector=PixelDetector(shape=tuple(max(2, n) for n in counts.shape[2:]), pixel_size=1.0),
        dose=dose,
    )
    image = counts[:, :, 0, 0].copy()
    return xr.Dataset(
        {
            "counts": (FRAME, counts, {"units": "e"}),
            "haadf": (FRAME[:2], image, {"units": "e"}),
        },
        attrs={"acquisition": acquisition.model_dump_json()},
    )


def frames(mean: float, shape: tuple[int, ...] = (6, 8, 64, 64)) -> xr.Dataset:
    return measurement(np.full(shape, mean, np.float32))


CHUNKINGS: list[dict[str, int]] = [
    {"scan_y": 1},
    {"scan_y": 7},
    {"scan_y": -1},
    {"scan_y": 2, "scan_x": 3},
    {"scan_y": 3, "detector_y": 2, "detector_x": 5},
]


@given(MEANS, st.sampled_from(CHUNKINGS), st.integers(1, 2), st.integers(0, 2**40))
def test_bits_do_not_depend_on_chunks_or_workers(
    mean: Array, chunks: dict[str, int], workers: int, seed: int
) -> None:
    data = measurement(mean)
    expected = NOISE.sample(data, seed=seed)
    lazy = NOISE.sample(data.chunk(chunks), seed=seed)
    assert lazy["counts"].chunks is not None
    assert lazy.chunksizes["scan_y"] == data.chunk(chunks).chunksizes["scan_y"]
    with dask.config.set(num_workers=workers):
        xr.testing.assert_identical(lazy.compute(), expected)
    thinned = thin(expected.chunk(chunks), fraction=0.5, seed=seed).compute()
    xr.testing.assert_identical(thinned, thin(expected, fraction=0.5, seed=seed))


def test_bits_do_not_depend_on_what_is_computed() -> None:
    lazy = NOISE.sample(frames(0.7, (6, 5, 8, 8)).chunk(scan_y=2), seed=3)
    part = lazy["counts"].isel(scan_y=4, scan_x=slice(2, 4)).compute()
    xr.testing.assert_identical(part, lazy["counts"].compute().isel(scan_y=4, scan_x=slice(2, 4)))


def test_order_of_dims_does_not_matter() -> None:
    data = frames(0.7, (3, 5, 4, 6))
    turned = NOISE.sample(data.transpose("detector_x", "scan_y", "detector_y", "scan_x"), seed=1)
    # Sampling belongs to (scan, detector) positions in the order of the dims they come in.
    assert turned["counts"].dims == ("detector_x", "scan_y", "detector_y", "scan_x")
    assert turned["counts"].sum() > 0


@pytest.mark.parametrize("mean", [0.003, 0.2, 1.0, ARRIVALS_UP_TO, ARRIVALS_UP_TO + 0.1, 80.0])
def test_counts_are_poisson(mean: float) -> None:
    counts = NOISE.sample(frames(mean), seed=11)["counts"].values.ravel().astype(float)
    n, expected = counts.size, float(np.float32(mean))
    # Five standard errors: a chance of 6e-7 each, and the seed is fixed.
    assert abs(counts.mean() - expected) < 5 * np.sqrt(expected / n)
    # Var(s^2) = (mu4 - sigma^4) / n with mu4 = mean + 3 mean^2.
    assert abs(counts.var(ddof=1) - expected) < 5 * np.sqrt((expected + 2 * expected**2) / n)
    law = stats.poisson(expected)
    values = np.arange(int(law.ppf(1e-5)), int(law.isf(1e-5)) + 1)
    edges = np.concatenate([[-np.inf], values[:-1] + 0.5, [np.inf]])
    observed = np.histogram(counts, edges)[0]
    probability = np.diff(law.cdf(edges))
    use = n * probability > 5
    statistic = ((observed - n * probability) ** 2 / (n * probability))[use].sum()
    assert stats.chi2.sf(statistic, use.sum()) > 1e-6


def test_dispersion_over_uneven_pixels() -> None:
    mean = np.random.default_rng(0).gamma(0.5, 1.5, (10, 10, 30, 31)).astype(np.float32)
    mean[..., ::7] = 0
    counts = NOISE.sample(measurement(mean), seed=5)["counts"].values
    assert not counts[mean == 0].any()
    # Pixels of mean below 0.01 are left out: their kurtosis makes the sum far from normal.
    lit = mean > 0.01
    reduced = (counts[lit] - mean[lit]) ** 2 / mean[lit]
    error = np.sqrt((2 + 1 / mean[lit]).sum())
    assert abs(reduced.sum() - lit.sum()) < 5 * error


def test_units_are_independent() -> None:
    counts = NOISE.sample(frames(1.0, (8, 8, 32, 32)), seed=2)["counts"].values.reshape(64, -1)
    correlation = np.asarray(np.corrcoef(counts))[np.triu_indices(64, 1)]
    # 2016 coefficients, each of standard deviation 1/32; 6 sigma: a chance of 4e-6 in all.
    assert abs(correlation).max() < 6 / 32
    flat = counts.ravel() - counts.mean()
    neighbours = (flat[1:] * flat[:-1]).mean() / flat.var()
    assert abs(neighbours) < 5 / np.sqrt(flat.size)


def test_variables_and_seeds_have_their_own_streams() -> None:
    mean = frames(3.0, (8, 8, 4, 4))
    mean["other"] = mean["counts"]
    one, two = (NOISE.sample(mean, seed=seed) for seed in (1, 2))
    assert (one["counts"] != one["other"]).any()
    assert (one["counts"] != two["counts"]).any()


@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 3)),
    st.integers(1, 9),
    st.integers(0, 2**32),
)
def test_arrivals_do_not_depend_on_how_gaps_are_batched(mean: Array, batch: int, seed: int) -> None:
    gaps = np.random.default_rng(seed).exponential(size=400)
    whole, pieces = np.zeros(mean.size, np.uint16), np.zeros(mean.size, np.uint16)
    assert _count_arrivals(mean, gaps[1:], gaps[0], 0, whole)[0] == mean.size
    pixel, left, used = 0, gaps[0], 1
    while pixel < mean.size:
        pixel, left = _count_arrivals(mean, gaps[used : used + batch], left, pixel, pieces)
        used += batch
    np.testing.assert_array_equal(pieces, whole)
    # Independent count: arrivals below each pixel's end on the line.
    ends = np.searchsorted(np.cumsum(gaps), np.cumsum(mean))
    assert abs(np.diff(ends, prepend=0) - whole.astype(int)).sum() == 0


def test_types_follow_the_metadata_not_the_chunk() -> None:
    assert NOISE.sample(frames(1.0, (2, 2, 4, 4)), seed=0)["counts"].dtype == np.uint16
    bright = measurement(np.ones((2, 2, 4, 4)), dose=2e6)
    assert NOISE.sample(bright, seed=0)["counts"].dtype == np.uint32
    bare = bright.drop_attrs()
    assert NOISE.sample(bare, seed=0)["haadf"].dtype == np.uint32


def test_attributes_are_kept_and_the_mean_is_untouched() -> None:
    mean = frames(1.0, (2, 3, 4, 4)).assign_coords(scan_x=("scan_x", [0.0, 0.2, 0.4]))
    mean["mask"] = ("scan_y", [True, False])
    before = mean.copy(deep=True)
    counts = NOISE.sample(mean, seed=0)
    xr.testing.assert_identical(mean, before)
    assert counts["counts"].attrs == {"units": "e"}
    assert counts.attrs == mean.attrs
    xr.testing.assert_identical(counts["mask"], mean["mask"])
    xr.testing.assert_identical(counts["scan_x"], mean["scan_x"])


@pytest.mark.parametrize("bad", [np.nan, -1e-3, np.inf])
def test_bad_means_are_refused_with_their_position(bad: float) -> None:
    mean = frames(1.0, (4, 3, 5, 6))
    mean["counts"][2, 1, 3, 4] = bad
    place = "scan_y 2, scan_x 1, detector_y 3, detector_x 4"
    with pytest.raises(BadInputError, match=place):
        NOISE.sample(mean, seed=0)
    lazy = NOISE.sample(mean.chunk(scan_y=2), seed=0)
    with pytest.raises(BadInputError, match=place):
        lazy.compute()


def test_a_mean_beyond_the_dose_is_refused() -> None:
    with pytest.raises(BadInputError, match="electrons per position"):
        NOISE.sample(frames(7e4, (2, 2, 2, 2)), seed=0)


def test_counts_are_not_counted_again() -> None:
    counts = NOISE.sample(frames(1.0, (2, 2, 4, 4)), seed=0)
    with pytest.raises(BadInputError, match="second time"):
        NOISE.sample(counts, seed=0)


# --- Fisher information ---------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32))
def test_information_is_the_closed_form(data: int, parameters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, jacobian = rng.gamma(1, 3, data) + 1e-3, rng.normal(size=(data, parameters))
    found = NOISE.information(mean, jacobian)
    slow = sum(np.outer(j, j) / m for j, m in zip(jacobian, mean, strict=True))
    np.testing.assert_allclose(found, slow, rtol=1e-12, atol=1e-12 * np.abs(slow).max())
    # Positive semidefinite up to rounding.
    assert np.linalg.eigvalsh(found).min() > -1e-12 * np.abs(found).max()
    np.testing.assert_array_equal(found, found.T)


def test_information_is_the_variance_of_the_score() -> None:
    """F = E[score score^T], estimated from draws, for an amplitude and a position."""
    x = np.linspace(-3, 3, 20)
    shape = np.exp(-(x**2) / 2)
    mean = 5 * shape + 1
    jacobian = np.stack([shape, 5 * shape * x], axis=-1)
    draws = 40_000
    field = np.broadcast_to(mean.astype(np.float32), (200, 200, 1, 20))
    counts = NOISE.sample(xr.Dataset({"counts": (FRAME, np.ascontiguousarray(field))}), seed=4)[
        "counts"
    ].values.reshape(draws, -1)
    score = (counts / mean - 1) @ jacobian
    found = NOISE.information(mean, jacobian)
    # Standard error of a sample covariance of nearly normal scores; 5 sigma.
    error = np.sqrt((np.outer(np.diag(found), np.diag(found)) + found**2) / draws)
    assert (abs(score.T @ score / draws - found) < 5 * error).all()


def test_dark_pixels_add_nothing_or_are_refused() -> None:
    mean, jacobian = np.array([2.0, 0.0]), np.array([[1.0], [0.0]])
    assert NOISE.information(mean, jacobian) == pytest.approx(0.5)
    with pytest.raises(BadInputError, match="infinite Fisher information"):
        NOISE.information(mean, np.array([[1.0], [1e-9]]))


@pytest.mark.parametrize(
    ("mean", "jacobian", "message"),
    [
        ([1.0, -1.0], [[1.0], [1.0]], "data point 1"),
        ([1.0, np.nan], [[1.0], [1.0]], "data point 1"),
        ([1.0, 1.0], [[1.0], [np.inf]], "data point 1"),
        ([1.0, 1.0], [1.0, 1.0], "do not belong"),
        ([1.0, 1.0], [[1.0]], "do not belong"),
    ],
)
def test_bad_information_input(mean: Any, jacobian: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        NOISE.information(np.array(mean), np.array(jacobian))


# --- thinning -------------------------------------------------------------------------------


def test_thinned_poisson_is_poisson() -> None:
    mean, fraction = 2.5, 0.3
    counts = thin(NOISE.sample(frames(mean), seed=1), fraction=fraction, seed=1)["counts"].values
    n, expected = counts.size, mean * fraction
    assert abs(counts.mean() - expected) < 5 * np.sqrt(expected / n)
    assert abs(counts.var() - expected) < 5 * np.sqrt((expected + 2 * expected**2) / n)


def test_thinning_is_binomial() -> None:
    """Given the counts, the kept ones have the binomial mean and variance."""
    full = measurement(np.full((20, 20, 8, 8), 40, np.uint16))
    kept = thin(full, fraction=0.2, seed=9)["counts"].values
    law = stats.binom(40, 0.2)
    assert abs(kept.mean() - law.mean()) < 5 * np.sqrt(law.var() / kept.size)
    fourth = float(law.stats(moments="k")) * law.var() ** 2 + 2 * law.var() ** 2
    assert abs(kept.var() - law.var()) < 5 * np.sqrt(fourth / kept.size)


@given(
    hnp.arrays(np.uint16, (3, 2, 4, 5), elements=st.integers(0, 50)),
    st.floats(1e-3, 1),
    st.floats(1e-3, 1),
    st.integers(0, 2**40),
)
def test_thinning_is_nested(counts: Array, one: float, other: float, seed: int) -> None:
    full = measurement(counts)
    low, high = (thin(full, fraction=f, seed=seed) for f in sorted((one, other)))
    assert (low["counts"] <= high["counts"]).all()
    assert (high["counts"] <= full["counts"]).all()
    xr.testing.assert_identical(thin(full, fraction=1.0, seed=seed), full)


def test_thinning_twice_with_one_seed_is_thinning_by_the_product() -> None:
    """The second pass must not meet the marks of the first: it would keep more than its share."""
    full = measurement(np.full((10, 10, 16, 16), 9, np.uint16))
    twice = thin(thin(full, fraction=0.5, seed=1), fraction=0.5, seed=1)["counts"].values
    law = stats.binom(9, 0.25)
    assert abs(twice.mean() - law.mean()) < 5 * np.sqrt(law.var() / twice.size)


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_thinning_lowers_the_stated_dose(fraction: float) -> None:
    full = measurement(np.ones((2, 2, 4, 4), np.uint16), dose=5e4)
    thinned = thin(full, fraction=fraction, seed=0)
    assert acquisition_of(thinned).dose == pytest.approx(5e4 * fraction)
    assert acquisition_of(full).dose == 5e4
    assert thinned["counts"].dtype == full["counts"].dtype


def test_many_electrons_in_one_frame_are_marked_in_pieces() -> None:
    full = measurement(np.full((1, 2, 2, 2), 1_000_000, np.uint32), dose=1e9)
    kept = thin(full, fraction=0.5, seed=0)["counts"].values
    # 5 sigma of a binomial of 1e6.
    assert (abs(kept - 5e5) < 5 * 500).all()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, np.nan])
def test_bad_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(BadInputError, match="fraction"):
        thin(measurement(np.ones((2, 2, 2, 2), np.uint16)), fraction=fraction, seed=0)


def test_a_mean_is_not_thinned() -> None:
    with pytest.raises(BadInputError, match="multiply"):
        thin(frames(1.0, (2, 2, 2, 2)), fraction=0.5, seed=0)


def test_negative_counts_are_not_thinned() -> None:
    data = measurement(np.ones((2, 2, 2, 2), np.int32))
    data["counts"][1, 0, 1, 1] = -2
    with pytest.raises(BadInputError, match="scan_y 1, scan_x 0, detector_y 1, detector_x 1"):
        thin(data, fraction=0.5, seed=0)
