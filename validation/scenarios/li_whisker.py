"""Scenario ``li-whisker``: a whisker of lithium grows in a bright-field movie.

Its length in every frame is asked for, the law it follows, and how fast.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Aberrations, Settings
from echolith.forward.bright_field import BrightFieldContrast, whisker_movie
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.detector_response import DetectorResponse
from echolith.forward.hrtem import frame_times
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.whisker_length import WhiskerOptions, recover_whisker
from echolith.seeds import stream
from echolith.structures.whiskers import Whisker, WhiskerGrowth, whisker_truth
from echolith.units import Angstrom, Degree
from echolith.validation.exposure import LITHIUM_DOSE, LITHIUM_SOURCE, Exposure, SameTime
from echolith.validation.information import Information
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals
from echolith.validation.whisker_bound import growth_information

SUMMARY = "Lithium whisker in a bright-field movie: length, law of growth, rate, change"


class LiWhiskerSettings(Settings):
    """What can be set in the scenario ``li-whisker``."""

    whisker: Whisker = Whisker(start_length=50.0)
    """Type I. Its fluctuation is drawn anew for every seed."""
    turn: Annotated[Degree, Field(ge=0, le=180)] = 5.0
    """Largest deviation of the drawn direction from the whisker's."""
    offset: Annotated[Angstrom, Field(ge=0, le=1000)] = 20.0
    """Largest distance of the drawn foot from its place, along each axis of the frame."""
    foot: Annotated[float, Field(ge=-0.5, le=0.5)] = -0.31
    """Of the whisker, from the middle of the field along its axis, by the field's width."""
    acquisition: HrtemAcquisition = HrtemAcquisition(
        aberrations=Aberrations(C10=-1e4),
        semiangle=5.0,
        focal_spread=0.0,
        image_spread=2.0,
        shape=(64, 128),
        pixel=5.0,
        dose_rate=40.0,
        frames=125,
        response=DetectorResponse(point_spread=(0.5, 0.5)),
    )
    contrast: BrightFieldContrast = BrightFieldContrast()
    drift: tuple[float, float] = (2.0, -3.0)
    """Velocity of the specimen along y and x, Å/s."""
    readout: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation of a pixel's read-out noise, electrons."""
    solver: WhiskerOptions = WhiskerOptions()


@dataclass(frozen=True, kw_only=True)
class PlacedWhisker:
    """A whisker, the place of its foot from the middle of the frame (y, x; Å), and its film."""

    whisker: Whisker
    place: tuple[float, float]
    seed: int


def li_whisker(settings: LiWhiskerSettings) -> Scenario:
    """Make the scenario ``li-whisker`` from its settings."""
    noise = DetectorNoise(readout=settings.readout)
    quantities: tuple[str, ...] = ("rate",)
    scale = absolute_error("rate", unit="Å/s²", scale=1.0)
    if settings.whisker.growth is not WhiskerGrowth.ACCELERATED:
        scale = absolute_error("rate", unit="Å/s", scale=1.0)
    metrics = [_LENGTH_ERROR, _WRONG_LAW, scale]
    if settings.whisker.growth is WhiskerGrowth.SWITCHED:
        quantities = (*quantities, "switch_time")
        metrics.append(absolute_error("switch_time", unit="s", scale=1.0))

    def information(specimen: PlacedWhisker) -> Information:
        movie = partial(_shifted_movie, specimen, settings=settings)
        return growth_information(specimen.whisker, movie, noise=noise)

    return Scenario(
        name="li-whisker",
        settings=settings,
        build=partial(placed_whisker, settings=settings),
        truth=partial(growth_truth, settings=settings),
        forward=partial(placed_movie, settings=settings),
        noise=noise,
        solver=partial(recover_growth, options=settings.solver),
        gauge=lambda estimate, _truth: estimate,
        metrics=tuple(metrics),
        quantities=quantities,
        notes=(
            "The solver's model is one-dimensional: it knows neither the cross-section nor the "
            "shell, and fits one phase and one loss to the middle of the whisker; its focus is "
            "free about the stated one.",
        ),
        information=information,
        residuals=length_residuals,
        exposure=_exposure(settings),
    )


def _exposure(settings: LiWhiskerSettings) -> Exposure:
    acquisition = settings.acquisition
    seconds = acquisition.frame_time * acquisition.frames
    # How growth fluctuates about its law, no electrons tell.
    counted = not settings.readout and not settings.whisker.fluctuation
    return Exposure(
        dose=acquisition.dose * acquisition.frames,
        dose_unit="e/Å²",
        values=acquisition.frames * int(np.prod(acquisition.shape)),
        seconds=seconds,
        published=LITHIUM_DOSE,
        source=LITHIUM_SOURCE,
        proportional=("acquisition.dose_rate",) if counted else (),
        follows={"acquisition.frame_time": SameTime("acquisition.frames", seconds)},
    )


def placed_whisker(seed: int, *, settings: LiWhiskerSettings) -> PlacedWhisker:
    """Return the whisker of a seed: direction, place and fluctuation are drawn."""
    turn, y, x = stream(seed, "whisker").uniform(-1, 1, 3).tolist()
    direction = settings.whisker.direction + settings.turn * turn
    away = settings.foot * settings.acquisition.field[1]
    c, s = np.cos(np.radians(direction)), np.sin(np.radians(direction))
    return PlacedWhisker(
        whisker=settings.whisker.model_copy(update={"direction": direction, "seed": seed}),
        place=(float(away * s) + settings.offset * y, float(away * c) + settings.offset * x),
        seed=seed,
    )


def placed_movie(specimen: PlacedWhisker, *, settings: LiWhiskerSettings) -> xr.Dataset:
    """Return the expected counts of a specimen's movie."""
    return _shifted_movie(specimen, specimen.whisker, 0.0, settings=settings)


def _shifted_movie(
    specimen: PlacedWhisker, whisker: Whisker, shift: float, *, settings: LiWhiskerSettings
) -> xr.Dataset:
    angle = np.radians(whisker.direction)
    return whisker_movie(
        whisker,
        acquisition=settings.acquisition,
        contrast=settings.contrast,
        place=(
            specimen.place[0] + shift * float(np.sin(angle)),
            specimen.place[1] + shift * float(np.cos(angle)),
        ),
        drift=settings.drift,
        seed=specimen.seed,
    )


def growth_truth(specimen: PlacedWhisker, *, settings: LiWhiskerSettings) -> xr.Dataset:
    """Return what is known, with ``rate`` and ``switch_time`` as single numbers."""
    return _with_numbers(whisker_truth(specimen.whisker, frame_times(settings.acquisition)))


def recover_growth(measurement: xr.Dataset, *, options: WhiskerOptions) -> xr.Dataset:
    """Return what `recover_whisker` finds, with ``rate`` and ``switch_time`` as single numbers."""
    return _with_numbers(recover_whisker(measurement, options=options))


_NUMBERS = {"velocity": "rate", "acceleration": "rate", "change_time": "switch_time"}


def _with_numbers(found: xr.Dataset) -> xr.Dataset:
    """Add the law's main rate (the acceleration, else the last velocity) and its change."""
    numbers = {}
    for name, source in (
        ("rate", "velocity"),
        ("rate", "acceleration"),
        ("switch_time", "change_time"),
    ):
        for suffix in ("", "_std"):
            if f"{source}{suffix}" in found and found[f"{source}{suffix}"].size:
                value = found[f"{source}{suffix}"]
                numbers[f"{name}{suffix}"] = ((), float(value.values.flat[-1]), value.attrs)
    return found.assign(numbers)


def _length_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    error = estimate["length"].values - truth["length"].values
    return float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else float("nan")


def _wrong_law(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return 0 where the law is right, 1 where another is supported, NaN where none is."""
    found = str(estimate["supported"].values) if "supported" in estimate else ""
    return float(found != str(truth["supported"].values)) if found else float("nan")


_LENGTH_ERROR = NamedMetric(name="length_error", unit="Å", function=_length_error)
_WRONG_LAW = NamedMetric(name="wrong_law", unit="1", function=_wrong_law)


def length_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of the lengths that were determined."""
    if "length" not in estimate:
        return {}
    error = estimate["length"].values - truth["length"].values
    known = np.flatnonzero(np.isfinite(error))
    std = estimate["length_std"].values if "length_std" in estimate else np.full(len(error), np.nan)
    return {"length": Residuals(key=known, error=error[known], std=std[known], unit="Å")}
