"""A process and all that it started: how much memory they hold, and their end."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil

PATIENCE = 5.0
"""Seconds to wait for killed processes to be gone."""


def resident_memory(pid: int) -> int:
    """Return the bytes of memory of a process and its children.

    On Linux memory that is mapped from files or shared is left out: the system can take the former
    back, and the latter would count once for each process.
    """
    total = 0
    for member in _family(pid):
        with contextlib.suppress(psutil.Error):
            memory = member.memory_info()
            total += int(memory.rss) - int(getattr(memory, "shared", 0))
    return total


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a session leader and of all it started; return when they are gone.

    Parameters
    ----------
    process : subprocess.Popen
        Started with ``start_new_session=True``; may have ended by itself.
    """
    family = _family(process.pid) if process.poll() is None else []
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()
    until = time.monotonic() + PATIENCE
    while any(_alive(member) for member in family) and time.monotonic() < until:
        time.sleep(0.01)


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _alive(member: psutil.Process) -> bool:
    try:
        return bool(member.is_running() and member.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
