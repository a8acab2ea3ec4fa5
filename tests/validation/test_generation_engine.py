"""The same shards whoever makes them, whatever is killed, damaged or missing on the way."""

import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import psutil
import pytest
import xarray as xr
from dask import config
from distributed import LocalCluster

import echolith as el
from echolith.errors import BadInputError
from echolith.validation import dask_cases, generation_engine, generation_estimate
from echolith.validation import generation as generation_module
from echolith.validation.dask_cases import Workers, as_finished, scheduler_at
from echolith.validation.generation import Generation, Split, sample
from echolith.validation.generation_engine import generate
from echolith.validation.generation_estimate import error_of_mean, estimate
from echolith.validation.generation_files import Place, check_shards
from echolith.validation.priors import choice, log_uniform
from echolith.validation.samples import LabelledSample, load_samples
from echolith.validation.scenario import Scenario
from tests.validation.wave_scenario import POISON, WaveSettings, wave_scenario

N = 40
SHARDS = 8
in_threads = partial(generate, scheduler=Workers.THREADS, workers=1)


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


def files(folder: Path) -> dict[str, object]:
    """Every file there is; of shards their rows, of the manifest their digests."""
    found: dict[str, object] = {path.name: None for path in folder.iterdir()}
    rows = {path.name: json.loads(path.read_text()) for path in folder.glob("t*.json")}
    manifest = json.loads((folder / "manifest.json").read_text())
    return {**found, **rows, "manifest.json": manifest["shards"]}


@pytest.fixture(autouse=True, scope="module")
def few_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation_estimate, "SHARDS", SHARDS)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    generate(waves(), Place(folder=folder), scheduler=Workers.THREADS, workers=2)
    return folder


def test_one_call_makes_the_same(undisturbed: Path, tmp_path: Path) -> None:
    like = waves()
    folder = tmp_path / "set"
    found = el.generate(
        like.scenario,
        n=N,
        out=folder,
        vary=like.vary,
        make=wave_scenario,
        scheduler=Workers.THREADS,
        shares=like.shares,
    )
    assert found == json.loads((undisturbed / "manifest.json").read_text())
    assert len(el.load_samples(folder)) == len(load_samples(undisturbed))


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


def serve(told: Connection) -> None:
    """Run a scheduler with two workers; tell its address, and theirs whenever asked."""
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        told.send(cluster.scheduler_address)
        while told.recv():
            told.send([nanny.pid for nanny in cluster.workers.values()])


@dataclass
class Cluster:
    told: Connection
    address: str

    def kill_a_worker(self) -> int:
        self.told.send(True)
        pid = next(filter(None, self.told.recv()))
        psutil.Process(pid).kill()
        return int(pid)


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Processes that begin with everything imported: a fork of one that is kept for it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["distributed", __name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        forkserver.ensure_running()
    with config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield context


@pytest.fixture(scope="module")
def cluster(processes: ForkServerContext) -> Iterator[Cluster]:
    here, there = processes.Pipe()
    process = processes.Process(target=serve, args=(there,))
    process.start()
    yield Cluster(told=here, address=here.recv())
    here.send(False)
    process.join()


def test_workers_of_a_scheduler_make_the_same_though_three_are_killed(
    undisturbed: Path, cluster: Cluster, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_workers(done: int, _total: int) -> None:
        if done >= 8 * (1 + len(killed)) and len(killed) < 3:
            killed.append(cluster.kill_a_worker())

    place = Place(folder=tmp_path / "set")
    generate(waves(pause=0.05), place, scheduler=cluster.address, progress=kill_workers)
    assert len(set(killed)) == 3
    assert files(place.folder) == files(undisturbed)


def until_killed(folder: Path) -> None:
    generation_estimate.SHARDS = SHARDS
    generate(waves(pause=0.05), Place(folder=folder), scheduler=Workers.THREADS, workers=2)


def test_a_killed_run_goes_on_where_it_was(
    undisturbed: Path, processes: ForkServerContext, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    parent = processes.Process(target=until_killed, args=(folder,))
    parent.start()
    while len(list(folder.glob("train-*.json"))) < 2:
        assert parent.is_alive()
        time.sleep(0.01)
    parent.kill()
    parent.join()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("train-*.json")}
    assert not (folder / "manifest.json").exists()
    (folder / ".train-00000.h5.1a2b3c4d.part").write_bytes(b"half")
    generate(waves(pause=0.05), Place(folder=folder), scheduler=Workers.PROCESSES, workers=1)
    assert files(folder) == files(undisturbed)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


def flip_a_byte(path: Path) -> None:
    with h5py.File(path, "r") as root:
        offset = root["measurement/counts"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 4] ^= 1
    path.write_bytes(content)


def test_an_estimate_tells_the_room_that_is_taken(undisturbed: Path) -> None:
    taken = sum(p.stat().st_size for p in undisturbed.iterdir() if not p.match("*n*.json"))
    found = estimate(waves(), workers=2)
    low, high = found.disk_range
    assert 0.8 * low < taken < 1.2 * high  # beside what pages of small files round
    assert high < 2 * low
    fastest, slowest = found.seconds_range
    assert found.start_s < fastest < found.seconds < slowest
    cluster = replace(found, samples=10**6, shards=10**4, shard=100, workers=100)
    assert cluster.seconds_range[1] < 10**4 * slowest
    # Ten times the workers do not make the scheduler ten times faster.
    many = replace(cluster, workers=10**6)
    assert many.seconds - many.start_s == pytest.approx(
        max(10**4 * 0.004, 100 * many.seconds_each + many.shard_s)
    )


def test_the_range_holds_the_mean_of_all() -> None:
    random = np.random.default_rng(1)
    sets = random.normal(5, 2, size=(2000, 50))
    held = [abs(all_.mean() - all_[:8].mean()) < error_of_mean(all_[:8], 50) for all_ in sets]
    assert abs(np.mean(held) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)
    assert error_of_mean(sets[0], 50) == 0


def test_damage_is_found_and_mended(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "set")
    flip_a_byte(folder / "train-00000.h5")
    os.truncate(folder / "train-00001.h5", 2000)
    (folder / "train-00003.truth.h5").unlink()
    shutil.copy(folder / "train-00005.json", folder / "train-00004.json")
    (folder / "test-00000.json").unlink()
    wrong = [text.split(":")[0] for text in check_shards(Place(folder=folder))]
    assert wrong == ["train-00000", "train-00001", "train-00003", "train-00004", "test-00000"]
    in_threads(waves(), Place(folder=folder))
    assert check_shards(Place(folder=folder)) == []
    assert files(folder) == files(undisturbed)


def test_a_full_disk_leaves_whole_shards_only(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    done: list[object] = []

    def full(_file: int) -> None:
        if len(done) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        in_threads(waves(), Place(folder=folder), progress=lambda *n: done.append(n))
    monkeypatch.undo()
    left = {path.name for path in folder.iterdir()}
    assert len(left) >= 3 * 3 + 1
    assert left < set(files(undisturbed))
    in_threads(waves(), Place(folder=folder))
    assert files(folder) == files(undisturbed)


def test_a_sample_that_ends_its_worker_is_left_out_alone(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledWorker(Exception):
        """Stands for that of the scheduler, which takes the loss of many workers."""

    def deadly(generation: Generation, index: int) -> Any:
        if index == 3:
            raise KilledWorker
        return sample(generation, index)

    monkeypatch.setattr("distributed.KilledWorker", KilledWorker)
    monkeypatch.setattr(generation_engine, "sample", deadly)
    monkeypatch.setattr(generation_engine, "Exception", ValueError, raising=False)
    place = Place(folder=tmp_path / "set")
    manifest = in_threads(waves(), place)
    before = json.loads((undisturbed / "manifest.json").read_text())
    assert "workers that make it are lost" in manifest["failures"].pop("3")
    assert manifest["failures"] == before["failures"]
    hashes = {row["sample"]: row["hash"] for row in before["rows"] if row["sample"] != 3}
    assert {row["sample"]: row["hash"] for row in manifest["rows"]} == hashes


def test_a_blind_test_shows_neither_truth_nor_seed(tmp_path: Path) -> None:
    place = Place(folder=tmp_path / "open", blind=tmp_path / "blind")
    in_threads(waves(n=10), place)
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


def in_blocks(settings: WaveSettings, computed: list[int]) -> Scenario:
    """Waves whose means are computed block by block."""
    plain = wave_scenario(settings)

    def count(block: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        computed.append(1)
        return block

    def forward(phase: float) -> xr.Dataset:
        mean = plain.forward(phase).expand_dims(scan=6).chunk(scan=2)
        counts = mean["counts"]
        blocks = counts.data.map_blocks(count, meta=counts.data._meta)
        return mean.assign(counts=counts.copy(data=blocks))

    return replace(plain, forward=forward)


def test_samples_larger_than_memory_are_written_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    generation = Generation(
        scenario=in_blocks(WaveSettings(), computed),
        make=partial(in_blocks, computed=computed),
        vary={},
        n=3,
    )
    held = [sample(generation, index) for index in range(3)]
    assert len(computed) == 3 * 3
    monkeypatch.setattr(generation_module, "IN_MEMORY", 100)
    monkeypatch.setattr(generation_estimate, "IN_MEMORY", 100)
    before: list[int] = []
    place = Place(folder=tmp_path / "set")
    in_threads(generation, place, tell=lambda _found: before.append(len(computed)))
    assert len(computed) - before[0] == 3 * 3  # each block once
    assert before[0] - 9 < 3 * 3 * 2  # nor all of them for the estimate
    written = [one for split in Split for one in load_samples(place.folder, split=split)]
    for one, there in zip(held, written, strict=True):
        xr.testing.assert_identical(there.measurement, one.measurement)
    assert check_shards(place) == []
    with pytest.raises(BadInputError, match="dose ladder"):
        sample(replace(generation, ladder=(1.0, 0.5)), 0)


def test_what_is_not_mixed(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(told: str, place: Path, **fields: Any) -> None:
        with pytest.raises(BadInputError, match=told):
            generate(waves(**fields), Place(folder=place), scheduler=Workers.THREADS)

    refused(r"generation of other seed \(0 there, now 2\)", undisturbed, seed=2)
    (tmp_path / "notes.txt").write_text("mine")
    refused("holds other files", tmp_path)
    other = {**generation_engine.versions(), "numpy": "0.1"}
    monkeypatch.setattr(generation_engine, "versions", lambda: other)
    refused(r'other versions.numpy \("[0-9.]+" there, now "0.1"\)', undisturbed)
    with pytest.raises(BadInputError, match="generate into"):
        load_samples(tmp_path)


def test_what_cannot_be_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(told: str, place: Place, scheduler: str = Workers.THREADS) -> None:
        with pytest.raises(BadInputError, match=told):
            generate(waves(), place, scheduler=scheduler)

    folder = Place(folder=tmp_path / "set")
    (tmp_path / "file").write_text("no folder")
    refused("nothing can be written in", Place(folder=tmp_path / "file" / "set"))
    refused("apart from it", Place(folder=folder.folder, blind=folder.folder / "blind"))
    refused("processes", folder, "proceses")
    monkeypatch.setattr(dask_cases, "ANSWER_S", 0.5)
    refused("no Dask scheduler answers", folder, "tcp://127.0.0.1:1")
    monkeypatch.setattr(dask_cases, "WORKERS_S", 0.1)
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as empty:  # type: ignore[no-untyped-call]
        refused("has no workers", folder, empty.scheduler_address)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(1, 1, 1))
    refused("are free in", folder)
    assert not any(folder.folder.iterdir())


def test_a_worker_of_other_versions_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**generation_engine.versions(), "numpy": "0.1"}
    monkeypatch.setattr(generation_engine, "versions", lambda: other)
    with pytest.raises(BadInputError, match=r'a worker on .* has other versions.numpy \("[0-9.]+"'):
        generate(waves(), Place(folder=tmp_path / "set"), scheduler=cluster.address)


def test_workers_that_lack_the_code_are_told_of_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ModuleType("only_here")
    exec("def double(n): return 2 * n", here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", here)
    with (
        scheduler_at(cluster.address),
        pytest.raises(BadInputError, match="No module named 'only_here'"),
    ):
        list(as_finished(here.double, [1]))
