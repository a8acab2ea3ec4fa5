"""The same shards whoever makes them, whatever is killed, damaged or missing on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.validation import generation_engine
from echolith.validation.generation import Generation, Split, sample
from echolith.validation.generation_engine import Workers, generate
from echolith.validation.generation_files import Place, check_shards, write_shard
from echolith.validation.priors import choice, log_uniform
from echolith.validation.samples import LabelledSample, load_samples
from tests.validation.wave_scenario import POISON, WaveSettings, wave_scenario

N = 40


def waves(*, pause: float = 0.0, **fields: Any) -> Generation:
    vary = {
        "strength": log_uniform(10, 1e4),
        "length": choice([2, 3, 5, POISON], weights=[9, 9, 9, 1]),
    }
    return Generation(
        scenario=wave_scenario(WaveSettings(pause=pause)),
        make=wave_scenario,
        **{"vary": vary, "n": N, "shares": (0.2, 0.1), **fields},
    )


def digests(folder: Path) -> list[dict[str, str]]:
    return list(json.loads((folder / "manifest.json").read_text())["shards"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    generate(waves(), Place(folder=folder), scheduler=Workers.THREADS, workers=2)
    return folder


def test_samples_come_back_with_their_truth(undisturbed: Path) -> None:
    generation = waves()
    seen = 0
    for split in Split:
        samples = load_samples(undisturbed, split=split)
        for row, found in zip(samples.rows, samples, strict=True):
            made = sample(generation, row["sample"])
            xr.testing.assert_identical(found.measurement, made.measurement)
            xr.testing.assert_identical(found.truth, made.truth)
            seen += 1
    failures = json.loads((undisturbed / "manifest.json").read_text())["failures"]
    assert failures
    assert all("length 7" in why for why in failures.values())
    assert seen + len(failures) == N
    assert check_shards(Place(folder=undisturbed)) == []


def phases(samples: Iterable[LabelledSample]) -> list[float]:
    return [float(one.truth["phase"]) for one in samples if one.truth is not None]


def test_workers_share_an_epoch(undisturbed: Path) -> None:
    samples = load_samples(undisturbed)
    parts = [phases(samples.shuffled(seed=4, worker=w, workers=3)) for w in range(3)]
    assert sorted(phase for part in parts for phase in part) == sorted(phases(samples))
    again = phases(samples.shuffled(seed=5))
    assert again != phases(samples)
    assert sorted(again) == sorted(phases(samples))


def test_workers_that_are_killed_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_workers(*_: object) -> None:
        for child in psutil.Process().children(recursive=True) if not killed else ():
            if "multiprocessing.spawn" in " ".join(child.cmdline()):
                child.kill()
                killed.append(child.pid)

    folder = tmp_path / "set"
    generate(waves(pause=0.05), Place(folder=folder), workers=2, progress=kill_workers)
    assert digests(folder) == digests(undisturbed)
    assert len(killed) > 0
    assert not list(folder.glob(".*"))


BROKEN_OFF = """
import sys
from pathlib import Path
from tests.validation.test_generation_engine import Place, Workers, generate, waves

generate(waves(pause=0.05), Place(folder=Path(sys.argv[1])), scheduler=Workers.THREADS, workers=2)
"""


def test_a_killed_run_goes_on_where_it_was(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    parent = subprocess.Popen([sys.executable, "-c", BROKEN_OFF, str(folder)])
    while len(list(folder.glob("train-*.json"))) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    parent.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("train-*.json")}
    assert not (folder / "manifest.json").exists()
    generate(waves(pause=0.05), Place(folder=folder), scheduler=Workers.THREADS, workers=2)
    assert digests(folder) == digests(undisturbed)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert not list(folder.glob(".*"))


def test_damage_is_found_and_mended(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "set")
    os.truncate(folder / "train-00001.h5", 2000)
    (folder / "train-00003.truth.h5").unlink()
    shutil.copy(folder / "train-00005.json", folder / "train-00004.json")
    wrong = check_shards(Place(folder=folder))
    assert [text.split(":")[0] for text in wrong] == ["train-00001", "train-00003", "train-00004"]
    generate(waves(), Place(folder=folder), scheduler=Workers.THREADS, workers=1)
    assert check_shards(Place(folder=folder)) == []
    assert digests(folder) == digests(undisturbed)


def test_a_full_disk_leaves_whole_shards_only(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = tmp_path / "set", []

    def full(*arguments: Any) -> object:
        calls.append(1)
        if len(calls) == 5:
            raise OSError(28, "No space left on device", str(folder))
        return write_shard(*arguments)

    monkeypatch.setattr(generation_engine, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        generate(waves(), Place(folder=folder), scheduler=Workers.THREADS, workers=1)
    assert not list(folder.glob(".*"))
    monkeypatch.undo()
    generate(waves(), Place(folder=folder), scheduler=Workers.THREADS, workers=1)
    assert digests(folder) == digests(undisturbed)


def test_a_blind_test_shows_neither_truth_nor_seed(tmp_path: Path) -> None:
    place = Place(folder=tmp_path / "open", blind=tmp_path / "blind")
    generate(waves(n=10), place, scheduler=Workers.THREADS, workers=1)
    assert sorted(path.name for path in (tmp_path / "blind").iterdir()) == [
        "generation.json",
        "test-00000.truth.h5",
    ]
    manifest = json.loads((tmp_path / "open" / "manifest.json").read_text())
    assert not {"seed", "priors"} & set(manifest)
    assert all(("seed" in row) == (row["split"] != "test") for row in manifest["rows"])
    (hidden,) = load_samples(tmp_path / "open", split=Split.TEST)
    assert hidden.truth is None
    assert check_shards(place) == []


def test_what_is_not_mixed(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="generation of other seed"):
        generate(waves(seed=2), Place(folder=undisturbed), scheduler=Workers.THREADS)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match="holds other files"):
        generate(waves(), Place(folder=tmp_path), scheduler=Workers.THREADS)
    with pytest.raises(BadInputError, match="processes"):
        generate(waves(), Place(folder=tmp_path / "set"), scheduler="proceses")
    with pytest.raises(BadInputError, match="generate into"):
        load_samples(tmp_path)
