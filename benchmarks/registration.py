"""Registration of 8 frames of fast HAADF, rigid and line by line, beside their correlations."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.inverse.registration import register_frames

FRAMES = 8
SIDES = {"registration-512": 512}
QUICK = {"registration-128": 128}
STEP = 0.1
COUNTS = 60.0
"""Of a column in one frame."""
CELL = np.array([[2.444, 0.301], [-2.241, 4.503]])
WIDTH = 0.42
LINE_TIME = 1.1e-3
JITTER = 0.02
TARGETS: dict[str, dict[str, Any]] = {
    "seconds": {"at_most": 20},
    "residual_drift": {"at_most": 2},
}

Array = npt.NDArray[np.float64]


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIDES
    return {name: in_own_process(_one, side=n, quick=quick) for name, n in sizes.items()}


def _one(*, side: int, quick: bool) -> Result:
    data, drift = frames(side)
    # Compiled code is loaded before memory is counted.
    register_frames(frames(96)[0])
    found, memory = peak_beyond(partial(register_frames, data))
    work = {"ours": partial(register_frames, data), "floor": partial(floor, data["haadf"].values)}
    best = best_in_turn(work, repeats=2 if quick else 3)
    error = np.stack([found["drift_x"], found["drift_y"]], axis=-1) - drift
    values = {
        "seconds": (best["ours"], "s"),
        "residual_drift": (100 * float((error - error.mean(axis=(0, 1))).std()), "pm"),
    }
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frames": [FRAMES, side, side]},
        figures={
            name: Figure(value=value, unit=unit, **({} if quick else TARGETS[name]))
            for name, (value, unit) in values.items()
        },
    )


def frames(side: int) -> tuple[xr.Dataset, Array]:
    """Return Poisson counts of a drifting lattice, and the smooth drift of every line."""
    rng = np.random.default_rng(7)
    times = np.arange(FRAMES * side).reshape(FRAMES, side) * LINE_TIME
    path = [0.3 * times + 0.1 * np.sin(3 * times), -0.5 * times + 0.1 * np.cos(2 * times)]
    drift = np.stack(path, axis=-1)
    drift = drift - drift.mean(axis=(0, 1))
    moved = drift + rng.normal(0, JITTER, drift.shape)
    reach = int(side * STEP / 2) + 6
    index = np.stack(np.meshgrid(*2 * [np.arange(-reach, reach)]), axis=-1).reshape(-1, 2)
    points = index @ CELL
    points = points[((points > -3) & (points < side * STEP + 3)).all(axis=1)]
    at = np.arange(side) * STEP
    mean = np.empty((FRAMES, side, side))
    for f in range(FRAMES):
        for n in range(side):
            across = np.exp(-((at[n] + moved[f, n, 1] - points[:, 1]) ** 2) / (2 * WIDTH**2))
            near = across > 1e-6
            along = at + moved[f, n, 0] - points[near, :1]
            mean[f, n] = across[near] @ np.exp(-(along**2) / (2 * WIDTH**2))
    counts = rng.poisson((mean + 0.02) * COUNTS * STEP**2 / (2 * np.pi * WIDTH**2))
    return (
        xr.Dataset(
            {
                "haadf": (("frame", "scan_y", "scan_x"), counts.astype(np.uint16)),
                "line_time": (("frame", "scan_y"), times),
            },
            coords={"scan_y": at, "scan_x": at},
        ),
        drift,
    )


def floor(counts: npt.NDArray[np.uint16]) -> Array:
    """Correlate every frame with the one before: what a registration of whole frames needs."""
    shape = [2 * n for n in counts.shape[1:]]
    spectra = [fft.rfft2(frame.astype(np.float32), s=shape) for frame in counts]
    return np.stack(
        [np.argmax(fft.irfft2(one * np.conj(two), s=shape)) for one, two in pairwise(spectra)]
    ).astype(float)
