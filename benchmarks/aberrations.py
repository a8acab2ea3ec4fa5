"""Aberration fit of counts in memory, beside two scan-axis transforms of the disc pixels.

The weak-phase columns of the other phase subjects, displaced by 5 pm rms and of two heights, at
1e4 e/Å². Beyond time and memory it states how far the fit is off, in the issue's own figures.
"""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from benchmarks.phase_data import corner, disc_images, floor
from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.aberration_basis import components, from_aberrations
from echolith.inverse.aberration_fit import fit_aberrations
from echolith.inverse.scan_transform import Streaming
from echolith.processors import processors

TRUE = Aberrations(C10=80, C12=40, phi12=0.4, C21=400, phi21=1.0, C23=250, phi23=-0.5)
SPHERICAL = 2e5
STEP, DOSE, HIGH_DOSE = 0.2, 1e4, 8.1e4
SPACING, DISPLACED, WIDTH = 2.13, 0.05, 0.35
"""Å: between rows of columns, rms displacement, standard deviation of a column's phase."""
HEIGHTS = (0.15, 0.4)
"""rad."""
SIZES = {"aberrations-64": 64, "aberrations-256": 256}
QUICK = {"aberrations-32": 32}
DETECTOR, QUICK_DETECTOR = 64, 32
TARGETS: dict[int, dict[str, Any]] = {
    64: {"seconds": {"at_most": 5}, "memory": {"at_most": 1000}},
    256: {
        "seconds_beyond_transform": {"at_most": 15},
        "memory": {"at_most": 1000},
        "C10_error": {"at_most": 2},
        "C12_error": {"at_most": 2},
        "coma_error": {"at_most": 5},
        "three_fold_error": {"at_most": 5},
        "C30_error": {"at_most": 10},
    },
}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIZES
    return {name: in_own_process(_one, positions=n, quick=quick) for name, n in sizes.items()}


def columns(positions: int) -> npt.NDArray[np.float64]:
    """Return the phase of displaced columns on a periodic field, one pixel a position, rad."""
    random = np.random.default_rng(0)
    extent = positions * STEP
    number = max(1, round(extent / SPACING))
    pitch = extent / number
    axis = np.arange(positions) * STEP
    phase = np.zeros((positions, positions))
    for row in range(number):
        for column in range(number):
            x, y = (
                (axis - at - random.normal(0, DISPLACED) + extent / 2) % extent - extent / 2
                for at in ((column + row % 2 / 2) * pitch, row * pitch)
            )
            height = HEIGHTS[(column + row) % 2]
            bells = (np.exp(-(d**2) / (2 * WIDTH**2)) for d in (x, y))
            phase += height * np.outer(*reversed(list(bells)))
    return phase


def measurement(*, positions: int, detector: int, dose: float, aberrations: Aberrations) -> Any:
    """Return drawn counts of a square scan, with no aberrations in the metadata.

    Larger scans repeat the expected counts of 64 x 64 positions; the noise is drawn for all.
    """
    tile = min(positions, 64)
    taken = StemAcquisition(
        beam=Beam(semiangle=22.4, aberrations=aberrations),
        scan=Scan(shape=(tile, tile), step=STEP),
        detector=PixelDetector(shape=(detector, detector), pixel_size=2 * 22.4 * 1.15 / detector),
        haadf=None,
        dose=dose,
    )
    mean = phase_object_mean(columns(tile), acquisition=taken)["counts"]
    repeats = positions // tile
    scan = Scan(shape=(positions, positions), step=STEP)
    blind = taken.model_copy(update={"beam": Beam(semiangle=22.4), "scan": scan})
    whole = xr.Dataset(
        {"counts": (mean.dims, np.tile(mean.values, (repeats, repeats, 1, 1)))},
        attrs={"acquisition": blind.model_dump_json()},
    )
    return PoissonCounting().sample(whole, seed=0)


def errors(fit: xr.Dataset, truth: Aberrations) -> dict[str, float]:
    """Return the distance of every fitted coefficient from the truth, Å; NaN as infinite."""
    off = {
        component.name: float(fit[component.name]) - value
        for component, value in zip(components(3), from_aberrations(truth, 3), strict=True)
    }
    distances = {
        "C10": abs(off["C10"]),
        "C12": np.hypot(off["C12_a"], off["C12_b"]),
        "C21": np.hypot(off["C21_a"], off["C21_b"]),
        "C23": np.hypot(off["C23_a"], off["C23_b"]),
        "C30": abs(off["C30"]),
    }
    return {name: float(np.nan_to_num(value, nan=np.inf)) for name, value in distances.items()}


def _one(*, positions: int, quick: bool) -> Result:
    detector = QUICK_DETECTOR if quick else DETECTOR
    make = partial(measurement, positions=positions, detector=detector)
    streaming = Streaming(workers=processors())
    data = make(dose=DOSE, aberrations=TRUE)
    # Compiled code is loaded before memory is counted.
    fit_aberrations(corner(data, positions=24), streaming=streaming)
    work = partial(fit_aberrations, data, streaming=streaming)
    fit, memory = peak_beyond(work)
    images = disc_images(data)
    repeats = 1 if quick or positions > 64 else 3
    best = best_in_turn({"ours": work, "floor": partial(floor, images)}, repeats=repeats)
    off = errors(fit, TRUE)
    del data, work, images
    spherical = TRUE.model_copy(update={"C30": SPHERICAL})
    high = fit_aberrations(make(dose=HIGH_DOSE, aberrations=spherical), streaming=streaming)
    values = {
        "seconds": (best["ours"], "s"),
        "seconds_beyond_transform": (best["ours"] - best["floor"], "s"),
        "memory": (memory / 1e6, "MB"),
        "C10_error": (off["C10"], "Å"),
        "C10_std": (float(fit["C10_std"]), "Å"),
        "C12_error": (off["C12"], "Å"),
        "coma_error": (100 * off["C21"] / TRUE.C21, "%"),
        "coma_std": (100 * float(fit["C21_std"]) / TRUE.C21, "%"),
        "three_fold_error": (100 * off["C23"] / TRUE.C23, "%"),
        "three_fold_std": (100 * float(fit["C23_std"]) / TRUE.C23, "%"),
        "C30_error": (100 * errors(high, spherical)["C30"] / SPHERICAL, "%"),
        "C30_std": (100 * float(high["C30_std"]) / SPHERICAL, "%"),
    }
    targets = TARGETS.get(positions, {})
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"scan": [positions, positions], "detector": [detector, detector]},
        figures={
            name: Figure(value=value, unit=unit, **targets.get(name, {}))
            for name, (value, unit) in values.items()
            if np.isfinite(value)
        },
    )
