"""Matrix products in one thread each: their bits depend on the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

_LOCK = Lock()
_INSIDE: list[Any] = []
"""One entry for each caller inside; the first holds what to restore. The limit belongs to the whole
process, so it lasts until the last caller leaves."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread while any caller, of any thread, is inside."""
    with _LOCK:
        _INSIDE.append(_INSIDE[0] if _INSIDE else _libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limits = _INSIDE.pop()
            if not _INSIDE:
                limits.restore_original_limits()


@lru_cache(maxsize=1)
def _libraries() -> Any:
    return ThreadpoolController()  # it looks through all loaded libraries, which takes milliseconds
