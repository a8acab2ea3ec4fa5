"""Generate samples by the thousand: one task a shard, on threads, a local cluster or another's.

Workers write their shards themselves; only the rows of the manifest come back. A shard that is
there and undamaged is kept, so that a run broken off goes on where it was.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from echolith.errors import BadInputError, near_match
from echolith.processors import processors
from echolith.validation.dask_cases import scheduler_at
from echolith.validation.generation import Generation, sample
from echolith.validation.generation_files import (
    Place,
    Shard,
    finished,
    shards,
    write_json,
    write_shard,
)
from echolith.validation.mean_store import ENGINES, SIMULATING, code_of

if TYPE_CHECKING:
    from distributed import Client

SHARD_SAMPLES = 100
SHARDS = 20
"""Small sets are cut into about this many, so that several workers have something to do."""
SHARD_BYTES = 1 << 28
"""A shard holds at most this much, or one sample: it is in memory while it is made."""
TRIES = 10
"""Workers that may be lost over one shard before it is given up."""


class Workers(StrEnum):
    """Where samples are made, if not by a scheduler that runs already."""

    THREADS = "threads"
    PROCESSES = "processes"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a generation will take, from samples made on this machine.

    Attributes
    ----------
    samples : int
    seconds_each : float
        Of one sample, on one processor.
    bytes_each : int
        In memory; on the disk it is compressed.
    workers : int
    shard : int
        Samples in a shard.
    """

    samples: int
    seconds_each: float
    bytes_each: int
    workers: int
    shard: int

    @property
    def seconds(self) -> float:
        """Of the whole, if all workers are as fast as this machine."""
        return self.samples * self.seconds_each / self.workers

    @property
    def disk_bytes(self) -> int:
        """Return how much room the samples need at most."""
        return self.samples * self.bytes_each

    def summary(self) -> dict[str, Any]:
        """Return the estimate as plain values, times and room of the whole with it."""
        return {**asdict(self), "seconds": self.seconds, "disk_bytes": self.disk_bytes}

    def told(self) -> str:
        """Return the estimate in words."""
        return (
            f"{self.samples} samples of {self.bytes_each / 1e6:.3g} MB, about "
            f"{self.seconds_each:.2g} s each: about {self.seconds / 60:.2g} min on {self.workers} "
            f"processors, at most {self.disk_bytes / 1e9:.2g} GB on the disk"
        )


def estimate(generation: Generation, *, workers: int) -> Estimate:
    """Make two samples and tell from the second what all of them will take.

    Raises
    ------
    BadInputError
        If none of the first samples can be made.
    """
    reasons, seconds, made = [], [], []
    for index in range(min(generation.n, TRIES)):
        start = time.perf_counter()
        try:
            made.append(sample(generation, index))
        except Exception as error:  # whatever a plugged-in scenario raises
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        seconds.append(time.perf_counter() - start)
        if len(made) == 2:
            break
    if not made:
        raise BadInputError(f"none of the first samples can be made: {reasons[0]}")
    size = max(one.measurement.nbytes + one.truth.nbytes for one in made)
    return Estimate(
        samples=generation.n,
        seconds_each=seconds[-1],
        bytes_each=size,
        workers=workers,
        shard=int(min(SHARD_SAMPLES, max(1, generation.n // SHARDS), max(1, SHARD_BYTES // size))),
    )


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
        If the priors do not fit the scenario, the folder holds something else, or there is not
        room enough.
    OSError
        If a file cannot be written; what was made before is kept.
    """
    generation.check_priors()
    count = workers or processors()
    known = _known(generation, place)
    taken = estimate(generation, workers=count)
    tell(taken)
    size = known["shard"] if known else taken.shard
    _check_room(taken, place)
    place.open()
    write_json(place.plan, {**describe_generation(generation), "shard": size})
    wanted = list(shards(generation, size))
    with _client(scheduler, count) as client:
        rows = _made(client, generation, place, wanted, progress)
    place.clear()
    manifest = _manifest(generation, place, wanted, rows)
    write_json(place.manifest, manifest)
    return manifest


def describe_generation(generation: Generation) -> dict[str, Any]:
    """Return as plain values everything that decides the samples."""
    scenario = generation.scenario
    code = b"".join(code_of([*SIMULATING, getattr(generation.make, "__module__", "")]))
    digest = hashlib.blake2b(code, digest_size=8).hexdigest()
    together = generation.correlated
    return {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "priors": {name: prior.text for name, prior in generation.vary.items()},
        "correlated": None
        if together is None
        else f"{together.__module__}:{together.__qualname__}",
        "samples": generation.n,
        "seed": generation.seed,
        "shares": list(generation.shares),
        "ladder": list(generation.ladder),
        "versions": {"code": digest, **{name: version(name) for name in ("echolith", *ENGINES)}},
    }


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
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        first = other[0]
        raise BadInputError(
            f"{place.folder} holds a generation of other {', '.join(other)} ({first}: "
            f"{_short(found.get(first))} there, now {_short(wanted[first])}); samples are never "
            "mixed: choose another folder"
        )
    return dict(found)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_room(taken: Estimate, place: Place) -> None:
    there = place.folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if taken.disk_bytes > free:
        raise BadInputError(
            f"{taken.samples} samples of {taken.bytes_each / 1e6:.3g} MB may need "
            f"{taken.disk_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free in {there}; make "
            "fewer or smaller samples, or choose another disk"
        )


@contextmanager
def _client(scheduler: str, count: int) -> "Iterator[Client]":
    import dask
    from distributed import Client, LocalCluster, default_client

    if "://" in scheduler:
        with scheduler_at(scheduler):
            yield default_client()  # type: ignore[no-untyped-call]
        return
    if scheduler not in list(Workers):
        hint = near_match(scheduler, list(Workers))
        raise BadInputError(f"unknown scheduler '{scheduler}'; {hint}, or tcp://host:port")
    # Threads share Dask's settings: what samples compute inside must not go to the cluster again.
    alone = {"scheduler": "synchronous"} if scheduler == Workers.THREADS else {}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES, **alone}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=1,
            processes=scheduler == Workers.PROCESSES,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def _made(
    client: "Client",
    generation: Generation,
    place: Place,
    wanted: list[Shard],
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """Return the rows of every shard that could be made."""
    from distributed import KilledWorker, as_completed

    made: dict[str, dict[str, Any]] = {}
    done = 0
    futures = client.map(partial(make_shard, generation, place), wanted, pure=False)
    size = {future.key: shard for future, shard in zip(futures, wanted, strict=True)}
    try:
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            shard = size[future.key]
            try:
                made[shard.name] = future.result()
            except KilledWorker:
                why = f"{TRIES} workers were lost over its shard"
                made[shard.name] = write_shard(place, shard, [], dict.fromkeys(shard.samples, why))
            done += len(shard.samples)
            progress(done, generation.n)
    finally:
        client.cancel(futures)  # type: ignore[no-untyped-call]
    return made


def make_shard(generation: Generation, place: Place, shard: Shard) -> dict[str, Any]:
    """Make the samples of a shard and write them, unless they are there and undamaged.

    A sample that fails is recorded, with the reason, and left out.

    Returns
    -------
    dict
        Its rows of the manifest.
    """
    import dask

    set_already = dask.config.get("scheduler", None) == "synchronous"
    # One thread a worker, none within it, and nothing of it goes to the cluster again.
    with nullcontext() if set_already else dask.config.set(scheduler="synchronous"):
        return finished(place, shard) or _make(generation, place, shard)


def _make(generation: Generation, place: Place, shard: Shard) -> dict[str, Any]:
    made, failures = [], {}
    for index in shard.samples:
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
        described = {
            n: v for n, v in described.items() if n not in ("seed", "priors", "correlated")
        }
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
