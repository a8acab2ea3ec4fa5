"""Cases that do not depend on each other, on Dask: threads, or the workers of a scheduler.

Every case is computed in one thread, so that its bits do not depend on where and beside what.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

import dask

from echolith.errors import BadInputError
from echolith.processors import threads

T = TypeVar("T")
ONE_THREAD = {"scheduler": "synchronous", "num_workers": 1}
_ALONE = Lock()
_CLIENT: ContextVar[Any] = ContextVar("client", default=None)


def as_finished(function: Callable[[int], T], seeds: Iterable[int]) -> Iterator[tuple[int, T]]:
    """Yield each seed and what a function returns for it, in the order in which they end.

    They run on a scheduler (see `scheduler_at`) or the current client of ``dask.distributed`` where
    there is one, else in threads, as many as Dask's ``num_workers``.

    Parameters
    ----------
    function : callable
        For workers of a scheduler it has to be picklable.
    seeds : iterable of int
    """
    with _executor() as submit:
        futures = {submit(function, seed): seed for seed in seeds}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _executor() -> Iterator[Callable[..., Any]]:
    client = _client()
    pool: Executor
    if client is not None:
        with client.get_executor(pure=False) as pool:
            yield lambda function, seed: pool.submit(_alone, function, seed)
        return
    with ThreadPoolExecutor(threads()) as pool, dask.config.set(ONE_THREAD):
        yield pool.submit


def _client() -> Any:
    """Return the client chosen, else Dask's; there is none where nobody imported its package."""
    chosen, distributed = _CLIENT.get(), sys.modules.get("distributed")
    if chosen is not None:
        return chosen
    try:
        return None if distributed is None else distributed.default_client()
    except ValueError:
        return None


def _alone(function: Callable[[int], T], seed: int) -> T:
    """Compute in one thread; Dask's settings are those of a whole process, so one at a time."""
    with _ALONE, dask.config.set(ONE_THREAD):
        return function(seed)


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
        If nothing answers there.
    """
    if address is None:
        yield
        return
    from distributed import Client

    try:
        # Not the default of Dask: what is computed beside the cases stays here.
        client = Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(
            f"no Dask scheduler answers at '{address}' ({error}); expected an address such as "
            "tcp://127.0.0.1:8786, as 'dask scheduler' prints it"
        ) from None
    token = _CLIENT.set(client)
    try:
        yield
    finally:
        _CLIENT.reset(token)
        client.close()  # type: ignore[no-untyped-call]
