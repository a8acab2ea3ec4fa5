"""Priors draw what they say, the ends of it included in their extremes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, loguniform, spearmanr
from scipy.stats import norm as normal_law
from scipy.stats import uniform as uniform_law

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.validation.priors import (
    Pair,
    Prior,
    choice,
    drawn_together,
    integers,
    joint_law,
    log_uniform,
    normal,
    parse_correlations,
    parse_priors,
    uniform,
)

DRAWS = 2000


def draws(prior: Prior) -> np.ndarray:
    rng = stream(1, "draws")
    return np.array([prior.draw(rng) for _ in range(DRAWS)])


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (uniform(-2, 5), uniform_law(-2, 7)),
        (log_uniform(1e2, 1e5), loguniform(1e2, 1e5)),
        (normal(3, 0.5), normal_law(3, 0.5)),
    ],
    ids=["uniform", "log_uniform", "normal"],
)
def test_draws_follow_the_law(prior: Prior, law: Any) -> None:
    found = draws(prior)
    assert kstest(found, law.cdf).pvalue > 1e-4  # one wrong alarm in ten thousand
    assert min(prior.extremes) <= found.min() <= found.max() <= max(prior.extremes)


def test_weights_are_shares() -> None:
    found = draws(choice(["a", "b", "c"], weights=[3, 1, 0]))
    assert "c" not in found
    share = (found == "a").mean()
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / DRAWS)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_text_reads_back(low: float, width: float) -> None:
    text = f"name=uniform({low!r}, {low + width!r})"
    (prior,) = parse_priors([text]).values()
    assert prior.extremes == (low, low + width)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dose", "is no prior"),
        ("dose=uniform(3, 1)", "low below high"),
        ("dose=uniform(1)", "is no prior"),
        ("dose=unifrom(1, 2)", "uniform"),
        ("dose=log_uniform(0, 1)", "above 0"),
        ("dose=normal(0, -1)", "above 0"),
        ("dose=integers(0.5, 2)", "whole numbers"),
        ("dose=[]", "list of values"),
        ("=uniform(1, 2)", "is no prior"),
    ],
)
def test_what_is_no_prior_is_told(text: str, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        parse_priors([text])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_quantiles_ascend_to_the_ends(shares: list[float]) -> None:
    for prior in (uniform(-2, 5), log_uniform(1e2, 1e5), normal(3, 0.5), integers(2, 9)):
        found = [prior.quantile(share) for share in sorted([0.0, 1.0, *shares])]
        assert found == sorted(found)
        # The law of a normal distribution is cut off where 3e-5 lie beyond: its ends are exact.
        np.testing.assert_allclose((found[0], found[-1]), prior.extremes, rtol=1e-12)


def test_integers_are_equally_likely() -> None:
    values, counts = np.unique(draws(integers(-1, 3)), return_counts=True)
    assert values.tolist() == [-1, 0, 1, 2, 3]
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("rho", [-0.8, 0.5])
def test_ranks_correlate_as_asked_and_each_law_stays(rho: float) -> None:
    priors = {"size": log_uniform(1, 1e3), "dose": uniform(0, 1), "free": normal(0, 1)}
    rng = stream(3, "together")
    wanted: dict[Pair, float] = {("size", "dose"): rho}
    found = [drawn_together(priors, wanted, rng) for _ in range(DRAWS)]
    size, dose = (np.array([one[name] for one in found]) for name in ("size", "dose"))
    assert found[0].keys() == {"size", "dose"}
    # Spearman's coefficient of n draws spreads by less than 1 / sqrt(n).
    assert abs(spearmanr(size, dose).statistic - rho) < 4 / np.sqrt(DRAWS)
    assert kstest(size, loguniform(1, 1e3).cdf).pvalue > 1e-4
    assert kstest(dose, uniform_law(0, 1).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a=0.5"], "is no correlation"),
        (["a,b,c=0.5"], "is no correlation"),
        (["a,b=much"], "is no correlation"),
        (["a,d=0.5"], "'d' is correlated but has no prior"),
        (["a,b=1.5"], "between -1 and 1"),
        (["a,a=0.5"], "two priors"),
        (["a,b=0.9", "b,c=0.9", "a,c=-0.9"], "exclude each other"),
    ],
)
def test_what_is_no_correlation_is_told(texts: list[str], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        joint_law("abc", parse_correlations(texts))
