"""The planner's page as its server answers it."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import echolith as el
from echolith.cli import app as command_line
from echolith.errors import BadInputError
from echolith.validation.bounds import cramer_rao
from echolith.validation.catalogue import own_scenarios
from echolith.validation.describe import describe_settings
from echolith.validation.plan_axes import parse_axes
from echolith.validation.plan_summary import planned_settings
from echolith.validation.planner_form import form
from echolith.validation.scenario import Scenario
from echolith.validation.settings import parse_assignments, resolve
from tests.validation.planner_serving import Planner, served

ASKED = {"page": "test", "scenario": "lfp-xas", "settings": {"pixels": "48", "plates": "2"}}
SMALL = {"particle.size": "20", "offset": "2", "acquisition.shape": "[96, 96]"}
PARTICLE = {"page": "test", "scenario": "li-hrtem", "settings": SMALL}
RATE = "acquisition.dose_rate"


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    with served(tmp_path_factory.mktemp("planner")) as serving:
        yield serving


@pytest.mark.parametrize("name", sorted(own_scenarios()))
def test_the_form_holds_every_setting_as_it_would_be_typed(name: str) -> None:
    entry = own_scenarios()[name]
    made = form(entry, entry.make(entry.settings()))
    json.dumps(made, allow_nan=False)
    fields = [field for group in made["groups"] for field in group["fields"]]
    rows = {row["name"]: row for row in describe_settings(entry.settings)}
    assert {field["name"] for field in fields} == set(rows)
    typed = [f"{field['name']}={field['default']}" for field in fields]
    assert resolve(entry.settings, parse_assignments(typed)) == entry.settings()
    for field in fields:
        assert (field["unit"] or "1") == (rows[field["name"]]["unit"] or "1")
        assert set(rows[field["name"]]["choices"] or []) <= set(field["choices"] or [])
        parse_axes([f"{field['name']}={field['over']}"])


def test_the_form_tells_limits_and_what_a_setting_is() -> None:
    entry = own_scenarios()["lfp-xas"]
    made = form(entry, entry.make(entry.settings()))
    fields = {field["name"]: field for group in made["groups"] for field in group["fields"]}
    assert fields["incident"]["help"] == "Photons per pixel and energy."
    assert fields["tilt"]["range"] == "from -90 to 90"
    assert fields["edge.peak"]["range"] == "above 0"
    particle = own_scenarios()["li-hrtem"]
    groups = form(particle, particle.make(particle.settings()))["groups"]
    metal = next(f for g in groups for f in g["fields"] if f["name"] == "particle.metal")
    assert metal["choices"] == ["Li", "Na"]


def message(**settings: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        el.scenario("lfp-xas", **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"settings": {"tilt": "100"}}, "settings.tilt", message(tilt=100)),
        ({"settings": {"edge.peak": "0"}}, "settings.edge.peak", message(edge={"peak": 0})),
        ({"settings": {"tlit": "1"}}, "settings.tlit", message(tlit=1)),
        ({"settings": {"first_energy": "70"}}, "settings.first_energy", message(first_energy=70)),
        ({"settings": {"energy_count": "2"}}, "form", message(energy_count=2)),
        ({"settings": {"tilt": "[1"}}, "settings.tilt", "cannot be read as YAML"),
        ({"point": {"tilt": "100"}, "over": {"tilt": "[1]"}}, "settings.tilt", message(tilt=100)),
        ({"over": {"tilt": "5"}}, "over.tilt", "neither name=[value, value] nor name=low..high"),
        ({"over": {"tilt": "[]"}}, "over.tilt", "expected a list of values"),
        ({"over": {"tlit": "[1]"}}, "over.tlit", "did you mean 'tilt'"),
        ({"target": {"composition": "?"}}, "target.composition", "is not name=number"),
        ({"target": {"composition": "-1"}}, "target.composition", "expected an error above 0"),
        ({"share": "1"}, "share", "expected 0.5 to below 1"),
        ({"budget": {"dose": "0"}}, "budget.dose", "expected more than 0"),
        ({"budget": {"doze": "1"}}, "budget.doze", "did you mean 'dose'"),
        ({"factor": "0"}, "factor", "expected more than 0"),
        ({"trial": "2"}, "trial", "expected a whole number from 5"),
        ({"scenario": "lfp-xsa"}, "form", "did you mean 'lfp-xas'"),
    ],
)
def test_a_mistake_is_told_at_its_field_as_on_the_command_line(
    changes: dict[str, Any], place: str, words: str, planner: Planner
) -> None:
    code, found = planner.ask("/api/bound", {**ASKED, "number": 1, **changes})
    assert code == 422
    assert set(found["errors"]) == {place}
    assert words in found["errors"][place]


def test_every_mistake_is_told_at_once_and_what_is_no_request_too(planner: Planner) -> None:
    wrong = {"settings": {"tilt": "100", "pixels": "1"}, "share": "x", "factor": "0"}
    _, found = planner.ask("/api/plan", {**ASKED, **wrong})
    assert set(found["errors"]) == {"settings.tilt", "settings.pixels", "share", "factor"}
    _, found = planner.ask("/api/plan", ASKED)
    assert set(found["errors"]) == {"form", "target"}
    code, found = planner.ask("/api/plan", {**ASKED, "colour": "red"})
    assert (code, "colour" in found["errors"]["form"]) == (422, True)
    assert planner.ask("/api/jobs/test/plan-99")[0] == 404


def test_nobody_else_is_answered(planner: Planner) -> None:
    own = planner.address
    for headers, code in (
        ({"Host": f"localhost:{planner.port}"}, 200),
        ({"Origin": own}, 200),
        ({"Host": "planner.example"}, 403),
        ({"Host": f"planner.example:{planner.port}"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "http://planner.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert planner.ask("/api/scenarios", headers=headers)[0] == code, headers


def particle(**acquisition: Any) -> Scenario:
    shape = {"shape": (96, 96), **acquisition}
    return el.scenario("li-hrtem", particle={"size": 20.0}, offset=2.0, acquisition=shape)


def test_a_bound_is_computed_once_and_then_follows_the_dose(planner: Planner) -> None:
    over = {"over": {RATE: "100..10000"}, "point": {RATE: "1000"}}
    first = planner.bound({**PARTICLE, **over})
    direct = cramer_rao(particle())
    for rate in (1000, 4000):
        moved = {**PARTICLE, **over, "point": {RATE: str(rate)}}
        here = planner.bound(moved, wait=False)["here"]  # known: no job
        for name, found in here["bounds"].items():
            assert found["value"] == pytest.approx(float(direct[name]) * (1000 / rate) ** 0.5)
            assert found["unit"] == direct[name].attrs["units"]
    ends = [place["spreads"]["spacing"] for place in first["lines"][RATE]]
    assert ends[0] == pytest.approx(10 * ends[1])


def test_a_newer_request_ends_the_older(planner: Planner) -> None:
    angles = {"over": {"beam.semiangle": "[18, 20, 22, 24, 26]"}, "point": {"beam.semiangle": "21"}}
    slow = {"page": "other", "scenario": "li-rich-oxide", "settings": {"thickness": "60"}, **angles}
    older = planner.bound(slow, wait=False)["job"]
    again = planner.bound(slow, wait=False)["job"]
    assert again["name"] == older["name"]  # the same is not computed twice
    newer = planner.bound({**slow, "settings": {"thickness": "20"}}, wait=False)["job"]
    assert planner.finished(older)["job"]["state"] == "ended"
    planner.ask("/api/jobs/other", method="DELETE")
    assert planner.finished(newer)["job"]["state"] == "ended"


def test_a_plan_is_what_its_command_makes_and_what_run_takes(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"over": {RATE: "100..100000"}, "target": {"spacing": "0.01"}}
    asked = {**PARTICLE, **wanted, "budget": {"dose": "1e9"}, "share": "0.8"}
    _, started = planner.ask("/api/plan", asked)
    found = planner.finished(started["job"])
    assert found["job"]["state"] == "done", found["job"]
    name = started["job"]["name"]
    _, kept = planner.ask(f"/api/jobs/{name}/plan.json")
    assert kept == found["result"]["summary"]
    (tmp_path / "plan.json").write_text(json.dumps(kept), encoding="utf-8")
    _, settings = planned_settings(tmp_path / "plan.json")
    assert settings["acquisition"]["dose_rate"] == kept["recommended"]["settings"][RATE]
    monkeypatch.chdir(tmp_path)
    typed = CliRunner().invoke(command_line, [*shlex.split(started["command"])[1:], "--json"])
    assert typed.exit_code == 0, typed.output
    assert json.loads(typed.stdout)["recommended"] == kept["recommended"]


def test_a_preview_is_simulated_solved_and_drawn(planner: Planner) -> None:
    _, started = planner.ask("/api/preview", {**ASKED, "point": {"tilt": "20"}})
    found = planner.finished(started["job"])
    assert found["job"]["state"] == "done", found["job"]
    pictures = found["result"]["pictures"]
    assert "Maps" in [picture["heading"] for picture in pictures]
    assert all(picture["svg"].startswith("<svg") for picture in pictures)
    assert set(found["result"]["quantities"]) == {"state_of_charge"}


def test_the_command_prints_its_address_and_ends_at_an_interrupt() -> None:
    command = [sys.executable, "-m", "echolith", "planner", "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
