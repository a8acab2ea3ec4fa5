"""Priors draw what they say, the ends of it included in their extremes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, loguniform
from scipy.stats import norm as normal_law
from scipy.stats import uniform as uniform_law

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.validation.priors import Prior, choice, log_uniform, normal, parse_priors, uniform

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
        ("dose=[]", "list of values"),
        ("=uniform(1, 2)", "is no prior"),
    ],
)
def test_what_is_no_prior_is_told(text: str, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        parse_priors([text])
