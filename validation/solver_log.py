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
NOT_QUOTED = (
    "Current thread 0x",
    "Extension modules: ",
    str(Path(__file__).resolve().with_name("solver_")),
)
"""What Python adds to a crash besides the lines of the solver: threads, modules, our own files."""


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
        lines = [line.strip() for line in self.tail().splitlines()]
        told = [line for line in lines if line and not any(part in line for part in NOT_QUOTED)]
        text = " | ".join(told[-QUOTED_LINES:])
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
