"""Stored results compared, and leaderboards."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.baseline_check import Question, update_baseline
from echolith.validation.comparison import compare, comparison_table
from echolith.validation.information import Information
from echolith.validation.leaderboard import leaderboard
from echolith.validation.leaderboard_page import leaderboard_table, render, write_leaderboard
from echolith.validation.round_trip import Vary, round_trip
from echolith.validation.scenario import Scenario
from tests.validation.voxel_scenario import counts, crashes, spread_out, voxels


def stored(
    folder: Path,
    solver: Solver = counts,
    *,
    scenario: Scenario | None = None,
    seeds: range = range(8),
    cases: bool = True,
    vary: Vary = Vary.NOISE,
) -> Path:
    """Write what ``echolith run --seeds N --out`` leaves."""
    outcome = round_trip(
        scenario or voxels(side=8),
        seeds=seeds,
        solver=solver,
        vary=vary,
        store=folder / "cases" if cases else None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(outcome.summary), "utf-8")
    return folder


def worse(measurement: xr.Dataset) -> xr.Dataset:
    return spread_out(measurement, by=1.5)


def test_two_runs_are_compared_value_by_value(tmp_path: Path) -> None:
    old, new = stored(tmp_path / "old"), stored(tmp_path / "new", worse)
    found = compare(old, new / "results.json")
    assert found["worse"]
    assert found["outcome"] == "worse"
    changes = {(c["group"], c["measure"]): c for c in found["changes"]}
    assert changes["rate", "rms"]["increase"] == pytest.approx(0.5, abs=0.02)
    assert changes["rate", "rms"]["outcome"] == "worse"
    assert changes["total", "rms"]["outcome"] == "not told apart"
    json.dumps(found, allow_nan=False)
    assert not compare(old, old)["worse"]
    assert compare(new, old)["outcome"] == "better"


def test_the_table_says_the_same(tmp_path: Path) -> None:
    found = compare(stored(tmp_path / "old"), stored(tmp_path / "new", worse))
    text = comparison_table(found)
    assert re.search(r"rms, rate +\S+ +\S+ +\+5\d %  +< 1e-\d+ +worse|rms, rate .*worse", text)
    assert re.search(r"rms, total +(\S+) +\1 +\+0 % +1$", text, re.MULTILINE)
    assert "significantly worse than the baseline: 8 seeds" in text


def test_a_folder_of_several_runs_gives_the_cases_of_the_right_one(tmp_path: Path) -> None:
    both = stored(tmp_path / "both", worse)
    stored(both, counts)  # results.json is now that of the second
    old = stored(tmp_path / "old")
    assert compare(old, both)["outcome"] == "not told apart"

    def shifted(measurement: xr.Dataset) -> xr.Dataset:
        return counts(measurement) + 100

    summary = (both / "results.json").read_text("utf-8")
    stored(both, shifted)  # later, and with other quantities
    (both / "results.json").write_text(summary, "utf-8")
    assert compare(old, both)["outcome"] == "not told apart"


def test_common_seeds_are_compared(tmp_path: Path) -> None:
    old = stored(tmp_path / "old", seeds=range(9))
    found = compare(old, stored(tmp_path / "new", worse, seeds=range(3, 12)))
    # The specimen is the same for every seed here, so the noise of six seeds is common.
    assert found["seeds"] == 6
    assert found["words"][-1] == "compared on the 6 seeds that both have"
    assert found["worse"]


def test_summaries_alone_are_compared_by_f(tmp_path: Path) -> None:
    many = range(60)
    old = stored(tmp_path / "old", seeds=many, cases=False)
    found = compare(old, stored(tmp_path / "same", seeds=many, cases=False))
    assert found["outcome"] == "not told apart"
    assert "no values seed by seed" in found["words"][-1]

    def doubled(measurement: xr.Dataset) -> xr.Dataset:
        estimate = counts(measurement)
        return estimate.assign(total=400 + 2 * (estimate["total"] - 400))

    new = compare(old, stored(tmp_path / "new", doubled, seeds=many, cases=False))
    assert new["worse"]
    # F of a ratio 4 / 1.01² with 60 and 60 degrees of freedom, one share of (0.45 + 0.1).
    assert 1e-8 < next(c for c in new["changes"] if c["group"] == "total")["p_value"] < 1e-5

    def nothing(measurement: xr.Dataset) -> xr.Dataset:
        return counts(measurement)[["rate"]]

    lost = compare(old, stored(tmp_path / "lost", nothing, seeds=many, cases=False))
    assert lost["worse"]


def test_failures_are_worse_in_a_summary_too(tmp_path: Path) -> None:
    old = stored(tmp_path / "old", cases=False)
    found = compare(old, stored(tmp_path / "new", crashes, cases=False))
    assert found["worse"]
    assert any("RuntimeError: broken on purpose" in line for line in found["words"])


def test_a_baseline_and_a_run_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    update_baseline(path, counts, Question(scenario=voxels(side=8), seeds=tuple(range(8))))
    with pytest.raises(BadInputError, match="different data"):
        # The catalogue does not know the scenario, so its defaults are not known either.
        compare(path, stored(tmp_path / "run"))
    other = tmp_path / "other.json"
    update_baseline(other, worse, Question(scenario=voxels(side=8), seeds=tuple(range(8))))
    assert compare(path, other)["worse"]
    assert compare(other, path)["outcome"] == "better"


def test_settings_of_the_solver_may_differ_and_are_told(tmp_path: Path) -> None:
    old = stored(tmp_path / "old", scenario=voxels(side=8))
    new = stored(tmp_path / "new", scenario=voxels(side=8))
    text = (new / "results.json").read_text("utf-8")
    content = json.loads(text)
    content["settings"]["solver"] = {"mode": "other"}
    (new / "results.json").write_text(json.dumps(content), "utf-8")
    old_content = json.loads((old / "results.json").read_text("utf-8"))
    old_content["settings"]["solver"] = {"mode": "this"}
    (old / "results.json").write_text(json.dumps(old_content), "utf-8")
    words = compare(old, new)["words"]
    assert "setting of the solver: solver.mode = this → other" in words


def test_specimens_that_vary_have_no_spread(tmp_path: Path) -> None:
    old = stored(tmp_path / "old", vary=Vary.SPECIMEN)
    found = compare(old, stored(tmp_path / "new", worse, vary=Vary.SPECIMEN))
    assert {c["measure"] for c in found["changes"] if c["group"] == "rate"} == {"rms", "missing"}
    assert found["worse"]
    with pytest.raises(BadInputError, match=r"vary = specimen and noise"):
        compare(old, stored(tmp_path / "noise"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "there is no result"),
        (lambda path: path.write_text("{", "utf-8"), "cannot be read as JSON"),
        (lambda path: path.write_text('{"a": 1}', "utf-8"), "neither a baseline nor the results"),
        (lambda path: path.write_text("[]", "utf-8"), "neither a baseline nor the results"),
    ],
)
def test_files_that_are_no_results_are_refused(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    old, new = stored(tmp_path / "old", seeds=range(3)), stored(tmp_path / "new", seeds=range(3))
    spoil(new / "results.json")
    with pytest.raises(BadInputError, match=message):
        compare(old, new)


def test_other_scenarios_settings_and_seeds_are_refused(tmp_path: Path) -> None:
    old = stored(tmp_path / "old", seeds=range(3))
    other = stored(tmp_path / "name", scenario=replace(voxels(side=8), name="x"), seeds=range(3))
    with pytest.raises(BadInputError, match="the baseline is of the scenario 'voxels'"):
        compare(old, other)
    with pytest.raises(BadInputError, match=r"different data \(side = 8 and 9\)"):
        compare(old, stored(tmp_path / "side", scenario=voxels(side=9), seeds=range(3)))
    path, apart = tmp_path / "a.json", tmp_path / "b.json"
    for target, seeds in ((path, (0, 1, 2)), (apart, (3, 4, 5))):
        update_baseline(target, counts, Question(scenario=voxels(side=8), seeds=seeds))
    with pytest.raises(BadInputError, match="no 3 seeds in common"):
        compare(path, apart)


def quits(measurement: xr.Dataset) -> xr.Dataset:
    raise SystemExit(3)


def returns_nan(measurement: xr.Dataset) -> xr.Dataset:
    return counts(measurement) * np.nan


def shouts(measurement: xr.Dataset) -> xr.Dataset:
    raise RuntimeError("<script>alert(1)</script>")


SOLVERS: dict[str, Solver] = {
    "twice": lambda m: spread_out(m, by=2.0),
    "crashes": crashes,
    "best": counts,
    "quits": quits,
    "nan": returns_nan,
    "<b>": shouts,
}


def board() -> dict[str, Any]:
    return leaderboard(SOLVERS, [voxels(side=8), voxels(rate=100.0, side=8)], seeds=range(6))


def test_a_leaderboard_sorts_and_keeps_those_that_fail() -> None:
    found = board()
    assert list(found["scenarios"]) == ["voxels (1)", "voxels (2)"]
    first = [row for row in found["standings"] if row["scenario"] == "voxels (1)"]
    assert [row["solver"] for row in first[:2]] == ["best", "twice"]
    assert first[0]["relative_error"] == 1.0
    # Of the two quantities one has twice the error, the other the same: √2.
    assert first[1]["relative_error"] == pytest.approx(np.sqrt(2), rel=0.02)
    assert {row["solver"] for row in first[2:]} == {"crashes", "quits", "nan", "<b>"}
    assert all(row["relative_error"] is None for row in first[2:])
    reasons = {row["solver"]: row["reason"] for row in first}
    assert reasons["crashes"] == "seed 0: RuntimeError: broken on purpose"
    assert "SystemExit" in reasons["quits"]
    rates = [row for row in found["rows"] if row["quantity"] == "rate"]
    assert [row["solver"] for row in rates] == ["best", "twice"] * 2
    assert rates[0]["rmse"] == pytest.approx(20, rel=0.2)
    json.dumps(found, allow_nan=False)


def test_every_scenario_is_simulated_once_and_bounded_once() -> None:
    calls: list[str] = []
    base = voxels(side=8)

    def forward(specimen: xr.DataArray) -> xr.Dataset:
        calls.append("forward")
        return base.forward(specimen)

    def information(specimen: xr.DataArray) -> Information:
        calls.append("information")
        return Information(
            names=("total",),
            matrix=np.array([[64 / 400.0]]),
            gradients={"total": np.array([1.0])},
            units={"total": "1"},
        )

    watched = replace(base, forward=forward, information=information)
    found = leaderboard({"a": counts, "b": counts}, [watched], seeds=range(5))
    assert sorted(calls) == ["forward", "information"]
    totals = [row for row in found["rows"] if row["quantity"] == "total"]
    assert totals[0]["bound"] == pytest.approx(np.sqrt(400 / 64))
    assert totals[0]["efficiency"] == pytest.approx((totals[0]["bound"] / totals[0]["spread"]) ** 2)
    low, high = totals[0]["efficiency_ci95"]
    assert f"{totals[0]['efficiency']:.2f} [{low:.2f}, {high:.2f}]" in leaderboard_table(found)


def test_a_scenario_that_cannot_be_simulated_or_bounded_leaves_the_others() -> None:
    def broken(specimen: object) -> Any:
        raise ValueError("no such lens")

    bad = replace(voxels(side=8), name="bad", forward=broken)
    unbounded = replace(voxels(side=8), name="unbounded", information=broken)
    found = leaderboard({"best": counts}, [bad, unbounded], seeds=range(3))
    assert [row["reason"] for row in found["standings"]] == [
        "cannot be simulated: ValueError: no such lens",
        None,
    ]
    assert {row["scenario"] for row in found["rows"]} == {"unbounded"}


def test_a_solver_that_lacks_a_quantity_comes_after_those_that_have_all() -> None:
    found = leaderboard(
        {"partial": lambda m: counts(m)[["rate"]], "poor": worse}, [voxels(side=8)], seeds=range(4)
    )
    assert [(row["solver"], row["lacking"]) for row in found["standings"]] == [
        ("poor", []),
        ("partial", ["total"]),
    ]


@pytest.mark.parametrize(
    ("solvers", "scenarios", "seeds"),
    [({}, [voxels()], range(2)), ({"a": counts}, [], range(2)), ({"a": counts}, [voxels()], [])],
)
def test_an_empty_leaderboard_is_refused(solvers: Any, scenarios: Any, seeds: Any) -> None:
    with pytest.raises(BadInputError, match="at least one solver, one scenario and one seed"):
        leaderboard(solvers, scenarios, seeds=seeds)


class _Page(HTMLParser):
    """Collects tags, attributes that load something, and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "img", "iframe")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_and_table_show_every_solver_and_load_nothing(tmp_path: Path) -> None:
    found = board()
    page = write_leaderboard(found, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "leaderboard.json").read_text("utf-8")) == found
    parsed = _Page()
    parsed.feed(page.read_text("utf-8"))
    assert parsed.open == []
    assert parsed.loads == []
    text = "".join(parsed.text)
    table = leaderboard_table(found)
    for shown in (*SOLVERS, "RuntimeError: broken on purpose", "<script>alert(1)</script>"):
        assert shown in text
        assert shown in table
    assert "--accent" in page.read_text("utf-8"), "the style of the report"
    assert render(found) == page.read_text("utf-8")
