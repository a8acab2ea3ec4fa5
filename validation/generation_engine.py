"""Generate samples by the thousand: one task a shard, on threads, a local cluster or another's.

Workers write their shards themselves; only the rows of the manifest come back. A shard that is
there and undamaged is kept, so that a run broken off goes on where it was.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import version
from platform import node
from typing import Any

from echolith.errors import BadInputError
from echolith.processors import processors
from echolith.validation.dask_cases import Workers, as_finished, workers_at
from echolith.validation.generation import Generation, sample
from echolith.validation.generation_estimate import Estimate, estimate
from echolith.validation.generation_files import (
    Place,
    Shard,
    finished,
    shards,
    write_json,
    write_shard,
)
from echolith.validation.mean_store import ENGINES, SIMULATING, code_of, digest
from echolith.validation.plan_text import size_text

DRAWING = tuple(
    f"echolith.validation.{name}"
    for name in ("generation", "priors", "mismatch", "targets", "target_pictures")
)
"""Code that decides a sample beside that of its scenario."""
SECRET = ("seed", "priors", "correlated", "correlations", "untold")
"""What a blind test must not show."""


def generate(
    generation: Generation,
    place: Place,
    *,
    scheduler: str = Workers.PROCESSES,
    workers: int | None = None,
    tell: Callable[[Estimate], None] = lambda _estimate: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Generate samples, or what is missing of them.

    Parameters
    ----------
    generation : Generation
    place : Place
        Empty, or left by the same generation when it was broken off.
    scheduler : str
        One of `Workers`, or the address of a Dask scheduler, ``tcp://host:port``, whose workers see
        the same folders and have the same versions.
    workers : int, optional
        Threads or processes; all processors by default.
    tell : callable
        Told what it will take, before it begins.
    progress : callable
        Told how many samples are done, and of how many.

    Returns
    -------
    dict
        The manifest, as it is written to ``manifest.json``.

    Raises
    ------
    BadInputError
        If the priors do not fit the scenario, the folder holds something else or cannot be written,
        no scheduler answers, a worker has other versions, or there is not room enough.
    OSError
        If a file cannot be written; what was made before is kept.
    """
    generation.check_priors()
    count = workers or processors()
    known = _known(generation, place)
    with workers_at(scheduler, count):
        place.open()
        taken = estimate(generation, workers=count)
        tell(taken)
        _check_room(taken, place)
        size = known["shard"] if known else taken.shard
        write_json(place.plan, {**describe_generation(generation), "shard": size})
        wanted = list(shards(generation, size))
        rows = _made(generation, place, wanted, progress)
    place.clear()
    manifest = _manifest(generation, place, wanted, rows)
    write_json(place.manifest, manifest)
    return manifest


def describe_generation(generation: Generation) -> dict[str, Any]:
    """Return as plain values everything that decides the samples."""
    scenario = generation.scenario
    together = generation.correlated
    return {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "priors": {name: prior.text for name, prior in generation.vary.items()},
        "correlated": None
        if together is None
        else f"{together.__module__}:{getattr(together, '__qualname__', '')}",
        "correlations": {",".join(pair): rho for pair, rho in generation.correlations.items()},
        "untold": {name: prior.text for name, prior in generation.untold.items()},
        "targets": [target.value for target in generation.targets],
        "width": generation.width,
        "samples": generation.n,
        "seed": generation.seed,
        "shares": list(generation.shares),
        "ladder": list(generation.ladder),
        "make": digest(*code_of(one.__module__ for one in (generation.make, together) if one)),
        "versions": versions(),
    }


@cache
def versions() -> dict[str, str]:
    """Return what decides a sample beside its settings, as this process has it."""
    installed = {name: version(name) for name in ("echolith", *ENGINES)}
    return {"code": digest(*code_of([*SIMULATING, *DRAWING])), **installed}


def _known(generation: Generation, place: Place) -> dict[str, Any] | None:
    """Return what is being generated there already.

    Raises
    ------
    BadInputError
        If it is something else.
    """
    if not place.plan.exists():
        if place.folder.is_dir() and any(place.folder.iterdir()):
            raise BadInputError(
                f"{place.folder} holds other files; choose an empty folder, or one that a "
                "generation was begun in"
            )
        return None
    try:
        found = json.loads(place.plan.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{place.plan} is damaged; remove the folder") from error
    wanted = json.loads(json.dumps(describe_generation(generation)))
    other = [text for name in wanted for text in _differences(found.get(name), wanted[name], name)]
    if other:
        raise BadInputError(
            f"{place.folder} holds a generation of other {', '.join(other)}; samples are never "
            "mixed: choose another folder"
        )
    return dict(found)


def _differences(there: Any, here: Any, name: str) -> list[str]:
    """Say entry by entry where plain values differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = sorted({*there, *here})
        pairs = ((there.get(inner), here.get(inner), f"{name}.{inner}") for inner in names)
        return [text for pair in pairs for text in _differences(*pair)]
    return [] if there == here else [f"{name} ({_short(there)} there, now {_short(here)})"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_room(taken: Estimate, place: Place) -> None:
    used = sum(path.stat().st_size for path in place.folder.iterdir())
    free = shutil.disk_usage(place.folder).free
    needed = max(taken.disk_range)
    if needed > free + used:
        raise BadInputError(
            f"{taken.samples} samples may need {size_text(needed)} ({size_text(taken.disk_each)} "
            f"each), and {size_text(free)} are free in {place.folder}; make fewer or smaller "
            "samples, or choose another disk"
        )


def _made(
    generation: Generation,
    place: Place,
    wanted: list[Shard],
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """Return the rows of every shard, by its name."""
    made: dict[str, dict[str, Any]] = {}
    done = 0
    make = partial(make_shard, generation, place)
    for shard, rows in as_finished(make, wanted, lost=partial(_without_poison, generation, place)):
        made[shard.name] = rows
        done += len(shard.samples)
        progress(done, generation.n)
    return made


def _without_poison(generation: Generation, place: Place, shard: Shard) -> dict[str, Any]:
    """Make a shard over which workers were lost without the samples that end a worker."""
    ends = as_finished(partial(_ends_well, generation), shard.samples, lost=lambda _index: False)
    why = "workers that make it are lost; they may lack memory"
    poison = {index: why for index, well in ends if not well}
    make = partial(make_shard, generation, place, poison=poison)
    ((_, rows),) = as_finished(make, [shard])
    return rows


def _ends_well(generation: Generation, index: int) -> bool:
    with suppress(Exception):  # recorded when its shard is made
        sample(generation, index)
    return True


def make_shard(
    generation: Generation, place: Place, shard: Shard, *, poison: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Make the samples of a shard and write them, unless they are there and undamaged.

    A sample that fails is recorded, with the reason, and left out; one of ``poison`` (index:
    reason) is not tried.

    Returns
    -------
    dict
        Its rows of the manifest.

    Raises
    ------
    BadInputError
        If this process does not see the folder, or has other versions than wrote its plan.
    """
    _check_worker(place)
    return finished(place, shard) or _make(generation, place, shard, dict(poison or {}))


def _check_worker(place: Place) -> None:
    try:
        planned = json.loads(place.plan.read_text(encoding="utf-8"))["versions"]
    except OSError as error:
        raise BadInputError(
            f"a worker on {node()} cannot read '{place.plan}' ({error.strerror}); folders have to "
            "be on a disk that all workers see under the same path"
        ) from error
    if other := _differences(versions(), planned, "versions"):
        raise BadInputError(
            f"a worker on {node()} has other {', '.join(other)}; install the same there, and start "
            "it again"
        )


def _make(
    generation: Generation, place: Place, shard: Shard, failures: dict[int, str]
) -> dict[str, Any]:
    made = []
    for index in shard.samples:
        if index in failures:
            continue
        try:
            made.append(sample(generation, index))
        except OSError:  # of the machine, not of the sample
            raise
        except Exception as error:  # whatever a plugged-in scenario raises
            failures[index] = f"{type(error).__name__}: {error}"
    return write_shard(place, shard, made, failures)


def _manifest(
    generation: Generation,
    place: Place,
    wanted: list[Shard],
    rows: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    described = describe_generation(generation)
    if place.blind is not None:
        described = {n: v for n, v in described.items() if n not in SECRET}
    return {
        **described,
        "shards": [
            {
                "shard": shard.name,
                "first": shard.samples.start,
                "stop": shard.samples.stop,
                "measurement_hash": rows[shard.name].get("measurement_hash"),
                "truth_hash": rows[shard.name].get("truth_hash"),
            }
            for shard in wanted
        ],
        "rows": [
            {"split": shard.split.value, "shard": shard.name, **row}
            for shard in wanted
            for row in rows[shard.name]["samples"]
        ],
        "failures": {k: v for shard in wanted for k, v in rows[shard.name]["failures"].items()},
    }
