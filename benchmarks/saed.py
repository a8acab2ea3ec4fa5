"""Orientation of a spot pattern, and a whole diffraction pattern solved, beside FFTs of the frame.

The floor of a pattern is one transform and its inverse of the frame padded to twice its sides, with
which the centre is found; that of an orientation is the same.
"""

import time
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft2, rfft2

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import told_distance
from echolith.inverse.saed_centre import fit_geometry
from echolith.inverse.saed_crystals import REACH, measured_spots
from echolith.inverse.saed_measured_spots import MeasuredSpots
from echolith.inverse.saed_orientation import find_orientation
from echolith.inverse.saed_spot_crystal import misorientation, spot_crystal
from echolith.inverse.saed_spots import find_spots
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_saed import LiSaedSettings, drawn_case, li_saed

Array = npt.NDArray[np.float64]

PATTERNS = 20
FIRST_SEED = 9000
CAMERA_STD = 1e-4
"""Of the camera constant, part of it, as rings tell it."""


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure the solver of a pattern, and orientations alone."""
    return {"pattern": in_own_process(_pattern, quick=quick)}


def _pattern(*, quick: bool) -> Result:
    scenario = li_saed(LiSaedSettings())
    data = scenario.simulate(seed=FIRST_SEED).measurement
    work = partial(scenario.solver, data)
    work()  # compiled code is loaded before memory is counted
    _, memory = peak_beyond(work)
    counts = data["counts"].values.astype(float)
    best = best_in_turn({"ours": work, "floor": partial(floor, counts)}, repeats=1 if quick else 5)
    seconds, errors = orientations(2 if quick else PATTERNS)
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peak_memory_bytes=memory,
        size={"frame": list(counts.shape), "patterns": [len(seconds)]},
        figures={
            "orientation_cpu": Figure(
                value=float(np.median(seconds)), unit="s", at_most=None if quick else 0.02
            ),
            "orientation_cpu_mean": Figure(value=float(np.mean(seconds)), unit="s"),
            "orientation_error": Figure(
                value=float(np.median(errors)), unit="°", at_most=None if quick else 0.3
            ),
        },
    )


def floor(counts: Array) -> Array:
    """Convolve a frame with itself."""
    shape = [2 * n for n in counts.shape]
    return np.asarray(irfft2(rfft2(counts, shape) ** 2, shape))


def orientations(patterns: int) -> tuple[list[float], list[float]]:
    """Return CPU seconds and errors (degree) of orientations; the set-up is not counted."""
    scenario = li_saed(LiSaedSettings())
    crystal = spot_crystal(crystal_phase("Li"), energy=200e3, reach=REACH)
    seconds: list[float] = []
    errors: list[float] = []
    for seed in range(FIRST_SEED, FIRST_SEED + patterns):
        spots, truth = spots_of(scenario, seed)
        if not seconds:
            find_orientation(crystal, spots)
        begin = time.process_time()
        found = find_orientation(crystal, spots)
        seconds.append(time.process_time() - begin)
        if found is not None:
            answers = (one for one in (found.matrix, found.other) if one is not None)
            errors.append(min(misorientation(one, truth, crystal.rotations) for one in answers))
    return seconds, errors


def spots_of(scenario: Scenario, seed: int) -> tuple[MeasuredSpots, Array]:
    """Return the spots of a pattern and its crystal's orientation."""
    case = drawn_case(LiSaedSettings(), seed)
    data = scenario.simulate(seed=seed).measurement
    counts = data["counts"].values.astype(float)
    fitted = fit_geometry(counts, saturation=data.attrs.get("saturation"))
    distance = told_distance(data.attrs["camera_length"], data.attrs["pixel_size"])
    distance *= 1 + case.acquisition.camera_error
    measured = measured_spots(
        find_spots(counts, fitted),
        k=1 / wavelength(data.attrs["energy"]),
        distance=distance,
        scale_std=CAMERA_STD,
    )
    return measured, case.specimen.crystals[0].rotation
