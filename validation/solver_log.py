"""What a solver prints: read as it comes, kept apart from our own output, and only its end."""

import os
import threading
from pathlib import Path
from typing import IO

TAIL = 8000
"""Bytes of the end that are kept."""
PATIENCE = 2.0
"""Seconds to wait for the end of the output once the solver's processes are gone."""
QUOTED_LINES = 6
QUOTED = 600
"""Lines and characters of the end that go into a message."""
NOT_QUOTED = (
    "Current thread 0x",
    "Extension modules: ",
    str(Path(__file__).resolve().with_name("solver_")),
)
"""What Python adds to a crash besides the lines of the solver: threads, modules, our own files."""


class SolverLog:
    """The end of an output, read in a thread until its last writer closes it."""

    def __init__(self, output: IO[bytes]) -> None:
        self._end = b""
        self._output = output
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while piece := os.read(self._output.fileno(), 1 << 16):
            self._end = (self._end + piece)[-TAIL:]

    def close(self) -> None:
        """Read what is left; call when the writers are gone."""
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._output.close()

    def tail(self) -> str:
        """Return the end of the output."""
        return self._end.decode(errors="replace")

    def quoted(self) -> str:
        """Return the last lines as they go into a message of one paragraph."""
        lines = [line.strip() for line in self.tail().splitlines()]
        told = [line for line in lines if line and not any(part in line for part in NOT_QUOTED)]
        text = " | ".join(told[-QUOTED_LINES:])
        if not text:
            return "; it printed nothing"
        return f"; its last output: {text if len(text) <= QUOTED else '…' + text[-QUOTED:]}"
