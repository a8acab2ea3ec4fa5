"""Long computations of the planner, each in a process of its own: watched, superseded, ended.

A process can be ended at any moment, and what it held in memory goes with it; a thread cannot.
"""

import multiprocessing
import signal
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any

from echolith.errors import BadInputError, BadInputWarning

Tell = Callable[[str, int, int], None]
"""Told the name of a stage, how much of it is done, and of how much (0: not known)."""

RUNNING = 4
"""Processes at once; one more ends the oldest."""
KEPT = 12
"""Finished jobs whose results can still be asked for."""
PRELOADED = ["echolith.validation.planner_work"]


class State(Enum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    """Its input was bad."""
    FAILED = "failed"
    ENDED = "ended"
    """Superseded, or stopped by the user."""


@dataclass(kw_only=True)
class Job:
    """A computation and how far it is.

    Attributes
    ----------
    name : str
        To ask for it by.
    wants : object
        What was asked of it, to tell whether another request wants the same.
    state : State
    progress : tuple
        Stage, done, total.
    result : object
        Once done.
    message : str
        What went wrong.
    notes : list of str
        Warnings.
    """

    name: str
    wants: Any
    state: State = State.RUNNING
    progress: tuple[str, int, int] = ("start", 0, 0)
    result: Any = None
    message: str = ""
    notes: list[str] = field(default_factory=list)
    process: Any = field(default=None, repr=False)

    def end(self) -> None:
        """Stop it if it still runs."""
        if self.state is State.RUNNING:
            self.state = State.ENDED
            if self.process is not None:
                self.process.terminate()


class Jobs:
    """Starts, finds and ends jobs; of one page and kind there is one at a time."""

    def __init__(self) -> None:
        # A server process with the packages loaded: a job starts in milliseconds, without threads
        # of ours inside.
        ways = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context(
            "forkserver" if "forkserver" in ways else "spawn"
        )
        if "forkserver" in ways:
            self._context.set_forkserver_preload(PRELOADED)
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._started = 0

    def start(
        self,
        key: str,
        work: Callable[..., Any],
        *arguments: Any,
        wants: Any = None,
        told: Callable[[Any], None] = lambda _result: None,
    ) -> Job:
        """Start ``work(tell, *arguments)`` in place of what runs under the same key.

        Parameters
        ----------
        key : str
            Page and kind.
        work : callable
            A function of a module.
        *arguments
            That can be pickled.
        wants : object
            Kept in the job.
        told : callable
            Given the result before anyone can see that the job is done.
        """
        with self._lock:
            self._started += 1
            job = Job(name=f"{key}-{self._started}", wants=wants)
            for other in [j for name, j in self._jobs.items() if name.rsplit("-", 1)[0] == key]:
                other.end()
            running = [j for j in self._jobs.values() if j.state is State.RUNNING]
            for other in running[: max(0, len(running) - RUNNING + 1)]:
                other.end()
            self._jobs[job.name] = job
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)[1].end()
        # The first start waits until the packages are loaded; a request must not.
        threading.Thread(
            target=_watch, args=(self._context, job, work, arguments, told), daemon=True
        ).start()
        return job

    def current(self, key: str) -> Job | None:
        """Return the last job of a page and kind."""
        with self._lock:
            found = [j for name, j in self._jobs.items() if name.rsplit("-", 1)[0] == key]
        return found[-1] if found else None

    def get(self, name: str) -> Job | None:
        """Return a job by its name, None where there is none (any more)."""
        with self._lock:
            return self._jobs.get(name)

    def close(self, page: str = "") -> None:
        """End every job, or those of a page."""
        with self._lock:
            jobs = [job for name, job in self._jobs.items() if name.startswith(page)]
        for job in jobs:
            job.end()


def _watch(
    context: Any,
    job: Job,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    told: Callable[[Any], None],
) -> None:
    """Start the process of a job and take in what it says until it ends."""
    connection, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    job.process = process
    if job.state is not State.RUNNING:
        process.terminate()
    with connection:
        while True:
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                break
            if kind == "progress":
                job.progress = content
            elif kind == "note":
                job.notes.append(content)
            elif job.state is State.RUNNING:
                if kind == "done":
                    told(content)
                    job.result = content
                else:
                    job.message = content
                job.state = State(kind)
    process.join()
    if job.state is State.RUNNING:
        job.message = (
            f"the process ended with code {process.exitcode}; it may have run out of memory"
        )
        job.state = State.FAILED


def _run(connection: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Do the work in a process of its own; Ctrl-C is its parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(stage: str, done: int = 0, total: int = 0) -> None:
        connection.send(("progress", (stage, done, total)))

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", BadInputWarning)
        try:
            answer = ("done", work(tell, *arguments))
        except BadInputError as error:
            answer = ("refused", str(error))
        except Exception as error:  # whatever it is, it is told in the page
            answer = ("failed", f"{type(error).__name__}: {error}")
    for text in dict.fromkeys(str(warning.message) for warning in found):
        connection.send(("note", text))
    connection.send(answer)
    connection.close()
