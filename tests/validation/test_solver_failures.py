"""Every way in which a solver fails: named, recorded, and nothing of it left behind."""

import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr

from echolith.validation.solver_failure import SolverFailure, SolverFailureKind
from echolith.validation.solver_log import TAIL
from echolith.validation.solver_process import SolverProcess
from tests.validation.solver_trials import OUTSIDER, gone, measurement

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def processes() -> set[psutil.Process]:
    """What this process began, and what that began; other tests' fork servers live on."""
    return set(psutil.Process().children(recursive=True))


def failure(solver: SolverProcess, exchange: Path, **attrs: object) -> SolverFailure:
    others = processes()
    with pytest.raises(SolverFailure) as caught:
        solver(measurement(**attrs))
    assert not list(exchange.iterdir()), "the temporary folder is left behind"
    assert processes() <= others, "a process is left behind"
    assert "\n" not in str(caught.value)
    return caught.value


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
    function: str, kind: str, words: list[str], bare: Path, exchange: Path
) -> None:
    found = failure(SolverProcess(target=f"{OUTSIDER}:{function}", python=bare), exchange)
    assert found.kind is SolverFailureKind(kind)
    for word in [function, *words]:
        assert word in str(found)


def test_a_hanging_solver_is_stopped_with_all_it_started(
    bare: Path, exchange: Path, tmp_path: Path
) -> None:
    solver = SolverProcess(target=f"{OUTSIDER}:hangs", python=bare, time_limit=5)
    found = failure(solver, exchange, pids=str(tmp_path / "pids"))
    assert found.kind is SolverFailureKind.TIME
    assert "time limit of 5 s" in str(found)
    assert "still going" in str(found)
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


@pytest.mark.parametrize("function", ["eats", "child_eats"])
def test_a_solver_that_eats_memory_is_stopped(function: str, bare: Path, exchange: Path) -> None:
    solver = SolverProcess(
        target=f"{OUTSIDER}:{function}", python=bare, memory_limit=3e8, time_limit=60
    )
    found = failure(solver, exchange)
    assert found.kind is SolverFailureKind.MEMORY
    assert "limit of 0.3 GB" in str(found)


def test_what_is_mapped_from_the_measurement_is_not_memory_used(bare: Path, exchange: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("told apart on Linux only")
    data = xr.Dataset({"counts": (("scan_y", "scan_x"), np.ones((500, 100_000), dtype=np.float64))})
    solver = SolverProcess(target=f"{OUTSIDER}:lingers", python=bare, memory_limit=2e8)
    assert float(solver(data)["total"]) == 5e7


def test_output_goes_to_a_log_and_not_to_ours(
    bare: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    estimate = SolverProcess(target=f"{OUTSIDER}:prints", python=bare)(measurement())
    assert float(estimate["total"]) == 66
    assert capfd.readouterr() == ("", "")


def test_only_the_end_of_a_long_output_is_kept(bare: Path, exchange: Path) -> None:
    found = failure(SolverProcess(target=f"{OUTSIDER}:prints_and_fails", python=bare), exchange)
    assert len(found.log) <= TAIL
    assert "the last words" in found.log
    assert "in prints_and_fails" in found.log


def test_a_child_left_behind_by_a_good_solver_is_stopped(bare: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    SolverProcess(target=f"{OUTSIDER}:leaves_a_child", python=bare)(measurement(pids=str(pids)))
    assert gone(int(pids.read_text()))


@posix
def test_an_interrupt_stops_the_solver(bare: Path, exchange: Path, tmp_path: Path) -> None:
    pids, others = tmp_path / "pids", processes()
    solver = SolverProcess(target=f"{OUTSIDER}:hangs", python=bare, time_limit=60)

    def interrupt_when_started() -> None:
        while not pids.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell that starts the tests in the background has interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt_when_started)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        solver(measurement(pids=str(pids)))
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert not list(exchange.iterdir())
    assert processes() <= others
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_failure_survives_pickling() -> None:
    failed = SolverFailure("why", kind=SolverFailureKind.TIME, log="said")
    again = pickle.loads(pickle.dumps(failed))
    assert (str(again), again.kind, again.log) == ("why", SolverFailureKind.TIME, "said")
