"""Statistics of repeated estimates on draws whose distribution is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echolith.validation.statistics import (
    Residuals,
    calibration,
    efficiency,
    half_width,
    moments,
    single_moments,
)
from echolith.validation.strategies import seeds


@settings(max_examples=50)
@given(seeds(), st.floats(0.3, 3))
def test_pulls_tell_how_wrong_error_bars_are(seed: int, factor: float) -> None:
    """Error bars `factor` too small: pull variance factor², coverage by the normal integral."""
    n = 2000
    error = np.random.default_rng(seed).normal(size=n)
    result = calibration(error, np.full(n, 1 / factor))
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], n) / n
    assert low < result["pull_variance"] / factor**2 < high
    expected = 2 * stats.norm.cdf(1.959964 / factor) - 1
    inside = round(result["coverage95"] * n)
    assert stats.binomtest(inside, n, expected).pvalue > 1e-6


def test_values_without_an_error_bar_are_left_out() -> None:
    result = calibration(np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 0.0]))
    assert (result["count"], result["pull_variance"]) == (1, 1.0)
    assert calibration(np.ones(2), np.full(2, np.nan))["coverage95"] is None


def test_the_confidence_interval_of_the_bias_holds_as_often_as_it_says() -> None:
    random, n = np.random.default_rng(3), 1000
    hits = 0
    for _ in range(n):
        low, high = moments(random.normal(0.4, 2.0, size=6))["bias_ci95"]
        hits += low < 0.4 < high
    assert stats.binomtest(hits, n, 0.95).pvalue > 1e-3


def test_the_interval_of_the_efficiency_holds_as_often_as_it_says() -> None:
    random, n = np.random.default_rng(4), 1000
    hits = 0
    for _ in range(n):
        spread = float(random.normal(0, 2.0, size=9).std(ddof=1))
        low, high = efficiency(spread, 1.0, 8)["efficiency_ci95"]
        hits += low < 0.25 < high
    assert stats.binomtest(hits, n, 0.95).pvalue > 1e-3


def test_an_unknown_bound_gives_no_efficiency() -> None:
    for spread, bound in ((None, 1.0), (1.0, None), (0.0, 1.0), (1.0, np.inf)):
        assert efficiency(spread, bound, 5)["efficiency"] is None


def test_spread_of_single_values_leaves_their_own_offsets_out() -> None:
    random, cases, values = np.random.default_rng(5), 40, 30
    offset = random.normal(0, 10, size=values)
    drawn = [
        Residuals(
            key=np.arange(values),
            error=offset + random.normal(size=values),
            std=np.full(values, np.nan),
            unit="1",
        )
        for _ in range(cases)
    ]
    same = single_moments(drawn, same_values=True)
    freedom = values * (cases - 1)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], freedom) / freedom
    assert low < same["single_spread"] ** 2 < high
    assert same["freedom"] == freedom
    assert single_moments(drawn, same_values=False)["single_spread"] > 5


def test_half_width_shrinks_with_the_root_of_the_cases() -> None:
    error = np.tile([-1.0, 1.0], 50)
    assert half_width(error[:1]) == np.inf
    assert half_width(error) == pytest.approx(1.98 / np.sqrt(99), rel=0.01)
