"""HRTEM of a lithium particle: a frame simulated, its lattice, and movies of 200 and 5000 frames.

The floor of each is the transforms it cannot do without: of a simulated frame two of every slice
and one of every focus, of a lattice and of every frame of a movie one. The long movie is
simulated while it is read, so its seconds are mostly those of the simulation, and its floor those
of reading it.
"""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

import echolith as el
from benchmarks.measuring import (
    Figure,
    Result,
    Work,
    best_in_turn,
    in_own_process,
    peak_beyond,
    seconds,
)
from echolith.forward.hrtem import FOCI, hrtem_mean
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import exit_wave
from echolith.inverse.lattice import recover_lattice
from echolith.inverse.lattice_tracking import AT_ONCE, track_lattice
from echolith.structures.lithium_particles import MetalParticle, metal_particle

PARTICLE = MetalParticle(size=50.0, zone_axis=(1, 1, 1), rotation=12.0)
DISPLACEMENTS = {"Li": 0.25}
TARGETS: dict[str, dict[str, Any]] = {
    "seconds": {"at_most": 1},
    "tracking_seconds": {"at_most": 30},
    "memory_beyond_a_short_movie": {"at_most": 100},
}
DRIFT = (0.05, -0.03)


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure each, in a process of its own."""
    side, frames, many = (96, 8, 48) if quick else (512, 200, 5000)
    works: dict[str, Any] = {
        "frame": partial(_frame, side=96 if quick else 256),
        "lattice": partial(_lattice, side=96 if quick else 256),
        f"tracking-{frames}": partial(_tracking, side=side, frames=frames),
        f"movie-{many}": partial(_long, side=side, frames=many),
    }
    return {
        name: in_own_process(work.func, quick=quick, **work.keywords)
        for name, work in works.items()
    }


def movie(side: int, frames: int) -> xr.Dataset:
    """Return counts of a drifting particle, lazy."""
    acquisition = HrtemAcquisition(shape=(side, side), frames=frames)
    return el.scenario("li-hrtem").noise.sample(
        hrtem_mean(_wave(acquisition), acquisition=acquisition, drift=DRIFT), seed=0
    )


def _wave(acquisition: HrtemAcquisition) -> Any:
    ny, nx = acquisition.shape
    atoms = metal_particle(_fitting(acquisition), field=acquisition.field)
    return exit_wave(atoms, gpts=(2 * ny, 2 * nx), energy=3e5, displacements=DISPLACEMENTS)


def _fitting(acquisition: HrtemAcquisition) -> MetalParticle:
    return PARTICLE.model_copy(update={"size": min(PARTICLE.size, 0.5 * min(acquisition.field))})


def _transforms(shape: tuple[int, ...], count: int) -> None:
    image: npt.NDArray[np.complex64] = np.ones(shape, dtype=np.complex64)
    for _ in range(count):
        fft.fft2(image)


def _frame(*, side: int, quick: bool) -> Result:
    acquisition = HrtemAcquisition(shape=(side, side))
    atoms = metal_particle(_fitting(acquisition), field=acquisition.field)
    slices = int(np.ceil(atoms.cell[2, 2] / 2))

    def ours() -> Any:
        wave = exit_wave(atoms, gpts=(2 * side, 2 * side), energy=3e5, displacements=DISPLACEMENTS)
        return hrtem_mean(wave, acquisition=acquisition)["counts"].values

    ours()
    _, memory = peak_beyond(ours)
    floor = partial(_transforms, (2 * side, 2 * side), 2 * slices + FOCI)
    works: dict[str, Work] = {"ours": ours, "floor": floor}
    best = best_in_turn(works, repeats=2 if quick else 5)
    target = {} if quick else TARGETS["seconds"]
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frame": [side, side], "slices": [slices]},
        figures={"seconds": Figure(value=best["ours"], unit="s", **target)},
    )


def _lattice(*, side: int, quick: bool) -> Result:
    data = movie(side, 1).compute()
    image = data["counts"].values[0].astype(np.float32)
    recover_lattice(data)
    _, memory = peak_beyond(partial(recover_lattice, data))
    works: dict[str, Work] = {
        "ours": partial(recover_lattice, data),
        "floor": partial(fft.rfft2, image),
    }
    best = best_in_turn(works, repeats=2 if quick else 5)
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frame": [side, side]},
    )


def _tracking(*, side: int, frames: int, quick: bool) -> Result:
    data = movie(side, frames).compute()
    track_lattice(data.isel(frame=slice(2)))
    _, memory = peak_beyond(partial(track_lattice, data))
    works: dict[str, Work] = {
        "ours": partial(track_lattice, data),
        "floor": partial(_one_each, data),
    }
    best = best_in_turn(works, repeats=1 if quick else 2, uncounted=0)
    target = {} if quick else TARGETS["tracking_seconds"]
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"movie": [frames, side, side]},
        figures={"tracking_seconds": Figure(value=best["ours"], unit="s", **target)},
    )


def _one_each(data: xr.Dataset) -> None:
    for frame in data["counts"].values:
        fft.rfft2(frame.astype(np.float32))


def _long(*, side: int, frames: int, quick: bool) -> Result:
    """Follow a long movie; the memory of one that is a sixteenth as long is taken off."""
    short, data = (movie(side, n) for n in (max(frames // 16, AT_ONCE), frames))
    _, before = peak_beyond(partial(track_lattice, short))
    took: list[float] = []
    tables: list[Any] = []
    _, memory = peak_beyond(
        lambda: took.append(seconds(lambda: tables.append(track_lattice(data).table)))
    )
    followed = float((tables[0]["reason"] == "").mean())
    floor = seconds(partial(_read, data.isel(frame=slice(AT_ONCE)))) * frames / AT_ONCE
    target = {} if quick else TARGETS["memory_beyond_a_short_movie"]
    return Result(
        ours_s=took[0],
        floor_s=floor,
        peak_memory_bytes=memory,
        size={"movie": [frames, side, side]},
        figures={
            "memory_beyond_a_short_movie": Figure(
                value=(memory - before) / 1e6, unit="MB", **target
            ),
            "frames_followed": Figure(value=100 * followed, unit="%"),
        },
    )


def _read(data: xr.Dataset) -> None:
    data["counts"].values.sum()
