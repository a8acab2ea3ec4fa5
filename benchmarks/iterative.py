"""Iterative ptychography of counts in memory, beside the Fourier transforms of its waves alone."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from benchmarks.phase_data import corner, measurement
from echolith.inverse.iterative_ptychography_descent import Problem
from echolith.inverse.iterative_ptychography_frames import Frames
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.iterative_ptychography_waves import to_space, to_spectrum
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.scan_transform import Streaming
from echolith.processors import processors

DETECTOR = 64
SIZES = {"iterative-32-1-slice": (32, 1), "iterative-32-5-slices": (32, 5)}
QUICK_DETECTOR = 32
QUICK = {"iterative-16-2-slices": (16, 2)}
PEERS = 4_900
"""Patterns times slices a second of the fastest peer seen, on 2 cores (64 x 64 pixels)."""
PASSES = 2


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIZES
    return {
        name: in_own_process(_one, positions=n, slices=slices, quick=quick)
        for name, (n, slices) in sizes.items()
    }


def _one(*, positions: int, slices: int, quick: bool) -> Result:
    detector = QUICK_DETECTOR if quick else DETECTOR
    data = measurement(positions=positions, detector=detector, dtype="uint16")
    options = PtychographyOptions(
        thickness=10.0 * slices, slice_thickness=10.0, iterations=PASSES, oversampling=1.0
    )
    streaming = Streaming(workers=processors())
    work = partial(multislice_ptychography, data, options=options, streaming=streaming)
    # Compiled code is loaded before memory is counted.
    multislice_ptychography(corner(data, positions=8), options=options, streaming=streaming)
    _, memory = peak_beyond(work)
    problem = Problem.of(Frames.of(data), options)
    best = best_in_turn({"ours": work, "floor": partial(_floor, problem)}, repeats=2)
    rate = positions**2 * slices * PASSES / best["ours"]
    target = {} if quick else {"at_least": PEERS}
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={
            "scan": [positions, positions],
            "detector": [detector, detector],
            "box": list(problem.grid.box.gpts),
            "slices": [slices],
            "passes": [PASSES],
        },
        figures={"pattern_slices_per_second": Figure(value=rate, unit="1/s", **target)},
    )


def _floor(problem: Problem) -> None:
    """Transform every wave there and back behind every slice, for the model and for its adjoint."""
    shape = (problem.group, *problem.grid.box.gpts)
    groups = -(-len(problem.frames) // problem.group)

    def transforms(_: int) -> None:
        waves = np.ones(shape, np.complex64)
        for _ in range(2 * problem.options.slices):
            waves = to_spectrum(to_space(waves))

    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(transforms, range(groups * PASSES)))
