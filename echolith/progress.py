"""Progress of long computations for people: a bar on a terminal, plain lines elsewhere.

The library itself prints nothing; the command line wraps its calls in `show_progress`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TextIO

LINE_EVERY = 10.0
"""Seconds between plain lines."""


def remaining(done: int, total: int, elapsed: float) -> float | None:
    """Estimate the seconds left from the mean rate so far; None before anything is done.

    Examples
    --------
    >>> remaining(25, 100, 10.0)
    30.0
    """
    return elapsed * (total - done) / done if done else None


def plain_line(name: str, done: int, total: int, elapsed: float) -> str:
    """Return one line for output that is not a terminal.

    Examples
    --------
    >>> plain_line("simulate", 25, 100, 10.0)
    'simulate: 25 of 100, 10 s, about 30 s left'
    """
    left = remaining(done, total, elapsed)
    tail = f", about {left:.0f} s left" if left is not None and done < total else ""
    return f"{name}: {done} of {total}, {elapsed:.0f} s{tail}"


class Progress:
    """Counts finished tasks of one stage after another and shows them on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = ""
        self._lock = Lock()
        self._bar: Any = None
        self._task: Any = None
        self._start = self._last = time.monotonic()

    def open(self) -> None:
        """Start the bar where the stream is a terminal."""
        if not self._stream.isatty():
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._bar.start()

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()

    def announce(self, name: str) -> None:
        """Begin a stage."""
        self._name = name
        self._start = self._last = time.monotonic()
        if self._bar is None:
            print(f"{name} ...", file=self._stream, flush=True)
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=None)

    def update(self, done: int, total: int) -> None:
        """Show how much of the stage is done."""
        with self._lock:
            now = time.monotonic()
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=total)
            elif now - self._last >= LINE_EVERY:
                self._last = now
                line = plain_line(self._name, done, total, now - self._start)
                print(line, file=self._stream, flush=True)


@contextmanager
def show_progress(stream: TextIO) -> Iterator[Progress]:
    """Show the stages announced inside, and the tasks of every Dask computation."""
    from dask.callbacks import Callback

    progress = Progress(stream)
    total = done = 0

    def begin(_graph: Any, state: Any) -> None:
        nonlocal total, done
        done, total = 0, sum(len(state[kind]) for kind in ("ready", "waiting", "running"))

    def finished(*_: Any) -> None:
        nonlocal done
        done += 1
        progress.update(done, total)

    progress.open()
    try:
        with Callback(start_state=begin, posttask=finished):
            yield progress
    finally:
        progress.close()
