"""Composition from two energies, and its histogram."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.composition_histogram import (
    PhaseClass,
    gaussian_mixture,
    phase_classes,
)
from echolith.inverse.two_energy import (
    CompositionRule,
    TwoEnergy,
    two_energy_composition,
)

ENERGIES = [708.2, 710.2]
MATRIX = 1.5e-3 * np.array([[1.0, 0.42], [0.52, 0.9]])
"""1/Å, (energy, species): ratios 0.52 and 2.14 as published."""


def response() -> xr.DataArray:
    return xr.DataArray(
        MATRIX.T, dims=("species", "energy"), coords={"species": ["LFP", "FP"], "energy": ENERGIES}
    )


def absorbing(composition: np.ndarray, density: np.ndarray | float = 1.0) -> xr.Dataset:
    amounts = np.stack([(1 - composition), composition]) * density
    return xr.Dataset(
        {"absorption": (("energy", "x"), MATRIX @ amounts, {"units": "1/Å"})},
        coords={"energy": ENERGIES},
    )


@given(composition=st.floats(0, 1), density=st.floats(0.55, 2))
def test_exact_absorption_comes_back(composition: float, density: float) -> None:
    found = two_energy_composition(absorbing(np.array([composition]), density), response=response())
    assert found.composition.values == pytest.approx([composition], abs=1e-9)
    assert found.density.values == pytest.approx([density], abs=1e-9)


@given(
    seed=st.integers(0, 2**32 - 1),
    composition=st.floats(0, 1),
    rule=st.sampled_from(CompositionRule),
)
def test_pulls(seed: int, composition: float, rule: CompositionRule) -> None:
    rng = np.random.default_rng(seed)
    clean = absorbing(np.full(1000, composition))
    noisy = clean + rng.normal(0, 3e-5, clean.absorption.shape)
    noisy["absorption_std"] = xr.full_like(noisy.absorption, 3e-5)
    options = TwoEnergy(rule=rule)
    found = two_energy_composition(noisy, response=response(), options=options)
    exact = two_energy_composition(clean, response=response(), options=options)
    pull = (found.composition - exact.composition) / found.composition_std
    assert float(pull.std()) == pytest.approx(1, abs=0.1)  # standard error 0.022


@given(composition=st.floats(0, 1))
def test_published_rule_agrees_at_the_ends_and_is_monotonic(composition: float) -> None:
    options = TwoEnergy(rule=CompositionRule.POLAR_ANGLE)
    steps = np.array([0.0, composition, 1.0])
    found = two_energy_composition(absorbing(steps), response=response(), options=options)
    values = found.composition.values
    assert values[[0, 2]] == pytest.approx([0, 1], abs=1e-9)
    assert values[0] - 1e-9 <= values[1] <= values[2] + 1e-9


def test_empty_voxels_have_no_composition() -> None:
    found = two_energy_composition(
        absorbing(np.array([0.5, 0.5]), np.array([1.0, 0.1])), response=response()
    )
    assert np.isfinite(found.composition.values).tolist() == [True, False]


def test_one_energy_and_unknown_energies_are_refused() -> None:
    with pytest.raises(BadInputError, match="1 energies; expected 2"):
        two_energy_composition(absorbing(np.ones(3)).isel(energy=[0]), response=response())
    with pytest.raises(BadInputError, match="720 eV has no response"):
        two_energy_composition(
            absorbing(np.ones(3)).assign_coords(energy=[708.2, 720.0]), response=response()
        )
    with pytest.raises(BadInputError, match="absorb alike"):
        two_energy_composition(absorbing(np.ones(3)), response=response() * 0 + 1e-3)


def test_order_of_energies_does_not_matter() -> None:
    """Energies are matched by value: an array that counts down gives the same."""
    right = absorbing(np.linspace(0, 1, 9))
    turned = two_energy_composition(right.isel(energy=[1, 0]), response=response())
    xr.testing.assert_allclose(turned, two_energy_composition(right, response=response()))


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.9))
def test_mixture_of_two_gaussians(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    second = rng.random(4000) < share
    values = np.where(second, rng.normal(0.95, 0.08, 4000), rng.normal(0.05, 0.06, 4000))
    found = gaussian_mixture(values)
    for k, members in enumerate((values[~second], values[second])):
        assert found.mean[k] == pytest.approx(members.mean(), abs=1e-3)
        assert found.std[k] == pytest.approx(members.std(), rel=0.02)
    assert found.share[1] == pytest.approx(second.mean(), abs=1e-3)


def test_mixture_needs_values() -> None:
    with pytest.raises(BadInputError, match="3 values"):
        gaussian_mixture(np.array([0.1, 0.2, 0.3, np.nan]))


def test_classes() -> None:
    values = xr.DataArray([np.nan, 0.1, 0.3, 0.7, 0.71], dims="x")
    expected = [
        PhaseClass.EMPTY,
        PhaseClass.LITHIATED,
        PhaseClass.MIXED,
        PhaseClass.MIXED,
        PhaseClass.DELITHIATED,
    ]
    assert phase_classes(values).values.tolist() == expected
