"""The scenario's mean counts by its engines, beside their Fourier transforms alone.

The default scenario (random occupation) takes multislice, its perfect crystal plane waves on one
cell with Bloch phases. The floor transforms as many waves of the same grid there and back as often,
as the engine does, but all rows of their spectra; it does a share of them, which is scaled up.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

import echolith as el
from benchmarks.measuring import Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.multislice import POINTS_AT_ONCE
from echolith.forward.stem import CostEstimate, Engine, estimate_cost
from echolith.forward.wave_transforms import wave_transforms
from echolith.processors import processors

SETTINGS: dict[str, dict[str, Any]] = {
    "simulation-multislice": {},
    "simulation-bloch": {"occupation": "ordered"},
}
QUICK: dict[str, Any] = {
    "scan": {"shape": (8, 8)},
    "detector": {"shape": (24, 24), "pixel_size": 2.0},
    "haadf": None,
}
WARM_UP = QUICK | {"scan": {"shape": (2, 2)}}
SHARE = 16
"""The floor does this part of its batches."""


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every engine, each in a process of its own."""
    return {name: in_own_process(_one, name=name, quick=quick) for name in SETTINGS}


def _one(*, name: str, quick: bool) -> Result:
    settings = SETTINGS[name] | (QUICK if quick else {})
    _simulation(settings | WARM_UP)()  # compiled code and abTEM are loaded before memory is counted
    work = _simulation(settings)
    mean, memory = peak_beyond(work)
    floor = TransformsAlone.of(_cost(settings))
    best = best_in_turn(
        {"ours": work, "floor": floor.run}, repeats=1 if not quick else 3, uncounted=0
    )
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"] * floor.scale,
        peak_memory_bytes=memory,
        size={"scan": list(mean.counts.shape[:2]), "detector": list(mean.counts.shape[2:])},
    )


def _simulation(settings: dict[str, Any]) -> Callable[[], xr.Dataset]:
    scenario = el.scenario("li-rich-oxide", **settings)
    specimen = scenario.build(0)

    def work() -> xr.Dataset:
        return scenario.forward(specimen).compute()

    return work


def _cost(settings: dict[str, Any]) -> CostEstimate:
    scenario = el.scenario("li-rich-oxide", **settings)
    chosen: Any = scenario.settings
    return estimate_cost(scenario.build(0), chosen.acquisition, chosen.simulation)


@dataclass(frozen=True, kw_only=True)
class TransformsAlone:
    """Some of the transforms an engine cannot do without, in batches that stay in the cache."""

    shape: tuple[int, int, int]
    """Of a batch: waves, rows, columns."""
    times: int
    """Transforms there and back of each batch: one for each slice, less what is not propagated."""
    batches: int
    done: int

    @classmethod
    def of(cls, cost: CostEstimate) -> "TransformsAlone":
        """Take the number of waves and slices and the grid from an engine's plan."""
        waves = -(-POINTS_AT_ONCE // int(np.prod(cost.gpts)))
        batches = -(-cost.waves * cost.defoci * cost.configurations // waves)
        # A single plane wave behind the first slice is a shift of its spectrum: no transform.
        times = cost.slices - (cost.engine is Engine.BLOCH)
        done = max(2 * processors(), batches // SHARE)
        return cls(shape=(waves, *cost.gpts), times=times, batches=batches, done=done)

    @property
    def scale(self) -> float:
        """All batches in units of those done."""
        return self.batches / self.done

    def run(self) -> None:
        """Transform."""
        with ThreadPoolExecutor(processors()) as pool:
            list(pool.map(partial(there_and_back, self.shape), [self.times] * self.done))


def there_and_back(shape: tuple[int, int, int], times: int) -> None:
    waves, *gpts = shape
    half = gpts[0] // 2
    transforms = wave_transforms((gpts[0], gpts[1]), low=half, high=half)
    for part in (transforms.bottom, transforms.top, transforms.wave):
        part[...] = 0
    for _ in range(waves * times):
        transforms.back()
        transforms.forward()
