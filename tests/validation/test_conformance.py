"""Conformance checks: good parts pass, and each rule catches a part that breaks it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.noise import PoissonCounting
from echolith.protocols import Better
from echolith.seeds import stream
from echolith.validation.conformance import (
    ConformanceError,
    check_adjoint,
    check_forward,
    check_metric,
    check_scenario,
    check_solver,
)
from echolith.validation.conformance_basics import difference, fingerprint
from echolith.validation.metrics import (
    NamedMetric,
    absolute_error,
    column_rms,
    false_columns,
    found_fraction,
)
from tests.validation.peak_scenario import (
    Peak,
    PeakSettings,
    build,
    forward,
    peak_scenario,
    solve,
    truth,
)

calls = [0]


def test_a_good_solver_passes_every_check() -> None:
    passed = check_solver(solve, scenario=peak_scenario())
    assert len(passed) == len(set(passed)) == 10


def overwrites(measurement: xr.Dataset) -> xr.Dataset:
    estimate = solve(measurement)
    measurement["counts"].values[3] += 1
    return estimate


def relabels(measurement: xr.Dataset) -> xr.Dataset:
    measurement.attrs["seen"] = True
    return solve(measurement)


def remembers(measurement: xr.Dataset) -> xr.Dataset:
    calls[0] += 1
    return solve(measurement).assign_attrs(calls=calls[0])


def drifts(measurement: xr.Dataset) -> xr.Dataset:
    calls[0] += 1
    return solve(measurement) * (1 + 1e-15 * calls[0])


def dices(measurement: xr.Dataset) -> xr.Dataset:
    np.random.standard_normal()  # noqa: NPY002 - the mistake itself
    return solve(measurement)


def seeds(measurement: xr.Dataset) -> xr.Dataset:
    random.seed(3)
    return solve(measurement)


def without_units(measurement: xr.Dataset) -> xr.Dataset:
    estimate = solve(measurement)
    return estimate.assign(position=((), float(estimate["position"])))


def one_percent_off(measurement: xr.Dataset) -> xr.Dataset:
    estimate = solve(measurement)
    return estimate.assign(strength=estimate["strength"].copy(data=1.03 * estimate["strength"]))


def constant(measurement: xr.Dataset) -> xr.Dataset:
    return solve(forward(build(0)))


def passes_nan_on(measurement: xr.Dataset) -> xr.Dataset:
    counts = measurement["counts"].values.astype(float)
    if np.isfinite(counts).all():
        return solve(measurement)
    return xr.Dataset({"position": counts.sum()})


@pytest.mark.parametrize(
    ("solver", "check", "words"),
    [
        (lambda m: dict(solve(m)), "kind of result", "of type dict"),
        (overwrites, "input left alone", "changed what it was given"),
        (relabels, "input left alone", "changed what it was given"),
        (remembers, "purity", "attributes calls"),
        (drifts, "purity", "1 of 1 values differ, by up to"),
        (dices, "global random state", "numpy.random or random"),
        (seeds, "global random state", "numpy.random or random"),
        (lambda m: solve(m) * np.nan, "well-formed", "'position' = nan"),
        (lambda m: solve(m).rename(position="Position"), "names", "did you mean 'position'"),
        (without_units, "units", "'units' on position"),
        (constant, "follows the data", "same estimate to the bit"),
        (one_percent_off, "noiseless recovery", "'strength' off by 1.2e+03 electrons"),
        (lambda m: solve(m)[["position"]], "noiseless recovery", "no quantity with a standard"),
        (passes_nan_on, "NaN", "one NaN in 'counts' came back as position"),
    ],
)
def test_a_broken_solver_is_caught(
    solver: Callable[[xr.Dataset], xr.Dataset], check: str, words: str
) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_solver(solver, scenario=peak_scenario())
    assert caught.value.check == check
    assert words in caught.value.seen
    assert isinstance(caught.value, AssertionError)


def test_a_tolerance_judges_a_solver_without_standard_deviations() -> None:
    def bare(measurement: xr.Dataset) -> xr.Dataset:
        return solve(measurement)[["position", "strength"]]

    check_solver(bare, scenario=peak_scenario(), tolerance={"position": 1e-6})
    check_solver(one_percent_off, scenario=peak_scenario(), tolerance=1300.0)
    with pytest.raises(ConformanceError, match=r"the tolerance given"):
        check_solver(one_percent_off, scenario=peak_scenario(), tolerance=1100.0)


def test_a_good_forward_passes_and_gives_its_mean() -> None:
    xr.testing.assert_identical(check_forward(forward, specimen=build(0)), forward(build(0)))


def moves_the_peak(peak: Peak) -> xr.Dataset:
    mean = forward(peak)
    peak.position[0] += 1e-9
    return mean


def adds_noise(peak: Peak) -> xr.Dataset:
    calls[0] += 1
    return PoissonCounting().sample(forward(peak), seed=calls[0])


@pytest.mark.parametrize(
    ("simulator", "check", "words"),
    [
        (lambda p: forward(p)["counts"], "kind of result", "DataArray"),
        (moves_the_peak, "input left alone", "changed"),
        (adds_noise, "purity", "values differ"),
        (lambda p: forward(p).round().astype(int), "expected counts", "no variable of floating"),
        (lambda p: forward(p) - 1e-3, "expected counts", "negative or not finite"),
        (lambda p: forward(p) / 0.0, "expected counts", "negative or not finite"),
        (lambda p: forward(p).drop_attrs(), "units", "counts"),
        (lambda p: forward(p).drop_vars("scan_x"), "units", "dim scan_x"),
    ],
)
@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero)")
def test_a_broken_forward_is_caught(
    simulator: Callable[[Any], xr.Dataset], check: str, words: str
) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_forward(simulator, specimen=build(0))
    assert caught.value.check == check
    assert words in caught.value.seen


def blur(image: Any) -> Any:
    return np.fft.ifft(np.fft.fft(image) * np.exp(1j * np.arange(image.size)))


def blur_back(image: Any) -> Any:
    return np.fft.ifft(np.fft.fft(image) * np.exp(-1j * np.arange(image.size)))


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_operators_with_their_adjoints_pass(dtype: Any) -> None:
    check_adjoint(blur, blur_back, shape=(37,), dtype=dtype)
    matrix = np.random.default_rng(1).standard_normal((5, 12))
    check_adjoint(
        lambda x: matrix @ x.ravel(), lambda y: (matrix.T @ y).reshape(3, 4), shape=(3, 4)
    )
    check_adjoint(np.fft.fft, lambda y: np.fft.ifft(y).real * y.size, shape=(1000,))


@pytest.mark.parametrize(
    ("operator", "back", "words"),
    [
        (blur, blur, "adjoint"),
        (blur, lambda y: 1.001 * blur_back(y), "adjoint"),
        (blur, lambda y: np.roll(blur_back(y), 1), "adjoint"),
        (blur, lambda y: blur_back(y)[:-1], "adjoint: seen the adjoint returned shape"),
        (lambda x: blur(x) + 0.1, blur_back, "linearity"),
        (lambda x: blur(x * np.abs(x)), blur_back, "linearity"),
    ],
)
@pytest.mark.parametrize("size", [20, 20_000])
def test_a_wrong_adjoint_is_caught(
    operator: Callable[[Any], Any], back: Callable[[Any], Any], words: str, size: int
) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_adjoint(operator, back, shape=(size,), dtype=np.complex64)


def columns() -> xr.Dataset:
    x, y = np.meshgrid(np.arange(6) * 2.0, np.arange(5) * 2.5)
    length = {"units": "Å"}
    return xr.Dataset(
        {
            "x": ("column", x.ravel(), length),
            "y": ("column", y.ravel(), length),
            "species": ("column", np.resize(["M", "O", "Li"], x.size)),
            "o_o_li": ((), 3.07, length),
        }
    )


@pytest.mark.parametrize(
    "metric",
    [absolute_error("o_o_li"), column_rms("O"), found_fraction("M"), false_columns()],
    ids=lambda metric: metric.name,
)
def test_our_metrics_pass(metric: NamedMetric) -> None:
    check_metric(metric, truth=columns())


def metric(function: Callable[[xr.Dataset, xr.Dataset], float], **others: Any) -> NamedMetric:
    return NamedMetric(name="broken", unit="1", function=function, **others)


def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    return float(estimate["o_o_li"] - truth["o_o_li"])


def spoils_the_truth(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    truth["x"].values[:] += 1
    return abs(error(estimate, truth))


def forgives_nan(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    return float(np.nansum([abs(error(estimate, truth))]))


def wavers(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    calls[0] += 1
    return abs(error(estimate, truth)) + calls[0]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (metric(lambda e, t: -error(e, t)), "for a spoilt estimate"),
        (metric(lambda e, t: abs(error(e, t)), better=Better.HIGHER), "for a spoilt estimate"),
        (metric(lambda e, t: 3.0), "for the truth and for every spoilt estimate"),
        (metric(lambda e, t: np.log(abs(error(e, t)))), "-inf at the truth"),
        (metric(forgives_nan), "for an estimate of NaN"),
        (metric(spoils_the_truth), "a changed truth"),
        (metric(wavers), "the same score twice"),
        (metric(lambda e, t: abs(error(e, t) - 0.1)), "for a spoilt estimate"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_broken_metric_is_caught(broken: NamedMetric, words: str) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_metric(broken, truth=columns())


def test_a_metric_is_judged_by_the_spoiling_given() -> None:
    only_species = metric(lambda e, t: float((e["species"] != t["species"]).sum()))
    with pytest.raises(ConformanceError, match="give `spoil`"):
        check_metric(only_species, truth=columns(), spoil=lambda t: t)
    check_metric(
        only_species, truth=columns(), spoil=lambda t: t.assign(species=t["species"][::-1])
    )


def test_a_good_scenario_passes() -> None:
    check_scenario(peak_scenario())


class ForgetfulSettings(PeakSettings):
    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {**super().model_dump(**options), "strength": 1.0}


def random_build(seed: int) -> Peak:
    calls[0] += 1
    return build(seed + calls[0])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"build": random_build}, "build"),
        ({"truth": lambda p: truth(p).assign_attrs(n=random_build(0).position[0])}, "purity"),
        ({"truth": lambda p: truth(p)[["position"]]}, "quantities"),
        ({"truth": lambda p: truth(p) * np.nan}, "quantities"),
        ({"truth": lambda p: truth(p).drop_attrs()}, "quantities"),
        ({"settings": ForgetfulSettings()}, "settings"),
        ({"gauge": lambda estimate, _: estimate * 1.01}, "gauge"),
        ({"metrics": (metric(lambda e, t: 3.0),)}, "metric 'broken'"),
        ({"forward": lambda p: forward(p).drop_attrs()}, "units"),
        ({"solver": one_percent_off}, "noiseless recovery"),
    ],
)
def test_a_broken_scenario_is_caught(changes: dict[str, Any], check: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_scenario(replace(peak_scenario(), **changes))
    assert caught.value.check == check


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    name: str


@given(
    where=st.integers(0, 11),
    change=st.sampled_from([0.0, 1e-300, 1.0, np.nan]),
    dtype=st.sampled_from(["f4", "f8", "c16"]),
)
def test_one_changed_number_is_seen_wherever_it_lies(where: int, change: float, dtype: str) -> None:
    before = stream(0, "values").standard_normal(12).astype(dtype).reshape(3, 4)
    before.flat[0] = 0
    after = before.copy()
    after.flat[where] += change
    same = before.tobytes() == after.tobytes()
    assert (fingerprint(Inner(before, "a")) == fingerprint(Inner(after, "a"))) == same
    assert (fingerprint({"a": [before]}) == fingerprint({"a": [after]})) == same
    one, two = (xr.Dataset({"v": (("a", "b"), v, {"units": "1"})}) for v in (before, after))
    assert (difference(one, two) is None) == same
    assert (fingerprint(one) == fingerprint(two)) == same


def test_names_attributes_types_and_dims_are_told_apart() -> None:
    one = xr.Dataset({"v": ("a", [1.0, np.nan], {"units": "Å"}), "s": ("a", ["x", "y"])})
    assert difference(one, one.copy(deep=True)) is None
    for other, words in (
        (one.rename(v="w"), "variables v, w"),
        (one.assign_attrs(n=1), "attributes n"),
        (one.assign(v=one["v"].assign_attrs(units="pm")), "attributes of 'v'"),
        (one.assign(v=one["v"].astype("f4")), "float32"),
        (one.rename(a="b"), "('b',)"),
        (one.assign(s=("a", ["x", "z"])), "1 of 2 entries"),
    ):
        told = difference(one, other)
        assert told is not None
        assert words in told
        assert fingerprint(one) != fingerprint(other)
