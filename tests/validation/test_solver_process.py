"""Solvers in processes of their own: what goes over, what comes back, and every way to fail."""

import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.validation import solver_log
from echolith.validation.solver_exchange import Variable, read_exchange, write_exchange
from echolith.validation.solver_failure import SolverFailure, SolverFailureKind
from echolith.validation.solver_log import SolverLog
from echolith.validation.solver_process import SolverProcess
from tests.validation.bare_environment import make_environment

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SOLVERS = '''
"""Solvers that need NumPy only, good and bad ones."""
import json, os, signal, subprocess, sys, threading, time
import numpy as np


def total(measurement):
    return {"total": measurement["counts"].values.sum(), "total_std": 2.0}


def what_it_sees(measurement):
    counts = measurement["counts"]
    seen = {
        "type": type(measurement).__name__,
        "dims": list(counts.dims),
        "units": counts.attrs["units"],
        "dose": measurement.attrs["dose"],
        "names": sorted(measurement),
        "coords": sorted(measurement.coords),
        "x": measurement["scan_x"].values.tolist(),
        "sizes": dict(measurement.sizes),
        "sum": float(np.asarray(counts).sum()),
        "xarray": "xarray" in sys.modules,
        "contains": ["counts" in measurement, "nothing" in measurement],
    }
    return {"total": 1.0, "seen": json.dumps(seen)}


def every_form(measurement):
    return {
        "number": 3,
        "x": [1.0, 2.0, 3.0],
        "species": np.array(["M", "O", "Li"], dtype=object),
        "image": np.ones((2, 4)),
        "map": (("row", "column"), np.zeros((2, 3)), {"units": "Å"}),
        "line": ("row", [1, 2]),
        "raw": np.array([b"M", b"O", b"Li"]),
    }


def changes_its_input(measurement):
    measurement["counts"].values[:] = 0
    return {"total": 0.0}


def big(measurement):
    return {"total": 0.0, "volume": (("a", "b"), np.arange(4_000_000.0).reshape(2000, 2000))}


def aborts(measurement):
    os.abort()


def segfaults(measurement):
    import ctypes
    ctypes.string_at(0)


def exits(measurement):
    sys.exit(3)


def exits_quietly(measurement):
    os._exit(0)


def deep(measurement):
    raise ValueError("no peaks\\nfound")


def raises(measurement):
    return deep(measurement)


def hangs(measurement):
    print("still going", flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(PIDS, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def eats(measurement):
    kept = []
    while True:
        kept.append(np.ones(2_500_000))
        time.sleep(0.005)


def child_eats(measurement):
    code = "kept = [bytearray(b'1') * 20_000_000 for _ in range(40)]; import time; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code])


def out_of_memory(measurement):
    return np.ones((1 << 40, 1 << 10))


def prints(measurement):
    for _ in range(2000):
        print("x" * 10_000)
    print("the last words", file=sys.stderr)
    return total(measurement)


def prints_and_fails(measurement):
    prints(measurement)
    os.abort()


def leaves_a_child(measurement):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(PIDS, "w") as file:
        file.write(str(child.pid))
    return {"total": 0.0}


def crashes_at_exit(measurement):
    import atexit
    atexit.register(os.abort)
    return {"total": 0.0}


def nothing(measurement):
    return None


def a_number(measurement):
    return 3.0


def unpicklable(measurement):
    return {"total": 1.0, "helper": lambda: None}


def ragged(measurement):
    return {"x": [[1.0], [2.0, 3.0]]}


def wrong_dims(measurement):
    return {"x": (("a",), np.zeros((2, 2)))}


def odd_lengths(measurement):
    return {"x": ("column", [1.0, 2.0]), "y": ("column", [1.0])}


def odd_name(measurement):
    return {1: 2.0}


constant = 3.0
'''


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def pids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pids") / "pids"


@pytest.fixture(scope="module")
def solvers(tmp_path_factory: pytest.TempPathFactory, pids: Path) -> Path:
    path = tmp_path_factory.mktemp("solvers") / "outsider.py"
    path.write_text(f"PIDS = {str(pids)!r}\n{SOLVERS}", encoding="utf-8")
    return path


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of temporary folders: empty again after every call."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def measurement(values: object = None) -> xr.Dataset:
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) if values is None else values
    return xr.Dataset(
        {"counts": (("scan_y", "scan_x"), counts, {"units": "electrons"})},
        coords={"scan_x": ("scan_x", [0.0, 0.2, 0.4, 0.6], {"units": "Å"})},
        attrs={"dose": 8.1e4, "acquisition": '{"beam": {"energy": 2e5}}', "flags": [True, False]},
    )


def failure(solver: SolverProcess, exchange: Path) -> SolverFailure:
    with pytest.raises(SolverFailure) as caught:
        solver(measurement())
    assert not list(exchange.iterdir()), "the temporary folder is left behind"
    assert not psutil.Process().children(recursive=True), "a process is left behind"
    assert "\n" not in str(caught.value)
    return caught.value


def gone(pid: int) -> bool:
    """Wait a little for a process that is not our child to be reaped by the system."""
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_the_stand_in_looks_like_a_dataset(solvers: Path, bare: Path, exchange: Path) -> None:
    import json

    estimate = SolverProcess(target=f"{solvers}:what_it_sees", python=bare)(measurement())
    seen = json.loads(str(estimate["seen"].values))
    assert seen == {
        "type": "Measurement",
        "dims": ["scan_y", "scan_x"],
        "units": "electrons",
        "dose": 8.1e4,
        "names": ["counts"],
        "coords": ["scan_x"],
        "x": [0.0, 0.2, 0.4, 0.6],
        "sizes": {"scan_y": 3, "scan_x": 4},
        "sum": 66.0,
        "xarray": False,
        "contains": [True, False],
    }
    assert not list(exchange.iterdir())


def test_with_xarray_the_solver_gets_and_returns_a_dataset(tmp_path: Path, exchange: Path) -> None:
    script = tmp_path / "labelled.py"
    script.write_text(
        "import xarray as xr\n"
        "def same(measurement):\n"
        "    assert isinstance(measurement, xr.Dataset), type(measurement)\n"
        "    return measurement.assign(total=measurement.counts.sum())\n",
        encoding="utf-8",
    )
    given_ = measurement()
    estimate = SolverProcess(target=f"{script}:same")(given_)
    assert float(estimate["total"]) == 66
    xr.testing.assert_identical(estimate.drop_vars("total"), given_)
    assert not list(exchange.iterdir())


def test_lazy_measurements_are_written_block_by_block(solvers: Path, bare: Path) -> None:
    import dask.array as da

    lazy = measurement(da.ones((3, 4), chunks=(1, 4)) * 2)
    estimate = SolverProcess(target=f"{solvers}:total", python=bare)(lazy)
    assert float(estimate["total"]) == 24
    assert hasattr(lazy["counts"].data, "dask")


def test_every_form_of_a_returned_dict(solvers: Path, bare: Path) -> None:
    estimate = SolverProcess(target=f"{solvers}:every_form", python=bare)(measurement())
    assert int(estimate["number"]) == 3
    assert estimate["x"].dims == estimate["species"].dims == ("column",)
    assert estimate["species"].values.tolist() == ["M", "O", "Li"]
    assert estimate["raw"].values.tolist() == ["M", "O", "Li"]
    assert estimate["image"].dims == ("image_0", "image_1")
    assert estimate["map"].dims == ("row", "column")
    assert estimate["map"].attrs == {"units": "Å"}
    assert estimate["line"].dims == ("row",)


def test_a_big_estimate_comes_back_whole(solvers: Path, bare: Path, exchange: Path) -> None:
    estimate = SolverProcess(target=f"{solvers}:big", python=bare)(measurement())
    assert np.array_equal(estimate["volume"].values.ravel(), np.arange(4_000_000.0))
    assert not list(exchange.iterdir())


def test_a_solver_cannot_change_what_it_is_given(solvers: Path, bare: Path) -> None:
    # More than the size from which arrays are mapped.
    counts = np.ones((3, 400_000))
    data = xr.Dataset({"counts": (("scan_y", "scan_x"), counts)})
    SolverProcess(target=f"{solvers}:changes_its_input", python=bare)(data)
    assert data["counts"].values.all()


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        pytest.param("aborts", "crash", ["SIGABRT", "line"], marks=posix),
        pytest.param("segfaults", "crash", ["SIGSEGV", "segfaults"], marks=posix),
        ("exits", "crash", ["exit code 3"]),
        ("exits_quietly", "crash", ["exit code 0"]),
        pytest.param("crashes_at_exit", "crash", ["SIGABRT", "after it had"], marks=posix),
        pytest.param("prints_and_fails", "crash", ["the last words"], marks=posix),
        (
            "raises",
            "exception",
            ["ValueError: no peaks found", "in raises", "in deep", "outsider.py"],
        ),
        ("out_of_memory", "memory", ["memory"]),
        ("nothing", "invalid", ["returned None", "xarray.Dataset or a dict"]),
        ("a_number", "invalid", ["type float"]),
        ("unpicklable", "invalid", ["'helper'", "type function"]),
        ("ragged", "invalid", ["'x'", "no array"]),
        ("wrong_dims", "invalid", ["'x'", "(2, 2)"]),
        ("odd_lengths", "invalid", ["do not fit together", "column"]),
        ("odd_name", "invalid", ["named 1"]),
        ("no_such", "exception", ["has no 'no_such'", "known: "]),
        ("segfault", "exception", ["did you mean 'segfaults'"]),
        ("constant", "exception", ["type float", "cannot be called"]),
    ],
)
def test_a_failure_is_named_and_leaves_nothing(
    function: str, kind: str, words: list[str], solvers: Path, bare: Path, exchange: Path
) -> None:
    found = failure(SolverProcess(target=f"{solvers}:{function}", python=bare), exchange)
    assert found.kind is SolverFailureKind(kind)
    for word in [function, *words]:
        assert word in str(found)


def test_a_hanging_solver_is_stopped_with_all_it_started(
    solvers: Path, bare: Path, exchange: Path, pids: Path
) -> None:
    solver = SolverProcess(target=f"{solvers}:hangs", python=bare, time_limit=2)
    found = failure(solver, exchange)
    assert found.kind is SolverFailureKind.TIME
    assert "time limit of 2 s" in str(found)
    assert "still going" in str(found)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize("function", ["eats", "child_eats"])
def test_a_solver_that_eats_memory_is_stopped(
    function: str, solvers: Path, bare: Path, exchange: Path
) -> None:
    solver = SolverProcess(
        target=f"{solvers}:{function}", python=bare, memory_limit=3e8, time_limit=60
    )
    found = failure(solver, exchange)
    assert found.kind is SolverFailureKind.MEMORY
    assert "limit of 0.3 GB" in str(found)


def test_what_is_mapped_from_the_measurement_is_not_memory_used(
    solvers: Path, bare: Path, exchange: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("told apart on Linux only")
    data = xr.Dataset({"counts": (("scan_y", "scan_x"), np.ones((500, 100_000), dtype=np.float64))})
    solver = SolverProcess(target=f"{solvers}:total", python=bare, memory_limit=2e8)
    assert float(solver(data)["total"]) == 5e7


def test_output_goes_to_a_log_and_not_to_ours(
    solvers: Path, bare: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    estimate = SolverProcess(target=f"{solvers}:prints", python=bare)(measurement())
    assert float(estimate["total"]) == 66
    assert capfd.readouterr() == ("", "")


def test_a_log_that_grows_without_end_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver_log, "LARGEST", 50_000)
    log = SolverLog(tmp_path / "log")
    with log.path.open("ab") as writer:
        writer.write(b"a" * 60_000)
        writer.flush()
        log.shorten()
        assert log.path.stat().st_size < 10_000
        writer.write(b"the end")
    assert log.tail().endswith("a" * 100 + "the end")


def test_a_child_left_behind_by_a_good_solver_is_stopped(
    solvers: Path, bare: Path, pids: Path
) -> None:
    SolverProcess(target=f"{solvers}:leaves_a_child", python=bare)(measurement())
    assert gone(int(pids.read_text()))


@posix
def test_an_interrupt_stops_the_solver(
    solvers: Path, bare: Path, exchange: Path, pids: Path
) -> None:
    pids.unlink(missing_ok=True)

    def interrupt_when_started() -> None:
        while not pids.exists() or not pids.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_when_started)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        SolverProcess(target=f"{solvers}:hangs", python=bare, time_limit=60)(measurement())
    thread.join()
    assert not list(exchange.iterdir())
    assert not psutil.Process().children(recursive=True)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_an_environment_without_numpy_is_told(solvers: Path, tmp_path: Path) -> None:
    empty = make_environment(tmp_path / "empty", with_numpy=False)
    with pytest.raises(SolverFailure, match="it needs NumPy"):
        SolverProcess(target=f"{solvers}:total", python=empty)(measurement())


def test_modules_are_found_in_the_working_folder(
    solvers: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(solvers.parent)
    estimate = SolverProcess(target="outsider:total", python=bare)(measurement())
    assert float(estimate["total"]) == 66


def test_a_module_of_the_standard_library_is_not_hidden_by_ours(tmp_path: Path, bare: Path) -> None:
    # `report` stands for any of ours; the script's own folder must not be on the path.
    script = tmp_path / "looks.py"
    script.write_text(
        "import importlib.util\n"
        "def looks(measurement):\n"
        "    return {'total': float(importlib.util.find_spec('report') is not None)}\n",
        encoding="utf-8",
    )
    estimate = SolverProcess(target=f"{script}:looks", python=bare)(measurement())
    assert float(estimate["total"]) == 0


def test_a_target_can_be_checked_without_a_measurement(solvers: Path, bare: Path) -> None:
    assert SolverProcess(target=f"{solvers}:hangs", python=bare).check()
    for target, message in (
        (f"{solvers}:hang", "did you mean 'hangs'"),
        ("no_such_package.module:solve", "no module 'no_such_package'"),
        ("json.nothing:solve", "no module 'json.nothing'"),
        ("wd", "there is no solver 'wd'"),
    ):
        with pytest.raises(BadInputError, match=message):
            SolverProcess(target=target, python=bare).check()


def test_the_digest_of_a_target_follows_its_code(tmp_path: Path, bare: Path) -> None:
    script, neighbour = tmp_path / "digested.py", tmp_path / "neighbour.py"
    digests = []
    for code, beside in (("1", "1"), ("1", "1"), ("2", "1"), ("2", "2")):
        script.write_text(f"import neighbour\ndef solve(m): return {code}\n", encoding="utf-8")
        neighbour.write_text(f"value = {beside}\n", encoding="utf-8")
        digests.append(SolverProcess(target=f"{script}:solve", python=bare).check())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_broken_file_is_told_with_its_line(tmp_path: Path, bare: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import numpy\nnumpy.no_such_thing\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"AttributeError.*broken\.py line 2"):
        SolverProcess(target=f"{script}:solve", python=bare).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit": 0}, "time_limit = 0 s"),
        ({"time_limit": float("nan")}, "time_limit = nan s"),
        ({"memory_limit": -1}, "memory_limit = -1 bytes"),
        ({"python": Path("no/such/python")}, "no Python interpreter"),
        ({"target": "none.py:solve"}, "no file 'none.py'"),
        ({"target": "none.py"}, "none.py:function"),
    ],
)
def test_what_cannot_work_is_refused_when_made(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        SolverProcess(**{"target": "package:function", **options})  # type: ignore[arg-type]


def test_a_failure_survives_pickling() -> None:
    failed = SolverFailure("why", kind=SolverFailureKind.TIME, log="said")
    again = pickle.loads(pickle.dumps(failed))
    assert (str(again), again.kind, again.log) == ("why", SolverFailureKind.TIME, "said")


NUMBERS = st.sampled_from(["b1", "u1", "<u2", "<i4", ">f4", "<f8", "<c16"])


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=NUMBERS,
    attrs=st.dictionaries(st.text(), st.text() | st.booleans() | st.integers() | st.floats()),
    mapped=st.booleans(),
)
def test_variables_go_over_and_back_bit_by_bit(
    shape: list[int], dtype: str, attrs: dict[str, object], mapped: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    dims = ["abc"[axis] for axis in range(len(shape))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "there"
        write_exchange(folder, {"v": Variable(dims, values, attrs)}, coords=set(), attrs=attrs)
        variables, coords, back = read_exchange(folder, mapped=mapped)
    found = variables["v"]
    assert found.values.dtype == np.dtype(dtype)
    assert np.array_equal(found.values, values)
    assert list(found.dims) == dims
    assert repr(found.attrs) == repr(back) == repr(attrs)
    assert coords == set()
