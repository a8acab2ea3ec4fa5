import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import echolith as el
from echolith.cache import cache_folder
from echolith.cli import app
from echolith.dataset import content_hash
from echolith.errors import BadInputError
from echolith.validation.demo_data import demo_scenario, keep_demo, side_by_side
from echolith.validation.demo_sets import DEMO_SETS, DemoSet

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
QUICK = "lfp-xas"
LARGEST = 50.0
"""Megabytes of a set."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECHOLITH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the set so small that it can be made often."""
    settings = {"pixels": 32, "plates": 2, "energy_count": 9}
    sets = {QUICK: DemoSet(shows="", megabytes=0.1, seconds=0.1, settings=settings)}
    monkeypatch.setattr("echolith.validation.demo_data.DEMO_SETS", sets)


def hashes(folder: Path | None = None) -> tuple[str, str]:
    demo = el.demo_data(QUICK, folder=folder)
    return content_hash(demo.measurement), content_hash(demo.truth)


@pytest.mark.usefixtures("small")
def test_a_set_is_made_once_and_the_same_wherever_it_is_made(cache: Path) -> None:
    first = keep_demo(QUICK)
    assert first.made
    assert first.folder == cache / QUICK
    written = first.measurement.stat().st_mtime_ns
    again = keep_demo(QUICK)
    assert not again.made
    assert first.measurement.stat().st_mtime_ns == written
    assert again.demo.measurement.identical(first.demo.measurement)
    assert hashes() == hashes(cache / "elsewhere")
    assert not list(cache.rglob("*.part"))


@pytest.mark.usefixtures("small")
def test_a_damaged_set_is_made_anew(cache: Path) -> None:
    sound = hashes()
    for name in ("measurement.h5", "truth.h5", "demo.json"):
        path = cache / QUICK / name
        content = bytearray(path.read_bytes())
        at = len(content) // 2
        content[at:] = bytes(byte ^ 1 for byte in content[at:])
        path.write_bytes(content)
        assert keep_demo(QUICK).made
        assert hashes() == sound
        assert not keep_demo(QUICK).made
    (cache / QUICK / "truth.h5").unlink()
    assert hashes() == sound


@pytest.mark.usefixtures("small")
def test_a_set_of_other_settings_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_demo(QUICK)
    monkeypatch.setattr("echolith.validation.demo_data.ENGINES", ("numpy",))
    assert keep_demo(QUICK).made


MAKE = f"""
from echolith.dataset import content_hash
from echolith.validation.demo_data import keep_demo
print("ready", flush=True)
input()
kept = keep_demo("{QUICK}")
print(content_hash(kept.demo.measurement), content_hash(kept.demo.truth))
"""


def test_two_makers_at_once_do_not_harm_each_other() -> None:
    command = [sys.executable, "-c", MAKE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        own = hashes()
        told, _ = other.communicate()
    assert other.returncode == 0
    assert tuple(told.split()) == own
    assert not keep_demo(QUICK).made


def test_an_unknown_set_says_the_near_match() -> None:
    with pytest.raises(BadInputError, match="did you mean 'lfp-xas'"):
        el.demo_data("lfp-xsa")


def test_a_cache_that_cannot_be_written_to_says_how_to_move_it(cache: Path) -> None:
    (cache / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"--out .* ECHOLITH_CACHE"):
        el.demo_data(QUICK, folder=cache / "file")


def test_the_cache_is_where_the_system_keeps_caches(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("ECHOLITH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "own"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == cache / "own" / "echolith"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "echolith"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(cache / "local"))
    assert cache_folder() == cache / "local" / "echolith"


def test_the_command_makes_lists_and_its_file_is_inverted(cache: Path) -> None:
    run = CliRunner().invoke
    listed = json.loads(run(app, ["demo-data", "--json"]).stdout)
    assert set(listed["sets"]) == set(DEMO_SETS)
    assert all(name in run(app, ["demo-data"]).stdout for name in DEMO_SETS)
    told = json.loads(run(app, ["demo-data", QUICK, "--json"]).stdout)
    assert told["made"]
    size = sum(path.stat().st_size for path in (cache / QUICK).iterdir())
    assert 0.5e6 * DEMO_SETS[QUICK].megabytes < size < 1e6 * DEMO_SETS[QUICK].megabytes
    assert str(cache / QUICK) in run(app, ["demo-data", QUICK]).stdout
    inverted = run(app, ["run", QUICK, "--measurement", told["measurement"], "--json"])
    assert inverted.exit_code == 0
    estimated = json.loads(inverted.stdout)["quantities"]["state_of_charge"]
    demo = el.demo_data(QUICK)
    table = side_by_side(
        scenario := demo_scenario(QUICK), scenario.solver(demo.measurement), demo.truth
    )
    row = table.loc["state_of_charge"]
    assert row["estimate"] == estimated["estimate"]
    assert row["pull"] == pytest.approx((row["estimate"] - row["truth"]) / row["std"])
    assert abs(row["pull"]) < 5


@pytest.mark.parametrize("name", DEMO_SETS)
def test_every_set_has_settings_that_hold_and_is_small(name: str) -> None:
    assert demo_scenario(name).name == name
    assert DEMO_SETS[name].megabytes < LARGEST
    assert DEMO_SETS[name].seconds < 15


def test_every_set_has_a_notebook_and_every_notebook_a_set() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(DEMO_SETS)


@pytest.mark.parametrize("name", DEMO_SETS)
def test_notebooks_are_of_the_format_and_hold_no_outputs(name: str) -> None:
    notebook: dict[str, Any] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert 6 <= len(cells) <= 14
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        expected = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            expected |= {"outputs", "execution_count"}
        assert set(cell) == expected
    text = "".join(line for cell in cells for line in cell["source"])
    assert f'el.demo_data("{name}")' in text
    assert "## Exercise" in text
    assert f"echolith run {name} --measurement" in text
