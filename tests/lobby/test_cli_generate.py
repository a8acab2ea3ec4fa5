"""What cannot be generated is told by the command before anything is simulated."""

import sys
from pathlib import Path

import pytest

from echolith.cli import main


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-n", "0"], "n = 0"),
        ([], "how many samples"),
        (["--target", "masc"], "'masc' is not one of"),
        (["--target", "mask"], "no target 'mask'; it has composition, strain"),
        (["--mismatch", "wild"], "'wild' is not one of 'mild', 'moderate', 'severe'"),
        (["--untold", "acquisition.zero=[5]"], "acquisition.zero = [5] draws 5"),
        (["--untold", "acquisition.nil=[0.5]"], "unknown setting 'acquisition.nil'"),
        (["--vary", "size=uniform(-5, 5)"], "size = uniform(-5, 5) draws -5"),
        (["--correlation", "size,strain=0.5"], "'size' is correlated but has no prior"),
        (["--correlated", "drawing"], "expected package.module:function or file.py:function"),
        (["--correlated", "nowhere:draw"], "there is no module 'nowhere'"),
        (["--heat-map-width", "0"], "width = 0 Å"),
    ],
)
def test_bad_input_is_one_message(
    options: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = [] if not options or "-n" in options else ["-n", "2"]
    words = ["generate", "linio2-powder", "--out", str(tmp_path / "out"), *many, *options]
    monkeypatch.setattr(sys, "argv", ["echolith", *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
