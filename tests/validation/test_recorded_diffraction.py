"""Recorded powder patterns and stacks of frames from the command line, as at a beam line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from echolith.cli import main
from echolith.forward.cif_files import write_phase
from echolith.forward.crystal_phase import CrystalPhase, PhaseSite
from echolith.forward.crystal_phases import crystal_phase

Command = Callable[..., tuple[int, str, str]]

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "LiCoO2_CuKa.dat"
POWDER = [
    "powder",
    "--set", "phases=LiNiO2",
    "--set", "acquisition.start=15",
    "--set", "acquisition.stop=70",
    "--set", "acquisition.step=0.04",
]  # fmt: skip
CURVE = ["nmc622-sxdm", "--set", "curve.scan=[4, 5]", "--set", "curve.pixels=[32, 30]"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["echolith", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        output = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, output.out, output.err

    return call


def run_json(command: Command, *arguments: str) -> Any:
    code, out, err = command("run", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def exported(command: Command, folder: Path, scenario: list[str], kind: str) -> str:
    code, out, err = command(
        "export", *scenario, "--out", str(folder), "--format", kind, "--seed", "3", "--json"
    )
    assert code == 0, err
    return str(json.loads(out)["files"]["other"])


@pytest.mark.parametrize(("scenario", "kind"), [(POWDER, "xye"), (POWDER, "uxd"), (CURVE, "nxs")])
def test_what_is_exported_is_inverted_to_the_same(
    command: Command, tmp_path: Path, scenario: list[str], kind: str
) -> None:
    direct = run_json(command, *scenario, "--seed", "3")["quantities"]
    path = exported(command, tmp_path, scenario, kind)
    found = run_json(command, *scenario, "--measurement", path, "--out", str(tmp_path / "report"))
    assert found["scores"] == {}
    for name, quantity in found["quantities"].items():
        # Angles are written to nine digits; fits stop when a step gains nothing.
        assert quantity["estimate"] == pytest.approx(
            direct[name]["estimate"], abs=0.02 * quantity["std"]
        )
        assert quantity["std"] == pytest.approx(direct[name]["std"], rel=0.02)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert ("calculated powder pattern" in page) == (kind != "nxs")


def test_a_missing_motor_is_asked_for_and_given(command: Command, tmp_path: Path) -> None:
    path = exported(command, tmp_path, CURVE, "nxs")
    with h5py.File(path, "a") as root:
        del root["entry/instrument/nu"]
    code, _, err = command("run", "nmc622-sxdm", "--measurement", path)
    assert code == 2
    assert err.count("error:") == 1
    assert "does not tell nu" in err
    assert "--given nu=" in err
    found = run_json(command, "nmc622-sxdm", "--measurement", path, "--given", "nu=0")
    assert found["quantities"]["mean_strain"]["std"] > 0


def test_another_wavelength_and_another_measurement_are_told(
    command: Command, tmp_path: Path
) -> None:
    molybdenum = ["--set", "acquisition.lines=[[0.7093, 1.0], [0.71359, 0.5]]"]
    path = exported(command, tmp_path, [*POWDER, *molybdenum], "uxd")
    code, _, err = command("run", "linio2-powder", "--measurement", path)
    assert code == 2
    assert "acquisition.lines=[[0.7093, 1.0], [0.71359, 0.5]]" in err
    code, _, err = command("run", "nmc622-sxdm", "--measurement", path)
    assert code == 2
    assert "two_theta" in err


def test_phases_and_weights_of_a_powder_are_checked(command: Command) -> None:
    for setting, message in (
        ("phases=[]", "0 phases"),
        ("weights=[1.0]", "2 phases and 1 weights"),
        ("phases=LiNiO", "did you mean 'LiNiO2'"),
        ("phases=none.cif", "none.cif"),
    ):
        code, _, err = command("run", "powder", "--set", setting)
        assert code == 2
        assert message in err


def cobaltate(a: float, c: float) -> CrystalPhase:
    atoms = {"Li": 0.0, "Co": 0.5, "O": 0.2405}
    return CrystalPhase(
        name="LiCoO2",
        spacegroup="R -3 m:H",
        cell=(a, a, c, 90, 90, 120),
        sites=tuple(
            PhaseSite(label=f"{element}1", element=element, position=(0, 0, z))
            for element, z in atoms.items()
        ),
    )


@pytest.mark.skipif(not REAL.exists(), reason="needs the measured pattern of LiCoO2")
def test_a_measured_pattern_refines_with_a_cif_from_half_a_percent_off(
    command: Command, tmp_path: Path
) -> None:
    write_phase(cobaltate(2.83, 14.12), tmp_path / "LiCoO2.cif")
    found = run_json(
        command,
        "powder",
        "--measurement", str(REAL),
        "--set", f"phases={tmp_path / 'LiCoO2.cif'}",
        "--set", "acquisition.lines=[[1.5406, 1.0], [1.54443, 0.514]]",
    )  # fmt: skip
    # A single-crystal refinement gives 2.8150(3) and 14.0516(6) Å.
    cell = [found["quantities"][f"{axis}_LiCoO2"]["estimate"] for axis in "ac"]
    assert cell == pytest.approx([2.8150, 14.0516], rel=2e-4)
    weighted = float(found["conclusion"].split()[2])
    assert weighted < 10


def test_a_pattern_of_a_phase_from_a_cif_is_simulated_and_refined(
    command: Command, tmp_path: Path
) -> None:
    write_phase(crystal_phase("Li2O"), tmp_path / "oxide.cif")
    both = f"phases=[{tmp_path / 'oxide.cif'}, LiNiO2]"
    found = run_json(command, *POWDER, "--set", both, "--set", "weights=[0.3, 0.7]", "--seed", "1")
    weight = found["quantities"]["weight_oxide"]
    assert weight["truth"] == pytest.approx(0.3)
    assert abs(weight["estimate"] - 0.3) < 4 * weight["std"] < 0.2
