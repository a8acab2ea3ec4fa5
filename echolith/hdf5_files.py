"""HDF5 files of others: open, or refused in one message."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from echolith.errors import BadInputError


def unreadable(path: Path, error: Exception) -> BadInputError:
    """Return what is told of a file that is damaged or of another kind."""
    return BadInputError(
        f"'{path}' cannot be read as HDF5 ({error}); it is damaged, cut short or something else"
    )


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file to read from it.

    Raises
    ------
    BadInputError
        If it cannot be opened, or something in it cannot be read.
    """
    try:
        with h5py.File(path, "r") as root:
            yield root
    except (OSError, RuntimeError, KeyError) as error:
        raise unreadable(path, error) from error
