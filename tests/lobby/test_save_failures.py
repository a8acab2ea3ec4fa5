"""No half-written or damaged file is ever taken for whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

from echolith import contents
from echolith.atomic import GuardedFile
from echolith.dataset import Compression, load, save
from echolith.errors import BadInputError


def measurement(shape: tuple[int, ...] = (9, 7, 4, 5)) -> xr.Dataset:
    counts = np.random.default_rng(0).poisson(2, shape).astype(np.uint16)
    return xr.Dataset({"counts": (("y", "x", "v", "u"), counts)})


def failing(error: BaseException) -> xr.Dataset:
    """A lazy measurement whose third block of rows fails."""

    def block(block_info: Any = None) -> np.ndarray:
        if block_info[None]["chunk-location"][0] == 2:
            raise error
        return np.ones((1, 7, 4, 5), np.uint16)

    map_blocks: Any = da.map_blocks
    frames = map_blocks(block, chunks=((1,) * 6, 7, 4, 5), dtype=np.uint16)
    return xr.Dataset({"counts": (("y", "x", "v", "u"), frames)})


@pytest.mark.parametrize("whole", [0, 1 << 25])
@pytest.mark.parametrize("error", [ValueError("a bad block"), KeyboardInterrupt(), MemoryError()])
def test_a_failing_block_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, whole: int
) -> None:
    monkeypatch.setattr(contents, "WHOLE_BYTES", whole)
    monkeypatch.setattr(contents, "BATCH_BYTES", 1)
    with pytest.raises(type(error)):
        save(failing(error), tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    save(measurement(), tmp_path / "m.h5")
    with pytest.raises(ValueError, match="a bad block"):
        save(failing(ValueError("a bad block")), tmp_path / "m.h5")
    xr.testing.assert_identical(load(tmp_path / "m.h5").compute(), measurement())
    assert [file.name for file in tmp_path.iterdir()] == ["m.h5"]


FULL = """
import os, resource, sys
import numpy as np, xarray as xr
from echolith import contents
from echolith.dataset import Compression, save
folder, contents.WHOLE_BYTES = sys.argv[1], int(sys.argv[2])
noise = np.random.default_rng(0).integers(0, 2**16, (20, 16, 32, 32)).astype(np.uint16)
data = xr.Dataset({"counts": (("y", "x", "v", "u"), noise)})
for limit in map(int, sys.argv[3:]):
    child = os.fork()  # a process for each limit, which starts and ends as any other
    if child:
        print(limit, "ended", os.waitpid(child, 0)[1], flush=True)
        continue
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit,) * 2)
    os.mkdir(f"{folder}/{limit}")
    for kind in (Compression.SHARE, Compression.NONE):
        try:
            save(data, f"{folder}/{limit}/m.h5", compression=kind)
        except OSError as error:
            print(limit, error.errno, error, flush=True)
    break
"""
LIMITS = (0, 50, 1000, 2200, 40_000, 400_000, 650_000)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("whole", [0, 1 << 25])
def test_a_full_disk_leaves_nothing_and_the_process_well(tmp_path: Path, whole: int) -> None:
    """The data take 655360 bytes; HDF5 alone crashes at exit after a failed write."""
    arguments = [str(tmp_path), str(whole), *map(str, LIMITS)]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", FULL, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    for limit in LIMITS:
        told = [line for line in lines if line.startswith(f"{limit} ")]
        assert told[-1:] == [f"{limit} ended 0"]
        assert len(told) == 3
        for line in told[:-1]:
            assert "File too large: the file could not be written" in line
            assert str(tmp_path) in line
        assert not list((tmp_path / str(limit)).iterdir())


def test_an_error_at_closing_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*free space"):
        save(measurement(), tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_guarded_file_goes_on_after_an_error(tmp_path: Path) -> None:
    file = GuardedFile(tmp_path / "x")
    assert file.write(b"abc") == 3
    file.error = OSError(5, "Input/output error")
    assert file.write(b"lost") == 4
    file.seek(1)
    assert file.read(5) == b"bc\0\0\0"
    assert file.truncate(100) == 100
    file.close()
    with pytest.raises(OSError, match="Input/output error"):
        file.check()
    assert (tmp_path / "x").read_bytes() == b"abc"


KILLED = """
import os, signal, sys
import dask.array as da, numpy as np, xarray as xr
from echolith import contents
from echolith.dataset import save
contents.WHOLE_BYTES, contents.BATCH_BYTES = 0, 1
def block(block_info=None):
    if block_info[None]["chunk-location"][0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.ones((1, 8, 8, 8), np.uint16)
frames = da.map_blocks(block, chunks=((1,) * 6, 8, 8, 8), dtype=np.uint16)
save(xr.Dataset({"counts": (("y", "x", "v", "u"), frames)}), sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_save_has_no_final_name_and_what_is_left_is_not_taken(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "m.h5")], capture_output=True, check=False
    )
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "m.h5").exists()
    (left,) = tmp_path.iterdir()
    with pytest.raises(BadInputError):
        load(left)


@pytest.mark.parametrize("kind", [Compression.SHARE, Compression.NONE])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, part: float, kind: Compression) -> None:
    path = tmp_path / "m.h5"
    save(measurement(), path, compression=kind)
    os.truncate(path, int(part * path.stat().st_size))
    with pytest.raises(BadInputError, match=r"m\.h5.*cut short"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no file.*m\.h5"):
        load(tmp_path / "m.h5")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    with pytest.raises(BadInputError, match="cannot be read as HDF5"):
        load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1, 2]
    with pytest.raises(BadInputError, match="not a measurement"):
        load(tmp_path / "other.h5")


def _without_mark(file: h5py.File) -> None:
    del file.attrs["complete"]


def _without_variable(file: h5py.File) -> None:
    del file["measurement/counts"]


def _without_group(file: h5py.File) -> None:
    del file["measurement"]


def _from_the_future(file: h5py.File) -> None:
    file.attrs["schema_version"] = 99


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_mark, "incomplete"),
        (_without_variable, "lacks the variables counts"),
        (_without_group, "lacks the variables counts"),
        (_from_the_future, "schema version 99.*update"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "m.h5"
    save(measurement(), path)
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(BadInputError, match=message):
        load(path)


def test_damaged_contents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WHOLE_BYTES", 0)
    path = tmp_path / "m.h5"
    save(measurement(), path)
    with h5py.File(path, "a") as file:
        file["measurement/counts"].id.write_direct_chunk((4, 0, 0, 0), b"no gzip")
    with pytest.raises(BadInputError, match="damaged"):
        load(path).compute()
