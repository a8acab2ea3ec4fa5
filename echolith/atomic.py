"""Files that appear under their name only when they are whole and on the disk."""

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class GuardedFile:
    """A binary file that keeps its first error and lets its user go on as if nothing was.

    HDF5 crashes the process when it is closed after a failed write. Here it never sees the
    failure: later writes are dropped, and `check` raises what happened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: BaseException | None = None
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115  (closed by `close`)

    def check(self) -> None:
        """Raise the first error, with a message that says what to do."""
        if isinstance(self.error, OSError):
            reason = self.error.strerror or str(self.error)
            raise OSError(
                self.error.errno,
                f"{reason}: the file could not be written and nothing was left of it; free space "
                "or choose another folder",
                str(self.path.parent),
            )
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of the data."""
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:])
            except BaseException as error:
                self.error = error
        return len(view)

    def read(self, size: int) -> bytes:
        """Return `size` bytes (h5py asks for this method; it uses `readinto`)."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros beyond the end."""
        view = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view) and (count := self._file.readinto(view[done:])):
                done += count
        except BaseException as error:
            self.error = self.error or error
        view[done:] = bytes(len(view) - done)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the offset."""
        return self._file.tell()

    def truncate(self, size: int) -> int:
        """Set the size."""
        if self.error is None:
            try:
                return self._file.truncate(size)
            except BaseException as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def fileno(self) -> int:
        """Refuse, so that nothing is written past `write`."""
        raise io.UnsupportedOperation("this file is written through its methods")

    def close(self) -> None:
        """Close the file; an error is kept for `check`."""
        try:
            if self.error is None:
                os.fsync(self._file.fileno())
        except OSError as error:
            self.error = error
        finally:
            self._file.close()


@contextmanager
def whole_file(path: Path) -> Iterator[GuardedFile]:
    """Open a file that takes its name only if the block ends well.

    It is written under a temporary name in the same folder, flushed to the disk and renamed. After
    any exception the temporary file is removed, and what was at `path` before is untouched.

    Parameters
    ----------
    path : Path
        Final name.

    Yields
    ------
    GuardedFile
        Call its ``check`` after writing.

    Raises
    ------
    OSError
        If the file cannot be created or written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    guarded = GuardedFile(temporary)
    try:
        try:
            yield guarded
        finally:
            guarded.close()
        guarded.check()
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Make the new name last; systems without folder handles do so by themselves."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
