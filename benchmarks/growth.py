"""Edges of a growing particle in a movie of HRTEM, beside one transform and back of every frame."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.growth_movie import GrowthMovie, growth_mean
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.inverse.facet_edges import recover_edges
from echolith.structures.metal_growth import GrowthStage, MetalGrowth

SIZES = {"growth-512": (512, 200, 180.0)}
QUICK = {"growth-160": (160, 24, 50.0)}
"""Pixels along each side, frames, and size of the particle, Å."""
PIXEL = 0.6
TARGETS: dict[str, dict[str, Any]] = {"seconds": {"at_most": 30}}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIZES
    return {name: in_own_process(_one, size=n, quick=quick) for name, n in sizes.items()}


def _one(*, size: tuple[int, int, float], quick: bool) -> Result:
    data = movie(*size)
    # Compiled code is loaded before memory is counted.
    recover_edges(data.isel(frame=slice(8)))
    _, memory = peak_beyond(partial(recover_edges, data))
    work = {"ours": partial(recover_edges, data), "floor": partial(floor, data["counts"].values)}
    best = best_in_turn(work, repeats=1 if quick else 2, uncounted=0)
    targets = {} if quick else TARGETS["seconds"]
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frames": [size[1], size[0], size[0]]},
        figures={"seconds": Figure(value=best["ours"], unit="s", **targets)},
    )


def movie(side: int, frames: int, size: float) -> xr.Dataset:
    """Return counts of a thin particle that grows by two layers."""
    growth = MetalGrowth(
        size=size,
        thickness=20.0,
        stages=(GrowthStage(duration=0.3), GrowthStage(duration=0.2, second=25.0)),
        corner=(20.0, 12.0),
    )
    taken = GrowthMovie(
        acquisition=HrtemAcquisition(shape=(side, side), pixel=PIXEL, frames=frames),
        drift=(0.5, 0.8),
        slice_thickness=5.0,
    )
    return PoissonCounting().sample(growth_mean(growth, taken=taken), seed=1).compute()


def floor(counts: npt.NDArray[np.integer]) -> float:
    """Transform every frame and back: what a filter of whole frames needs."""
    shape = counts.shape[1:]
    return sum(
        float(fft.irfft2(fft.rfft2(frame.astype(np.float32)), s=shape)[0, 0]) for frame in counts
    )
