"""The command line as a contract: what is printed where, and the exit codes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echolith.cli import main

Command = Callable[..., tuple[int, str, str]]

# One cell thick, perfect and on a coarse detector: seconds, and enough field for all distances.
SMALL = [
    "--set", "occupation=ordered",
    "--set", "thickness=8.6",
    "--set", "scan.shape=[60, 60]",
    "--set", "scan.step=0.25",
    "--set", "detector.shape=[32, 32]",
    "--set", "detector.pixel_size=1.6",
    "--set", "haadf.outer=90",
]  # fmt: skip


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["echolith", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        output = capsys.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, output.out, output.err

    return call


def test_list_names_the_scenario(command: Command) -> None:
    code, out, _ = command("list", "--json")
    assert code == 0
    assert "li-rich-oxide" in json.loads(out)["scenarios"]


def test_describe_gives_units_defaults_and_choices(command: Command) -> None:
    code, out, _ = command("describe", "li-rich-oxide", "--json")
    rows = {row["name"]: row for row in json.loads(out)["settings"]}
    assert code == 0
    assert rows["beam.energy"]["unit"] == "eV"
    assert rows["scan.step"]["unit"] == "Å"
    assert rows["dose"] == {
        "name": "dose", "unit": "e/Å²", "default": 81000.0, "choices": None,
    }  # fmt: skip
    assert "ordered" in rows["occupation"]["choices"]


def test_describe_prints_a_json_schema(command: Command) -> None:
    code, out, _ = command("describe", "li-rich-oxide", "--schema")
    assert code == 0
    assert json.loads(out)["additionalProperties"] is False


def run_json(command: Command, *arguments: str) -> dict[str, Any]:
    code, out, err = command("run", "li-rich-oxide", "--json", *SMALL, *arguments)
    assert code == 0, err
    return dict(json.loads(out))


def test_run_keeps_the_promised_shape(command: Command) -> None:
    summary = run_json(command, "--seed", "3")
    assert {
        "scenario", "settings", "seed", "quantities", "scores", "timings",
        "peak_memory_bytes", "versions",
    } <= set(summary)  # fmt: skip
    assert summary["seed"] == 3
    assert len(summary["quantities"]) == 8
    for quantity in summary["quantities"].values():
        assert set(quantity) == {"truth", "estimate", "std", "unit"}
    for score in summary["scores"].values():
        assert set(score) == {"value", "unit"}
    assert set(summary["timings"]) >= {"simulate", "solve"}
    assert summary["peak_memory_bytes"] > 1e6
    assert "abtem" in summary["versions"]


def test_run_with_seeds_adds_statistics(command: Command, tmp_path: Path) -> None:
    summary = run_json(command, "--seeds", "2", "--out", str(tmp_path))
    assert summary["seeds"] == [0, 1]
    for entry in summary["statistics"].values():
        assert {
            "bias", "bias_ci95", "spread", "rmse", "bound", "efficiency", "coverage95", "unit",
        } <= set(entry)  # fmt: skip
    assert (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))


def test_export_then_invert_gives_the_same_estimate(command: Command, tmp_path: Path) -> None:
    direct = run_json(command, "--seed", "5")
    code, out, err = command(
        "export", "li-rich-oxide", "--seed", "5", "--out", str(tmp_path), "--json", *SMALL
    )
    assert code == 0, err
    files = json.loads(out)["files"]
    assert {"measurement", "truth", "settings", "specimen"} <= set(files)
    code, out, err = command("run", "--measurement", files["measurement"], "--json")
    assert code == 0, err
    inverted = json.loads(out)
    assert inverted["scores"] == {}
    for name, quantity in inverted["quantities"].items():
        assert quantity["truth"] is None
        assert quantity["estimate"] == direct["quantities"][name]["estimate"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "li-rich-oxid"], "did you mean 'li-rich-oxide'"),
        (["run", "li-rich-oxide", "--set", "beam.energi=2e5"], "did you mean 'energy'"),
        (["run", "li-rich-oxide", "--set", "beam.energy=80"], "did you mean 80e3 eV"),
        (["run", "li-rich-oxide", "--set", "nonsense"], "not of the form name=value"),
        (["run", "li-rich-oxide", "--set", "occupation=orderd"], "occupation"),
        (
            ["run", "li-rich-oxide", "--set", "detector.shape=[16, 16]"],
            "cuts the bright-field disc",
        ),
        (["run", "li-rich-oxide", "--set", "thickness=1"], "thickness"),
        (["run", "li-rich-oxide", "--set", "scan.step=0.4", "--strict"], "of the transfer"),
        (["run", "li-rich-oxide", "--structure", "none.cif"], "none.cif"),
        (["run", "--measurement", "none.h5"], "none.h5"),
        (["run", "--config", "none.yaml"], "none.yaml"),
        (["describe", "nothing"], "li-rich-oxide"),
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--plan", "none.json"], "none.json"),
        (["plan", "li-hrtem", "--over", "carbon", "--target", "spacing=1"], "neither name=[value"),
        (["plan", "li-hrtem", "--over", "carbn=[1]", "--target", "spacing=1"], "did you mean"),
        (["plan", "li-hrtem", "--over", "carbon=[1]", "--target", "spacing"], "not name=number"),
        (
            ["plan", "li-hrtem", "--over", "carbon=[1]", "--target", "a=1", "--budget", "dse=1"],
            "did you mean 'dose'",
        ),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    command: Command, arguments: list[str], message: str
) -> None:
    code, out, err = command(*arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert "Traceback" not in err


def test_an_interrupt_is_exit_code_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("echolith.validation.run.run_once", interrupt)
    code, out, err = command("run", "li-rich-oxide")
    assert (code, out) == (130, "")
    assert "interrupted" in err
