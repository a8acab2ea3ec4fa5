"""How every subject is measured: best of several runs, the floor in turn with ours, real memory.

Times depend on what else the machine does, so ours and the floor are run in turn and the best of
each is taken: the ratio holds where the seconds do not. Memory is what the kernel counted as the
most this process ever held, beyond what it held before. Every measurement has a process of its own,
so that nothing before it is counted.
"""

import ctypes
import gc
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
Work = Callable[[], object]

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to `CLEAR` it makes the peak of a Linux process what it holds now (proc(5))."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Another number of a subject, and what it should at most (or at least) be."""

    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one size of a subject took.

    ``floor_s`` is the time of a part of the work that cannot be left out, done as plainly and as
    fast as the libraries allow; ``peak_memory_bytes`` is beyond the input.
    """

    ours_s: float
    floor_s: float
    peak_memory_bytes: int
    size: Mapping[str, list[int]]
    peers_s: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def ratio_to_floor(self) -> float:
        """Our time in units of the floor's."""
        return self.ours_s / self.floor_s

    def as_json(self) -> dict[str, Any]:
        """Return the promised object; ``figures`` only where there are some."""
        content: dict[str, Any] = {
            "ours_s": self.ours_s,
            "floor_s": self.floor_s,
            "peers_s": dict(self.peers_s),
            "ratio_to_floor": self.ratio_to_floor,
            "peak_memory_bytes": self.peak_memory_bytes,
            "size": dict(self.size),
        }
        if self.figures:
            content["figures"] = {
                name: {"value": figure.value, "unit": figure.unit}
                | ({} if figure.met is None else {"target_met": figure.met})
                for name, figure in self.figures.items()
            }
        return content


def seconds(work: Work) -> float:
    """Time one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best_in_turn(
    works: Mapping[str, Work], *, repeats: int, uncounted: int = 1
) -> dict[str, float]:
    """Run several works in turn and return the best time of each.

    Parameters
    ----------
    works : mapping
        What to run, by name.
    repeats : int
        Rounds.
    uncounted : int
        Rounds before them that are not counted.
    """
    best = dict.fromkeys(works, float("inf"))
    for turn in range(uncounted + repeats):
        for name, work in works.items():
            gc.collect()
            taken = seconds(work)
            if turn >= uncounted:
                best[name] = min(best[name], taken)
    return best


def peak_beyond(work: Callable[[], Value]) -> tuple[Value, int]:
    """Run a work once; return its value and the bytes by which the process grew at the most."""
    _give_back()
    with suppress(OSError):
        CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS") or _peak()
    value = work()
    return value, max(0, (_status("VmHWM") or _peak()) - before)


def _give_back() -> None:
    """Return memory that is free but kept, so that it is not taken for in use (glibc only)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(entry: str) -> int | None:
    """Return a size that the Linux kernel states of this process, in bytes."""
    with suppress(OSError):
        found = re.search(rf"{entry}:\s+(\d+) kB", STATUS.read_text())
        return int(found[1]) * 1024 if found else None
    return None


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def in_own_process(function: Callable[..., Value], **arguments: Any) -> Value:
    """Call a function of a module in a fresh process and return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, **arguments).result()
