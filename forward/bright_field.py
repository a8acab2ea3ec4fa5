"""Bright-field movies of a growing whisker at low magnification.

A prism this thick and light shifts the phase by ``sigma V0 t`` and loses ``exp(-t / lambda)`` of
the intensity to where the objective aperture stops it; optics and camera are those of
`echolith.forward.hrtem`. Chords across the axis and the wave at edges along it are means over
points of the wave, so that edges lie where they lie and not on the grid.
"""

from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import fft

from echolith.forward.acquisition import Settings
from echolith.forward.bright_field_projection import mean_chord, mean_presence
from echolith.forward.electron_factors import electron_form_factor, mass_ratio
from echolith.forward.hrtem import drifting_frames, image_spectrum, lazy_movie
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import ExitWave
from echolith.forward.optics import interaction_constant, wavelength
from echolith.seeds import stream
from echolith.structures.whiskers import Whisker, hexagon_corners
from echolith.units import Angstrom, Unit

Array = npt.NDArray[np.float64]

MARGIN = 80.0
"""Å of field around the frame, so that no fringe comes in from the opposite side."""
MOST_EXPOSURES = 8
"""Into which a frame is cut while the tip moves."""
CARBON_DENSITY = 0.1
"""Atoms of an evaporated film in an Å³, 2.0 g/cm³."""


class BrightFieldContrast(Settings):
    """What metal, oxide and base do to electrons, and what they lie on.

    Mean inner potentials are those of independent atoms at their density; bonds lower them.
    """

    metal_potential: Annotated[float, Unit("V"), Field(ge=0, le=50)] = 7.3
    oxide_potential: Annotated[float, Unit("V"), Field(ge=0, le=50)] = 16.6
    metal_absorption: Annotated[Angstrom, Field(gt=0)] = 3000.0
    """Thickness that leaves 1/e of the electrons in the aperture."""
    oxide_absorption: Annotated[Angstrom, Field(gt=0)] = 1500.0
    base: Annotated[Angstrom, Field(ge=0, le=1e4)] = 600.0
    """Thickness of the oxide that a whisker grows out of; 0: nothing is there."""
    carbon: Annotated[Angstrom, Field(ge=0, le=1000)] = 0.0
    """Thickness of an amorphous carbon film that drifts along."""
    points: Annotated[int, Field(ge=1, le=8)] = 2
    """Of the wave along each pixel."""


def whisker_movie(
    whisker: Whisker,
    *,
    acquisition: HrtemAcquisition,
    contrast: BrightFieldContrast,
    place: tuple[float, float] = (0.0, 0.0),
    drift: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> xr.Dataset:
    """Return the expected counts of all frames.

    Parameters
    ----------
    whisker : Whisker
    acquisition : HrtemAcquisition
        Pixels of 5 to 10 Å suit a field of half a micrometre.
    contrast : BrightFieldContrast
    place : (float, float)
        Of the middle of the whisker's foot at the start, from the middle of the frame (y, x), Å.
    drift : (float, float)
        Velocity of the specimen along y and x, Å/s. Nothing of it is recorded.
    seed : int
        Of the carbon film.

    Returns
    -------
    xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, lazy.
    """
    frames = partial(
        _frames,
        whisker=whisker,
        acquisition=acquisition,
        contrast=contrast,
        place=place,
        drift=drift,
        seed=seed,
    )
    return lazy_movie(frames, acquisition=acquisition)


def _frames(
    times: Array,
    *,
    whisker: Whisker,
    acquisition: HrtemAcquisition,
    contrast: BrightFieldContrast,
    place: tuple[float, float],
    drift: tuple[float, float],
    seed: int,
) -> npt.NDArray[np.float32]:
    """Return frames (n, y, x) about some times, s."""
    wide = _with_margin(acquisition)
    grid = _points(acquisition, wide, contrast.points)
    film = _carbon_spectrum(wide, contrast, seed)
    frames = np.empty((len(times), *acquisition.shape), dtype=np.float32)
    for frame, time in zip(frames, times, strict=True):
        moments = _exposures(whisker, time, acquisition)
        spectra = []
        for moment, length in moments:
            at = (place[0] + drift[0] * moment, place[1] + drift[1] * moment)
            values = _wave(whisker, moment, length, grid, at, acquisition, contrast)
            if contrast.carbon:
                values = values * np.exp(1j * _moved(film, drift, moment, grid))
            wave = ExitWave(
                values=values.astype(np.complex64),
                sampling=(acquisition.pixel / contrast.points,) * 2,
                energy=acquisition.energy,
            )
            spectra.append(image_spectrum(wave, acquisition=wide))
        seen = drifting_frames(
            np.zeros(1),
            spectrum=np.mean(spectra, axis=0),
            finer=contrast.points,
            acquisition=wide,
            drift=drift,
        )[0]
        top, left = ((n - m) // 2 for n, m in zip(wide.shape, acquisition.shape, strict=True))
        frame[...] = seen[top : top + frame.shape[0], left : left + frame.shape[1]]
    return frames


def _with_margin(acquisition: HrtemAcquisition) -> HrtemAcquisition:
    """Return the acquisition of a larger frame, of sizes that transform fast."""
    margin = int(np.ceil(MARGIN / acquisition.pixel))
    shape = tuple(fft.next_fast_len(n + 2 * margin) for n in acquisition.shape)
    return acquisition.model_copy(update={"shape": shape})


def _points(
    acquisition: HrtemAcquisition, wide: HrtemAcquisition, points: int
) -> tuple[Array, Array]:
    """Return rows and columns of the points from the middle of the frame, Å."""
    rows, columns = (
        acquisition.pixel * (np.arange(points * n) / points - (n - m) // 2 - (m - 1) / 2)
        for n, m in zip(wide.shape, acquisition.shape, strict=True)
    )
    return rows[:, None], columns[None]


def _exposures(
    whisker: Whisker, time: float, acquisition: HrtemAcquisition
) -> list[tuple[float, float]]:
    """Return moments of a frame and the length at each; the tip moves a pixel between at most."""
    ends = time + acquisition.frame_time * np.array([-0.5, 0.5])
    way = float(np.ptp(whisker.law_length(np.maximum(ends, 0))))
    count = int(np.clip(np.ceil(way / acquisition.pixel), 1, MOST_EXPOSURES))
    moments = time + acquisition.frame_time * ((np.arange(count) + 0.5) / count - 0.5)
    return list(zip(moments.tolist(), whisker.length(moments).tolist(), strict=True))


def _wave(
    whisker: Whisker,
    time: float,
    length: float,
    grid: tuple[Array, Array],
    place: tuple[float, float],
    acquisition: HrtemAcquisition,
    contrast: BrightFieldContrast,
) -> npt.NDArray[np.complex128]:
    """Return the wave behind base and whisker; a point that an edge cuts holds its mean."""
    size = acquisition.pixel / contrast.points
    c, s = np.cos(np.radians(whisker.direction)), np.sin(np.radians(whisker.direction))
    y, x = grid[0] - place[0], grid[1] - place[1]
    along, across = c * x + s * y, c * y - s * x
    shell = float(whisker.shell_thickness(time))
    whole = mean_chord(across, hexagon_corners(whisker.width + 2 * shell, whisker.roll), size)
    metal = mean_chord(across, hexagon_corners(whisker.width, whisker.roll), size)
    sigma = interaction_constant(acquisition.energy)
    in_metal = 1j * sigma * contrast.metal_potential - 0.5 / contrast.metal_absorption
    in_oxide = 1j * sigma * contrast.oxide_potential - 0.5 / contrast.oxide_absorption
    parts = (
        (-np.inf, 0.0, np.exp(in_oxide * contrast.base)),
        (0.0, max(length - shell, 0.0), np.exp(in_metal * metal + in_oxide * (whole - metal))),
        (max(length - shell, 0.0), length, np.exp(in_oxide * whole)),
    )
    wave = np.ones(along.shape, dtype=np.complex128)
    for start, end, behind in parts:
        if end > start:
            wave += mean_presence(along, start, end, size) * (behind - 1)
    return wave


def _carbon_spectrum(
    wide: HrtemAcquisition, contrast: BrightFieldContrast, seed: int
) -> npt.NDArray[np.complex128]:
    """Return the transform of a film's phase: atoms anywhere, each a phase ``lambda gamma f_e``."""
    ny, nx = (n * contrast.points for n in wide.shape)
    step = wide.pixel / contrast.points
    ky, kx = fft.fftfreq(ny, step)[:, None], fft.rfftfreq(nx, step)
    factor = electron_form_factor("C", (ky**2 + kx**2) / 4)
    atoms = CARBON_DENSITY * contrast.carbon * step**2
    draws = stream(seed, "whisker carbon").normal(size=(ny, nx))
    strength = wavelength(wide.energy) * mass_ratio(wide.energy) * factor / step**2
    return np.asarray(fft.rfft2(draws) * np.sqrt(atoms) * strength)


def _moved(
    spectrum: npt.NDArray[np.complex128],
    drift: tuple[float, float],
    time: float,
    grid: tuple[Array, Array],
) -> Array:
    """Return the phase of a film that has drifted for some time."""
    ny, nx = grid[0].size, grid[1].size
    ky = fft.fftfreq(ny, np.diff(grid[0][:2, 0])[0])[:, None]
    kx = fft.rfftfreq(nx, np.diff(grid[1][0, :2])[0])
    turned = spectrum * np.exp(-2j * np.pi * time * (ky * drift[0] + kx * drift[1]))
    return np.asarray(fft.irfft2(turned, s=(ny, nx)))
