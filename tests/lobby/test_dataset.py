"""Saved and loaded data sets are identical, hashed alike in any chunks, and linked to truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from echolith import compression, contents
from echolith.dataset import (
    Compression,
    content_hash,
    load,
    load_dataset,
    load_truth,
    save,
    save_dataset,
    save_truth,
    stored_hash,
    verify,
)
from echolith.errors import BadInputError

TYPES = ["u1", "u2", "<u4", ">i2", "i8", "f2", "f4", ">f8", "c8", "c16", "?"]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAMES = st.text("abcXYZ_ é.", min_size=1, max_size=6).filter(lambda name: name != ".")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
ATTRIBUTES = st.dictionaries(
    TEXT.filter(lambda name: name not in ("", "dims", "role")),
    st.one_of(
        TEXT,
        st.booleans(),
        INTEGERS,
        st.floats(),
        st.lists(TEXT, max_size=3),
        st.lists(st.booleans(), max_size=3),
        st.lists(INTEGERS, max_size=3),
        st.lists(st.floats(), max_size=3),
    ),
    max_size=3,
)


@st.composite
def text_arrays(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    return np.array(draw(st.lists(TEXT, min_size=size, max_size=size)), np.str_).reshape(shape)


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    """Data sets of any storable type, with coordinates and attributes."""
    sizes = {"y": draw(st.integers(0, 5)), "x": draw(st.integers(1, 4)), "k": 3, "l": 2}
    variables = {}
    for name in draw(st.lists(NAMES.filter(lambda n: n not in sizes), max_size=3, unique=True)):
        dims = draw(st.permutations(list(sizes)))[: draw(st.integers(0, 4))]
        shape = tuple(sizes[dim] for dim in dims)
        dtype = np.dtype(draw(st.sampled_from(TYPES)))
        values = draw(st.one_of(hnp.arrays(dtype, shape), text_arrays(shape)))
        variables[name] = (dims, values, draw(ATTRIBUTES))
    coords: dict[str, Any] = {"y": np.arange(sizes["y"]) * 0.2}
    if draw(st.booleans()):
        coords["label"] = ("k", ["M", "O", "Lié"])
        coords["scalar"] = 1.5
    return xr.Dataset(variables, coords=coords, attrs=draw(ATTRIBUTES))


def assert_same(loaded: xr.Dataset, saved: xr.Dataset) -> None:
    loaded = loaded.compute()
    xr.testing.assert_identical(loaded, saved)
    for name, variable in saved.variables.items():
        if variable.dtype.kind != "U":
            assert loaded[name].dtype == variable.dtype.newbyteorder("=")


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make tiny arrays take the paths of large ones."""
    with monkeypatch.context() as patch:
        patch.setattr(contents, "WHOLE_BYTES", 200)
        patch.setattr(contents, "BLOCK_BYTES", 300)
        patch.setattr(contents, "BATCH_BYTES", 1000)
        patch.setattr(compression, "CHUNK_BYTES", 100)
        yield


def measurement(shape: tuple[int, ...] = (9, 7, 4, 5), seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "counts": (("y", "x", "v", "u"), rng.poisson(2, shape).astype(np.uint16)),
            "haadf": (("y", "x"), rng.poisson(9, shape[:2]).astype(np.uint32), {"units": "e"}),
        },
        coords={"y": ("y", np.arange(shape[0]) * 0.2, {"units": "Å"})},
        attrs={"acquisition": "{}"},
    )


@given(datasets())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, dataset: xr.Dataset) -> None:
    path = tmp_path_factory.mktemp("round") / "any.h5"
    digest = save_dataset(dataset, path)
    loaded = load_dataset(path)
    assert_same(loaded, dataset)
    assert digest == content_hash(dataset) == content_hash(loaded)
    assert [file.name for file in path.parent.iterdir()] == ["any.h5"]


@pytest.mark.parametrize("kind", [Compression.SHARE, Compression.NONE])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8", "c16", "?"])
@pytest.mark.usefixtures("small_units")
def test_round_trip_row_by_row(tmp_path: Path, kind: Compression, dtype: str) -> None:
    dataset = measurement()
    dataset["counts"] = dataset["counts"].astype(dtype)
    digest = save(dataset.chunk(y=2, u=3), tmp_path / "m.h5", compression=kind)
    loaded = load(tmp_path / "m.h5")
    assert isinstance(loaded["counts"].data, da.Array)
    assert_same(loaded, dataset)
    assert digest == content_hash(loaded)
    # Read by another path: HDF5's own filters.
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["measurement/counts"][...], dataset["counts"])
    # Slices that are not whole rows take HDF5's filters too.
    some = {"y": slice(1, 8, 3), "x": 2, "u": slice(1, 4)}
    xr.testing.assert_identical(loaded.isel(some).compute(), dataset.isel(some))


@given(
    st.fixed_dictionaries({"y": st.integers(1, 9), "x": st.integers(1, 7), "v": st.integers(1, 4)}),
    st.sampled_from([1, 2]),
    st.sampled_from([200, 1 << 25]),
)
def test_hash_does_not_depend_on_chunks_or_workers(
    chunks: dict[str, int], workers: int, whole: int
) -> None:
    dataset = measurement()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "WHOLE_BYTES", whole)
        with dask.config.set(num_workers=workers):
            assert content_hash(dataset.chunk(chunks)) == content_hash(dataset)


def test_hash_is_the_same_for_ever() -> None:
    """Recorded once: changing it would break every link between measurement and truth."""
    assert content_hash(measurement((2, 3, 2, 2))) == (
        "e380b41c824e7d78b6d91c1e7dfbc5e5bfb9aea05077d896a1ec1f0970ccbe1b"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign_attrs(acquisition="{ }"),
        lambda d: d.assign(counts=d["counts"] + np.uint16(1)),
        lambda d: d.assign(counts=d["counts"].astype(np.uint32)),
        lambda d: d.rename(haadf="adf"),
        lambda d: d.rename(u="w"),
        lambda d: d.assign_coords(y=d["y"] + 1),
        lambda d: d.transpose("x", ...),
        lambda d: d.isel(y=slice(None, None, -1)).assign_coords(y=d["y"]),
        lambda d: d.reset_coords("y") if "y" not in d.indexes else d.drop_vars("y"),
    ],
)
@pytest.mark.usefixtures("small_units")
def test_every_change_shows_in_the_hash(change: Any) -> None:
    dataset = measurement()
    assert content_hash(change(dataset)) != content_hash(dataset)


@pytest.mark.usefixtures("small_units")
def test_shared_work_is_done_once_and_rows_stream() -> None:
    """Counts and HAADF of one simulation are computed together, a bounded batch at a time."""
    calls: list[int] = []

    def simulate(block_info: Any = None) -> np.ndarray:
        start = block_info[None]["array-location"][0][0]
        calls.append(start)
        return np.full((2, 7, 4, 5), start, np.uint16)

    map_blocks: Any = da.map_blocks
    frames = map_blocks(simulate, chunks=((2,) * 20, 7, 4, 5), dtype=np.uint16)
    dataset = xr.Dataset(
        {
            "counts": (("y", "x", "v", "u"), frames),
            "haadf": (("y", "x"), frames.sum(axis=(2, 3))),
        }
    )
    seen: list[tuple[int, int]] = []
    with dask.config.set(num_workers=1):
        described = contents.contents(dataset)
        pieces = contents.stream(
            described, encode=lambda *_: None, progress=lambda *now: seen.append(now)
        )
        next(pieces)
        # A batch is at most 4 blocks per worker: the rest waits.
        assert len(calls) <= 4
        assert len(list(pieces)) > 0
    assert sorted(calls) == list(range(0, 40, 2))
    assert seen == [(i + 1, 20) for i in range(20)]


def test_loading_is_lazy_and_leaves_the_file_closed(tmp_path: Path) -> None:
    save(measurement(), tmp_path / "m.h5")
    loaded = load(tmp_path / "m.h5")
    assert isinstance(loaded["counts"].data, da.Array)
    save(measurement(seed=1), tmp_path / "m.h5")
    with pytest.raises(BadInputError, match="replaced since"):
        loaded.compute()
    (tmp_path / "m.h5").unlink()
    with pytest.raises(BadInputError, match="no longer"):
        loaded.compute()


def test_a_measurement_can_be_saved_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    dataset = measurement()
    save(dataset, path)
    save(load(path).assign_attrs(note="x"), path)
    assert_same(load(path), dataset.assign_attrs(note="x"))


def test_layout_is_plain(tmp_path: Path) -> None:
    digest = save(measurement(), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["format"] == "echolith-measurement"
        assert file.attrs["schema_version"] == 1
        assert file.attrs["complete"] == 1
        assert file.attrs["hash"] == digest == stored_hash(tmp_path / "m.h5")
        assert list(file["measurement/haadf"].attrs["dims"]) == ["y", "x"]
        assert file["measurement/haadf"].attrs["units"] == "e"
        assert file["measurement/y"].attrs["role"] == "coordinate"
        assert file["measurement/counts"].compression == "gzip"


def test_long_attributes_are_stored(tmp_path: Path) -> None:
    """More than the 64 kB that older layouts of HDF5 hold."""
    dataset = xr.Dataset(attrs={"a": [0.5] * 20_000, "b": "é" * 100_000})
    save(dataset, tmp_path / "m.h5")
    xr.testing.assert_identical(load(tmp_path / "m.h5"), dataset)


def test_big_compression_asks_for_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(compression, "import_module", absent)
    with pytest.raises(BadInputError, match="hdf5plugin"):
        save(measurement(), tmp_path / "m.h5", compression=Compression.BIG)
    assert not list(tmp_path.iterdir())
    with h5py.File(tmp_path / "m.h5", "w") as file:
        plain = file.create_dataset("plain", data=[1, 2])
        compression.enable_filters(plain)
        # Bitshuffle's number, optional so that it can be named without being there.
        list_ = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        list_.set_chunk((2,))
        list_.set_filter(32008, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b"shuffled", h5py.h5t.NATIVE_INT16, space, list_)
        with pytest.raises(BadInputError, match=r"m\.h5.*needs the package hdf5plugin"):
            compression.enable_filters(file["shuffled"])


# --- truth ----------------------------------------------------------------------------------


def test_truth_is_linked_by_hash(tmp_path: Path) -> None:
    truth = xr.Dataset({"o_o_li": ((), 3.07, {"units": "Å"}), "species": ("column", ["M", "O"])})
    path, other = tmp_path / "m.h5", tmp_path / "other.h5"
    save(measurement(), path, truth=truth)
    save(measurement(seed=1), other)
    for known in (path, load(path), measurement(), measurement().chunk(y=2)):
        xr.testing.assert_identical(load_truth(tmp_path / "m.truth.h5", measurement=known), truth)
    for wrong in (other, load(other), load(path).assign_attrs(note="changed")):
        with pytest.raises(BadInputError, match="belongs to"):
            load_truth(tmp_path / "m.truth.h5", measurement=wrong)


def test_truth_and_measurement_are_not_mistaken(tmp_path: Path) -> None:
    digest = save(measurement(), tmp_path / "m.h5")
    save_truth(xr.Dataset({"a": 1.0}), tmp_path / "t.h5", measurement_hash=digest)
    with pytest.raises(BadInputError, match="not a measurement"):
        load(tmp_path / "t.h5")
    with pytest.raises(BadInputError, match="not a truth"):
        load_truth(tmp_path / "m.h5", measurement=tmp_path / "m.h5")


def test_verify_finds_changed_contents(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    save(measurement(), path)
    verify(path)
    with h5py.File(path, "a") as file:
        file["measurement/counts"][0, 0, 0, 0] += 1
    with pytest.raises(BadInputError, match="changed"):
        verify(path)


# --- what cannot be stored ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (xr.Dataset({"a": ("x", np.array(["2020"], "M8[ns]"))}), "variable 'a' of type"),
        (xr.Dataset({"a": ("x", np.array([1, "b"], object))}), "expected a string"),
        (xr.Dataset({"a": ("x", ["nul\0l"])}), "characters"),
        (xr.Dataset({"a/b": 1}), "without '/'"),
        (xr.Dataset({1: ("x", [1])}), "non-empty string"),
        (xr.Dataset(attrs={"a": None}), "attribute 'a' of the data set is None"),
        (xr.Dataset(attrs={"a": {"b": 1}}), "JSON text"),
        (xr.Dataset(attrs={"a": [1, "b"]}), "mixes"),
        (xr.Dataset(attrs={"a": 2**70}), "64 bits"),
        (xr.Dataset({"a": ((), 1, {"dims": "x"})}), "rename"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    tmp_path: Path, dataset: xr.Dataset, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        save(dataset, tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no folder"):
        save(measurement(), tmp_path / "none" / "m.h5")
