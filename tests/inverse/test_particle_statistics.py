"""Active fractions and trends of activity: published figures, closed forms, calibration."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from echolith.errors import BadInputError
from echolith.inverse.logistic_trend import logistic_slope
from echolith.inverse.particle_statistics import (
    Verdict,
    active_fraction,
    activity_trend,
    activity_trends,
)


def compositions(active: int, above: int, count: int) -> np.ndarray:
    """Return so many from 25 % on, so many more from 15 % on, and the rest below."""
    return np.repeat([0.4, 0.2, 0.08], [above, active - above, count - active])


def test_published_active_fractions() -> None:
    """Yu et al. (2018): 25 of 83 hold 15 % or more, 30.1 ± 5.1 %; 10 hold 25 %, 12.1 ± 3.6 %."""
    found = active_fraction(compositions(25, 10, 83), threshold=(0.15, 0.25))
    assert found.active.values.tolist() == [25, 10]
    assert 100 * found.active_fraction.values == pytest.approx([30.1, 12.1], abs=0.06)
    np.testing.assert_array_equal(np.round(100 * found.active_fraction_std, 1), [5.1, 3.6])


@settings(max_examples=10)
@given(
    share=st.floats(0.05, 0.95),
    std=st.sampled_from([0.0, 0.03, 0.1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_intervals_cover_the_population(share: float, std: float, seed: int) -> None:
    """The variance of the estimate about the share of all particles that could be drawn.

    Over 400 draws of 60 particles its mean agrees within 4 standard errors, 4 sqrt(2 / 400) = 28 %,
    and is never too small by more; errors that mistake particles widen it.
    """
    draw = np.random.default_rng(seed)
    # Well apart in truth, so that errors mistake few and as many one way as the other.
    true = np.where(draw.random((400, 60)) < share, 0.25, 0.05)
    measured = true + draw.normal(0, std, true.shape) if std else true
    found = [active_fraction(row, std=np.full(60, std)) for row in measured]
    estimate = np.array([float(f.active_fraction) for f in found])
    variance = np.mean([float(f.active_fraction_std) ** 2 for f in found])
    assert estimate.var() < 1.28 * variance
    assert all(f.active_fraction_std >= f.binomial_std for f in found[:5])
    if not std:
        assert estimate.var() > 0.72 * variance


def test_uncertain_particles_widen_the_fraction() -> None:
    """One of 10 at the threshold adds 1/2 · 1/2 / 100; a common error moves all near it."""
    values = np.array([0.15, *[0.5] * 4, *[0.0] * 5])
    sharp = active_fraction(values)
    wide = active_fraction(values, std=[0.05, *[1e-3] * 9])
    added = float(wide.active_fraction_std) ** 2 - float(sharp.active_fraction_std) ** 2
    assert added == pytest.approx(0.25 / 100, rel=1e-3)
    common = active_fraction(values, common_error=0.01)
    added = float(common.active_fraction_std) ** 2 - float(sharp.active_fraction_std) ** 2
    assert added == pytest.approx(0.05**2)


@pytest.mark.parametrize("count", [0, 12])
def test_none_or_all_active_is_not_certain(count: int) -> None:
    found = active_fraction(compositions(count, 0, 12))
    assert float(found.active_fraction) == count / 12
    assert 0.03 < float(found.active_fraction_std) < 0.1


@example(table=[0, 1, 1, 0])
@example(table=[30, 30, 0, 1])
@given(table=st.lists(st.integers(0, 30), min_size=4, max_size=4).filter(lambda t: sum(t) > 0))
def test_slope_between_two_groups_is_their_log_odds_ratio(table: list[int]) -> None:
    """Jeffreys' prior of two groups adds half a particle to each cell (Firth 1993)."""
    a, b, c, d = table
    if not (a + b and c + d):
        return
    group = np.repeat([1.0, 1.0, 0.0, 0.0], table)
    active = np.repeat([True, False, True, False], table)
    slope, std, _ = logistic_slope(group, active)
    expected = np.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5)))
    assert slope == pytest.approx(expected, abs=1e-6)
    chances = [(a + 0.5) / (a + b + 1), (c + 0.5) / (c + d + 1)]
    variances = [1 / (n * p * (1 - p)) for n, p in zip((a + b, c + d), chances, strict=True)]
    assert std == pytest.approx(np.sqrt(sum(variances)), rel=1e-6)


@settings(max_examples=8)
@given(count=st.integers(12, 83), share=st.floats(0.2, 0.8), seed=st.integers(0, 2**16))
def test_p_values_are_uniform_where_there_is_no_trend(count: int, share: float, seed: int) -> None:
    """Of 200 ensembles without a trend; Kolmogorov-Smirnov, level 1e-4 for every example."""
    draw = np.random.default_rng(seed)
    found = []
    for n in range(200):
        active = draw.random(count) < share
        trend = activity_trend(active, np.exp(draw.normal(size=count)), permutations=99, seed=n)
        if trend.verdict is not Verdict.UNDETERMINED:
            found.append(trend.p_value - draw.random() / 100)  # levels are hundredths
    assert stats.kstest(found, "uniform").pvalue > 1e-4


def test_power_is_the_share_of_trends_seen() -> None:
    """300 ensembles of 83 whose log odds rise by the slope said to be seen in 80 % of them."""
    draw = np.random.default_rng(7)
    logs = (logs := draw.normal(size=83)) / logs.std() - logs.mean() / logs.std()
    even = activity_trend(np.arange(83) % 2 == 0, np.exp(logs), permutations=99)
    seen = 0
    for n in range(300):
        active = draw.random(83) < 1 / (1 + np.exp(-even.detectable * logs))
        seen += activity_trend(active, np.exp(logs), permutations=499, seed=n).p_value < 0.05
    # The limit for small slopes: a few percent beside what the binomial allows, 4 * 2.3 %.
    assert seen / 300 == pytest.approx(0.8, abs=0.12)
    assert 0.8 < even.power <= 1


def test_what_a_trend_says() -> None:
    sizes = np.exp(np.linspace(0, 2, 40))
    rising = np.arange(40) >= 20
    assert activity_trend(rising, sizes).verdict is Verdict.RISES
    assert activity_trend(~rising, sizes).verdict is Verdict.FALLS
    assert np.isfinite(activity_trend(rising, sizes).slope)  # though it parts the two groups
    flat = activity_trend(np.arange(40) % 2 == 0, sizes)
    assert flat.verdict is Verdict.NOT_REJECTED
    assert "would be seen in 80% of cases" in str(flat)
    for active, values in (([True] * 40, sizes), (rising, np.ones(40)), ([True, False], [1, 2])):
        trend = activity_trend(active, values)
        assert trend.verdict is Verdict.UNDETERMINED
        assert np.isnan(trend.p_value)
        assert str(trend) == "undetermined"


def test_trends_of_a_table_leave_out_what_is_not_known() -> None:
    draw = np.random.default_rng(1)
    area = np.exp(draw.normal(13.5, 0.5, 60))
    table = xr.Dataset(
        {
            "composition": ("particle", np.where(area > np.median(area), 0.4, 0.1)),
            "facet_area": ("particle", area),
            "thickness": ("particle", np.exp(draw.normal(5.3, 0.2, 60))),
        }
    )
    table["composition"][:5] = np.nan
    found = activity_trends(table)
    assert found["facet_area"].verdict is Verdict.RISES
    assert found["thickness"].verdict is Verdict.NOT_REJECTED
    assert set(found) == {"facet_area", "thickness"}


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="none of 2 particles"):
        active_fraction([np.nan, np.nan])
    with pytest.raises(BadInputError, match="threshold = 15; expected above 0 and below 1"):
        active_fraction([0.1], threshold=15)
    with pytest.raises(BadInputError, match="value = -1; expected sizes above 0"):
        activity_trend([True, False], [1, -1])
    with pytest.raises(BadInputError, match="one of each for every particle"):
        activity_trend([True, False], [1, 2, 3])
