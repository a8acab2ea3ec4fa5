"""What a generation will take, told before it begins, from a few of its samples."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from echolith.errors import BadInputError
from echolith.validation.dask_cases import ONE_THREAD
from echolith.validation.generation import IN_MEMORY, Generation, Made, Split, sample
from echolith.validation.generation_files import Place, Shard, shards, write_shard
from echolith.validation.plan_text import size_text

Array = npt.NDArray[np.float64]

SHARD_SAMPLES = 100
SHARDS = 20
"""Small sets are cut into about this many, so that several workers have something to do."""
SIZED = 2
"""Samples that decide the size of a shard: the same ones on every machine."""
LEAST, MOST = 4, 32
"""Samples made for an estimate, a fiftieth of all between these: they tell how much all differ."""
PART = 50
TIMED_S = 20.0
"""Seconds after which `LEAST` are enough."""
START_S = 5.0
"""Until the workers of a local cluster have begun (measured: ``benchmarks/generation.py``)."""
TASK_S = 0.004
"""Of the scheduler for one shard, whatever the number of workers (measured there)."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a generation will take, if all processors are as fast as the one that it was made on.

    Attributes
    ----------
    samples, shards, shard, workers : int
        Samples, shards, samples in a shard, processors.
    start_s : float
        Until a worker has begun, with what only its first sample takes.
    seconds_each, seconds_error : float
        Of one sample on one processor, on the average; and how far the average of all may be from
        it (95 %), as samples differ.
    shard_s, scheduler_s : float
        Of a worker to write a shard; of the scheduler to pass one on.
    bytes_each : int
        In memory.
    disk_each, disk_error : float
        Bytes on the disk, compressed, and their error as that of the time.
    shard_disk : float
        Bytes of a shard beyond its samples.
    """

    samples: int
    shards: int
    shard: int
    workers: int
    start_s: float
    seconds_each: float
    seconds_error: float
    shard_s: float
    scheduler_s: float = TASK_S
    bytes_each: int
    disk_each: float
    disk_error: float
    shard_disk: float

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return self._seconds(self.seconds_each)

    @property
    def seconds_range(self) -> tuple[float, float]:
        """Of the whole, at least and at most."""
        low, high = (self.seconds_each + sign * self.seconds_error for sign in (-1, 1))
        return self._seconds(max(0.0, low)), self._seconds(high)

    def _seconds(self, each: float) -> float:
        rounds = max(self.samples / self.workers, min(self.samples, self.shard))
        turns = ceil(self.shards / self.workers)
        passed_on = self.shards * self.scheduler_s
        return self.start_s + max(rounds * each + turns * self.shard_s, passed_on)

    @property
    def disk_bytes(self) -> float:
        """Of the whole."""
        return self.samples * self.disk_each + self.shards * self.shard_disk

    @property
    def disk_range(self) -> tuple[float, float]:
        """Of the whole, at least and at most."""
        error = self.samples * self.disk_error
        return max(0.0, self.disk_bytes - error), self.disk_bytes + error

    def summary(self) -> dict[str, Any]:
        """Return the estimate as plain values, with those of the whole."""
        return {
            **asdict(self),
            "seconds": self.seconds,
            "seconds_range": list(self.seconds_range),
            "disk_bytes": self.disk_bytes,
            "disk_bytes_range": list(self.disk_range),
        }

    def told(self) -> str:
        """Return the estimate in words."""
        fastest, slowest = map(_duration, self.seconds_range)
        least, most = map(size_text, self.disk_range)
        return (
            f"{self.samples} samples of {size_text(self.bytes_each)}, about "
            f"{self.seconds_each:.2g} s each, in {self.shards} shards: about "
            f"{_duration(self.seconds)} ({fastest} to {slowest}) on {self.workers} processors like "
            f"this one, {_short(self.start_s)} s of them to begin; {size_text(self.disk_bytes)} "
            f"({least} to {most}) on the disk"
        )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def estimate(generation: Generation, *, workers: int) -> Estimate:
    """Make and write a few samples and tell from them what all will take.

    Raises
    ------
    BadInputError
        If none of the first samples can be made.
    """
    n = generation.n
    with ONE_THREAD:
        made, taken = _made(generation)
        parts, shares = zip(*map(_part, made), strict=True)
        alone = np.array([_written([part]) for part in parts])  # seconds and bytes of each
        beyond = _beyond_samples(alone, np.array(_written(parts)), lazy=max(shares) > 1)
    each = np.maximum(0.0, alone * np.array(shares)[:, None] - beyond)
    later = slice(1 if len(made) > 1 else 0, None)
    begun = (taken + each[:, 0])[later]
    size = max(one.measurement.nbytes + one.truth.nbytes for one in made[:SIZED])
    shard = int(min(SHARD_SAMPLES, max(1, n // SHARDS), max(1, IN_MEMORY // size)))
    return Estimate(
        samples=n,
        shards=sum(1 for _ in shards(generation, shard)),
        shard=shard,
        workers=workers,
        start_s=START_S + max(0.0, float(taken[0] - taken[1:].mean()))
        if len(made) > 1
        else START_S,
        seconds_each=float(begun.mean()),
        seconds_error=error_of_mean(begun, n),
        shard_s=float(beyond[0]),
        bytes_each=size,
        disk_each=float(each[:, 1].mean()),
        disk_error=error_of_mean(each[:, 1], n),
        shard_disk=float(beyond[1]),
    )


def _made(generation: Generation) -> tuple[list[Made], Array]:
    """Return the first samples that can be made, and the seconds that each of them took."""
    reasons, seconds, made = [], [], []
    for index in range(min(generation.n, MOST)):
        start = time.perf_counter()
        try:
            made.append(sample(generation, index))
        except Exception as error:  # whatever a plugged-in scenario raises
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        seconds.append(time.perf_counter() - start)
        if _are_enough(made, sum(seconds), generation.n):
            break
    if not made:
        raise BadInputError(f"none of the first samples can be made: {reasons[0]}")
    return made, np.array(seconds)


def _are_enough(made: Sequence[Made], taken: float, n: int) -> bool:
    held = sum(one.measurement.nbytes for one in made)
    if held > IN_MEMORY:
        return len(made) >= SIZED
    return len(made) >= (LEAST if taken > TIMED_S else max(LEAST, n // PART))


def _part(one: Made) -> tuple[Made, float]:
    """Return so much of a sample as is made in a moment, and how many times it is the whole."""
    counts = max(one.measurement.data_vars.values(), key=lambda v: v.nbytes)
    if counts.chunks is None:
        return one, 1.0
    rows = {counts.dims[0]: slice(counts.chunks[0][0])}
    cut = replace(one, measurement=one.measurement.isel(rows))
    return cut, one.measurement.nbytes / cut.measurement.nbytes


def _written(made: Sequence[Made]) -> tuple[float, int]:
    """Write a shard, and return the seconds and the bytes that it took."""
    shard = Shard(split=Split.TRAIN, number=0, samples=range(len(made)))
    with TemporaryDirectory() as folder:
        place = Place(folder=Path(folder))
        start = time.perf_counter()
        write_shard(place, shard, made, {})
        taken = time.perf_counter() - start
        return taken, sum(path.stat().st_size for path in place.folder.iterdir())


def _beyond_samples(alone: Array, together: Array, *, lazy: bool) -> Array:
    """Return seconds and bytes of a shard beyond its samples; a lazy one is a shard by itself."""
    count = len(alone)
    if lazy or count == 1:
        return np.zeros(2)
    mean = alone.mean(axis=0)
    return np.asarray(np.clip((count * mean - together) / (count - 1), 0.0, mean))


def error_of_mean(values: Array, n: int) -> float:
    """Return how far the mean of n values may be from that of some of them (95 %).

    ``t s sqrt((1/k - 1/n))`` of k of them, s their standard deviation, t Student's. From fewer
    than three nothing is known of s: it may be as much as they are.

    References
    ----------
    Cochran, *Sampling Techniques* (1977), eq. 2.23.

    Examples
    --------
    >>> round(error_of_mean(np.array([1.0, 2.0, 3.0]), 10**6), 2)
    2.48
    """
    k = min(len(values), n)
    if k < 3:
        return float(values.mean()) * (n > k)
    return float(student.ppf(0.975, k - 1) * values.std(ddof=1) * sqrt(1 / k - 1 / n))
