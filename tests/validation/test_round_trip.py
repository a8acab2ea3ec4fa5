"""Round trips on a toy scenario whose statistics are known in closed form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.validation.metrics import absolute_error
from echolith.validation.residuals import from_json, joined, to_json
from echolith.validation.round_trip import Vary, round_trip
from echolith.validation.run import run_once
from echolith.validation.scenario import Scenario

RATE = 400.0
FRAMES = 25


class ToySettings(Settings):
    rate: float = RATE


def toy(rate: float = RATE) -> Scenario:
    """A constant counting rate: the mean of n Poisson numbers, variance rate / n."""

    def forward(specimen: float) -> xr.Dataset:
        return xr.Dataset(
            {
                "counts": (
                    ("scan_y", "scan_x", "detector_y", "detector_x"),
                    np.full((5, 5, 1, 1), specimen, dtype=np.float32),
                )
            }
        )

    def solver(measurement: xr.Dataset) -> xr.Dataset:
        values = measurement["counts"].values.astype(float)
        return xr.Dataset({"rate": values.mean(), "rate_std": np.sqrt(values.mean() / values.size)})

    return Scenario(
        name="toy",
        settings=ToySettings(rate=rate),
        build=lambda seed: rate,
        truth=lambda specimen: xr.Dataset({"rate": specimen}),
        forward=forward,
        noise=PoissonCounting(),
        solver=solver,
        gauge=lambda estimate, truth: estimate,
        metrics=(absolute_error("rate", unit="1", scale=1.0),),
        quantities=("rate",),
    )


def test_spread_bias_and_coverage_agree_with_poisson_statistics() -> None:
    n = 200
    statistics = round_trip(toy(), seeds=range(n)).summary["statistics"]["rate"]
    sigma = np.sqrt(RATE / FRAMES)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], n - 1) / (n - 1)
    assert low < (statistics["spread"] / sigma) ** 2 < high
    assert abs(statistics["bias"]) < 4 * sigma / np.sqrt(n)
    assert stats.binomtest(round(statistics["coverage95"] * n), n, 0.95).pvalue > 1e-4


def test_without_noise_nothing_is_lost() -> None:
    run = run_once(toy(), noise_free=True)
    assert run.summary["scores"]["rate_error"]["value"] == 0


def test_the_same_seed_gives_the_same_case() -> None:
    first, second = (run_once(toy(), seed=3).summary["quantities"] for _ in range(2))
    assert first == second


def test_a_failing_solver_is_recorded_and_the_others_go_on() -> None:
    calls: list[int] = []

    def fails_once(measurement: xr.Dataset) -> xr.Dataset:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("broken on purpose")
        return toy().solver(measurement)

    outcome = round_trip(toy(), seeds=range(4), solver=fails_once)
    assert outcome.failures == {1: "RuntimeError: broken on purpose"}
    assert set(outcome.cases) == {0, 2, 3}


def test_finished_cases_are_taken_from_the_store(tmp_path: Path) -> None:
    whole = round_trip(toy(), seeds=range(5), store=tmp_path)
    calls: list[int] = []

    def counting(measurement: xr.Dataset) -> xr.Dataset:
        calls.append(1)
        return toy().solver(measurement)

    scenario = toy()
    resumed = round_trip(scenario, seeds=range(5), store=tmp_path)
    assert resumed.cases.keys() == whole.cases.keys()
    assert _statistics(resumed) == _statistics(whole)
    round_trip(scenario, seeds=range(5), solver=counting, store=tmp_path)
    assert len(calls) == 5, "cases of another solver must not be taken"


def _statistics(outcome: Any) -> Any:
    return outcome.summary["statistics"]


def test_specimens_vary_only_when_asked() -> None:
    built: list[int] = []
    scenario = toy()

    def build(seed: int) -> Any:
        built.append(seed)
        return scenario.build(seed)

    watched = replace(scenario, build=build)
    round_trip(watched, seeds=range(3))
    assert built == [0]
    round_trip(watched, seeds=range(3), vary=Vary.SPECIMEN)
    assert built == [0, 0, 1, 2]


def test_no_seed_at_all_is_refused() -> None:
    with pytest.raises(BadInputError, match="seeds is empty"):
        round_trip(toy(), seeds=[])


def test_residuals_of_all_cases_stand_one_after_the_other() -> None:
    """A quantity without single values is its own: key 0, one error and std for each case."""
    outcome = round_trip(toy(), seeds=range(6))
    rows = [case["quantities"]["rate"] for case in outcome.cases.values()]
    found = outcome.residuals()["rate"]
    assert found.key.tolist() == [0] * 6
    assert found.error.tolist() == [row["estimate"] - row["truth"] for row in rows]
    assert found.std.tolist() == [row["std"] for row in rows]
    assert outcome.summary["calibration"]["rate"]["count"] == 6


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["column_o", "m_m"]),
            st.lists(st.tuples(st.integers(0, 99), st.floats(-1, 1), st.none() | st.floats(0, 1))),
        ),
        max_size=4,
    )
)
def test_joined_residuals_lose_nothing(cases: list[dict[str, list[Any]]]) -> None:
    stored = [
        {kind: {"unit": "Å", "rows": rows} for kind, rows in case.items() if rows} for case in cases
    ]
    together = to_json(joined(from_json(case) for case in stored))
    for kind in ("column_o", "m_m"):
        rows = [list(row) for case in stored if kind in case for row in case[kind]["rows"]]
        assert together.get(kind, {"rows": []})["rows"] == rows
