"""Scenario ``li-oxide``: grains of the oxide on a particle of lithium or sodium metal.

Which grain is where, how it is turned, and how thick the shell is in every exposure are asked for.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.oxide_movie import OxideMovie, oxide_mean
from echolith.inverse.grain_extraction import OrientationSearch
from echolith.inverse.orientation_map import recover_oxide
from echolith.protocols import Better
from echolith.seeds import stream
from echolith.structures.lithium_particles import MetalParticle
from echolith.structures.oxide_shells import OxideGrains, OxideShell, Thickening, drawn_grains
from echolith.structures.oxide_truth import shell_truth
from echolith.validation.exposure import LITHIUM_DOSE, LITHIUM_SOURCE, Exposure
from echolith.validation.grain_matching import (
    false_pixels,
    mean_iou,
    named_grains,
    rotation_rms,
)
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.oxide_bound import oxide_information
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

SUMMARY = "Oxide on a lithium particle, HRTEM: map of grains, their rotation, thickness in time"


class LiOxideSettings(Settings):
    """What can be set in the scenario ``li-oxide``."""

    particle: MetalParticle = MetalParticle(size=46.0, zone_axis=(1, 1, 1))
    """The metal; its rotation is drawn anew for every seed."""
    shell: OxideShell = OxideShell(grains=5, thickening=Thickening(initial=10.0, rate=2.0))
    """Grains are drawn anew for every seed."""
    movie: OxideMovie = OxideMovie()
    readout: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation of a pixel's read-out noise, electrons."""
    solver: OrientationSearch = OrientationSearch()


@dataclass(frozen=True, kw_only=True, eq=False)
class OxideCase:
    """Grains and how they are seen."""

    grains: OxideGrains
    movie: OxideMovie


def li_oxide(settings: LiOxideSettings) -> Scenario:
    """Make the scenario ``li-oxide`` from its settings."""
    noise = DetectorNoise(readout=settings.readout)
    return Scenario(
        name="li-oxide",
        settings=settings,
        build=partial(drawn_case, settings=settings),
        truth=case_truth,
        forward=lambda case: oxide_mean(case.grains, taken=case.movie),
        noise=noise,
        solver=partial(recover_oxide, options=settings.solver),
        gauge=named_grains,
        metrics=(
            NamedMetric(name="grain_iou", unit="1", function=mean_iou, better=Better.HIGHER),
            NamedMetric(name="rotation_rms", unit="°", function=rotation_rms),
            NamedMetric(name="false_pixels", unit="%", function=false_pixels),
            absolute_error("mean_thickness"),
        ),
        quantities=("mean_thickness",),
        notes=(
            "The solver's model differs from the generating one: it knows cells and strong "
            "families, no optics and no structure factors.",
            "Found grains take the numbers of the true ones that they cover best.",
        ),
        information=partial(oxide_information, noise=noise),
        residuals=_residuals,
        exposure=_exposure(settings),
    )


def _exposure(settings: LiOxideSettings) -> Exposure:
    acquisition = settings.movie.acquisition
    return Exposure(
        dose=acquisition.dose * acquisition.frames,
        dose_unit="e/Å²",
        values=acquisition.frames * int(np.prod(acquisition.shape)),
        seconds=acquisition.frame_time * acquisition.frames,
        published=LITHIUM_DOSE,
        source=LITHIUM_SOURCE,
        proportional=() if settings.readout else ("movie.acquisition.dose_rate",),
    )


def drawn_case(seed: int, *, settings: LiOxideSettings) -> OxideCase:
    """Return the particle and the grains of a seed."""
    turn = float(stream(seed, "li-oxide").uniform(-90, 90))
    particle = settings.particle.model_copy(update={"rotation": settings.particle.rotation + turn})
    field = settings.movie.acquisition.field
    grains = drawn_grains(particle, settings.shell, field=field, seed=seed)
    return OxideCase(grains=grains, movie=settings.movie)


def case_truth(case: OxideCase) -> xr.Dataset:
    """Return grains as they are in most exposures, and the thickness in every one."""
    acquisition = case.movie.acquisition
    every = case.movie.thicknesses(case.grains)
    truth = shell_truth(
        case.grains, float(np.median(every)), shape=acquisition.shape, pixel=acquisition.pixel
    )
    first = float(truth["grain_rotation"][int(truth["grain_area"].values.argmax())])
    return truth.assign(
        thickness=("frame", every, {"units": "Å"}),
        mean_thickness=((), float(every.mean()), {"units": "Å"}),
        first_rotation=((), first, {"units": "°"}),
    ).assign_coords(frame=("frame", case.movie.times, {"units": "s"}))


def _residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return errors of rotations; those of thicknesses share the lines of the metal."""
    if "grain_rotation" not in estimate:
        return {}
    error = estimate["grain_rotation"].values - truth["grain_rotation"].values
    known = np.flatnonzero(np.isfinite(error))
    return {
        "grain_rotation": Residuals(
            key=known,
            error=error[known],
            std=estimate["grain_rotation_std"].values[known],
            unit="°",
        )
    }
