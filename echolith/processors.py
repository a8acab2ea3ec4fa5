"""How many threads to use."""

import os


def processors() -> int:
    """Return the processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # where a container or a user limits them
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(asked: int | None = None) -> int:
    """Return the threads asked for, else Dask's ``num_workers``, else all processors."""
    import dask

    return int(asked or dask.config.get("num_workers", None) or processors())
