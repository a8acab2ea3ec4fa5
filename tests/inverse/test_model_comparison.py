"""Changes of distances and the models that explain them."""

from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.distance_changes import distance_changes
from echolith.inverse.model_comparison import (
    ComparisonOptions,
    Verdict,
    compare_models,
    distance_ratio,
)
from echolith.structures.redox_models import CHARGED_MODELS, model_changes, model_distances

MODELS = {model.value: model_changes(model) for model in CHARGED_MODELS}
EXACT = ComparisonOptions(model_std=1e-4)


def state(lengths: Mapping[str, float], *, std: float) -> xr.Dataset:
    """Lengths with one error for all."""
    return xr.Dataset(dict(lengths) | {f"{name}_std": std for name in lengths})


def measured(model: str, *, std: float, random: np.random.Generator | None = None) -> xr.Dataset:
    """Changes of a model, as two noisy states give them."""
    before = model_distances(CHARGED_MODELS[0])
    shift = {n: 0.0 if random is None else random.normal(0, std * 2**0.5) for n in before}
    after = {n: v + MODELS[model][n] + shift[n] for n, v in before.items()}
    return distance_changes(state(after, std=std), state(before, std=std))


@given(st.sampled_from(sorted(MODELS)), st.floats(1e-4, 5e-3))
def test_exact_changes_find_their_model(model: str, std: float) -> None:
    """The likelihood is largest where the difference is zero."""
    compared = compare_models(measured(model, std=std), MODELS)
    assert str(compared["supported"].values) == model
    assert compared["chi_squared"].values[0] == pytest.approx(0, abs=1e-9)
    assert float(compared["probability"].sum()) == pytest.approx(1)


@given(st.sampled_from(sorted(MODELS)), st.permutations(sorted(MODELS)))
def test_the_order_of_the_models_changes_nothing(model: str, order: list[str]) -> None:
    """Models are listed best first, however they were given."""
    changes = measured(model, std=0.01, random=np.random.default_rng(1))
    one = compare_models(changes, MODELS)
    two = compare_models(changes, {name: MODELS[name] for name in order})
    xr.testing.assert_allclose(one, two)


def test_errors_larger_than_the_differences_cannot_tell() -> None:
    """A verdict needs data that can carry it."""
    compared = compare_models(measured("o2", std=0.2), MODELS)
    assert str(compared["verdict"].values) == Verdict.CANNOT_TELL.value
    assert str(compared["supported"].values) == ""
    assert "too near" in compared.attrs["reason"]


def test_data_of_no_model_fit_none() -> None:
    """A swelling of 10 % is none of them, however small the difference between them."""
    before = model_distances(CHARGED_MODELS[0])
    after = {name: 1.1 * value for name, value in before.items()}
    changes = distance_changes(state(after, std=0.01), state(before, std=0.01))
    compared = compare_models(changes, MODELS)
    assert str(compared["verdict"].values) == Verdict.NONE_FITS.value
    assert "does not fit" in compared.attrs["reason"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_stated_probabilities_are_true(model: str) -> None:
    """p-values of the true model are uniform: their mean is 1/2 ± 4 standard errors."""
    random = np.random.default_rng(2)
    runs = [
        compare_models(measured(model, std=0.01, random=random), MODELS, options=EXACT)
        for _ in range(300)
    ]
    values = [float(run["p_value"].sel(model=model)) for run in runs]
    assert np.mean(values) == pytest.approx(0.5, abs=4 * (1 / 12) ** 0.5 / 300**0.5)
    wrong = [str(run["supported"].values) not in ("", model) for run in runs]
    # A verdict of 95 % or more is wrong at most once in twenty; binomial, four standard errors.
    assert np.mean(wrong) <= 0.05 + 4 * (0.05 * 0.95 / 300) ** 0.5


def test_changes_carry_the_covariance_of_both_states() -> None:
    """Variances of independent states add up."""
    names = ["m_m", "o_o_li"]
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]]) * 1e-4
    one = xr.Dataset(
        {
            "m_m": 2.5,
            "m_m_std": 0.02,
            "o_o_li": 3.1,
            "o_o_li_std": 0.03,
            "distance_covariance": (("distance", "distance_"), covariance),
        },
        coords={"distance": names, "distance_": names},
    )
    changes = distance_changes(one, one)
    np.testing.assert_allclose(changes["change"], 0)
    np.testing.assert_allclose(changes["change_covariance"], 2 * covariance)


@given(st.floats(0, 0.05))
def test_what_is_not_noise_widens_oxygen_alone(systematic: float) -> None:
    """M columns are centres of symmetry; nothing shifts them."""
    one = state({"m_m": 2.5, "o_o_m": 2.7}, std=0.01)
    std = distance_changes(one, one, systematic=systematic)["change_std"].values
    np.testing.assert_allclose(std**2, 2 * 0.01**2 + np.array([0, 2 * systematic**2]))


@given(st.floats(0.9, 1.1))
def test_the_ratio_knows_no_scale(scale: float) -> None:
    """A common scale leaves it as it is."""
    lengths = {"o_o_li": 3.1, "m_m_olio": 5.8}
    one = distance_ratio(state(lengths, std=0.01))
    two = distance_ratio(state({n: scale * v for n, v in lengths.items()}, std=0.01 * scale))
    np.testing.assert_allclose(one, two)


def test_correlated_errors_of_the_ratio_cancel() -> None:
    """A common relative error of both lengths is none of the ratio."""
    lengths = np.array([3.1, 5.8])
    names = ["o_o_li", "m_m_olio"]
    data = xr.Dataset(
        dict(zip(names, lengths, strict=True))
        | {"o_o_li_std": 0.031, "m_m_olio_std": 0.058}
        | {"distance_covariance": (("distance", "distance_"), np.outer(lengths, lengths) * 1e-4)},
        coords={"distance": names, "distance_": names},
    )
    assert distance_ratio(data)[1] == pytest.approx(0, abs=1e-8)


def test_what_cannot_be_compared_is_refused() -> None:
    """Missing errors, models and distances each have their message."""
    changes = measured("o2", std=0.01)
    with pytest.raises(BadInputError, match="two or more"):
        compare_models(changes, {"o2": MODELS["o2"]})
    with pytest.raises(BadInputError, match="does not say how o_o_li changes"):
        compare_models(changes, MODELS | {"mine": {k: 0.0 for k in MODELS["o2"] if k != "o_o_li"}})
    with pytest.raises(BadInputError, match="lack change_covariance"):
        compare_models(changes.drop_vars("change_covariance"), MODELS)
    singular = changes.assign(change_covariance=0 * changes["change_covariance"])
    with pytest.raises(BadInputError, match="model_std above 0"):
        compare_models(singular, MODELS, options=ComparisonOptions(model_std=0))
    with pytest.raises(BadInputError, match="no distance in common"):
        distance_changes(xr.Dataset({"m_m": 2.5}), xr.Dataset({"o_o_m": 2.7}))
    with pytest.raises(BadInputError, match="ratio needs m_m_olio"):
        distance_ratio(xr.Dataset({"o_o_li": 3.1}))
