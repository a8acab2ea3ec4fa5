"""Bounds against closed forms, symmetries, and an efficient estimator by Monte Carlo."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.special import erf

from echolith.errors import BadInputError
from echolith.forward.noise import PoissonCounting
from echolith.validation.bounds import bound_of
from echolith.validation.information import Information, Parameters, fisher_information

Array = npt.NDArray[np.float64]

WIDTH = 1.3
"""Standard deviation of the spot, pixels."""
SPOT = {"x": 0.2, "y": -0.3, "electrons": 900.0, "background": 0.5}


class White:
    """Independent normal noise of one standard deviation (`Noise` protocol)."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        raise NotImplementedError

    def information(
        self, mean: npt.NDArray[np.floating], jacobian: npt.NDArray[np.floating]
    ) -> Array:
        return np.asarray(jacobian.T @ jacobian / self.sigma**2, dtype=np.float64)


def spot(values: Mapping[str, float], *, pixel: float = 1.0) -> xr.Dataset:
    return xr.Dataset({"counts": (("y", "x"), spot_counts(values, pixel=pixel))})


def spot_counts(values: Mapping[str, float], *, pixel: float = 1.0, half: float = 8.0) -> Array:
    """A Gaussian spot integrated over square pixels, on a flat background."""
    edges = np.arange(-half, half + pixel / 2, pixel)

    def profile(centre: float) -> Array:
        return np.asarray(np.diff(erf((edges - centre) / (np.sqrt(2) * WIDTH))) / 2)

    counts = values["electrons"] * np.outer(profile(values["y"]), profile(values["x"]))
    return np.asarray(counts + values["background"] * pixel**2)


def spot_parameters(pixel: float = 1.0) -> Parameters:
    return Parameters(
        values=SPOT,
        scales={"x": 0.1, "y": 0.1, "electrons": 10.0, "background": 0.05},
        mean=lambda values: spot(values, pixel=pixel),
        units={"x": "pixel", "y": "pixel"},
    )


def test_centroid_of_a_spot_without_background() -> None:
    quiet = {**SPOT, "background": 1e-12}
    parameters = Parameters(
        values=quiet,
        scales={"x": 0.1, "y": 0.1, "electrons": 10.0, "background": 1e-13},
        mean=lambda values: spot(values, pixel=0.05),
    )
    bound = bound_of(fisher_information(parameters, PoissonCounting()), parameters=["x", "y"])
    # sigma / sqrt(N); the pixels' own width adds pixel²/12 to sigma², 1e-4 of it here.
    assert float(bound["x"]) == pytest.approx(WIDTH / np.sqrt(SPOT["electrons"]), rel=1e-3)
    assert float(bound["y"]) == pytest.approx(float(bound["x"]), rel=1e-3)


def test_slope_and_intercept_of_a_line() -> None:
    x, sigma = np.linspace(-1, 3, 17), 0.2

    def mean(values: Mapping[str, float]) -> xr.Dataset:
        return xr.Dataset({"y": ("x", values["intercept"] + values["slope"] * x)})

    parameters = Parameters(
        values={"intercept": 2.0, "slope": 0.7},
        scales={"intercept": 0.1, "slope": 0.1},
        mean=mean,
    )
    bound = bound_of(fisher_information(parameters, White(sigma)))
    spread = np.sum((x - x.mean()) ** 2)
    assert float(bound["slope"]) == pytest.approx(sigma / np.sqrt(spread))
    assert float(bound["intercept"]) == pytest.approx(
        sigma * np.sqrt(1 / len(x) + x.mean() ** 2 / spread)
    )


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.05, 0.95), st.floats(1e3, 1e6))
def test_composition_from_two_energies(
    first: float, second: float, share: float, counts: float
) -> None:
    """Two absorption contrasts, two unknowns: as many data, so the inverse is that of the model."""
    model = np.array([[1.0, first], [1.0, -second]])
    amounts = np.array([1 - share, share])

    def mean(values: Mapping[str, float]) -> xr.Dataset:
        optical_density = model @ np.array([values["a"], values["b"]])
        return xr.Dataset({"counts": ("energy", counts * np.exp(-optical_density))})

    parameters = Parameters(
        values={"a": amounts[0], "b": amounts[1]},
        scales={"a": 0.02, "b": 0.02},
        mean=mean,
        quantities=lambda v: {"share": v["b"] / (v["a"] + v["b"])},
    )
    bound = bound_of(fisher_information(parameters, PoissonCounting(), tolerance=1e-5))
    expected = counts * np.exp(-model @ amounts)
    # Error of an optical density is 1 / sqrt(counts); amounts are linear in the densities.
    covariance = np.linalg.inv(model) @ np.diag(1 / expected) @ np.linalg.inv(model).T
    gradient = np.array([-amounts[1], amounts[0]]) / amounts.sum() ** 2
    assert float(bound["share"]) == pytest.approx(
        np.sqrt(gradient @ covariance @ gradient), rel=1e-3
    )


def test_an_efficient_estimator_reaches_the_bound() -> None:
    """Maximum likelihood on counts: bias and spread of 1500 fits, ratio 1.00 ± 0.05."""
    bound = bound_of(fisher_information(spot_parameters(), PoissonCounting()))
    truth, names = spot(SPOT)["counts"].values, list(SPOT)
    random, n = np.random.default_rng(1), 1500
    estimates = np.array([_fit(random.poisson(truth), names) for _ in range(n)])
    # The standard error of a spread is spread / sqrt(2 n), 1.8 %; 4 of them would be 7 %, two
    # quantities averaged give 5 %.
    ratios = [estimates[:, names.index(q)].std() / float(bound[q]) for q in ("x", "y")]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    for quantity in ("x", "y"):
        bias = estimates[:, names.index(quantity)].mean() - SPOT[quantity]
        assert abs(bias) < 4 * float(bound[quantity]) / np.sqrt(n)


def _fit(counts: npt.NDArray[np.int64], names: list[str]) -> Array:
    """Maximise the Poisson likelihood as a sum of squared deviance residuals."""

    def deviance(values: Array) -> Array:
        mean = spot_counts(dict(zip(names, values, strict=True)))
        log = np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / mean), 0.0)
        return np.asarray(
            np.sign(counts - mean) * np.sqrt(2 * np.maximum(log - counts + mean, 0))
        ).ravel()

    start = np.array(list(SPOT.values()))
    low = [-2, -2, 1, 1e-3]
    return np.asarray(least_squares(deviance, start, bounds=(low, np.inf), x_scale=np.abs(start)).x)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_units_change_nothing_but_the_numbers(factors: list[float]) -> None:
    information = fisher_information(spot_parameters(), PoissonCounting())
    scaled = Information(
        names=information.names,
        matrix=information.matrix / np.outer(factors, factors),
        gradients={q: g / factors for q, g in information.gradients.items()},
    )
    ours, theirs = bound_of(information), bound_of(scaled)
    for quantity in information.names:
        assert float(theirs[quantity]) == pytest.approx(float(ours[quantity]), rel=1e-6)


def test_a_nuisance_costs_and_knowledge_helps() -> None:
    information = fisher_information(spot_parameters(), PoissonCounting())
    alone = bound_of(information, parameters=["electrons"])
    together = bound_of(information)
    assert float(alone["electrons"]) < float(together["electrons"])


@given(st.floats(1, 1e4), st.floats(1, 1e4))
def test_what_the_data_do_not_fix_is_named_and_not_inverted(first: float, second: float) -> None:
    """Only the sum of two rates is seen."""
    jacobian = np.ones((5, 2))
    information = Information(
        names=("first", "second", "elsewhere"),
        matrix=np.pad(PoissonCounting().information(np.full(5, first + second), jacobian), (0, 1)),
        gradients={
            "sum": np.array([[1.0, 1.0, 0.0]]),
            "difference": np.array([[1.0, -1.0, 0.0]]),
        },
    )
    bound = bound_of(information)
    assert float(bound["sum"]) == pytest.approx(np.sqrt((first + second) / 5))
    assert np.isinf(bound["difference"])
    assert set(bound.attrs["undetermined"]) == {"difference", "first", "second", "elsewhere"}


def test_a_jump_in_the_mean_is_refused() -> None:
    def mean(values: Mapping[str, float]) -> xr.Dataset:
        return xr.Dataset({"counts": ("x", np.array([10.0 + (values["a"] > 1)]))})

    parameters = Parameters(values={"a": 1.0}, scales={"a": 0.1}, mean=mean)
    with pytest.raises(BadInputError, match="does not settle"):
        fisher_information(parameters, PoissonCounting())


def test_an_unknown_parameter_names_the_near_match() -> None:
    information = fisher_information(spot_parameters(), PoissonCounting())
    with pytest.raises(BadInputError, match="did you mean 'electrons'"):
        bound_of(information, parameters=["electron"])
