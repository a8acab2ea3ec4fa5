"""Columns fitted to raw counts of another program's multislice: right, and as sure as it says."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, acquisition_of
from echolith.forward.noise import PoissonCounting
from echolith.inverse.counts_columns import Content
from echolith.inverse.counts_fit import fit_columns_to_counts
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.counts_recovery import CountsSolver, recover_columns_from_counts
from echolith.inverse.counts_start import with_surroundings
from tests.inverse.counts_sets import THICKNESS, mean, true_columns

OPTIONS = CountsOptions(
    content=Content(species={"M": {"Mn": 1.0}, "O": {"O": 1.0}, "Li": {"Li": 1.0}}, filling={}),
    thickness=THICKNESS,
    thickness_std=1.0,
    slice_thickness=4.0,
    sampling=0.16,
    least_box=12.0,
    margin=0.5,
)


def off_start() -> xr.Dataset:
    """The true columns, each 3 pm off and a tenth too strong or too weak."""
    true = true_columns()
    random = np.random.default_rng(4)
    shift = random.normal(0, 0.03, (2, true.sizes["column"]))
    strength = true["strength"] * random.uniform(0.9, 1.1, true.sizes["column"])
    return true.assign(x=true["x"] + shift[0], y=true["y"] + shift[1], strength=strength)


def errors(estimate: xr.Dataset) -> np.ndarray:
    true = true_columns()
    return np.stack([estimate[a].values - true[a].values for a in "xy"], axis=1)


def test_noisy_counts_give_columns_within_the_stated_uncertainty() -> None:
    counts = PoissonCounting().sample(mean(), seed=11)
    estimate = fit_columns_to_counts(counts, start=off_start(), options=OPTIONS)
    pull = np.einsum(
        "ki,kij,kj->k",
        errors(estimate),
        np.linalg.inv(estimate["xy_covariance"].values),
        errors(estimate),
    )
    low, high = stats.chi2.ppf([1e-3, 1 - 1e-3], 2 * len(pull))
    assert low < pull.sum() < high
    assert abs(float(estimate["thickness"]) - THICKNESS) < 4 * float(estimate["thickness_std"])
    # Pearson's chi squared of pixels with one count and more is one for a true model.
    assert 0.9 < estimate.attrs["reduced_chi_squared"] < 1.1
    assert estimate["species"].values.tolist() == true_columns()["species"].values.tolist()


def test_expected_counts_give_columns_without_bias() -> None:
    estimate = fit_columns_to_counts(mean(), start=off_start(), options=OPTIONS)
    std = np.stack([estimate["x_std"].values, estimate["y_std"].values], axis=1)
    # Less than a fifth of the standard deviation, the target for displaced specimens.
    assert np.sqrt(np.mean((errors(estimate) / std) ** 2)) < 0.2


def test_a_thickness_far_off_is_found() -> None:
    far = OPTIONS.model_copy(update={"thickness": 3 * THICKNESS, "thickness_std": 10.0})
    estimate = fit_columns_to_counts(mean(), start=off_start(), options=far)
    # The small box costs the thickness about one standard deviation, wherever the fit starts.
    assert abs(float(estimate["thickness"]) - THICKNESS) < 2 * float(estimate["thickness_std"])
    std = np.stack([estimate["x_std"].values, estimate["y_std"].values], axis=1)
    assert np.sqrt(np.mean((errors(estimate) / std) ** 2)) < 0.2


def test_what_cannot_be_fitted_is_refused() -> None:
    blurred = acquisition_of(mean()).model_copy(update={"beam": Beam(source_spread=0.3)})
    with pytest.raises(BadInputError, match="assumes a coherent probe"):
        fit_columns_to_counts(mean().assign_attrs(acquisition=blurred.model_dump_json()))
    with pytest.raises(BadInputError, match="missing: strength"):
        fit_columns_to_counts(mean(), start=true_columns().drop_vars("strength"))
    nan = true_columns()
    nan["x"] = nan["x"] * np.nan
    with pytest.raises(BadInputError, match="not finite"):
        fit_columns_to_counts(mean(), start=nan)
    strange = true_columns().assign(species=("column", np.array(["Au"] * 5)))
    with pytest.raises(BadInputError, match="no scattering factor"):
        fit_columns_to_counts(mean(), start=strange)
    lone = true_columns().assign(edge=("column", np.zeros(5, bool))).assign_attrs(margin=1.0)
    with pytest.raises(BadInputError, match="give them with start="):
        with_surroundings(lone, acquisition_of(mean()).scan, width=5.0)


def test_a_field_without_columns_is_refused() -> None:
    counts = mean()["counts"]
    empty = mean().assign(counts=counts.mean(("scan_y", "scan_x")).broadcast_like(counts))
    with pytest.raises(BadInputError, match="no columns found"):
        recover_columns_from_counts(empty, options=CountsSolver(fit=OPTIONS))


def test_a_column_that_is_not_there_is_dropped() -> None:
    true = true_columns()
    ghost = xr.Dataset(
        {
            "x": ("column", [1.9]),
            "y": ("column", [3.1]),
            "species": ("column", ["O"]),
            "strength": ("column", [2.0]),
            "supposed": ("column", [True]),
        }
    )
    known = true.assign(supposed=("column", np.zeros(true.sizes["column"], bool)))
    start = xr.concat([known, ghost], dim="column")
    estimate = fit_columns_to_counts(mean(), start=start, options=OPTIONS)
    assert estimate.attrs["absent"] == 1
    assert estimate.sizes["column"] == true.sizes["column"]


def test_a_fit_that_does_not_converge_says_so() -> None:
    impatient = OPTIONS.model_copy(update={"iterations": 1})
    with pytest.raises(BadInputError, match="did not converge in 1 evaluations"):
        fit_columns_to_counts(mean(), start=off_start(), options=impatient)
