"""What a solver prints, kept apart from our own output and never larger than a limit."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1 << 24
"""Bytes from which a running solver's log is cut to its end."""
TAIL = 8000
"""Bytes of the end that are kept."""
QUOTED_LINES = 6
QUOTED = 600
"""Lines and characters of the end that go into a message."""


@dataclass(frozen=True, kw_only=False)
class SolverLog:
    """The file that a solver's output goes to, opened for appending."""

    path: Path

    def tail(self) -> str:
        """Return the end of the output."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - TAIL))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def quoted(self) -> str:
        """Return the last lines as they go into a message of one paragraph."""
        lines = [line.strip() for line in self.tail().splitlines() if line.strip()]
        text = " | ".join(lines[-QUOTED_LINES:])
        if not text:
            return "; it printed nothing"
        return f"; its last output: {text if len(text) <= QUOTED else '…' + text[-QUOTED:]}"

    def shorten(self) -> None:
        """Cut a log that grows without end; the writer goes on at the new end."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size > LARGEST:
                kept = self.tail()
                os.truncate(self.path, 0)
                with self.path.open("ab") as file:
                    file.write(kept.encode())
