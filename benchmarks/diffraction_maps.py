"""Maps of strain and tilt from 31 x 32 x 32 voxels at 40 x 40 points, beside reading them once.

The peer fits a Gaussian in three dimensions to the voxels of each point by scipy's curve_fit; it
gets some of the points, drawn at random, and its time is scaled to all. One map is seen by a point
of a beam, for which the solver's model is the true one, the other by the scenario's beam, which
averages over gradients.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import curve_fit

from benchmarks.measuring import Figure, Result, in_own_process, peak_beyond, seconds
from echolith.forward.rocking_curve import RockingCurve, curve_voxels, scan_places
from echolith.inverse.diffraction_peaks import fit_peaks
from echolith.structures.strained_crystals import StrainedMap
from echolith.validation.diffraction_bound import diffraction_information
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.sxdm import Nmc622SxdmSettings, nmc622_sxdm

BEAMS = {"map-point-beam": 0.0, "map-default-beam": 60.0}
CURVES = {False: RockingCurve(), True: RockingCurve(scan=(8, 8))}
FITTED = {False: 40, True: 4}
"""Points that the peer fits."""
REPEATS = 3
TARGETS: dict[str, dict[str, Any]] = {
    "fit_cpu": {"at_most": 1.5},
    "chain_cpu": {"at_most": 8},
    "curve_fit_over_fit": {"at_least": 12},
    "rms_over_bound": {"at_most": 1.1},
    "slope_from_1": {"at_most": 0.003},
    "pulls_from_1": {"at_most": 0.05},
}

Array = npt.NDArray[np.float64]


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure both beams, each in a process of its own; one where it is to be quick."""
    beams = dict(list(BEAMS.items())[:1]) if quick else BEAMS
    return {name: in_own_process(_one, beam=beam, quick=quick) for name, beam in beams.items()}


def _one(*, beam: float, quick: bool) -> Result:
    curve = CURVES[quick].model_copy(update={"beam": beam})
    scenario = nmc622_sxdm(Nmc622SxdmSettings(curve=curve))
    specimen, data, truth = scenario.simulate(seed=3)
    data = data.compute()
    timed_chain(scenario, data.isel(scan_y=slice(2)))  # compiled code is loaded
    (_, _, estimate), memory = peak_beyond(partial(timed_chain, scenario, data))
    times = [timed_chain(scenario, data)[:2] for _ in range(1 if quick else REPEATS)]
    chain, fit = (min(pair[k] for pair in times) for k in (0, 1))
    floor = min(seconds(partial(np.sum, data["counts"].values)) for _ in range(REPEATS))
    other = peer(data, estimate, specimen, curve, FITTED[quick])
    targets = {} if quick else TARGETS
    values = {
        "fit_cpu": (fit, "s"),
        "chain_cpu": (chain, "s"),
        "curve_fit_over_fit": (other / fit, "times"),
        **errors(specimen, curve, estimate, truth),
    }
    return Result(
        ours_s=chain,
        floor_s=floor,
        peers_s={"curve_fit": other},
        peak_memory_bytes=memory,
        size={"scan": [*curve.scan], "voxels": [curve.etas, *curve.pixels]},
        figures={
            name: Figure(value=value, unit=unit, **targets.get(name, {}))
            for name, (value, unit) in values.items()
        },
    )


def timed_chain(scenario: Scenario, data: xr.Dataset) -> tuple[float, float, xr.Dataset]:
    """Return CPU seconds of the whole chain, of its fits alone, and the maps."""
    fits: list[float] = []

    def timed(fit: Callable[..., Any], *given: Any, **named: Any) -> Any:
        begin = time.process_time()
        found = fit(*given, **named)
        fits.append(time.process_time() - begin)
        return found

    with mock.patch("echolith.inverse.diffraction_map.fit_peaks", partial(timed, fit_peaks)):
        begin = time.process_time()
        maps = scenario.solver(data)
        return time.process_time() - begin, sum(fits), maps


def peer(
    data: xr.Dataset, maps: xr.Dataset, specimen: StrainedMap, curve: RockingCurve, count: int
) -> float:
    """Return the seconds that curve_fit would take for all points that have a peak."""
    voxels = curve_voxels(curve, specimen.reference)
    vectors, volumes = voxels.vectors.reshape(-1, 3), voxels.volumes.ravel()
    known = np.argwhere(np.isfinite(maps["strain"].values))
    chosen = known[np.random.default_rng(0).choice(len(known), min(count, len(known)), False)]
    counts = data["counts"].values

    def gaussian(_: Array, *values: float) -> Array:
        peak, background = values[0], values[7]
        away = (vectors - values[1:4]) / values[4:7]
        height = peak / ((2 * np.pi) ** 1.5 * np.prod(values[4:7]))
        return np.asarray(
            height * volumes * np.exp(-0.5 * (away**2).sum(axis=1)) + background, dtype=float
        )

    begin = time.process_time()
    for y, x in chosen:
        own = counts[y, x].ravel().astype(float)
        heavy = np.maximum(own - 1, 0)  # single photons are mostly background
        centre = heavy @ vectors / heavy.sum()
        width = np.sqrt(heavy @ (vectors - centre) ** 2 / heavy.sum())
        curve_fit(gaussian, vectors, own, p0=[own.sum(), *centre, *width, 0.02])
    return (time.process_time() - begin) * len(known) / len(chosen)


def errors(
    specimen: StrainedMap, curve: RockingCurve, maps: xr.Dataset, truth: xr.Dataset
) -> dict[str, tuple[float, str]]:
    """Return errors of strain at the points that the beam sees within one domain."""
    true, found = truth["strain"].values, maps["strain"].values
    scored = np.isfinite(true) & np.isfinite(found)
    error = found[scored] - true[scored]
    slope, _ = np.polyfit(true[scored], found[scored], 1)
    rms, bound = 1e6 * float(np.sqrt((error**2).mean())), strain_bound(specimen, curve, scored)
    return {
        "strain_rms": (rms, "ppm"),
        "rms_over_bound": (rms / bound, "times"),
        "slope_from_1": (float(abs(slope - 1)), "1"),
        "pulls_from_1": (float(abs((error / maps["strain_std"].values[scored]).std() - 1)), "1"),
    }


def strain_bound(
    specimen: StrainedMap, curve: RockingCurve, scored: npt.NDArray[np.bool_]
) -> float:
    """Return the least rms error of strain of the scored points, ppm."""
    places = np.rint(scan_places(specimen, curve)[:, :, curve.etas // 2][scored]).astype(int)
    intensity = np.zeros_like(specimen.intensity)
    intensity[tuple(places.T)] = specimen.intensity[tuple(places.T)]
    told = diffraction_information(replace(specimen, intensity=intensity), curve=curve)
    return float(told.matrix[0, 0] ** -0.5)
