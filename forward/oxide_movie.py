"""High-resolution TEM of a shell of oxide that thickens: expected counts of its exposures.

Exposures follow each other after an interval, with the beam blanked between them. Shells are
simulated at whole steps of thickness, each once: the transform of its image is kept in a small
cache.
"""

from functools import lru_cache, partial
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
from echolith.structures.amorphous import with_amorphous_carbon
from echolith.structures.oxide_neighbours import Neighbour, with_neighbours
from echolith.structures.oxide_shells import OxideGrains, shell_atoms
from echolith.units import Angstrom, Second

KEPT = 8
"""Transforms of images."""
DISPLACEMENTS = {"Li": 0.25, "Na": 0.29, "O": 0.09, "C": 0.06, "F": 0.09, "La": 0.08, "Zr": 0.07}
"""Å. Root mean square of thermal motion along one axis at room temperature, about."""


class OxideMovie(Settings):
    """How a thickening shell is seen."""

    acquisition: HrtemAcquisition = HrtemAcquisition(
        shape=(240, 240), pixel=0.4, frames=3, frame_time=1 / 3
    )
    interval: Annotated[Second, Field(ge=0, le=1e5)] = 30.0
    """From the start of one exposure to that of the next."""
    step: Annotated[Angstrom, Field(gt=0, le=5)] = 0.2
    """Of the thicknesses that are simulated."""
    carbon: Annotated[Angstrom, Field(ge=0, le=200)] = 0.0
    """Thickness of an amorphous carbon film behind the particle."""
    neighbours: tuple[Neighbour, ...] = ()
    points: Annotated[int, Field(ge=1, le=8)] = 1
    """Of the wave along each pixel."""
    slice_thickness: Annotated[Angstrom, Field(ge=0.2, le=5)] = 4.0

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Of the exposures, s."""
        every = max(self.interval, self.acquisition.frame_time)
        return np.asarray(np.arange(self.acquisition.frames) * every, dtype=np.float64)

    def thicknesses(self, grains: OxideGrains) -> npt.NDArray[np.float64]:
        """Return the thickness of a shell in every exposure, Å, in whole steps."""
        exact = [grains.shell.thickening.thickness(time) for time in self.times]
        return np.asarray(self.step * np.rint(np.array(exact) / self.step))


def oxide_mean(grains: OxideGrains, *, taken: OxideMovie) -> xr.Dataset:
    """Return the expected counts of a thickening shell's exposures.

    Parameters
    ----------
    grains : OxideGrains
    taken : OxideMovie

    Returns
    -------
    xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, lazy; ``frame`` holds the time (s) of each.

    Raises
    ------
    BadInputError
        If the shell has no room in the field.
    """
    movie = lazy_movie(partial(_frames, grains=grains, taken=taken), acquisition=taken.acquisition)
    return movie.assign_coords(frame=("frame", taken.times, {"units": "s"}))


def _frames(
    times: npt.NDArray[np.float64], *, grains: OxideGrains, taken: OxideMovie
) -> npt.NDArray[np.float32]:
    every = taken.thicknesses(grains)
    numbers = np.searchsorted(frame_times(taken.acquisition), times)
    frames = [exposure(grains, float(every[n]), taken=taken) for n in numbers]
    return np.stack(frames)


def exposure(
    grains: OxideGrains, thickness: Angstrom, *, taken: OxideMovie
) -> npt.NDArray[np.float32]:
    """Return the expected counts (y, x) of one exposure of a shell."""
    frames = drifting_frames(
        np.zeros(1),
        spectrum=_state(grains, thickness, taken),
        finer=taken.points,
        acquisition=taken.acquisition,
        drift=(0.0, 0.0),
    )
    return np.asarray(frames[0])


@lru_cache(maxsize=KEPT)
def _state(grains: OxideGrains, thickness: float, taken: OxideMovie) -> Spectrum:
    """Return the transform of the image of a shell; never changed by who gets it."""
    acquisition = taken.acquisition
    atoms = with_neighbours(shell_atoms(grains, thickness), taken.neighbours, seed=grains.seed)
    wave = exit_wave(
        with_amorphous_carbon(atoms, exit=taken.carbon, seed=grains.seed),
        gpts=(taken.points * acquisition.shape[0], taken.points * acquisition.shape[1]),
        energy=acquisition.energy,
        slice_thickness=taken.slice_thickness,
        displacements=DISPLACEMENTS,
    )
    return image_spectrum(wave, acquisition=acquisition)
