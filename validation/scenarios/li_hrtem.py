"""Scenario ``li-hrtem``: a particle of lithium or sodium metal in short frames of HRTEM.

Whether there is a lattice, its zone axis, spacing and rotation are asked for, which one frame may
tell, and columns, which take about a second of frames; of a movie also how the particle moves.
"""

from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.hrtem import hrtem_mean
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import exit_wave
from echolith.inverse.hrtem_recovery import recover_particle
from echolith.inverse.lattice import LatticeSearch
from echolith.protocols import Better
from echolith.seeds import stream
from echolith.structures.amorphous import with_amorphous_carbon
from echolith.structures.lithium_particles import MetalParticle, metal_particle, particle_truth
from echolith.units import Angstrom
from echolith.validation.exposure import LITHIUM_DOSE, LITHIUM_SOURCE, Exposure
from echolith.validation.hrtem_bound import column_image, movie_information
from echolith.validation.information import Information
from echolith.validation.matching import match_columns
from echolith.validation.metrics import NamedMetric, absolute_error, false_columns
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

SUMMARY = (
    "Lithium particle in HRTEM, a frame of 40 ms or more: zone axis, spacing, rotation, columns"
)


Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class LiHrtemSettings(Settings):
    """What can be set in the scenario ``li-hrtem``."""

    particle: MetalParticle = MetalParticle(size=60.0, zone_axis=(1, 1, 1))
    """Its rotation and, where none is given, its lattice are drawn anew for every seed."""
    strain: Annotated[float, Field(ge=0, le=0.02)] = 0.01
    """Largest deviation of the drawn lattice from that of the table."""
    offset: Annotated[Angstrom, Field(ge=0, le=100)] = 4.0
    """Largest distance of the particle from the middle of the frame along each axis."""
    carbon: Annotated[Angstrom, Field(ge=0, le=200)] = 0.0
    """Thickness of an amorphous carbon film behind the particle."""
    acquisition: HrtemAcquisition = HrtemAcquisition()
    drift: tuple[float, float] = (0.0, 0.0)
    """Velocity of the specimen along y and x, Å/s."""
    displacements: dict[str, Annotated[Angstrom, Field(ge=0, le=1)]] = Field(
        default={"Li": 0.25, "Na": 0.29, "C": 0.06}
    )
    """Root mean square of thermal motion along one axis, at room temperature."""
    points: Annotated[int, Field(ge=1, le=8)] = 2
    """Of the wave along each pixel."""
    slice_thickness: Annotated[Angstrom, Field(ge=0.2, le=5)] = 2.0
    readout: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation of a pixel's read-out noise, electrons."""
    solver: LatticeSearch = LatticeSearch()


def li_hrtem(settings: LiHrtemSettings) -> Scenario:
    """Make the scenario ``li-hrtem`` from its settings."""
    forward = partial(particle_movie, settings=settings)
    noise = DetectorNoise(readout=settings.readout)
    truth = partial(movie_truth, settings=settings)

    def information(specimen: Atoms) -> Information:
        one = column_image(forward(lone_atom(settings)))
        return movie_information(forward(specimen), truth(specimen), column=one, noise=noise)

    return Scenario(
        name="li-hrtem",
        settings=settings,
        build=partial(drawn_particle, settings=settings),
        truth=truth,
        forward=forward,
        noise=noise,
        solver=partial(recover_particle, options=settings.solver),
        gauge=nearest_rotation,
        metrics=(
            absolute_error("spacing"),
            absolute_error("rotation", unit="°", scale=1.0),
            NamedMetric(name="column_rms", unit="pm", function=column_rms),
            NamedMetric(
                name="found_columns", unit="1", function=found_columns, better=Better.HIGHER
            ),
            false_columns(),
        ),
        quantities=("spacing", "rotation"),
        notes=(
            "The solver's model differs from the generating one: it knows optics, but no structure "
            "factor, takes the particle's outline for a paraboloid, and columns for weak phase "
            "objects.",
            "A rotation is scored after the zone axis's own symmetry is taken out.",
        ),
        residuals=movie_residuals,
        information=information,
        exposure=_exposure(settings),
    )


def _exposure(settings: LiHrtemSettings) -> Exposure:
    acquisition = settings.acquisition
    still = settings.drift == (0.0, 0.0)
    times = ("acquisition.dose_rate", "acquisition.frame_time")
    return Exposure(
        dose=acquisition.dose * acquisition.frames,
        dose_unit="e/Å²",
        values=acquisition.frames * int(np.prod(acquisition.shape)),
        seconds=acquisition.frame_time * acquisition.frames,
        published=LITHIUM_DOSE,
        source=LITHIUM_SOURCE,
        proportional=() if settings.readout else times if still else times[:1],
    )


def drawn_particle(seed: int, *, settings: LiHrtemSettings) -> Atoms:
    """Return the particle of a seed: rotation, lattice and place are drawn."""
    draw = stream(seed, "lithium particle")
    rotation, strain, *offset = draw.uniform(-1, 1, 4).tolist()
    particle = settings.particle
    lattice = particle.edge * (1 + settings.strain * strain)
    drawn = particle.model_copy(
        update={
            "rotation": particle.rotation + 90 * rotation,
            "lattice": lattice if particle.lattice is None else particle.lattice,
        }
    )
    y, x = (settings.offset * place for place in offset)
    atoms = metal_particle(drawn, field=settings.acquisition.field, centre=(x, y), seed=seed)
    return with_amorphous_carbon(atoms, exit=settings.carbon, seed=seed)


def particle_movie(specimen: Atoms, *, settings: LiHrtemSettings) -> xr.Dataset:
    """Return the expected counts of a specimen's movie."""
    acquisition = settings.acquisition
    wave = exit_wave(
        specimen,
        gpts=(settings.points * acquisition.shape[0], settings.points * acquisition.shape[1]),
        energy=acquisition.energy,
        slice_thickness=settings.slice_thickness,
        displacements=settings.displacements,
    )
    return hrtem_mean(wave, acquisition=acquisition, drift=settings.drift)


def nearest_rotation(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Turn an estimate by whole periods of the zone axis to the true rotation."""
    if "rotation" not in estimate:
        return estimate
    period = float(truth["rotation_period"])
    away = float(estimate["rotation"]) - float(truth["rotation"])
    turned = estimate["rotation"] - period * np.rint(away / period)
    return estimate.assign(rotation=turned.assign_attrs(estimate["rotation"].attrs))


def lone_atom(settings: LiHrtemSettings) -> Atoms:
    """Return one atom of the metal in the middle of the field."""
    height, width = settings.acquisition.field
    cell = (width, height, settings.slice_thickness)
    return Atoms(settings.particle.metal.value, positions=[[n / 2 for n in cell]], cell=cell)


def movie_truth(specimen: Atoms, *, settings: LiHrtemSettings) -> xr.Dataset:
    """Return the truth of a particle: columns where the mean frame shows them, and its way."""
    acquisition, still = settings.acquisition, particle_truth(specimen)
    times = (np.arange(acquisition.frames) + 0.5) * acquisition.frame_time
    way = dict(zip(("y", "x"), settings.drift, strict=True))
    places = {name: still[name] + speed * times.mean() for name, speed in way.items()}
    truth = still.assign(
        {name: place.assign_attrs(still[name].attrs) for name, place in places.items()}
    )
    if acquisition.frames == 1:
        return truth
    return truth.assign(
        {
            f"shift_{name}": ("frame", speed * (times - times.mean()), {"units": "Å"})
            for name, speed in way.items()
        }
    )


def column_rms(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the root-mean-square error of matched columns per axis, pm; NaN without any."""
    error, _, _ = _column_errors(estimate, truth)
    return 100 * float(np.sqrt(np.mean(error**2))) if len(error) else float("nan")


def found_columns(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the share of the true columns that are found."""
    match = match_columns(estimate, truth)
    return len(match.truth) / match.expected if match.expected else float("nan")


def movie_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of columns, x and y in turn, and of the shifts of frames."""
    shifts = truth[[name for name in truth.data_vars if str(name).startswith("shift")]]
    found = array_residuals(estimate, shifts)
    error, std, key = _column_errors(estimate, truth)
    if len(error):
        found["columns"] = Residuals(key=key, error=error, std=std, unit="Å")
    return found


def _column_errors(estimate: xr.Dataset, truth: xr.Dataset) -> tuple[Array, Array, Indices]:
    """Return errors and standard deviations of matched columns, and which they are."""
    match = match_columns(estimate, truth)
    error, std = (np.full((len(match.truth), 2), np.nan) for _ in range(2))
    for n, name in enumerate(("x", "y") if len(match.truth) else ()):
        error[:, n] = estimate[name].values[match.estimate] - truth[name].values[match.truth]
        if f"{name}_std" in estimate:
            std[:, n] = estimate[f"{name}_std"].values[match.estimate]
    key = 2 * match.truth[:, None] + np.arange(2)
    return error.ravel(), std.ravel(), key.ravel()
