"""What is simulated deviates from what the measurement tells: how far, and that it tells nothing.

A deviation is drawn and added to the setting that the measurement tells (or that no measurement
tells, as drift). Simulated is the sum; attributes and coordinates are those of the told settings.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.detector_response import DetectorResponse, detected_mean
from echolith.forward.optics import wavelength
from echolith.sample_options import Mismatch
from echolith.validation.priors import Prior, integers, normal, uniform
from echolith.validation.scenario import Scenario
from echolith.validation.settings import setting_value

MISMATCH = "mismatch."
"""Begins the name of a deviation in the truth."""
SEEDS = integers(0, 2**31)
PHASE = np.pi / 4
"""rad at the edge of the aperture: the limit to which a microscope is aligned (Haider, Uhlemann and
Zach, Ultramicroscopy 81 (2000) 163)."""
SPREAD = "point_spread"
"""Of the detector of diffraction patterns, pixels: no setting, for solvers take it for perfect."""
SPACING = 2.0
"""Å; where HRTEM has no disc whose edge counts, phases are those of this spacing, near the strong
ones of lithium (2.48 Å) and its oxide (2.66 and 1.63 Å)."""
SIZES = {Mismatch.MILD: 1 / 3, Mismatch.MODERATE: 1.0, Mismatch.SEVERE: 3.0}

Table = Callable[[Mapping[str, Any], float], dict[str, Prior]]
"""From plain settings and a size to the priors of deviations."""


def aberrations(prefix: str, *, energy: float, angle: float, size: float) -> dict[str, Prior]:
    """Return deviations of the first aberrations, each with a phase of `PHASE` at an angle, mrad.

    ``C_nm = chi lambda (n + 1) / (2 pi alpha^(n+1))`` has the phase ``chi`` there.
    """
    found = {}
    for n, m in ((1, 0), (1, 2), (2, 1), (2, 3)):
        alpha = (1e-3 * angle) ** (n + 1)
        largest = size * PHASE * wavelength(energy) * (n + 1) / (2 * np.pi * alpha)
        found[f"{prefix}.C{n}{m}"] = normal(0, largest)
        if m:
            found[f"{prefix}.phi{n}{m}"] = uniform(-np.pi / m, np.pi / m)
    return found


def _probe(settings: Mapping[str, Any], prefix: str, size: float) -> dict[str, Prior]:
    beam = settings["beam"]
    return aberrations(prefix, energy=beam["energy"], angle=beam["semiangle"], size=size)


def _slow_scan(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return drift of 2 % of the way along y, jitter of 0.02 Å, half a pixel of point spread.

    The published maps are strained by up to 5 %, and the default jitter of lines is as large
    (`li-rich-redox`); that of single positions is half of it, for more makes neighbours change
    places. The zone axis is off by 4 mrad.
    """
    scan, moved = settings["scan"], settings["distortion"]
    line = scan["shape"][1] * moved["dwell"] + moved["flyback"]
    speed = 0.02 * size * scan["step"][0] / line
    return {
        **_probe(settings, "residual", size),
        "distortion.drift.0": normal(0, speed),
        "distortion.drift.1": normal(0, speed),
        "distortion.line_jitter": uniform(0, 0.02 * size),
        "distortion.position_jitter": uniform(0, 0.01 * size),
        "distortion.seed": SEEDS,
        SPREAD: uniform(0, 0.5 * size),
        **_mistilt(settings, size),
    }


def _mistilt(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    return {f"tilt.{axis}": normal(0, 4 * size) for axis in (0, 1)}


def _fast_frames(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return more drift by 0.3 Å/s, of the size of the default; jitter and mistilt as above."""
    return {
        **_probe(settings, "residual", size),
        "distortion.drift.0": normal(0, 0.3 * size),
        "distortion.drift.1": normal(0, 0.3 * size),
        "distortion.line_jitter": uniform(0, 0.02 * size),
        **_mistilt(settings, size),
    }


def _redox(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    return {
        **_probe(settings, "residual", size),
        "drift": uniform(0, 0.02 * size),
        "drift_direction": uniform(-180, 180),
        "jitter.line_jitter": uniform(0, 0.02 * size),
        "jitter.position_jitter": uniform(0, 0.01 * size),
        "jitter.seed": SEEDS,
        SPREAD: uniform(0, 0.5 * size),
    }


def _told_probe(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    return {**_probe(settings, "beam.aberrations", size), SPREAD: uniform(0, 0.5 * size)}


def _broad_beam(prefix: str) -> Table:
    """Return the deviations of HRTEM: focus and astigmatism, detector, vibration.

    A point spread of up to half a pixel, as of detectors that count electrons one by one (McMullan
    et al., Ultramicroscopy 109 (2009) 1126); 0.1 Å of vibration.
    """

    def table(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
        energy = setting_value(settings, f"{prefix}.energy")
        angle = 1e3 * wavelength(energy) / SPACING
        return {
            **aberrations(f"{prefix}.aberrations", energy=energy, angle=angle, size=size),
            f"{prefix}.response.point_spread.0": uniform(0, 0.5 * size),
            f"{prefix}.response.point_spread.1": uniform(0, 0.5 * size),
            f"{prefix}.image_spread": uniform(0, 0.1 * size),
        }

    return table


def _moving(prefix: str, drift: str) -> Table:
    """Return the deviations of HRTEM with a drift by 1 Å/s, that of a holder at rest."""

    def table(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
        moves = {f"{drift}.{axis}": normal(0, size) for axis in (0, 1)}
        return {**_broad_beam(prefix)(settings, size), **moves}

    return table


def _whisker(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a focus off by 0.1 µm of 1 µm, a drift by 1 Å/s, a point spread by 0.2 pixel."""
    return {
        "acquisition.aberrations.C10": normal(0, 1e3 * size),
        "drift.0": normal(0, size),
        "drift.1": normal(0, size),
        "acquisition.response.point_spread.0": uniform(0, 0.2 * size),
        "acquisition.response.point_spread.1": uniform(0, 0.2 * size),
    }


def _thickness(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a drift and a point spread larger by half of the default's and of a pixel's."""
    return {
        "drift": uniform(0, 10 * size),
        "acquisition.response.point_spread.0": uniform(0, 0.3 * size),
        "acquisition.response.point_spread.1": uniform(0, 0.3 * size),
    }


def _tomography(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a tilt axis that is off by a voxel."""
    return {"tilts.axis_offset": normal(0, size * setting_value(settings, "tilts.voxel_size"))}


def _spectro_tomography(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a tilt axis off by a voxel and 0.3°, shifts larger by half a voxel, turns by 0.1°."""
    voxel = setting_value(settings, "tilts.voxel_size")
    return {
        "jitter.axis_offset": normal(0, size * voxel),
        "jitter.axis_tilt": normal(0, 0.3 * size),
        "jitter.shift": uniform(0, 0.5 * size * voxel),
        "jitter.rotation": uniform(0, 0.1 * size),
    }


def _far_field(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return positions off by a pixel, a focus by a fiftieth, a tilt by 1°."""
    return {
        "frames.position_error": uniform(0, size * setting_value(settings, "frames.pixel_size")),
        "frames.plate.defocus": normal(
            0, 0.02 * size * setting_value(settings, "frames.plate.defocus")
        ),
        "tilt": normal(0, size),
    }


def _absorption(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return energies off by 0.05 eV at either end, lines wider by as much, a tilt by 1°.

    That is a quarter of the resolution.
    """
    return {
        "first_energy": normal(0, 0.05 * size),
        "last_energy": normal(0, 0.05 * size),
        "edge.resolution": uniform(0, 0.05 * size),
        "tilt": normal(0, size),
    }


def _rocking_curve(settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a drift of a fiftieth of a step, a monitor noise of 0.5 %, a distance off by 0.1 %."""
    return {
        "curve.drift.0": normal(0, 0.02 * size),
        "curve.drift.1": normal(0, 0.02 * size),
        "curve.monitor_noise": uniform(0, 0.005 * size),
        "curve.distance": normal(0, 1e-3 * size * setting_value(settings, "curve.distance")),
    }


def _powder(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a zero off by 0.01°, a sample displaced by 3e-4 of the radius, as the default."""
    return {
        "acquisition.zero": normal(0, 0.01 * size),
        "acquisition.displacement": normal(0, 3e-4 * size),
    }


def _selected_area(_settings: Mapping[str, Any], size: float) -> dict[str, Prior]:
    """Return a camera length off by 0.25 % more than is drawn anyway, a stretch by 0.15 % more."""
    return {
        "acquisition.camera_error": normal(0, 0.0025 * size),
        "acquisition.stretch.0": normal(0, 0.0015 * size),
        "acquisition.stretch.1": normal(0, 0.0015 * size),
    }


TABLES: Mapping[str, Table] = {
    "li-rich-oxide": _slow_scan,
    "li-rich-haadf-drift": _fast_frames,
    "li-rich-redox": _redox,
    "li-rich-surface": _told_probe,
    "li-rich-damage": _told_probe,
    "li-saed": _selected_area,
    "lfp-spectro-tomography": _spectro_tomography,
    "lfp-tomography": _tomography,
    "lfp-ptychography": _far_field,
    "lfp-xas": _absorption,
    "li-growth": _moving("movie.acquisition", "movie.drift"),
    "li-hrtem": _moving("acquisition", "drift"),
    "li-thickness": _thickness,
    "li-oxide": _broad_beam("movie.acquisition"),
    "li-whisker": _whisker,
    "nmc622-sxdm": _rocking_curve,
    "linio2-sxdm": _rocking_curve,
    **dict.fromkeys(("lfp-powder", "linio2-powder", "nmc622-powder", "powder"), _powder),
}
"""Deviations as usual, by scenario; what cannot deviate in the simulation is told in
docs/generation.md."""


def mismatch(scenario: Scenario, tier: Mismatch) -> dict[str, Prior]:
    """Return the priors of the deviations of a scenario.

    Raises
    ------
    BadInputError
        If nothing is known of the scenario; it names those of which it is.
    """
    if scenario.name not in TABLES:
        raise BadInputError(
            f"there is no {tier.value} mismatch of '{scenario.name}', only of "
            f"{', '.join(TABLES)}; give deviations of your own, e.g. --untold name=normal(0, 1)"
        )
    return TABLES[scenario.name](scenario.settings.model_dump(), SIZES[tier])


def deviating(settings: Mapping[str, Any], deviations: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by name that are simulated: those told and how far they are off.

    Raises
    ------
    BadInputError
        If one is no number.
    """
    found = {}
    for name, deviation in deviations.items():
        told = 0.0 if name == SPREAD else setting_value(settings, name)
        for value in (told, deviation):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadInputError(
                    f"{name} = {value!r} cannot deviate: only numbers can, and those of a pair one "
                    f"by one, {name}.0"
                )
        if name != SPREAD:
            found[name] = told + deviation
    return found


def blurred(mean: xr.Dataset, deviations: Mapping[str, Any]) -> xr.Dataset:
    """Return a mean as seen by a detector with the point spread that was drawn, if it was."""
    spread = deviations.get(SPREAD, 0.0)
    if not spread:
        return mean
    return detected_mean(mean, DetectorResponse(point_spread=(spread, spread)))


def as_told(measured: xr.Dataset, told: xr.Dataset) -> xr.Dataset:
    """Return what was measured, and nothing else of how it was.

    Parameters
    ----------
    measured : xarray.Dataset
        Counts; they stay lazy.
    told : xarray.Dataset
        The mean as of the told settings: its floats are what is counted, all else is kept.

    Raises
    ------
    BadInputError
        If sizes differ, so that they tell.
    """
    if measured.sizes != told.sizes:
        raise BadInputError(
            f"the measurement has sizes {dict(measured.sizes)}, as told they are "
            f"{dict(told.sizes)}; what changes sizes cannot be kept untold"
        )
    counted = [name for name, v in told.data_vars.items() if np.issubdtype(v.dtype, np.floating)]
    counts = {
        name: xr.Variable(told[name].dims, measured[name].data, told[name].attrs)
        for name in counted
    }
    return told.drop_vars(counted).compute().assign(counts)
