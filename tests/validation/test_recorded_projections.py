"""Tilt series and far-field frames go out and come in again from the command line."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from echolith.cli import main
from echolith.cli_options import FormatOption
from echolith.dataset import load
from echolith.forward.exporters import WRITERS
from echolith.forward.importers import read_measurement
from echolith.validation.run import invert
from echolith.validation.scenarios.lfp_tomography import LfpTomographySettings, lfp_tomography

SMALL = {"plates": 2, "pixels": 16, "state_of_charge": 0.3, "active_fraction": 0.5}
TILTS = {"count": 12, "voxel_size": 200.0}
SERIES = [
    "lfp-tomography",
    *(word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")),
    *(word for name, value in TILTS.items() for word in ("--set", f"tilts.{name}={value}")),
]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["echolith", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_every_format_can_be_asked_for() -> None:
    suffixes = {suffix for writer in WRITERS for suffix in writer.suffixes}
    assert {f".{kind.value}" for kind in FormatOption} == suffixes - {".h5"}


def test_an_exported_series_is_solved_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path), "--format", "nxs", "--seed", "3"]
    assert command(monkeypatch, "export", *SERIES, *out) == 0, capsys.readouterr().err
    scenario = lfp_tomography(LfpTomographySettings.model_validate(SMALL | {"tilts": TILTS}))
    ours, theirs = (
        invert(scenario, read_measurement(tmp_path / name)).estimate
        for name in ("measurement.h5", "measurement.nxs")
    )
    xr.testing.assert_identical(theirs, ours)
    capsys.readouterr()
    found = ["--measurement", str(tmp_path / "measurement.nxs"), "--json"]
    assert command(monkeypatch, "run", *SERIES, *found) == 0
    told: Any = json.loads(capsys.readouterr().out)
    estimate = told["quantities"]["state_of_charge"]["estimate"]
    assert estimate == float(ours["state_of_charge"])


def test_a_file_of_others_is_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Floats with an offset and a flat that is not even, no pixel size, no energies."""
    assert command(monkeypatch, "export", *SERIES, "--out", str(tmp_path), "--noise-free") == 0
    measurement = load(tmp_path / "measurement.h5")
    flat = np.random.default_rng(0).uniform(0.5, 1.5, (16, 16))
    with h5py.File(tmp_path / "theirs.h5", "w") as root:
        for name, counts in zip(
            ("exchange", "exchange1"), measurement["counts"].values, strict=True
        ):
            root[f"{name}/data"] = (100 + flat * counts).astype(np.float32)
            root[f"{name}/data_white"] = np.stack([100 + flat * 1000] * 3)
            root[f"{name}/data_dark"] = np.full((2, 16, 16), 100.0)
            root[f"{name}/theta"] = measurement["tilt"].values
    capsys.readouterr()
    found = ["--measurement", str(tmp_path / "theirs.h5"), "--json"]
    assert command(monkeypatch, "run", *SERIES, *found) == 2
    assert "does not tell energy (eV of every entry); pixel_size" in capsys.readouterr().err
    given = ["--given", "energy=[708.2, 710.2]", "--given", "pixel_size=2e-8"]
    assert command(monkeypatch, "run", *SERIES, *found, *given) == 0
    theirs: Any = json.loads(capsys.readouterr().out)
    own = ["--measurement", str(tmp_path / "measurement.h5"), "--json"]
    assert command(monkeypatch, "run", *SERIES, *own) == 0
    ours: Any = json.loads(capsys.readouterr().out)
    estimates = [one["quantities"]["state_of_charge"]["estimate"] for one in (theirs, ours)]
    # Counts of single precision less an offset.
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-4)
