"""Find a solver by ``package.module:function``, ``file.py:function`` or entry point.

Needs Python 3.9, nothing else: `solver_runner` loads it in environments without echolith.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

GROUP = "echolith.solvers"
"""Entry points of this group are solvers known by name."""
FRAMES_SHOWN = 3


class TargetError(ValueError):
    """The solver named cannot be loaded."""


def load_target(target: str) -> Callable[[Any], Any]:
    """Load a solver by name.

    Parameters
    ----------
    target : str
        ``package.module:function``, ``path/to/file.py:function``, or the name of an entry point
        of the group ``echolith.solvers``. The working folder, and that of the file, are put at
        the end of the import path.

    Returns
    -------
    callable

    Raises
    ------
    TargetError
        If it cannot be found, imported or called.
    """
    target = _entry_points(target) if ":" not in target else target
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise TargetError(f"'{target}' is not of the form package.module:function")
    _importable_from(os.getcwd())
    try:
        found: Any = _load_file(Path(where)) if where.endswith(".py") else _module(where)
    except TargetError:
        raise
    except (Exception, SystemExit) as error:
        raise TargetError(
            f"importing '{where}' failed: {type(error).__name__}: {error} {frames(error)}".rstrip()
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"'{where}' has no '{part}'; {_near(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise TargetError(
            f"'{target}' is of type {type(found).__name__} and cannot be called; expected "
            "a function of one measurement"
        )
    return found  # type: ignore[no-any-return]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise TargetError(
                f"there is no module '{missing}' in the environment of {sys.executable} nor in "
                "the working folder"
            ) from error
        raise


def _load_file(path: Path) -> Any:
    import importlib.util

    path = path.expanduser().resolve()
    if not path.is_file():
        raise TargetError(f"there is no file '{path.name}' in {path.parent}")
    _importable_from(str(path.parent))
    known = sys.modules.get(path.stem)
    same = known is None or getattr(known, "__file__", None) == str(path)
    name = path.stem if same else f"echolith_solver_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its functions can be handed to worker processes
    try:
        # Not through the loader, whose cache may be a second behind the file.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _importable_from(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)


def entry_points(group: str) -> dict[str, Any]:
    """Return the entry points of a group by name; a name taken twice belongs to the first."""
    import importlib.metadata

    found: Any = importlib.metadata.entry_points()
    chosen = found.select(group=group) if hasattr(found, "select") else found.get(group, [])
    named: dict[str, Any] = {}
    for point in chosen:
        named.setdefault(point.name, point)
    return named


def _entry_points(name: str) -> str:
    known = entry_points(GROUP)
    if name not in known:
        raise TargetError(
            f"there is no solver '{name}'; {_near(name, known)}; name one of the entry points "
            f"'{GROUP}' of the environment, package.module:function, or file.py:function"
        )
    return str(known[name].value).partition("[")[0].strip()


def _near(name: str, known: Any) -> str:
    import difflib

    names = sorted(entry for entry in known if not entry.startswith("_"))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + (", ".join(names[:12]) or "none")


def code_digest(known: set[str]) -> str:
    """Return a digest of the source of every module in memory that was not known before."""
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(set(sys.modules) - known):
        file = getattr(sys.modules[name], "__file__", None)
        if file and file.endswith(".py") and os.path.isfile(file):
            digest.update(f"{name}\0".encode())
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def frames(error: BaseException) -> str:
    """Say where an error came from: the innermost frames outside these files and the importer."""
    here = os.path.dirname(os.path.realpath(__file__))
    told = [
        f"{Path(frame.filename).name} line {frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.dirname(os.path.realpath(frame.filename)) != here
        and not frame.filename.startswith("<frozen")
    ]
    return f"({' > '.join(told[-FRAMES_SHOWN:])})" if told else ""
