"""Samples as training takes them: what is asked for is read, shapes are fixed, epochs are whole."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.stored_array import StoredArray
from echolith.validation.generation import Made, Split
from echolith.validation.generation_files import Place, Shard, write_json, write_shard
from echolith.validation.pack_merging import merged
from echolith.validation.packing import pack, unpack
from echolith.validation.samples import MIXED, LabelledSample, Sampler, Samples, load_samples
from tests.validation.test_packing import samples as any_samples

SHARES = [1.0, 0.3]


def made(index: int, *, side: int = 4) -> Made:
    """A sample with columns of its own, two rungs of a dose ladder, and a large truth."""
    n = index % 3
    counts = np.full((2, 3, side), index, np.uint16) // np.array([1, 3])[:, None, None]
    measurement = xr.Dataset(
        {"counts": (("dose_share", "y", "x"), counts.astype(np.uint16))},
        {"dose_share": SHARES, "x": np.arange(side) * 0.5},
    )
    truth = xr.Dataset(
        {
            "columns": ("column", np.arange(n) + 10.0 * index),
            "species": ("column", np.array(["Li"] * n, dtype=object)),
            "state": ((), index % 2 == 1),
            "volume": (("z", "u"), np.full((200, 300), index, np.float64)),
        }
    )
    if index in (1, 3):
        truth["tilt"] = (), float(index)
    return Made(index=index, seed=index, measurement=measurement, truth=truth)


def written(folder: Path, sizes: list[int]) -> None:
    """Write shards of these sizes."""
    place, rows, start = Place(folder=folder), [], 0
    for number, size in enumerate(sizes):
        shard = Shard(split=Split.TRAIN, number=number, samples=range(start, start + size))
        content = write_shard(place, shard, [made(index) for index in shard.samples], {})
        own = {"split": "train", "shard": shard.name}
        rows += [{**own, **row} for row in content["samples"]]
        start += size
    write_json(place.manifest, {"rows": rows, "shards": []})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made_here = tmp_path_factory.mktemp("samples")
    written(made_here, [5, 1, 4])
    return made_here


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    seen: list[tuple[str, Any]] = []
    original = StoredArray.__getitem__

    def spied(self: StoredArray, index: Any) -> Any:
        values = original(self, index)
        if values.size:  # dask asks for types by reading nothing
            seen.append((self.name, index))
        return values

    monkeypatch.setattr(StoredArray, "__getitem__", spied)
    return seen


def test_one_sample_is_read_and_no_other(folder: Path, reads: list[tuple[str, Any]]) -> None:
    samples = load_samples(folder)
    reads.clear()
    found = samples[3]
    xr.testing.assert_identical(found.measurement, made(3).measurement)
    xr.testing.assert_identical(found.truth, made(3).truth)
    # Five volumes of 480 kB lie in the shard; the others of its variables are small.
    assert [(name, index[0]) for name, index in reads] == [("/truth/volume", slice(3, 4))]


def test_a_sample_belongs_to_its_caller(folder: Path) -> None:
    samples = load_samples(folder)
    samples[2].measurement["counts"][:] = 77
    xr.testing.assert_identical(samples[2].measurement, made(2).measurement)


def test_arrays_are_the_samples(folder: Path, reads: list[tuple[str, Any]]) -> None:
    arrays = load_samples(folder).arrays("counts", "dose_share", "truth.state")
    reads.clear()
    for index in range(10):
        found = arrays[index]
        assert set(found) == {"counts", "dose_share", "truth.state"}
        np.testing.assert_array_equal(found["counts"], made(index).measurement["counts"])
        assert found["counts"].dtype == np.uint16
        assert found["dose_share"].tolist() == SHARES
        assert found["truth.state"] == (index % 2 == 1)
    assert reads == []  # of the truth's volumes


def test_arrays_that_differ_in_shape_come_with_a_mask(folder: Path) -> None:
    samples = load_samples(folder)
    for index, found in enumerate(
        samples.arrays("counts", "truth.columns", "truth.tilt", masked=True)[i] for i in range(10)
    ):
        truth, there = made(index).truth, found["truth.columns.mask"]
        assert found["truth.columns"].shape == there.shape == (2,)
        np.testing.assert_array_equal(found["truth.columns"][there], truth["columns"])
        assert (found["truth.columns"][~there] == 0).all()
        assert found["truth.tilt.mask"] == ("tilt" in truth)
        assert "counts.mask" not in found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("count", "did you mean 'counts'"),
        ("truth.colums", "did you mean 'truth.columns'"),
        ("truth.columns", r"shapes of \(0,\) to \(2,\); ask for .*masked=True.* up to \(2,\)"),
        ("truth.tilt", "no value in some samples"),
        ("truth.species", "text"),
    ],
)
def test_arrays_that_cannot_be_are_told(folder: Path, name: str, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        load_samples(folder).arrays(name)


def test_samples_and_what_is_made_of_them_go_to_other_processes(folder: Path) -> None:
    samples = load_samples(folder)
    samples[0]
    there = pickle.loads(pickle.dumps(samples.arrays("counts")))
    assert len(there) == 10
    np.testing.assert_array_equal(there[7]["counts"], made(7).measurement["counts"])


def test_a_whole_split_is_one_lazy_data_set(folder: Path, reads: list[tuple[str, Any]]) -> None:
    whole = load_samples(folder).dataset()
    assert whole.truth is not None
    assert "/truth/volume" not in dict(reads)
    means = whole.truth["volume"].mean(("z", "u")).compute()
    assert means.values.tolist() == list(range(10))
    for index in range(10):
        xr.testing.assert_identical(
            unpack(whole.measurement, index).compute(), made(index).measurement
        )
        xr.testing.assert_identical(unpack(whole.truth, index).compute(), made(index).truth)


@given(st.lists(st.lists(any_samples(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_merged_packs_hold_every_sample(parts: list[list[xr.Dataset]]) -> None:
    whole = merged([pack(part) for part in parts])
    everything = [sample for part in parts for sample in part]
    assert whole.sizes["sample"] == len(everything)
    for index, sample in enumerate(everything):
        xr.testing.assert_identical(unpack(whole, index), sample)


def listed(sizes: list[int]) -> Samples:
    rows = [{"shard": f"{n}", "row": k} for n, size in enumerate(sizes) for k in range(size)]
    return Samples(folder=Path(), rows=tuple(rows))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(0, 2**31),
    st.integers(1, 5),
    st.data(),
)
def test_an_epoch_is_every_sample_once_and_few_shards_at_a_time(
    sizes: list[int], seed: int, workers: int, data: st.DataObject
) -> None:
    samples = listed(sizes)
    order = samples.order(seed=seed)
    assert sorted(order) == list(range(len(samples)))
    assert order == samples.order(seed=seed)
    # At no time is a shard left unfinished that more than a group ago was begun.
    shards = [samples.rows[index]["shard"] for index in order]
    for shard in set(shards):
        first, last = shards.index(shard), len(shards) - shards[::-1].index(shard)
        assert len(set(shards[first:last])) <= MIXED
    parts = [part_of(samples, seed, worker, workers) for worker in range(workers)]
    assert [index for part in parts for index in part] == order
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def part_of(samples: Samples, seed: int, worker: int, workers: int) -> list[int]:
    asked: list[int] = []

    class Spied(Samples):
        def __getitem__(self, index: int) -> LabelledSample:
            asked.append(index)
            return LabelledSample(xr.Dataset(), None)

    list(
        Spied(folder=Path(), rows=samples.rows).shuffled(seed=seed, worker=worker, workers=workers)
    )
    return asked


def test_every_epoch_has_another_order() -> None:
    sampler = listed([7, 7, 7]).sampler(seed=3)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(len(sampler)))
    again = Sampler(samples=sampler.samples, seed=3)
    again.set_epoch(1)
    assert list(again) == second


def test_a_truth_that_is_kept_apart_cannot_be_asked_for(tmp_path: Path) -> None:
    written(tmp_path, [2])
    (tmp_path / "train-00000.truth.h5").unlink()
    samples = load_samples(tmp_path)
    assert samples[1].truth is None
    assert samples.dataset().truth is None
    with pytest.raises(BadInputError, match=r"truth\.state"):
        samples.arrays("truth.state")


def test_a_worker_that_is_not_there() -> None:
    with pytest.raises(BadInputError, match="worker 2 of 2"):
        listed([1]).shuffled(seed=0, worker=2, workers=2)
