"""Run one solver on one measurement, in whatever environment this script is started.

    python solver_runner.py FOLDER TARGET

It needs Python 3.9 and NumPy, nothing else; `echolith.validation.solver_process` starts it.
``FOLDER/measurement`` is read, the target called, its estimate written to ``FOLDER/estimate``.
Without a measurement the target is only loaded, and a digest of its code left in ``digest.txt``.
What goes wrong is left in ``failure.json``.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__":
    # Python puts the folder of a script first, where other files of ours would hide modules of
    # the same name; so all other imports are below.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != HERE]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def _sibling(name: str) -> Any:
    """Load a file beside this one; there may be no echolith to import it from."""
    import importlib.util

    full = f"echolith_{name}"
    spec = importlib.util.spec_from_file_location(full, os.path.join(HERE, f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


def run(folder: Path, target: str) -> None:
    """Load the target, call it, write what it returns; leave failures in ``failure.json``."""
    import json
    import traceback

    targets = _sibling("solver_target")
    stage = "environment"
    try:
        import numpy  # noqa: F401

        exchange = _sibling("solver_exchange")
        stage = "load"
        known = set(sys.modules)
        solver = targets.load_target(target)
        if not (folder / "measurement").exists():
            (folder / "digest.txt").write_text(targets.code_digest(known))
            return
        measurement = exchange.as_measurement(folder / "measurement")
        stage = "solve"
        estimate = solver(measurement)
        stage = "return"
        exchange.write_estimate(estimate, folder / "estimate")
    except Exception as error:
        traceback.print_exc()
        failure = {
            "stage": stage,
            "type": type(error).__name__,
            "message": str(error),
            "frames": targets.frames(error),
            "memory": isinstance(error, MemoryError),
        }
        (folder / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
        sys.exit(1)


def _die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is gone."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    """Run what the command line says."""
    import contextlib
    import faulthandler
    from pathlib import Path

    faulthandler.enable()
    with contextlib.suppress(Exception):
        _die_with_parent()
    run(Path(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    main()
