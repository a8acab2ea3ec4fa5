"""How a solver fails: a result to be recorded, not a fault of the run."""

from enum import Enum
from typing import Any


class SolverFailureKind(Enum):
    """What went wrong with a solver."""

    EXCEPTION = "exception"
    """It raised, or could not be loaded."""
    CRASH = "crash"
    """Its process ended by itself without an estimate: a signal, or an exit."""
    TIME = "time"
    """It did not finish within its time limit."""
    MEMORY = "memory"
    """It exceeded its memory limit, or ran out of memory."""
    INVALID = "invalid"
    """It returned something that is no estimate."""


class SolverFailure(Exception):
    """A solver failed on one measurement.

    Attributes
    ----------
    kind : SolverFailureKind
    log : str
        The end of what the solver printed, with its traceback where there is one.
    """

    def __init__(self, message: str, *, kind: SolverFailureKind, log: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.log = log

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (str(self), self.kind, self.log))


def _rebuild(message: str, kind: SolverFailureKind, log: str) -> SolverFailure:
    return SolverFailure(message, kind=kind, log=log)
