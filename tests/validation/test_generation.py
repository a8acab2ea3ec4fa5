"""Samples depend on their index and the seed, on nothing else; splits part them."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from echolith.errors import BadInputError
from echolith.sample_options import Target
from echolith.validation.generation import Generation, Split, sample
from echolith.validation.generation_engine import describe_generation
from echolith.validation.generation_files import shards
from echolith.validation.priors import choice, log_uniform, uniform
from tests.validation.wave_scenario import WaveSettings, wave_scenario

PRIORS = {"strength": log_uniform(10, 1e4), "length": choice([2, 3, 5])}


def waves(**given_fields: Any) -> Generation:
    fields = {"vary": PRIORS, "n": 10, **given_fields}
    return Generation(scenario=wave_scenario(WaveSettings()), make=wave_scenario, **fields)


@given(
    st.integers(1, 500),
    st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    st.integers(1, 60),
)
def test_every_sample_lies_in_one_shard_of_one_split(
    n: int, shares: tuple[float, float], size: int
) -> None:
    made = list(shards(waves(n=n, shares=shares), size))
    assert [index for shard in made for index in shard.samples] == list(range(n))
    assert all(1 <= len(shard.samples) <= size for shard in made)
    for split, share in zip((Split.VALIDATION, Split.TEST), shares, strict=True):
        held = sum(len(shard.samples) for shard in made if shard.split is split)
        assert abs(held - share * n) <= 0.5


@given(st.integers(0, 2**31), st.integers(0, 8))
def test_a_sample_is_the_same_whatever_else_is_generated(seed: int, index: int) -> None:
    one = sample(waves(seed=seed), index)
    other = sample(waves(seed=seed, n=400, shares=(0.3, 0.0)), index)
    xr.testing.assert_identical(one.measurement, other.measurement)
    xr.testing.assert_identical(one.truth, other.truth)
    alone = sample(waves(seed=seed, vary={"length": PRIORS["length"]}), index)
    assert alone.truth["setting.length"] == one.truth["setting.length"]


def test_drawn_settings_are_truth_and_take_effect() -> None:
    made = [sample(waves(), index) for index in range(8)]
    assert len({float(one.truth["setting.strength"]) for one in made}) == 8
    assert all(one.measurement.sizes["x"] == one.truth["setting.length"] for one in made)
    assert not any(str(name).startswith("setting.") for one in made for name in one.measurement)
    assert len({one.seed for one in made}) == 8


def test_settings_may_be_drawn_together() -> None:
    def together(rng: np.random.Generator) -> dict[str, float]:
        length = int(rng.integers(1, 7))
        return {"length": length, "strength": 10.0 * length}

    made = [sample(waves(vary={}, correlated=together), index) for index in range(6)]
    for one in made:
        assert one.truth["setting.strength"] == 10 * one.truth["setting.length"]


def test_a_ladder_keeps_fewer_of_the_same_counts() -> None:
    one = sample(waves(ladder=(1.0, 0.5, 0.1), vary={"strength": uniform(1e3, 2e3)}), 0)
    plain = sample(waves(vary={"strength": uniform(1e3, 2e3)}), 0)
    rungs = one.measurement["counts"]
    assert rungs.dims[0] == "dose_share"
    np.testing.assert_array_equal(rungs[0], plain.measurement["counts"])
    assert (np.diff(rungs.astype(float), axis=0) <= 0).all()
    total = rungs.sum("x").values.astype(float)
    assert abs(total[2] - 0.1 * total[0]) < 5 * np.sqrt(0.1 * total[0])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 0}, "n = 0"),
        ({"shares": (0.5, 0.5)}, "left to train on"),
        ({"shares": (-0.1, 0.5)}, "left to train on"),
        ({"ladder": (1.0, 0.0)}, "above 0"),
        ({"vary": {"strenght": uniform(1, 2)}}, "strength"),
    ],
)
def test_what_cannot_be_generated_is_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        waves(**fields)


def test_priors_beyond_physics_are_refused_with_the_value() -> None:
    with pytest.raises(BadInputError, match=r"strength = uniform\(-5, 5\) draws -5"):
        waves(vary={"strength": uniform(-5, 5)}).check_priors()
    waves().check_priors()


def test_settings_correlate_and_others_stay_as_they_are() -> None:
    vary = {"strength": log_uniform(10, 1e4), "pause": uniform(0, 1e-6), "length": choice([2, 3])}
    alone = waves(vary=vary)
    together = waves(vary=vary, correlations={("strength", "pause"): 0.9})
    drawn = [together.drawn(index) for index in range(400)]
    assert [one["length"] for one in drawn] == [alone.drawn(n)["length"] for n in range(400)]
    ranks = spearmanr([one["strength"] for one in drawn], [one["pause"] for one in drawn])
    assert abs(ranks.statistic - 0.9) < 4 * (1 - 0.9**2) / np.sqrt(400)  # Fisher's spread


@pytest.mark.parametrize(
    "other",
    [
        {"vary": {"strength": log_uniform(10, 1e3)}},
        {"correlations": {("strength", "length"): 0.5}},
        {"correlated": dict},
        {"untold": {"strength": uniform(0, 1)}},
        {"targets": (Target.MASK,)},
        {"width": 0.3},
        {"ladder": (1.0, 0.5)},
        {"seed": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_whatever_decides_samples_is_described(other: dict[str, Any]) -> None:
    """A folder goes on only with a generation that is described alike."""
    plain, changed = (describe_generation(waves(**fields)) for fields in ({}, other))
    assert {name for name in plain if plain[name] != changed[name]} <= {*other, "priors", "make"}
    assert plain != changed


@pytest.mark.parametrize("function", [lambda _rng: None, lambda _rng: 1 / 0])
def test_faults_of_a_function_of_others_are_told_as_its(function: Any) -> None:
    with pytest.raises(BadInputError, match="draws settings together failed"):
        waves(correlated=function).check_priors()
