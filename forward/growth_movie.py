"""High-resolution TEM of a particle that grows: expected counts of the frames of a movie.

A frame is the mean over the whole layers that it sees. Every set of layers is simulated once: the
transform of its image is kept in a small cache, and frames of one set or mixture share it.
"""

from functools import lru_cache, partial
from itertools import groupby
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.hrtem import (
    Spectrum,
    drifting_frames,
    frame_times,
    image_spectrum,
    lazy_movie,
)
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import exit_wave
from echolith.structures.metal_growth import Layers, MetalGrowth, frame_states, particle_state
from echolith.units import Angstrom

KEPT = 16
"""Transforms of images; more than one frame sees."""


class GrowthMovie(Settings):
    """How a growing particle is seen."""

    acquisition: HrtemAcquisition = HrtemAcquisition()
    drift: tuple[float, float] = (0.0, 0.0)
    """Velocity of the specimen along y and x, Å/s. Nothing of it is recorded."""
    displacement: Annotated[Angstrom, Field(ge=0, le=1)] = 0.25
    """Root mean square of thermal motion along one axis."""
    points: Annotated[int, Field(ge=1, le=8)] = 2
    """Of the wave along each pixel."""
    slice_thickness: Annotated[Angstrom, Field(ge=0.2, le=5)] = 2.0


def growth_mean(growth: MetalGrowth, *, taken: GrowthMovie) -> xr.Dataset:
    """Return the expected counts of a growing particle's movie.

    Parameters
    ----------
    growth : MetalGrowth
    taken : GrowthMovie

    Returns
    -------
    xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, lazy.

    Raises
    ------
    BadInputError
        If the particle grows out of the field.
    """
    acquisition = taken.acquisition
    ends = frame_times(acquisition)[-1:]
    # The last state is the largest: that it has no room is told now, not in the middle of a movie.
    last = frame_states(growth, ends, frame_time=acquisition.frame_time)[0]
    particle_state(growth, list(last)[-1], field=acquisition.field)
    return lazy_movie(partial(_frames, growth=growth, taken=taken), acquisition=acquisition)


def state_counts(
    growth: MetalGrowth, state: Layers, *, taken: GrowthMovie
) -> npt.NDArray[np.float32]:
    """Return the expected counts (y, x) of a frame of a set of layers at rest."""
    still = taken.model_copy(update={"drift": (0.0, 0.0)})
    return np.asarray(_mixed(np.zeros(1), {state: 1.0}, growth, still)[0])


def _frames(
    times: npt.NDArray[np.float64], *, growth: MetalGrowth, taken: GrowthMovie
) -> npt.NDArray[np.float32]:
    states = frame_states(growth, times, frame_time=taken.acquisition.frame_time)
    groups = groupby(zip(times, states, strict=True), key=lambda pair: pair[1])
    return np.concatenate(
        [
            _mixed(np.array([time for time, _ in group]), mixture, growth, taken)
            for mixture, group in groups
        ]
    )


def _mixed(
    times: npt.NDArray[np.float64],
    mixture: dict[Layers, float],
    growth: MetalGrowth,
    taken: GrowthMovie,
) -> npt.NDArray[np.float32]:
    """Return frames that all see the same sets of layers, each for a part of the time."""
    spectra = [np.float32(part) * _state(one, growth, taken) for one, part in mixture.items()]
    return drifting_frames(
        times,
        spectrum=np.sum(spectra, axis=0),
        finer=taken.points,
        acquisition=taken.acquisition,
        drift=taken.drift,
    )


@lru_cache(maxsize=KEPT)
def _state(state: Layers, growth: MetalGrowth, taken: GrowthMovie) -> Spectrum:
    """Return the transform of the image of a set of layers; never changed by who gets it."""
    acquisition = taken.acquisition
    wave = exit_wave(
        particle_state(growth, state, field=acquisition.field),
        gpts=(taken.points * acquisition.shape[0], taken.points * acquisition.shape[1]),
        energy=acquisition.energy,
        slice_thickness=taken.slice_thickness,
        displacements={growth.metal.value: taken.displacement},
    )
    return image_spectrum(wave, acquisition=acquisition)
