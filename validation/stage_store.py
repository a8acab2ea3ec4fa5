"""Stages or pieces of a solver kept on disk, so that a run broken off goes on where it was."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import xarray as xr

from echolith.contents import content_hash
from echolith.dataset import load_dataset, save_dataset
from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.staged_solver import PiecewiseSolver, StagedSolver
from echolith.protocols import Solver
from echolith.validation.mean_store import code_of

SOLVING = ("echolith.inverse", "echolith.forward")
"""Rooms of echolith whose code decides what a stage returns."""


def solve(
    solver: Solver,
    measurement: xr.Dataset,
    *,
    folder: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> xr.Dataset:
    """Call a solver; stages of a staged one and pieces are told as they begin, and kept.

    A stage is known by the contents of the measurement, its own settings and those of the stages
    before it, and the code of the solvers, a piece by its name and all settings of its solver: what
    is read back is what would be computed again. An outcome of other settings under the same name
    is replaced.

    Parameters
    ----------
    solver : Solver
    measurement : xarray.Dataset
    folder : Path, optional
        None keeps nothing.
    announce : callable

    Returns
    -------
    xarray.Dataset
        The estimate.
    """
    if isinstance(solver, PiecewiseSolver):
        return _in_pieces(solver, measurement, folder, announce)
    if not isinstance(solver, StagedSolver):
        return solver(measurement)
    data, digest = measurement, b"" if folder is None else _start(measurement)
    for position, stage in enumerate(solver.stages):
        announce(stage.name)
        if folder is None:
            data = stage.run(data)
            continue
        digest = _next(digest, stage.name, stage.settings)
        path = _path(folder, f"{position + 1}-{stage.name}", digest)
        data = _kept(partial(stage.run, data), path)
    return data


def _in_pieces(
    solver: PiecewiseSolver,
    measurement: xr.Dataset,
    folder: Path | None,
    announce: Callable[[str], None],
) -> xr.Dataset:
    digest = b"" if folder is None else _next(_start(measurement), "", solver.settings)

    def keep(name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        announce(name)
        return make() if folder is None else _kept(make, _path(folder, name, digest))

    return solver.run(measurement, keep)


def _path(folder: Path, name: str, digest: bytes) -> Path:
    return folder / f"{name.replace(' ', '-')}.{digest.hex()}.h5"


def _start(measurement: xr.Dataset) -> bytes:
    digest = hashlib.blake2b(content_hash(measurement).encode(), digest_size=8)
    for text in code_of(SOLVING):
        digest.update(text)
    return digest.digest()


def _next(before: bytes, name: str, settings: Iterable[Settings]) -> bytes:
    what = json.dumps([name, [part.model_dump(mode="json") for part in settings]], sort_keys=True)
    return hashlib.blake2b(before + what.encode(), digest_size=8).digest()


def _kept(make: Callable[[], xr.Dataset], path: Path) -> xr.Dataset:
    with contextlib.suppress(BadInputError, OSError):  # not there, or damaged
        return load_dataset(path).compute()
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{path.name.split('.')[0]}.*"):
        old.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a full disk costs time, not the run
        save_dataset(found, path)
    return found
