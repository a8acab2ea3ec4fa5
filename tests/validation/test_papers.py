"""Published settings beside bounds and round trips: records, what is kept, the page."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echolith.errors import BadInputError
from echolith.validation.bounds import cramer_rao
from echolith.validation.catalogue import scenario
from echolith.validation.paper_trial import papers_tried, seconds_needed
from echolith.validation.papers import PAPERS, Condition, paper
from echolith.validation.papers_page import papers_table, write_papers

TABLE = Path(__file__).parents[1] / "reference" / "distances_experiment.csv"
CONDITIONS = [condition for one in PAPERS.values() for condition in one.conditions]
FAST = ("lfp-xas", "linio2-sxdm", "nmc622-sxdm")


def named(condition: Condition) -> str:
    return condition.name


@pytest.mark.parametrize("condition", CONDITIONS, ids=named)
def test_settings_resolve_and_every_printed_quantity_is_scored(condition: Condition) -> None:
    chosen = scenario(condition.scenario, **condition.settings)
    scored = {*chosen.quantities, *(metric.name for metric in chosen.metrics)}
    for printed in condition.printed:
        assert {printed.quantity, f"{printed.quantity}_rms"} & scored
        assert printed.error is None or printed.error > 0
        assert printed.where
    assert chosen.information is not None


@pytest.mark.parametrize("condition", [c for c in CONDITIONS if c.scenario in FAST], ids=named)
def test_bounds_are_finite(condition: Condition) -> None:
    bound = cramer_rao(scenario(condition.scenario, **condition.settings))
    assert all(0 < float(bound[printed.quantity]) < float("inf") for printed in condition.printed)


def test_errors_of_distances_are_those_of_the_published_tables() -> None:
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line[:1] != "#"]
    table = {
        (row["state"], row["distance"]): float(row["measured_err"]) * 10
        for row in csv.DictReader(lines)
        if row["region"] == "bulk"
    }
    for condition in PAPERS["song-2022"].conditions:
        state = str(condition.settings["state"])
        found = [printed.error for printed in condition.printed]
        expected = [value for (region, _), value in table.items() if region == state]
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("papers")
    yu = PAPERS["yu-2018"]
    spectra = {"yu": replace(yu, conditions=yu.conditions[1:2])}
    content = papers_tried(spectra, seeds=range(4), store=folder)
    again: list[str] = []
    assert papers_tried(spectra, seeds=range(4), store=folder, announce=again.append) == content
    assert not again, "what is kept is not run again"
    assert seconds_needed(spectra, 4) == pytest.approx(2 + 4 * 0.1)
    return content, folder


def test_bound_and_error_stand_beside_what_is_printed(
    tried: tuple[dict[str, Any], Path],
) -> None:
    (condition,) = tried[0]["papers"]["yu"]["conditions"]
    composition, charge = condition["rows"]
    # The fit is unbiased and efficient, and each of 4 cases has hundreds of pixels.
    assert composition["error"] == pytest.approx(composition["bound"], rel=0.1)
    assert composition["error_whole"] is None
    assert charge["bound"] is None
    assert 0 < charge["bound_whole"] < composition["bound"]
    assert charge["error_whole"] < 4 * charge["bound_whole"]


def test_errors_are_told_in_the_unit_of_their_bounds() -> None:
    whole = PAPERS["colalongo-2024"]
    small = {"curve": {"scan": [6, 6]}, "solver": {"drift": [0.0, 0.0]}}
    conditions = (replace(whole.conditions[1], settings=small),)
    content = papers_tried({"small": replace(whole, conditions=conditions)}, seeds=range(2))
    strain = content["papers"]["small"]["conditions"][0]["rows"][0]
    assert strain["unit"] == "ppm"
    # 72 values near the bound, which is that of the whole map's mean: a factor of two is plenty.
    assert 0.5 < strain["error"] / strain["bound"] < 2


def test_the_page_names_its_sources_and_needs_nothing_else(
    tried: tuple[dict[str, Any], Path],
) -> None:
    content, folder = tried
    page = write_papers(content, folder).read_text("utf-8")
    assert json.loads((folder / "papers.json").read_text("utf-8")) == content
    assert "Nat. Commun. 9 (2018) 921" in page
    assert "<svg" in page
    assert "src=" not in page
    assert "composition" in papers_table(content)


def test_an_unknown_paper_names_the_near_match() -> None:
    with pytest.raises(BadInputError, match="song-2022"):
        paper("song")
