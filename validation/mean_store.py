"""Simulated means kept on disk between runs, for as long as nothing that decides them changes."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from echolith.dataset import load_dataset, save_dataset
from echolith.errors import BadInputError
from echolith.validation.catalogue import entry
from echolith.validation.scenario import Scenario

ENGINES = ("abtem", "ase", "numpy", "scipy")
SIMULATING = ("echolith.structures", "echolith.forward", "echolith.validation.scenarios")
"""Rooms of echolith whose code decides a mean."""


def kept_mean(scenario: Scenario, specimen: Any, *, seed: int, folder: Path | None) -> xr.Dataset:
    """Return the mean of a specimen: from the folder where it is known, else simulated and kept.

    Only scenarios of the catalogue are kept: the name tells whose code makes them. A mean is known
    by its scenario, resolved settings, seed, versions, and the code that made it; one of other code
    for the same settings is deleted.

    Parameters
    ----------
    scenario : Scenario
    specimen
        As built from the seed.
    seed : int
    folder : Path, optional
        None keeps nothing.

    Returns
    -------
    xarray.Dataset
        In memory.
    """
    path = None if folder is None else _path(scenario, seed, folder)
    if path is None:
        return scenario.forward(specimen).compute()
    with contextlib.suppress(BadInputError, OSError):  # not there, or damaged
        return load_dataset(path).compute()
    mean = scenario.forward(specimen).compute()
    for old in path.parent.glob(f"{path.name.split('.')[0]}.*"):
        old.unlink(missing_ok=True)
    with contextlib.suppress(BadInputError, OSError):  # a full disk costs time, not the run
        save_dataset(mean, path)
    return mean


def _path(scenario: Scenario, seed: int, folder: Path) -> Path | None:
    try:
        make = entry(scenario.name).make
    except BadInputError:
        return None
    settings = scenario.settings.model_dump(mode="json")
    what = json.dumps([scenario.name, settings, seed], sort_keys=True)
    versions = json.dumps([version(name) for name in ENGINES])
    code = _code([*SIMULATING, getattr(make, "__module__", "").split(".")[0]])
    return folder / f"{_digest(what.encode())}.{_digest(versions.encode(), *code)}.h5"


def _code(packages: Iterable[str]) -> Iterable[bytes]:
    """Yield the text of every module of the packages; of echolith itself only those named."""
    for name in sorted({*packages} - {"echolith"}):
        module = sys.modules.get(name)
        folders = list(getattr(module, "__path__", []))
        files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
        if not folders and module is not None and module.__file__ is not None:
            files = [Path(module.__file__)]
        for path in files:
            yield path.read_bytes()


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
