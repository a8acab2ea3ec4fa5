"""Refinement of LiFePO4 and FePO4 from cells 1 % off, beside its lines written down once.

The peer is scipy's least_squares on the same model with numerical derivatives; it gets the cells
that our search found, since from cells 1 % off it ends elsewhere.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import least_squares

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.inverse.powder_lines import COLUMNS, PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import Refined, start
from echolith.inverse.rietveld import first_scales, found_cells, refine
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.powder import TAKEN, LfpPowderSettings, lfp_powder

PATTERNS = 20
SHORT = {"start": 15.0, "stop": 70.0, "step": 0.04}
PHASES = tuple(PowderPhase(phase=crystal_phase(name)) for name in ("LiFePO4", "FePO4"))
REACH = 60
"""Full widths over which the floor writes a line, as the refinement does."""
TARGETS: dict[str, dict[str, Any]] = {
    "fit_cpu": {"at_most": 1},
    "weight_rms": {"at_most": 0.3},
    "cell_rms": {"at_most": 30},
    "cell_rms_calibrated": {"at_most": 30},
    "found": {"at_least": 99},
}

Array = npt.NDArray[np.float64]


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure one pattern's refinement, and the errors of several."""
    name = "powder-short" if quick else "powder-lfp"
    return {name: in_own_process(_one, quick=quick)}


def _one(*, quick: bool) -> Result:
    data = scenario(0.6, quick=quick).simulate(seed=0)[1].compute()
    work = partial(refine, data, phases=PHASES, instrument=PowderAcquisition())
    work()  # compiled code is loaded before memory is counted
    _, memory = peak_beyond(work)
    model, vector = searched(data)
    best = best_in_turn(
        {
            "ours": work,
            "floor": partial(floor, model, vector),
            "peer": partial(peer, model, vector, data["counts"].values.astype(float)),
        },
        repeats=1 if quick else 5,
    )
    targets = {} if quick else TARGETS
    fit_cpu = min(cpu_seconds(work) for _ in range(5))
    values = {"fit_cpu": (fit_cpu, "s"), **errors(1 if quick else PATTERNS, quick=quick)}
    lines = sum(one.two_theta(model.values(vector)).size for one in model.phases)
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peers_s={"least_squares": best["peer"]},
        peak_memory_bytes=memory,
        size={"points": [data.sizes["two_theta"]], "lines": [lines], "parameters": [len(vector)]},
        figures={
            name: Figure(value=value, unit=unit, **targets.get(name, {}))
            for name, (value, unit) in values.items()
        },
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of the processor that one run takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def scenario(fraction: float, *, quick: bool, calibrated: bool = False) -> Scenario:
    """Return the scenario with cells up to 1 % off those the solver starts from."""
    taken = TAKEN.model_copy(update=SHORT) if quick else TAKEN
    return lfp_powder(
        LfpPowderSettings(
            acquisition=taken, cell_spread=0.01, fraction=fraction, calibrated=calibrated
        )
    )


def searched(data: xr.Dataset) -> tuple[PatternModel, Array]:
    """Return the refinement's model, and its vector after the search for the cells."""
    angles, counts = data["two_theta"].values, data["counts"].values.astype(float)
    refined = Refined()
    taken = PowderAcquisition(start=angles[0], stop=angles[-1])
    first = start(PHASES, taken, refined)
    lines = tuple(PhaseLines(part=part, instrument=taken, refined=refined) for part in PHASES)
    model = PatternModel(
        angles=angles, phases=lines, names=first.names, background=refined.background
    )
    vector = np.zeros(len(model.all_names))
    vector[: len(first.names)] = [first.values[name] for name in first.names]
    return model, first_scales(model, counts, found_cells(model, counts, vector))


def floor(model: PatternModel, vector: Array) -> Array:
    """Write every line once as a pseudo-Voigt, in numpy, without axial divergence."""
    angles, values = model.angles, model.values(vector)
    total = np.zeros(len(angles))
    for lines in model.phases:
        for centre, strength, width, mixing, _ in lines.table(values).reshape(-1, len(COLUMNS)):
            within = slice(*np.searchsorted(angles, centre + REACH * width * np.array([-1, 1])))
            square = 4 * ((angles[within] - centre) / width) ** 2
            gauss = (1 - mixing) * np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * square)
            total[within] += strength * 2 / width * (gauss + mixing / (np.pi * (1 + square)))
    return total


def peer(model: PatternModel, vector: Array, counts: Array) -> Array:
    """Fit the same model by scipy's least squares with numerical derivatives."""
    none = np.zeros(len(vector), dtype=bool)
    spread = np.sqrt(np.maximum(counts, 1))
    found = least_squares(
        lambda x: (model(x, free=none)[0] - counts) / spread, vector, x_scale="jac", max_nfev=50
    )
    return np.asarray(found.x)


def errors(patterns: int, *, quick: bool) -> dict[str, tuple[float, str]]:
    """Return errors over patterns of random weights; cells of phases of more than half of it."""
    rng = np.random.default_rng(11)
    weights: list[float] = []
    cells: list[Array] = []
    calibrated: list[Array] = []
    found: list[float] = []
    for seed, fraction in enumerate(rng.uniform(0, 1, patterns)):
        major = int(fraction < 0.5)
        for known, kept in ((False, cells), (True, calibrated)):
            case = scenario(float(fraction), quick=quick, calibrated=known)
            _, data, truth = case.simulate(seed=seed)
            estimate = case.solver(data)
            error = (estimate["cell_length"] / truth["cell_length"] - 1).values
            std = (estimate["cell_length_std"] / truth["cell_length"]).values
            kept.append(1e6 * error[major])
        weights.append(100 * float((estimate - truth)["weight_fraction"][0]))
        seen = np.isfinite(error) & np.isfinite(std)
        found.append(100.0 * (seen[major].all() and (np.abs(error) < 5 * std)[seen].all()))
    return {
        "weight_rms": (float(np.sqrt(np.mean(np.square(weights)))), "wt%"),
        "cell_rms": (float(np.sqrt(np.mean(np.square(cells)))), "ppm"),
        "cell_rms_calibrated": (float(np.sqrt(np.mean(np.square(calibrated)))), "ppm"),
        "found": (float(np.mean(found)), "% of patterns with cells within 5 standard deviations"),
    }
