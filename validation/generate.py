"""Labelled samples of a scenario in one call."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from echolith.validation import generation_engine
from echolith.validation.catalogue import entry
from echolith.validation.dask_cases import Workers
from echolith.validation.generation import Generation
from echolith.validation.generation_files import Place
from echolith.validation.priors import Prior
from echolith.validation.scenario import Scenario


def generate(
    scenario: Scenario,
    *,
    n: int,
    out: str | Path,
    vary: Mapping[str, Prior] | None = None,
    make: Callable[[Any], Scenario] | None = None,
    blind: str | Path | None = None,
    scheduler: str = Workers.PROCESSES,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    **more: Any,
) -> dict[str, Any]:
    """Generate samples, or what is missing of them.

    Parameters
    ----------
    scenario : Scenario
        Its settings hold where no prior does.
    n : int
        Samples.
    out : path
        Folder for them; empty, or left by the same generation when it was broken off.
    vary : mapping of str to Prior, optional
        Priors of settings, by dotted name (`echolith.validation.priors`).
    make : callable, optional
        ``make(settings) -> Scenario``; that of the catalogue by default.
    blind : path, optional
        Folder for the truth of the test, the seed and the priors.
    scheduler, workers, progress
        As `echolith.validation.generation_engine.generate` takes them.
    **more
        Further fields of `echolith.validation.generation.Generation`: ``seed``, ``shares``,
        ``ladder``, ``targets`` and so on.

    Returns
    -------
    dict
        The manifest; `load_samples` opens the samples.

    Raises
    ------
    BadInputError, OSError
        As `echolith.validation.generation_engine.generate`.
    """
    wanted = Generation(
        scenario=scenario,
        make=make or entry(scenario.name).make,
        vary=vary or {},
        n=n,
        **more,
    )
    place = Place(folder=Path(out), blind=None if blind is None else Path(blind))
    return generation_engine.generate(
        wanted, place, scheduler=scheduler, workers=workers, progress=progress
    )
