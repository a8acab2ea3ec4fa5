"""One specimen simulated once: for several solvers, and kept on disk between runs."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from echolith.dataset import load_dataset, save_dataset
from echolith.errors import BadInputError
from echolith.validation.scenario import Scenario

ENGINES = ("abtem", "ase", "numpy", "scipy")
SIMULATING = ("echolith.structures", "echolith.forward", "echolith.validation.scenarios")
"""Rooms of echolith whose code decides a mean."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A scenario that always returns the one specimen, its mean and its information.

    Attributes
    ----------
    scenario : Scenario
    mean : xarray.Dataset
        Expected counts, in memory.
    truth : xarray.Dataset
    """

    scenario: Scenario
    mean: xr.Dataset
    truth: xr.Dataset


def simulate_once(scenario: Scenario, *, seed: int, folder: Path | None = None) -> Simulated:
    """Build and simulate the specimen of a seed, once for all that follows.

    Parameters
    ----------
    scenario : Scenario
    seed : int
    folder : Path, optional
        Where means are kept; see `kept_mean`.

    Returns
    -------
    Simulated
    """
    specimen = scenario.build(seed)
    mean = kept_mean(scenario, specimen, seed=seed, folder=folder)
    fixed = replace(scenario, build=lambda _seed: specimen, forward=lambda _specimen: mean)
    if scenario.information is not None:
        information = cache(partial(scenario.information, specimen))
        fixed = replace(fixed, information=lambda _specimen: information())
    return Simulated(scenario=fixed, mean=mean, truth=scenario.truth(specimen))


def kept_mean(scenario: Scenario, specimen: Any, *, seed: int, folder: Path | None) -> xr.Dataset:
    """Return the mean of a specimen: from the folder where it is known, else simulated and kept.

    Only scenarios of the catalogue are kept: the name tells whose code makes them, so give a folder
    only for those that were made by name. A mean is known
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


def kept_counts(
    scenario: Scenario, specimen: Any, *, seed: int, noise_free: bool, folder: Path
) -> xr.Dataset:
    """Return a measurement that may be larger than memory: simulated into the folder, read lazily.

    It is known as a mean is, see `kept_mean`.

    Parameters
    ----------
    scenario : Scenario
    specimen
        As built from the seed.
    seed : int
    noise_free : bool
        Leave counting noise out.
    folder : Path
    """
    mean = scenario.forward(specimen)
    counts = mean if noise_free else scenario.noise.sample(mean, seed=seed)
    path = _path(scenario, seed, folder, "mean" if noise_free else "counts")
    if path is None:
        return counts.compute()
    with contextlib.suppress(BadInputError, OSError):  # not there, or damaged
        return load_dataset(path)
    for old in path.parent.glob(f"{path.name.split('.')[0]}.*"):
        old.unlink(missing_ok=True)
    save_dataset(counts, path)
    return load_dataset(path)


def _path(scenario: Scenario, seed: int, folder: Path, kind: str = "mean") -> Path | None:
    from echolith.validation.catalogue import entry  # imports every scenario there is

    try:
        make = entry(scenario.name).make
    except BadInputError:
        return None
    settings = scenario.settings.model_dump(mode="json")
    kinds = [] if kind == "mean" else [kind]
    what = json.dumps([scenario.name, settings, seed, *kinds], sort_keys=True)
    versions = json.dumps([version(name) for name in ENGINES])
    code = code_of([*SIMULATING, getattr(make, "__module__", "").split(".")[0]])
    return folder / f"{digest(what.encode())}.{digest(versions.encode(), *code)}.h5"


def code_of(packages: Iterable[str]) -> Iterable[bytes]:
    """Yield the text of every module of the packages; of echolith itself only those named."""
    for name in sorted({*packages} - {"echolith"}):
        module = sys.modules.get(name) or import_module(name)
        folders = list(getattr(module, "__path__", []))
        files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
        if not folders and getattr(module, "__file__", None) is not None:
            files = [Path(str(module.__file__))]
        for path in files:
            yield path.read_bytes()


def digest(*parts: bytes) -> str:
    """Return a short digest of texts, one after another."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(part)
    return found.hexdigest()
