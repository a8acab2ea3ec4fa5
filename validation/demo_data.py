"""Demo sets, made from their seed on first use and kept in the user's cache.

Each has a folder of its own with the files of `echolith.validation.export` and a record, written
last, of what they were made from and of their hashes. What does not fit its record is made anew.
Every file appears under its name only when it is whole, and all makers write the same contents, so
that several may work at once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from echolith.cache import VARIABLE, cache_folder
from echolith.dataset import content_hash, load, load_truth
from echolith.errors import BadInputError, near_match
from echolith.validation.catalogue import scenario
from echolith.validation.demo_sets import DEMO_SETS, DemoSet
from echolith.validation.export import export_case
from echolith.validation.generation_files import write_json
from echolith.validation.mean_store import ENGINES, SIMULATING, code_of, digest
from echolith.validation.run import quantities
from echolith.validation.scenario import Scenario
from echolith.validation.settings import merge

MEASUREMENT, TRUTH, RECORD = "measurement.h5", "truth.h5", "demo.json"


class Demo(NamedTuple):
    """A measurement and its truth, in memory."""

    measurement: xr.Dataset
    truth: xr.Dataset


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A demo set, and where it lies.

    Attributes
    ----------
    folder : Path
    demo : Demo
    made : bool
        Just now; it was there already otherwise.
    """

    folder: Path
    demo: Demo
    made: bool

    @property
    def measurement(self) -> Path:
        """Return the file of the measurement."""
        return self.folder / MEASUREMENT

    @property
    def truth(self) -> Path:
        """Return the file of the truth."""
        return self.folder / TRUTH


def demo_set(name: str) -> DemoSet:
    """Return what is known of a demo set before it is made.

    Raises
    ------
    BadInputError
        If there is none of this name; the message says the near match.
    """
    if name not in DEMO_SETS:
        raise BadInputError(f"there is no demo set '{name}'; {near_match(name, DEMO_SETS)}")
    return DEMO_SETS[name]


def demo_scenario(name: str, **overrides: Any) -> Scenario:
    """Return the scenario of a demo set, with some settings changed (raises as `demo_set`).

    Examples
    --------
    >>> demo_scenario("lfp-xas", incident=100).settings.incident
    100
    """
    return scenario(name, **merge(dict(demo_set(name).settings), overrides))


def demo_data(name: str, *, folder: str | Path | None = None) -> Demo:
    """Return a demo set: made on first use (seconds), read from the cache after that.

    Parameters
    ----------
    name : str
        ``echolith demo-data`` lists them.
    folder : path, optional
        Kept there, in a folder of the set's name; by default in the user's cache.

    Returns
    -------
    Demo
        ``(measurement, truth)``, in memory.

    Raises
    ------
    BadInputError
        If there is no such set, or the folder cannot be written to.
    """
    return keep_demo(name, folder=folder).demo


def keep_demo(
    name: str,
    *,
    folder: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> Kept:
    """Make a demo set where it is not there undamaged (arguments and errors as `demo_data`).

    Parameters
    ----------
    name : str
    folder : path, optional
    progress : callable, optional
        Told (row blocks written, row blocks in all).
    announce : callable
        Told the name of each stage.
    """
    chosen, about = demo_scenario(name), demo_set(name)
    place = (cache_folder() if folder is None else Path(folder)) / name
    key = _key(chosen, about.seed)
    found = _read(place, key)
    if found is not None:
        return Kept(folder=place, demo=found, made=False)
    try:
        export_case(
            chosen,
            place,
            seed=about.seed,
            progress=progress,
            announce=lambda stage: announce(f"{name}, about {about.seconds:g} s in all: {stage}"),
        )
        demo = _loaded(place)
        write_json(place / RECORD, {"key": key, "truth_hash": content_hash(demo.truth)})
    except OSError as error:
        raise BadInputError(
            f"demo data cannot be kept in '{place}': {error.strerror or error}; choose another "
            f"folder with --out (folder= in Python) or the environment variable {VARIABLE}"
        ) from error
    return Kept(folder=place, demo=demo, made=True)


def _read(place: Path, key: str) -> Demo | None:
    """Return a set that is there, undamaged and of this key, None where it is not."""
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        demo = _loaded(place)
        return demo if content_hash(demo.truth) == record["truth_hash"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _loaded(place: Path) -> Demo:
    measurement = load(place / MEASUREMENT).compute()
    return Demo(measurement, load_truth(place / TRUTH, measurement=measurement))


def _key(chosen: Scenario, seed: int) -> str:
    settings = chosen.settings.model_dump(mode="json")
    versions = [version(name) for name in ENGINES]
    what = json.dumps([chosen.name, settings, seed, versions], sort_keys=True).encode()
    return digest(what, *code_of(SIMULATING))


def side_by_side(
    chosen: Scenario, estimate: xr.Dataset, truth: xr.Dataset, *, bound: xr.Dataset | None = None
) -> pd.DataFrame:
    """Return a table of the scenario's quantities: true, estimated, how sure, how far off.

    Parameters
    ----------
    chosen : Scenario
    estimate, truth : xarray.Dataset
    bound : xarray.Dataset, optional
        From `echolith.cramer_rao`: the smallest standard deviation that is possible.

    Returns
    -------
    pandas.DataFrame
        A row for each quantity; ``pull`` is the error over ``std``. NaN: not determined, or there
        is no such number.
    """
    rows = quantities(chosen.quantities, chosen.gauge(estimate, truth), truth)
    columns = ["truth", "estimate", "std", "unit"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table = table.astype(dict.fromkeys(columns[:3], float))
    table.insert(3, "pull", (table["estimate"] - table["truth"]) / table["std"])
    if bound is not None:
        known = [float(bound[name]) if name in bound else float("nan") for name in table.index]
        table.insert(4, "bound", known)
    return table
