"""Laws of growth: weighed, fitted, changed, or not told."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from echolith.errors import BadInputError
from echolith.inverse.growth_law_kernels import normal_equations
from echolith.inverse.growth_law_shapes import GrowthLaw
from echolith.inverse.growth_laws import GrowthLawOptions, Verdict, growth_law

Array = npt.NDArray[np.float64]

TIMES = 0.6 + np.arange(100) / 20
QUICK = GrowthLawOptions(largest_correlation=0.0)
LENGTHS: dict[GrowthLaw, Callable[[Array], Array]] = {
    GrowthLaw.LINEAR: lambda t: 850 * t,
    GrowthLaw.ACCELERATED: lambda t: 25.6 * t**2 / 2,
    GrowthLaw.PIECEWISE_LINEAR: lambda t: np.where(t < 3, 6 * (t - 3), 60 * (t - 3)),
}


def remembering(random: np.random.Generator, count: int, correlation: float) -> Array:
    """A stationary first-order autoregression of variance 1."""
    errors = random.normal(size=count)
    for n in range(1, count):
        errors[n] = correlation * errors[n - 1] + np.sqrt(1 - correlation**2) * errors[n]
    return errors


@given(
    share=st.floats(0, 1),
    correlation=st.floats(0, 0.95),
    seed=st.integers(0, 1000),
)
def test_the_filter_gives_the_normal_equations_of_the_dense_covariance(
    share: float, correlation: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    columns, lengths = random.normal(size=(12, 2)), random.normal(size=12)
    std, gaps = random.uniform(0.5, 2, 12), random.integers(1, 4, 12).astype(float)
    places = np.cumsum(gaps)
    memory = correlation ** np.abs(places[:, None] - places)
    covariance = np.outer(std, std) * (share * memory + (1 - share) * np.eye(12))
    found = normal_equations(
        columns[None], lengths, std, gaps, np.array([share]), np.array([correlation])
    )
    weight = np.linalg.inv(covariance)
    expected = (
        columns.T @ weight @ columns,
        columns.T @ weight @ lengths,
        lengths @ weight @ lengths,
        np.linalg.slogdet(covariance)[1],
    )
    for ours, true in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0], true, rtol=1e-7, atol=1e-7)


@given(
    law=st.sampled_from(sorted(LENGTHS, key=lambda law: law.value)),
    scale=st.floats(0.2, 5),
    offset=st.floats(-100, 100),
    later=st.floats(-100, 100),
)
@settings(max_examples=6, deadline=None)
def test_units_and_origins_change_no_verdict(
    law: GrowthLaw, scale: float, offset: float, later: float
) -> None:
    errors = np.random.default_rng(3).normal(0, 3, len(TIMES))
    lengths = LENGTHS[law](TIMES) + errors
    one = growth_law(TIMES, lengths, length_std=3.0, options=QUICK)
    two = growth_law(TIMES + later, scale * lengths + offset, length_std=3.0 * scale, options=QUICK)
    assert str(one["supported"].values) == str(two["supported"].values) == law.value
    np.testing.assert_allclose(two["probability"], one["probability"], atol=1e-3)
    for name in ("velocity", "acceleration"):
        if name in one:
            np.testing.assert_allclose(two[name], scale * one[name], rtol=1e-4)


@pytest.mark.parametrize("law", [GrowthLaw.LINEAR, GrowthLaw.ACCELERATED])
def test_rates_lie_in_their_intervals_where_errors_remember(law: GrowthLaw) -> None:
    name, true = ("velocity", 850.0) if law is GrowthLaw.LINEAR else ("acceleration", 25.6)
    count = 40
    inside, pulls = 0, []
    for seed in range(count):
        errors = 2 * remembering(np.random.default_rng(seed), len(TIMES), 0.6)
        found = growth_law(
            TIMES,
            LENGTHS[law](TIMES) + errors,
            length_std=2.0,
            options=GrowthLawOptions(laws=(law,)),
        )
        low, high = found[f"{name}_interval"].values.ravel()
        inside += low <= true <= high
        pulls.append((float(found[name].values.flat[0]) - true) / found[f"{name}_std"].values)
    # As few as happen once in 10 000 times where 95 % intervals are true.
    assert inside >= binom.ppf(1e-4, count, 0.95)
    assert np.sqrt(np.mean(np.square(pulls))) < 1 + 4 / np.sqrt(2 * count)


def test_no_change_is_found_where_there_is_none() -> None:
    changes = (GrowthLaw.PIECEWISE_LINEAR.value, GrowthLaw.LINEAR_ACCELERATED.value)
    count, false = 20, 0
    for seed in range(count):
        errors = 5 * remembering(np.random.default_rng(seed), len(TIMES), 0.5)
        found = growth_law(TIMES, 20 * TIMES + errors, length_std=5.0)
        false += str(found["supported"].values) in changes
    assert false <= binom.ppf(1 - 1e-4, count, 0.05)


def test_a_change_is_found_within_a_frame() -> None:
    frame = TIMES[1] - TIMES[0]
    for seed in range(6):
        change = np.random.default_rng(seed).uniform(2, 4)
        lengths = np.where(change > TIMES, 6.0, 60.0) * (TIMES - change)
        errors = np.random.default_rng(seed + 50).normal(0, 1, len(TIMES))
        found = growth_law(TIMES, lengths + errors, length_std=1.0, options=QUICK)
        assert str(found["supported"].values) == GrowthLaw.PIECEWISE_LINEAR.value
        assert abs(float(found["change_time"][0]) - change) < frame
        assert float(found["change_time_std"][0]) < frame


def test_two_changes_need_to_be_asked_for() -> None:
    lengths = np.interp(TIMES, [0.6, 2, 4, 5.6], [0, 150, 160, 300])
    errors = np.random.default_rng(1).normal(0, 2, len(TIMES))
    options = GrowthLawOptions(laws=(GrowthLaw.PIECEWISE_LINEAR,), changes=2, largest_correlation=0)
    found = growth_law(TIMES, lengths + errors, length_std=2.0, options=options)
    assert found.sizes["change"] == 2
    errors_of_times = np.abs(found["change_time"].values - [2, 4])
    assert (errors_of_times < 4 * found["change_time_std"].values).all()


def test_errors_larger_than_the_growth_cannot_tell() -> None:
    errors = np.random.default_rng(2).normal(0, 100, len(TIMES))
    found = growth_law(TIMES, 20 * TIMES + errors, length_std=100.0)
    assert str(found["verdict"].values) == Verdict.CANNOT_TELL.value
    assert str(found["supported"].values) == ""
    assert "velocity" not in found
    assert "too near" in found.attrs["undetermined"]


def test_dropped_frames_are_left_out() -> None:
    lengths = 850 * TIMES + np.random.default_rng(4).normal(0, 2, len(TIMES))
    kept = np.ones(len(TIMES), dtype=bool)
    kept[[3, 40, 41, 90]] = False
    options = GrowthLawOptions(laws=(GrowthLaw.LINEAR,))
    gaps = growth_law(TIMES, np.where(kept, lengths, np.nan), length_std=2.0, options=options)
    without = growth_law(TIMES[kept], lengths[kept], length_std=2.0, options=options)
    np.testing.assert_allclose(gaps["velocity"], without["velocity"])
    few = growth_law(TIMES[:5], lengths[:5], length_std=2.0)
    assert "at least 8" in few.attrs["undetermined"]
    assert float(few["probability"].sum()) == pytest.approx(1)


def test_correlation_coefficients_are_those_of_numpy() -> None:
    lengths = 25.6 * TIMES**2 / 2 + np.random.default_rng(5).normal(0, 60, len(TIMES))
    found = growth_law(TIMES, lengths, length_std=60.0, options=QUICK)["trend_correlation"]
    for power in (1, 2):
        expected = np.corrcoef(TIMES**power, lengths)[0, 1]
        assert float(found.sel(series="raw", power=power)) == pytest.approx(expected)
    assert float(found.sel(series="smoothed", power=2)) > float(found.sel(series="raw", power=2))


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="above 0 Å"):
        growth_law(TIMES, TIMES, length_std=0.0)
    with pytest.raises(BadInputError, match="does not increase"):
        growth_law(TIMES[::-1], TIMES, length_std=1.0)
    with pytest.raises(BadInputError, match="two equal rows"):
        growth_law(TIMES, TIMES[:-1], length_std=1.0)
    with pytest.raises(BadInputError, match="length_std"):
        growth_law(TIMES, TIMES, length_std=np.ones(3))
