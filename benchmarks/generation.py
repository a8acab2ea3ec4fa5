"""Samples of 4D-STEM by one worker and by two, beside the transforms of their engine.

The set is that of docs/generation.md. Workers have begun before they are timed (``start`` tells how
long that takes), and the samples that an estimate takes are not counted. Ours is the time of one
sample on one worker. Memory is that of all processes together: what they share is counted for each.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil

import echolith as el
from benchmarks.measuring import Figure, Result, in_own_process, seconds
from benchmarks.simulation import TransformsAlone, there_and_back
from echolith.forward.stem import estimate_cost
from echolith.validation.catalogue import entry
from echolith.validation.dask_cases import as_finished, local_cluster, scheduler_at
from echolith.validation.generation import Generation, sample
from echolith.validation.generation_engine import generate
from echolith.validation.generation_estimate import Estimate
from echolith.validation.generation_files import Place
from echolith.validation.priors import choice, log_uniform, uniform

NAME = "li-rich-oxide"
SETTINGS: dict[str, Any] = {
    "haadf": None,
    "scan": {"shape": (32, 32)},
    "detector": {"shape": (32, 32), "pixel_size": (1.725, 1.69)},
    "simulation": {"sampling": 0.1856, "minimum_box": 14.0, "slice_thickness": 5.0},
}
PRIORS = {
    "state": choice(["pristine", "charged"]),
    "thickness": uniform(10, 40),
    "dose": log_uniform(1e4, 1e6),
    "beam.aberrations.C10": uniform(-100, 100),
    "beam.aberrations.C12": uniform(0, 20),
    "beam.aberrations.phi12": uniform(0, 3.14),
}
SAMPLES, QUICK_SAMPLES = 60, 6
TASKS = 500
TARGETS: dict[str, dict[str, Any]] = {
    "1000_samples": {"at_most": 360},
    "10000_samples": {"at_most": 3600},
    "scaling": {"at_least": 1.8},
    "memory": {"at_most": 3e9},
}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure the set, in a process of its own."""
    return {"generation": in_own_process(_set, quick=quick)}


def _set(*, quick: bool) -> Result:
    count = QUICK_SAMPLES if quick else SAMPLES
    one, two = (_with_workers(workers, samples=count) for workers in (1, 2))
    each = two["seconds"] / count
    many = replace(
        two["estimate"],
        samples=10**6,
        shards=10**4,
        shard=100,
        workers=100,
        start_s=two["start"],
        seconds_each=one["seconds"] / count,
        scheduler_s=two["task"],
    )
    met = partial(_figure, quick=quick)
    return Result(
        ours_s=one["seconds"] / count,
        floor_s=float(np.mean([_transforms(_generation(4, seed=1), i) for i in range(4)])),
        peak_memory_bytes=two["memory"],
        size={"samples": [count], "counts": [32, 32, 32, 32]},
        figures={
            "1 worker": met(count / one["seconds"], "samples/s"),
            "2 workers": met(count / two["seconds"], "samples/s"),
            "scaling to 2 workers": met(one["seconds"] / two["seconds"], "1", "scaling"),
            "1000 samples": met(two["start"] + 1000 * each, "s", "1000_samples"),
            "10000 samples": met(two["start"] + 10000 * each, "s", "10000_samples"),
            "memory of all processes": met(two["memory"], "bytes", "memory"),
            "start": met(two["start"], "s"),
            "one task of the scheduler": met(two["task"], "s"),
            "10^6 samples on 100 such workers": met(many.seconds, "s"),
            "at least": met(many.seconds_range[0], "s"),
            "at most": met(many.seconds_range[1], "s"),
        },
    )


def _figure(value: float, unit: str, target: str | None = None, *, quick: bool) -> Figure:
    targets = {} if quick or target is None else TARGETS[target]
    return Figure(value=value, unit=unit, **targets)


def _generation(samples: int, *, seed: int) -> Generation:
    base = el.scenario(NAME, **SETTINGS)
    return Generation(scenario=base, make=entry(NAME).make, vary=PRIORS, n=samples, seed=seed)


def _with_workers(count: int, *, samples: int) -> dict[str, Any]:
    """Generate the set once; return seconds, bytes at the most, and what a task takes."""
    told: list[tuple[float, Estimate]] = []
    begin = time.perf_counter()
    with (
        local_cluster(count) as cluster,
        scheduler_at(cluster.scheduler_address),
        TemporaryDirectory() as folder,
    ):
        list(as_finished(_begun, range(count)))
        start = time.perf_counter() - begin
        task = seconds(lambda: list(as_finished(abs, range(TASKS)))) / TASKS
        with peak_of_all() as held:
            generate(
                _generation(samples, seed=1),
                Place(folder=Path(folder) / "set"),
                scheduler=cluster.scheduler_address,
                tell=lambda found: told.append((time.perf_counter(), found)),
            )
            taken = time.perf_counter() - told[0][0]
    return {
        "seconds": taken,
        "memory": max(held),
        "start": start,
        "task": task,
        "estimate": told[0][1],
    }


def _begun(worker: int) -> None:
    """Load and compile what a worker needs, by a sample of another seed."""
    sample(_generation(1, seed=2 + worker), 0)


@contextmanager
def peak_of_all() -> Iterator[list[int]]:
    """Note again and again how much this process and those it began hold, in bytes."""
    held, ended = [0], Event()

    def look() -> None:
        while not ended.wait(0.1):
            held.append(_held())

    watching = Thread(target=look)
    watching.start()
    try:
        yield held
    finally:
        ended.set()
        watching.join()


def _held() -> int:
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def _transforms(generation: Generation, index: int) -> float:
    """Time the transforms of the engine of a sample, on one processor."""
    scenario, _ = generation.cases(index)
    chosen: Any = scenario.settings
    cost = estimate_cost(scenario.build(index), chosen.acquisition, chosen.simulation)
    floor = TransformsAlone.of(cost)
    taken = min(seconds(partial(there_and_back, floor.shape, floor.times)) for _ in range(3))
    return taken * floor.batches
