"""Lattices found in frames of pure noise, by the null test and by background subtraction alone.

Frames are white, blurred by a camera, or with rings of amorphous carbon, in turn. Each finished
frame is kept in a file, where the next run goes on; so a run can be stopped at any time. The floor
is one transform of each frame.
"""

import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from benchmarks.measuring import Figure, Result, peak_beyond, seconds
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.image_filters import background_subtracted
from echolith.inverse.lattice import recover_lattice

Array = npt.NDArray[np.float64]

FRAMES = {False: 1000, True: 6}
SIDE = {False: 256, True: 64}
FOLDER = "ECHOLITH_BENCHMARK_FOLDER"
"""Variable with the folder of the file that is kept; the working directory by default."""
BRIGHT = 4.0
"""A spot of so many times the mean amplitude of its ring is taken for a reflection by eye."""


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure as many frames as are missing, and count the lattices in all."""
    kept = Path(os.environ.get(FOLDER, ".")) / f"false_lattices_{SIDE[quick]}.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    frames = FRAMES[quick]
    _, memory = peak_beyond(partial(judged, 0, SIDE[quick]))
    for seed in range(len(done), frames):
        start = time.perf_counter()
        found = judged(seed, SIDE[quick])
        done.append({**found, "seconds": time.perf_counter() - start})
        if not quick:
            with kept.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    image = noise_frame(0, SIDE[quick]).astype(np.float32)
    false, by_eye = (
        100 * float(np.mean([one[name] for one in done[:frames]])) for name in ("lattice", "bright")
    )
    limit = {} if quick else {"at_most": 1.0}
    return {
        "false-lattices": Result(
            ours_s=sum(one["seconds"] for one in done[:frames]),
            floor_s=frames * min(seconds(partial(fft.rfft2, image)) for _ in range(5)),
            peak_memory_bytes=memory,
            size={"frames": [frames, SIDE[quick], SIDE[quick]]},
            figures={
                "false_lattices": Figure(value=false, unit="%", **limit),
                "background_subtraction_alone": Figure(value=by_eye, unit="%"),
            },
        )
    }


def judged(seed: int, side: int) -> dict[str, float]:
    """Say whether a frame of noise is taken for a lattice, by test and by bright spots."""
    image = noise_frame(seed, side)
    acquisition = HrtemAcquisition(shape=(side, side))
    data = xr.Dataset(
        {"counts": (("frame", "y", "x"), image[None])},
        attrs={"hrtem": acquisition.model_dump_json()},
    )
    found = float(recover_lattice(data)["noise_probability"]) <= 0.01
    spectrum = np.abs(fft.fft2(background_subtracted(image) - image.mean()))
    k = np.hypot(fft.fftfreq(side, 0.35)[:, None], fft.fftfreq(side, 0.35))
    first = spectrum[(k > 0.3) & (k < 0.5)]
    return {"lattice": float(found), "bright": float(first.max() > BRIGHT * first.mean())}


def noise_frame(seed: int, side: int) -> Array:
    """Return counts without a lattice: white, blurred, or of carbon, by the seed."""
    draw = np.random.default_rng(seed)
    k = np.hypot(fft.fftfreq(side, 0.35)[:, None], fft.fftfreq(side, 0.35))
    mean = np.full((side, side), 40 * 0.35**2)
    if seed % 3 == 2:
        ring = np.exp(-0.5 * ((k - 0.4) / 0.08) ** 2) + np.exp(-0.5 * ((k - 0.75) / 0.1) ** 2)
        film = fft.ifft2(fft.fft2(draw.standard_normal((side, side))) * ring).real
        mean = mean * np.maximum(1 + 0.3 * film / film.std(), 0)
    counts = draw.poisson(mean).astype(float)
    if seed % 3 == 1:
        counts = fft.ifft2(fft.fft2(counts) * np.exp(-0.5 * (k / 0.6) ** 2)).real
    return np.asarray(counts)
