"""Far-field ptychography of 400 frames of 128² pixels, beside its Fourier transforms alone."""

import time
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.far_field import FarField, far_field_mean
from echolith.forward.far_field_views import field_needed
from echolith.forward.noise import PoissonCounting
from echolith.forward.phosphate_exit_wave import exit_waves
from echolith.forward.phosphate_paths import View
from echolith.inverse.far_field_options import Engine, FarFieldSolver
from echolith.inverse.far_field_ptychography import far_field_ptychography
from echolith.inverse.far_field_state import Transforms
from echolith.inverse.transmission_alignment import align_transmission
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.scenarios.lfp_ptychography import at_resolution

ITERATIONS = 30
SCANS = {
    "far-field-rpie": (FarField(), FarFieldSolver(iterations=ITERATIONS)),
    "far-field-background": (
        FarField(background=0.05),
        FarFieldSolver(iterations=ITERATIONS, background=True),
    ),
    "far-field-raar": (FarField(), FarFieldSolver(engine=Engine.RAAR, iterations=ITERATIONS)),
}
QUICK = FarField(shape=(6, 6), pixels=64, step=350.0)
TRANSFORMS = 4
"""Of a frame in an iteration of rPIE: the probe, the exit wave there and back, its change."""
TARGETS: dict[str, dict[str, Any]] = {
    "cpu_seconds_per_iteration": {"at_most": 0.12},
    "relative_error": {"at_most": 0.028},
    "memory": {"at_most": 0.5},
}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every setting, each in a process of its own."""
    names = ["far-field-rpie"] if quick else list(SCANS)
    return {name: in_own_process(_one, name=name, quick=quick) for name in names}


def _one(*, name: str, quick: bool) -> Result:
    scan, options = SCANS[name]
    scan = QUICK if quick else scan
    frames, truth = measured(scan)
    work = partial(far_field_ptychography, frames, options=options)
    # Compiled code is loaded before memory is counted.
    far_field_ptychography(frames, options=options.model_copy(update={"iterations": 2}))
    found, memory = peak_beyond(work)
    count = len(frames["position"])
    floor = partial(transforms, count, scan.pixels)
    best = best_in_turn({"ours": work, "floor": floor}, repeats=2, uncounted=0)
    start = time.process_time()
    work()
    values = {
        "cpu_seconds_per_iteration": ((time.process_time() - start) / ITERATIONS, "s"),
        "relative_error": (relative_error(found["transmission"], truth), "1"),
        "memory": (memory / 2**30, "GiB"),
    }
    figures = {
        what: Figure(value=value, unit=unit, **({} if quick else TARGETS[what]))
        for what, (value, unit) in values.items()
    }
    if scan.background:
        share = float(found["background"].sum()) / float(frames.attrs["photons"])
        away = abs(share / scan.background - 1)
        figures["background_error"] = Figure(value=away, unit="1", at_most=0.1)
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frames": [count, scan.pixels, scan.pixels]},
        figures=figures,
    )


def measured(scan: FarField) -> tuple[xr.Dataset, xr.DataArray]:
    """Return frames of an ensemble of plates, and the true transmission where the scan went."""
    side = float(max(2000.0, (max(scan.shape) - 1) * scan.step))
    plates = max(3, int(83 * (side / 15e3) ** 2))
    region = PackingRegion(height=side, width=side, depth=min(4e3, side))
    specimen = phosphate_ensemble(PlateEnsemble(count=plates, region=region, gap=-100.0), seed=1)
    fine = scan.pixel_size / scan.oversampling
    count = 2 * int(np.ceil(field_needed(scan) / fine))
    waves = exit_waves(
        specimen,
        View(tilt=0.0),
        energies=(scan.energy,),
        shape=(count, count),
        pixel_size=fine,
    )
    frames = PoissonCounting().sample(far_field_mean(waves[0], settings=scan, seed=2), seed=3)
    inner = 2 * int((side / 2 - 300) / scan.pixel_size) + 1
    values = at_resolution(waves, scan.pixel_size, (inner, inner), None)[0]
    axis = scan.pixel_size * (np.arange(inner) - inner // 2)
    return frames, xr.DataArray(values, dims=("y", "x"), coords={"y": axis, "x": axis})


def relative_error(found: xr.DataArray, truth: xr.DataArray) -> float:
    """Return the error over the norm of the truth; phase, phase plane and shift are free."""
    ours = found.sel(y=truth["y"], x=truth["x"], method="nearest", tolerance=1.0)
    aligned = align_transmission(ours, truth)
    return float(np.linalg.norm(aligned.values - truth.values) / np.linalg.norm(truth.values))


def transforms(count: int, size: int) -> None:
    """Do the Fourier transforms of all iterations and nothing else."""
    work = Transforms(size)
    work.wave[...] = 1
    for _ in range(ITERATIONS * count * TRANSFORMS // 2):
        work.forward()
        work.back()
        work.wave[...] = 1
