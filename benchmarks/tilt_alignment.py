"""Alignment of 158 tilts of plates at two energies, beside one forward and back projection."""

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.noise import PoissonCounting
from echolith.forward.optical_density import projected_counts
from echolith.forward.projection import backproject, project, system_matrix
from echolith.forward.tilt_placement import TiltJitter, tilt_placement
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES
from echolith.inverse.tilt_alignment import align_tilts
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.tilt_gauge import standard_gauge

SIDES = {"tilt-alignment-64": 64, "tilt-alignment-128": 128}
QUICK = {"tilt-alignment-48": 48}
PLATES = {48: 4, 64: 10, 128: 40}
PHOTONS = 400
PIXEL = 67.0
TARGETS: dict[str, dict[str, Any]] = {
    "shift_x_rms": {"at_most": 0.05},
    "shift_y_rms": {"at_most": 0.05},
    "axis_offset_error": {"at_most": 0.1},
    "axis_tilt_error": {"at_most": 0.05},
}

Images = npt.NDArray[np.floating]


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIDES
    return {n: in_own_process(_one, side=side, quick=quick) for n, side in sizes.items()}


def _one(*, side: int, quick: bool) -> Result:
    data, placement = series(side, seed=31)
    # Compiled code is loaded before memory is counted.
    align_tilts(series(48, seed=1)[0], workers=1)
    start = time.process_time()
    found, memory = peak_beyond(partial(align_tilts, data, workers=1))
    ours = time.process_time() - start
    once = best_in_turn({"floor": partial(floor, data)}, repeats=2)["floor"]
    targets = {} if quick else TARGETS
    return Result(
        ours_s=ours,
        floor_s=once,
        peak_memory_bytes=memory,
        size={"energies": [2], "tilts": [data.sizes["tilt"]], "volume": [side] * 3},
        figures={
            name: Figure(value=value, unit=unit, **targets.get(name, {}))
            for name, (value, unit) in errors(found, placement).items()
        },
    )


def series(side: int, *, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return counts of plates displaced by up to 4 pixels, turned and scaled; and the truth."""
    tilts, field = Tilts(voxel_size=PIXEL), 0.75 * side * PIXEL
    ensemble = PlateEnsemble(
        count=PLATES[side],
        region=PackingRegion(height=field, width=field, depth=0.7 * field),
        active_fraction=0.4,
        state_of_charge=0.2,
        binder=0 if side == 48 else 2,
    )
    jitter = TiltJitter(
        shift=4 * PIXEL, rotation=0.3, scale=2e-3, axis_offset=2 * PIXEL, axis_tilt=0.4
    )
    placement = tilt_placement(tilts, jitter, energies=ENERGIES, seed=seed)
    mean = projected_counts(
        phosphate_ensemble(ensemble, seed=seed),
        tilts=tilts,
        shape=(side, side),
        incident=PHOTONS,
        placement=placement,
    )
    return PoissonCounting().sample(mean, seed=seed).compute(), placement


def errors(found: xr.Dataset, placement: xr.Dataset) -> dict[str, tuple[float, str]]:
    """Return the errors of the alignment, what is free taken out."""
    error = standard_gauge(found) - standard_gauge(placement)
    rms = {name: float(np.sqrt((error[name] ** 2).mean())) for name in error.data_vars}
    return {
        "shift_x_rms": (rms["shift_x"] / PIXEL, "pixel"),
        "shift_y_rms": (rms["shift_y"] / PIXEL, "pixel"),
        "rotation_rms": (rms["rotation"], "°"),
        "scale_rms": (rms["scale"], "1"),
        "axis_offset_error": (rms["axis_offset"] / PIXEL, "pixel"),
        "axis_tilt_error": (rms["axis_tilt"], "°"),
    }


def floor(data: xr.Dataset) -> list[Images]:
    """Project back and forward once at each energy."""
    side = data.sizes["x"]
    matrix = system_matrix(Tilts(voxel_size=PIXEL), shape=(side, side))
    images = data["counts"].transpose("energy", "tilt", "y", "x").values.astype(np.float32)
    return [project(backproject(one, matrix, workers=1), matrix, workers=1) for one in images]
