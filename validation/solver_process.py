"""Run anybody's solver in a process of its own, in any environment, within limits.

Its crash, hang, hunger for memory or nonsense is one `SolverFailure` here and harms nothing else.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from echolith.attributes import plain_attributes
from echolith.errors import BadInputError
from echolith.validation.process_tree import end_process, resident_memory
from echolith.validation.solver_exchange import (
    Variable,
    read_exchange,
    save_array,
    write_exchange,
)
from echolith.validation.solver_failure import SolverFailure, SolverFailureKind
from echolith.validation.solver_log import SolverLog

RUNNER = Path(__file__).resolve().with_name("solver_runner.py")
POLL = 0.05
"""Seconds between two looks at a running solver."""
GIGABYTE = 1e9
LONGEST = 2000
"""Characters of a solver's own message that are passed on."""


@dataclass(frozen=True, kw_only=True)
class SolverProcess:
    """A solver that runs in a fresh process for every measurement (`Solver` protocol).

    The measurement is handed over in a temporary folder, so that the other environment needs
    nothing but Python 3.9 and NumPy. With xarray there the solver gets an `xarray.Dataset`,
    without it an object with the same ``["counts"].values``, ``.dims``, ``.attrs``, ``.coords``.
    It returns a Dataset or a plain dict of name to number, array, ``(dims, array)`` or
    ``(dims, array, attrs)``; a bare array as long as ``x`` lies along ``column``.

    Attributes
    ----------
    target : str
        ``package.module:function``, ``path/to/file.py:function``, or the name of an entry point
        of the group ``echolith.solvers`` of that environment.
    python : Path
        The interpreter, or the folder of its environment; this interpreter by default. Another
        one does not get this one's ``PYTHONPATH``.
    time_limit : float
        Seconds for the whole process, its start included.
    memory_limit : float, optional
        Bytes of resident memory of the process and its children, looked at every 0.05 s. On Linux
        what is only mapped from files, as the measurement is, does not count.

    Raises
    ------
    BadInputError
        When made, if the interpreter or the file does not exist or a limit is not positive.

    Examples
    --------
    >>> solver = SolverProcess(target="echolith.inverse.projected_columns:recover_columns")
    >>> solver.time_limit
    600.0
    """

    target: str
    python: Path = Path(sys.executable)
    time_limit: float = 600.0
    memory_limit: float | None = None

    def __post_init__(self) -> None:
        for name, limit, unit in (
            ("time_limit", self.time_limit, "s"),
            ("memory_limit", self.memory_limit, "bytes"),
        ):
            if limit is not None and not limit > 0:
                raise BadInputError(f"{name} = {limit} {unit}; expected more than 0 {unit}")
        where = self.target.rpartition(":")[0]
        if where.endswith(".py") and not Path(where).expanduser().is_file():
            raise BadInputError(
                f"there is no file '{where}' for the solver '{self.target}'; "
                "expected path/to/file.py:function"
            )
        if self.target.endswith(".py"):
            raise BadInputError(
                f"solver '{self.target}' names a file; name its function too: "
                f"{self.target}:function"
            )
        interpreter(self.python)

    def __call__(self, measurement: xr.Dataset, /) -> xr.Dataset:
        """Run the solver on one measurement.

        Parameters
        ----------
        measurement : xarray.Dataset
            Lazy variables are written block by block.

        Returns
        -------
        xarray.Dataset
            In memory, as the solver returned it; see `check_estimate`.

        Raises
        ------
        SolverFailure
            If the solver raises, crashes, exceeds a limit or returns no estimate.
        BadInputError
            If the measurement holds what cannot be handed over.
        """
        with _temporary_folder() as folder:
            _write(measurement, folder / "measurement")
            self._run(folder)
            return self._read(folder)

    def check(self) -> str:
        """Load the solver in its environment without running it.

        Returns
        -------
        str
            A digest of the code that was loaded for it, so that results of an earlier version
            can be told from those of this one.

        Raises
        ------
        BadInputError
            If it cannot be loaded there.
        """
        with _temporary_folder() as folder:
            try:
                self._run(folder)
            except SolverFailure as failure:
                raise BadInputError(str(failure)) from failure
            return (folder / "digest.txt").read_text(encoding="utf-8")

    def _run(self, folder: Path) -> None:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(interpreter(self.python)), str(RUNNER), str(folder), self.target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        log = SolverLog(process.stdout)
        try:
            exceeded = self._wait(process, deadline=start + self.time_limit)
        finally:
            end_process(process)
            log.close()
        if exceeded is not None:
            kind, how = exceeded
            raise SolverFailure(
                f"the solver '{self.target}' {how} and was stopped{log.quoted()}",
                kind=kind,
                log=log.tail(),
            )
        answer = "estimate" if (folder / "measurement").exists() else "digest.txt"
        if process.returncode or not (folder / answer).exists():
            raise self._failure(process.returncode, folder, log)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.python != Path(sys.executable):
            for name in ("PYTHONPATH", "PYTHONHOME"):
                environment.pop(name, None)
        return environment

    def _wait(
        self, process: "subprocess.Popen[bytes]", *, deadline: float
    ) -> tuple[SolverFailureKind, str] | None:
        """Wait for the end of a process; say which limit it has exceeded, if any."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=POLL)
                return None
            if time.monotonic() > deadline:
                how = f"did not finish within its time limit of {self.time_limit:g} s"
                return SolverFailureKind.TIME, how
            used = 0 if self.memory_limit is None else resident_memory(process.pid)
            if self.memory_limit is not None and used > self.memory_limit:
                how = (
                    f"used {used / GIGABYTE:.3g} GB of memory, more than its limit of "
                    f"{self.memory_limit / GIGABYTE:.3g} GB,"
                )
                return SolverFailureKind.MEMORY, how

    def _failure(self, code: int, folder: Path, log: SolverLog) -> SolverFailure:
        """Say why a process ended without an estimate."""
        told = folder / "failure.json"
        if told.exists():
            return self._told(json.loads(told.read_text(encoding="utf-8")), log)
        after = " after it had returned its estimate" if (folder / "estimate").exists() else ""
        return SolverFailure(
            f"the solver '{self.target}' {_ending(code)}{after}{log.quoted()}",
            kind=SolverFailureKind.CRASH,
            log=log.tail(),
        )

    def _told(self, failure: dict[str, Any], log: SolverLog) -> SolverFailure:
        message, stage = " ".join(failure["message"].split())[:LONGEST], failure["stage"]
        raised = f"{failure['type']}: {message} {failure['frames']}".rstrip(": ")
        kind = SolverFailureKind.MEMORY if failure["memory"] else SolverFailureKind.EXCEPTION
        what = {
            "environment": f"cannot run with {self.python}: {message}; it needs NumPy",
            "load": f"cannot be loaded: {message}",
            "solve": f"raised {raised}",
            "return": message,
        }[stage]
        if stage == "return" and failure["type"] == "ReturnError":
            kind = SolverFailureKind.INVALID
        elif stage == "return":
            what = f"returned an estimate that cannot be written: {raised}"
        return SolverFailure(f"the solver '{self.target}' {what}", kind=kind, log=log.tail())

    def _read(self, folder: Path) -> xr.Dataset:
        variables, coords, attrs = read_exchange(folder / "estimate", mapped=False)
        contents = {name: (v.dims, v.values, v.attrs) for name, v in variables.items()}
        try:
            return xr.Dataset(
                {name: content for name, content in contents.items() if name not in coords},
                coords={name: contents[name] for name in coords},
                attrs=attrs,
            )
        except (ValueError, TypeError) as error:
            raise SolverFailure(
                f"the solver '{self.target}' returned variables that do not fit together: {error}",
                kind=SolverFailureKind.INVALID,
            ) from error


def _ending(code: int) -> str:
    """Say how a process ended, by its return code as `subprocess` has it."""
    if code >= 0:
        return f"ended its process with exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    described = f"{names.get(-code, -code)} ({signal.strsignal(-code)})"
    want = ", perhaps by the system for want of memory" if "SIGKILL" in described else ""
    return f"was killed by signal {described}{want}"


def interpreter(python: Path) -> Path:
    """Return the interpreter of an environment, given itself or its folder.

    Raises
    ------
    BadInputError
        If there is none.
    """
    python = python.expanduser()
    inside = ("bin/python", "Scripts/python.exe", "python.exe") if python.is_dir() else ("",)
    for name in inside:
        # Not resolved: the link of a virtual environment says which environment it is.
        found = Path(os.path.abspath(python / name))
        if found.is_file() and os.access(found, os.X_OK):
            return found
    raise BadInputError(
        f"there is no Python interpreter at '{python}'; expected the path of one or the folder of "
        "its environment"
    )


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="echolith-solver-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _write(measurement: xr.Dataset, folder: Path) -> None:
    variables = {
        str(name): Variable(
            tuple(map(str, variable.dims)),
            variable.data,
            plain_attributes(variable.attrs, f"variable {name!r}", ()),
        )
        for name, variable in measurement.variables.items()
    }
    write_exchange(
        folder,
        variables,
        coords={str(name) for name in measurement.coords},
        attrs=plain_attributes(measurement.attrs, "the measurement", ()),
        save=_save_blocks,
    )


def _save_blocks(path: Path, values: Any) -> None:
    """Write an array; a lazy one block by block."""
    if not hasattr(values, "dask") or not math.prod(values.shape):
        array = np.asarray(values)
        save_array(path, array.astype(str) if array.dtype.kind in "OT" else array)
        return
    import dask.array as da

    target = np.lib.format.open_memmap(path, mode="w+", dtype=values.dtype, shape=values.shape)
    da.store(values, target)
    target.flush()
