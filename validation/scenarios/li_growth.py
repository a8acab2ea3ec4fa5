"""Scenario ``li-growth``: a faceted particle of lithium that grows, in a movie of HRTEM.

The edge of every facet in every frame, the speeds of two fronts that grow one after the other and
when growth switches from one to the other are asked for.
"""

from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.growth_movie import GrowthMovie, growth_mean
from echolith.forward.hrtem import frame_times
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.facet_growth import FacetGrowth, recover_growth
from echolith.seeds import stream
from echolith.structures.metal_growth import MetalGrowth, growth_truth
from echolith.units import Angstrom, Degree
from echolith.validation.exposure import LITHIUM_DOSE, LITHIUM_SOURCE, Exposure, SameTime
from echolith.validation.growth_bound import growth_information
from echolith.validation.metrics import absolute_error, root_mean_square
from echolith.validation.scenario import Scenario

SUMMARY = "Growing lithium particle, HRTEM movie: edges of facets, speeds, switch of direction"


class LiGrowthSettings(Settings):
    """What can be set in the scenario ``li-growth``."""

    growth: MetalGrowth = MetalGrowth(rotation=20.0, centre=(-3.0, -7.0))
    """`echolith.structures.metal_growth.PUBLISHED` is as published, and ten times as large."""
    turn: Annotated[Degree, Field(ge=0, le=30)] = 8.0
    """Largest rotation away from that of the particle, drawn anew for every seed."""
    offset: Annotated[Angstrom, Field(ge=0, le=100)] = 1.5
    """Largest distance from the particle's place along each axis, drawn too."""
    movie: GrowthMovie = GrowthMovie(
        acquisition=HrtemAcquisition(shape=(208, 208), pixel=0.6, frames=48),
        drift=(0.5, 0.8),
        slice_thickness=4.5,
    )
    readout: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation of a pixel's read-out noise, electrons."""
    solver: FacetGrowth = FacetGrowth()


def li_growth(settings: LiGrowthSettings) -> Scenario:
    """Make the scenario ``li-growth`` from its settings."""
    acquisition = settings.movie.acquisition
    noise = DetectorNoise(readout=settings.readout)
    return Scenario(
        name="li-growth",
        settings=settings,
        build=partial(drawn_growth, settings=settings),
        truth=partial(
            growth_truth, times=frame_times(acquisition), frame_time=acquisition.frame_time
        ),
        forward=partial(growth_mean, taken=settings.movie),
        noise=noise,
        solver=partial(recover_growth, options=settings.solver),
        gauge=common_middle,
        metrics=(
            root_mean_square("edge", unit="Å"),
            root_mean_square("facet_length", unit="Å"),
            absolute_error("first_speed", unit="Å/s", scale=1.0),
            absolute_error("second_speed", unit="Å/s", scale=1.0),
            absolute_error("switch_time", unit="ms", scale=1e3),
        ),
        quantities=("first_speed", "second_speed", "switch_time"),
        notes=(
            "The solver's model differs from the generating one: columns of a thin crystal instead "
            "of multislice, rows that are there in part, one outline for a whole frame.",
            "Edges are scored after a common shift of the particle's middle is taken out, and "
            "facets named by the nearest true one.",
        ),
        information=partial(growth_information, taken=settings.movie, noise=noise),
        exposure=_exposure(settings),
    )


def _exposure(settings: LiGrowthSettings) -> Exposure:
    acquisition = settings.movie.acquisition
    seconds = acquisition.frame_time * acquisition.frames
    return Exposure(
        dose=acquisition.dose * acquisition.frames,
        dose_unit="e/Å²",
        values=acquisition.frames * int(np.prod(acquisition.shape)),
        seconds=seconds,
        published=LITHIUM_DOSE,
        source=LITHIUM_SOURCE,
        proportional=() if settings.readout else ("movie.acquisition.dose_rate",),
        follows={"movie.acquisition.frame_time": SameTime("movie.acquisition.frames", seconds)},
    )


def drawn_growth(seed: int, *, settings: LiGrowthSettings) -> MetalGrowth:
    """Return the particle of a seed: rotation and place are drawn."""
    turn, x, y = stream(seed, "growing particle").uniform(-1, 1, 3).tolist()
    growth = settings.growth
    centre = (growth.centre[0] + settings.offset * x, growth.centre[1] + settings.offset * y)
    rotation = growth.rotation + settings.turn * turn
    return growth.model_copy(update={"rotation": rotation, "centre": centre})


def common_middle(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Name facets by the true ones, and move the middle to where edges fit the true ones best."""
    if "edge" not in estimate:
        return estimate
    away = estimate["angle"].values - truth["angle"].values[:, None]
    order = np.abs((away + 180) % 360 - 180).argmin(axis=1)
    named = estimate.isel(facet=order).assign_coords(facet=truth["facet"])
    error = (named["edge"] - truth["edge"]).values
    facet, frame = np.nonzero(np.isfinite(error))
    if not len(facet) or not error[facet, frame].any():
        return named
    angle = np.radians(truth["angle"].values)[facet]
    normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    std = named["edge_std"].values[facet, frame] if "edge_std" in named else np.ones(len(facet))
    shift = np.linalg.lstsq(normal / std[:, None], error[facet, frame] / std, rcond=None)[0]
    every = np.radians(truth["angle"])
    moved = named["edge"] - shift[0] * np.cos(every) - shift[1] * np.sin(every)
    found = {"edge": moved.transpose(*truth["edge"].dims).assign_attrs(units="Å")}
    if "middle" in named:
        found["middle"] = (named["middle"] + shift).assign_attrs(units="Å")
    return named.assign(found)
