"""Scenario ``li-hrtem``: a particle of lithium or sodium metal in one short frame of HRTEM.

Whether there is a lattice, its zone axis, spacing and rotation are asked for.
"""

from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.hrtem import hrtem_mean
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import exit_wave
from echolith.inverse.lattice import LatticeSearch, recover_lattice
from echolith.seeds import stream
from echolith.structures.amorphous import with_amorphous_carbon
from echolith.structures.lithium_particles import MetalParticle, metal_particle, particle_truth
from echolith.units import Angstrom
from echolith.validation.hrtem_bound import frame_information
from echolith.validation.information import Information
from echolith.validation.metrics import absolute_error
from echolith.validation.scenario import Scenario

SUMMARY = "Lithium particle, one HRTEM frame of 40 ms: zone axis, spacing and rotation"


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

    def information(specimen: Atoms) -> Information:
        return frame_information(forward(specimen), particle_truth(specimen), noise=noise)

    return Scenario(
        name="li-hrtem",
        settings=settings,
        build=partial(drawn_particle, settings=settings),
        truth=particle_truth,
        forward=forward,
        noise=noise,
        solver=partial(recover_lattice, options=settings.solver),
        gauge=nearest_rotation,
        metrics=(absolute_error("spacing"), absolute_error("rotation", unit="°", scale=1.0)),
        quantities=("spacing", "rotation"),
        notes=(
            "The solver's model differs from the generating one: it knows neither optics nor "
            "structure factors, and takes the particle's outline for a paraboloid.",
            "A rotation is scored after the zone axis's own symmetry is taken out.",
        ),
        information=information,
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
