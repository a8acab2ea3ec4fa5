"""Cases that do not depend on each other, on Dask: threads, processes, or a scheduler's workers.

Every case is computed in one thread, so that its bits do not depend on where and beside what.
"""

import logging
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from enum import StrEnum
from threading import Lock
from typing import Any, TypeVar

import dask

from echolith.errors import BadInputError, near_match
from echolith.processors import threads

T = TypeVar("T")
C = TypeVar("C")
TRIES = 5
"""Workers of our own that may be lost over one case before it is given up."""
ANSWER_S = 5.0
"""Seconds in which a scheduler has to answer."""
WORKERS_S = 30.0
"""Seconds in which it has to have a worker."""
OWN_TRIMMING = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
"""Not set: its 64 kB make the C library fetch every array beyond 128 kB from the system anew, which
took a fifth of the time of small simulations."""


class Workers(StrEnum):
    """Where cases are computed, if not by a scheduler that runs already."""

    THREADS = "threads"
    PROCESSES = "processes"


_CLIENT: ContextVar[Any] = ContextVar("client")
"""The client chosen; None: threads."""


class _OneThread:
    """One thread a case. Dask's settings are those of a process: the last case out resets them."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._settings = dask.config.set(scheduler="synchronous", num_workers=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._settings.__exit__(None, None, None)


ONE_THREAD = _OneThread()


def as_finished(
    function: Callable[[C], T],
    cases: Iterable[C],
    *,
    lost: Callable[[C], T] | None = None,
) -> Iterator[tuple[C, T]]:
    """Yield each case and what a function returns for it, in the order in which they end.

    They run where `workers_at` or `scheduler_at` says, or on the current client of
    ``dask.distributed`` where there is one, else in threads, as many as Dask's ``num_workers``.

    Parameters
    ----------
    function : callable
        For workers in other processes it has to be picklable.
    cases : iterable
    lost : callable, optional
        ``lost(case)`` stands for what `function` returns where one worker after another ended over
        a case; by default that is an error.

    Raises
    ------
    BadInputError
        If a worker lacks what the function needs, the scheduler is lost, or one worker after
        another over a case.
    """
    with _executor(function) as submit:
        futures = {submit(_alone, function, case): case for case in cases}
        waiting = as_completed(list(futures))
        try:
            for future in waiting:
                case = futures.pop(future)
                yield case, _outcome(future.result, case, lost)
        finally:
            for future in futures:
                future.cancel()


def _outcome(result: Callable[[], T], case: C, lost: Callable[[C], T] | None) -> T:
    try:
        return result()
    except CancelledError:
        raise BadInputError(
            "the Dask scheduler was lost; what it made is kept: start it and its workers, and give "
            "the same command again"
        ) from None
    except Exception as error:
        if not isinstance(error, getattr(sys.modules.get("distributed"), "KilledWorker", ())):
            raise
        if lost is None:
            raise BadInputError(
                f"one worker after another was lost over {case}; the machine may lack memory"
            ) from error
        return lost(case)


def _alone(function: Callable[[C], T], case: C) -> T:
    with ONE_THREAD:
        return function(case)


@contextmanager
def _executor(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    client = _client()
    if client is not None:
        _check_workers(client, function)
    pool: Executor = (
        ThreadPoolExecutor(threads()) if client is None else client.get_executor(pure=False)
    )
    with pool:
        yield pool.submit


def _check_workers(client: Any, function: Callable[..., Any]) -> None:
    """Refuse workers that cannot load a function: they would end over it, one after another."""
    import cloudpickle  # type: ignore[import-untyped]

    found = client.run(_loaded, cloudpickle.dumps(function), on_error="return")
    for worker, error in found.items():
        if isinstance(error, ImportError | AttributeError):
            raise BadInputError(
                f"the worker {worker} cannot run this ({error}); start it in an environment with "
                "the same packages, and where it finds modules of your own"
            )


def _loaded(function: bytes) -> None:
    pickle.loads(function)


def _client() -> Any:
    """Return the client chosen, else Dask's; there is none where nobody imported its package."""
    with suppress(LookupError):
        return _CLIENT.get()
    distributed = sys.modules.get("distributed")
    try:
        return None if distributed is None else distributed.default_client()
    except ValueError:
        return None


@contextmanager
def _chosen(client: Any) -> Iterator[None]:
    token = _CLIENT.set(client)
    try:
        yield
    finally:
        _CLIENT.reset(token)


@contextmanager
def workers_at(where: str, count: int) -> Iterator[None]:
    """Run cases in threads, processes, or on the workers of a scheduler.

    Parameters
    ----------
    where : str
        One of `Workers`, or the address of a scheduler (see `scheduler_at`).
    count : int
        Threads or processes.

    Raises
    ------
    BadInputError
        If it is none of these, or nothing answers there.
    """
    if "://" in where:
        chosen = scheduler_at(where)
    elif where == Workers.PROCESSES:
        chosen = _processes(count)
    elif where == Workers.THREADS:
        chosen = _threads(count)
    else:
        hint = near_match(where, list(Workers))
        raise BadInputError(f"unknown scheduler '{where}'; {hint}, or tcp://host:port")
    with chosen:
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    with _chosen(None), dask.config.set(num_workers=count):
        yield


@contextmanager
def local_cluster(count: int) -> Iterator[Any]:
    """Begin a cluster of processes on this machine, each with one thread."""
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES, OWN_TRIMMING: None}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _processes(count: int) -> Iterator[None]:
    from distributed import Client

    with (
        local_cluster(count) as cluster,
        closing(Client(cluster, set_as_default=False)) as client,  # type: ignore[no-untyped-call]
        _chosen(client),
    ):
        yield


@contextmanager
def scheduler_at(address: str | None) -> Iterator[None]:
    """Run cases on the workers of a scheduler; None: in threads.

    Parameters
    ----------
    address : str, optional
        E.g. ``tcp://10.0.0.5:8786``. The workers need this package in the same version.

    Raises
    ------
    BadInputError
        If nothing answers there, or it has no workers.
    """
    if address is None:
        yield
        return
    from distributed import Client

    try:
        # Not the default of Dask: what is computed beside the cases stays here.
        client = Client(address, timeout=ANSWER_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(
            f"no Dask scheduler answers at '{address}' ({error}); expected an address such as "
            "tcp://127.0.0.1:8786, as 'dask scheduler' prints it"
        ) from None
    with closing(client), _chosen(client):
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            raise BadInputError(
                f"the Dask scheduler at '{address}' has no workers; start some with "
                f"'dask worker {address}'"
            ) from None
        yield
