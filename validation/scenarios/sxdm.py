"""Scenarios of scanning X-ray diffraction microscopy: ``nmc622-sxdm`` and ``linio2-sxdm``.

A focused beam scans a particle at every angle of a rocking curve; strain and tilt of every point
are asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.noise import PoissonCounting
from echolith.forward.rocking_curve import (
    RockingCurve,
    rocking_curve_mean,
)
from echolith.inverse.diffraction_map import DiffractionMap, recover_map
from echolith.inverse.diffraction_particles import MapParticles, recover_map_particles
from echolith.inverse.staged_solver import Keep, PiecewiseSolver
from echolith.protocols import Noise
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.strained_crystals import (
    MapSize,
    StrainedMap,
    crystal_cluster,
    single_crystal,
)
from echolith.structures.strained_fields import SpacingGradient
from echolith.structures.strained_particles import particle_diameters, particle_field
from echolith.units import Angstrom, Degree
from echolith.validation.diffraction_bound import diffraction_information
from echolith.validation.diffraction_truth import map_truth
from echolith.validation.exposure import Exposure, SameField
from echolith.validation.gauge import nothing_free
from echolith.validation.map_particle_metrics import map_particle_metrics
from echolith.validation.metrics import absolute_error, root_mean_square
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

Array = npt.NDArray[np.float64]

NMC622_SUMMARY = "NMC622 single crystal, nano-beam diffraction: maps of strain and tilt"
LINIO2_SUMMARY = "LiNiO2 cluster of grains, nano-beam diffraction: maps of strain and tilt"
MAPS = ("strain", "tilt_x", "tilt_y")
"""Whose errors are told point by point."""
FINE = 3
"""Pixels of the specimen along a step of the scan."""


class SxdmSettings(Settings):
    """What can be set in both scenarios."""

    curve: RockingCurve = RockingCurve()
    strain: Annotated[float, Field(ge=0, le=0.02)] = 1e-3
    """Standard deviation over the particle."""
    radial_gradient: Annotated[float, Field(ge=-0.02, le=0.02)] = 0.0
    """Strain of the faces of a particle over that of its core."""
    linear_gradient: Annotated[float, Field(ge=-0.02, le=0.02)] = 0.0
    """Strain of one side of a particle over that of the other, towards x."""
    solver: DiffractionMap = DiffractionMap()
    """Its reference is set to the true one where none is given."""
    particles: MapParticles = MapParticles()
    """How crystals are told apart and measured."""

    @property
    def size(self) -> MapSize:
        """A grid that holds the scan, its drift and the beam."""
        turns = (self.curve.etas - 1) / 2
        rows, columns = (
            int(np.ceil(FINE * (n + 2 * turns * abs(d)))) + 4 * FINE
            for n, d in zip(self.curve.scan, self.curve.drift, strict=True)
        )
        return MapSize(shape=(rows, columns), pixel=self.curve.step / FINE)

    @property
    def gradient(self) -> SpacingGradient:
        """Of the spacing through a particle."""
        return SpacingGradient(radial=self.radial_gradient, linear=self.linear_gradient)


class Nmc622SxdmSettings(SxdmSettings):
    """What can be set in the scenario ``nmc622-sxdm``."""

    tilt: Annotated[Degree, Field(ge=0, le=0.5)] = 0.08
    """Standard deviation of each component of the smooth tilt."""
    domains: Annotated[int, Field(ge=1, le=20)] = 2
    """Parted by cracks; of one crystal."""
    crystals: Annotated[int, Field(ge=1, le=200)] = 1
    """Particles; of several, each is one crystal without cracks, and ``strain`` and ``tilt`` are
    those between particles, of which a third varies inside."""
    diameter: Annotated[Angstrom, Field(gt=0)] = 2000.0
    """Mean of the particles, where there are several; sizes are log-normal."""
    diameter_spread: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Standard deviation of the diameters, part of their mean."""


class Linio2SxdmSettings(SxdmSettings):
    """What can be set in the scenario ``linio2-sxdm``."""

    curve: RockingCurve = RockingCurve(pixels=(32, 64))
    """Grains lean apart: a detector of 32 columns cuts off a tenth of the peaks."""
    grains: Annotated[int, Field(ge=2, le=200)] = 10
    orientation: Annotated[Degree, Field(ge=0, le=15)] = 0.1
    """Standard deviation of each component of the tilts of grains; beyond the rocking curve a grain
    is not seen."""


def nmc622_sxdm(settings: Nmc622SxdmSettings) -> Scenario:
    """Make the scenario ``nmc622-sxdm`` from its settings."""
    reference = CRYSTALS["NMC622"].cell[2] / 3
    one = partial(
        single_crystal,
        settings.size,
        reference=reference,
        strain=settings.strain,
        tilt=settings.tilt,
        domains=settings.domains,
        step=settings.tilt,
        gradient=settings.gradient,
    )
    build = one if settings.crystals == 1 else partial(_particles, settings, reference)
    return _scenario("nmc622-sxdm", settings, lambda seed: build(seed=seed), reference)


def _particles(settings: Nmc622SxdmSettings, reference: float, *, seed: int) -> StrainedMap:
    spread = settings.diameter_spread * settings.diameter
    return particle_field(
        settings.size,
        reference=reference,
        diameters=particle_diameters(
            settings.crystals, mean=settings.diameter, spread=spread, seed=seed
        ),
        between=settings.strain,
        orientation=settings.tilt,
        strain=settings.strain / 3,
        tilt=settings.tilt / 3,
        gradient=settings.gradient,
        margin=2 * settings.curve.step,
        seed=seed,
    )


def linio2_sxdm(settings: Linio2SxdmSettings) -> Scenario:
    """Make the scenario ``linio2-sxdm`` from its settings."""

    def build(seed: int) -> StrainedMap:
        return crystal_cluster(
            settings.size,
            reference=CRYSTALS["LiNiO2"].cell[2] / 3,
            grains=settings.grains,
            orientation=settings.orientation,
            strain=settings.strain,
            gradient=settings.gradient,
            seed=seed,
        )

    return _scenario("linio2-sxdm", settings, build, CRYSTALS["LiNiO2"].cell[2] / 3)


def _scenario(
    name: str, settings: SxdmSettings, build: Callable[[int], StrainedMap], reference: float
) -> Scenario:
    solver = settings.solver
    if solver.reference is None:
        solver = solver.model_copy(update={"reference": reference})
    return Scenario(
        name=name,
        settings=settings,
        build=build,
        truth=partial(
            map_truth, curve=settings.curve, order=settings.particles.order, inside=solver.inside
        ),
        forward=partial(rocking_curve_mean, settings=settings.curve),
        noise=_detector(settings.curve),
        solver=PiecewiseSolver(
            run=partial(_solve, solver, settings.particles), settings=(solver, settings.particles)
        ),
        gauge=nothing_free,
        metrics=(
            root_mean_square("strain", unit="ppm", scale=1e6),
            root_mean_square("tilt_x", unit="°"),
            root_mean_square("tilt_y", unit="°"),
            *map_particle_metrics(),
            *(absolute_error(f"drift_{axis}", unit="steps", scale=1.0) for axis in "yx"),
        ),
        quantities=("mean_strain",),
        notes=(
            "The solver's model differs from the generating one: the beam sees nine places of the "
            "specimen at once, and the solver one peak.",
            "Scored are points that the beam sees wholly within one domain.",
        ),
        information=partial(diffraction_information, curve=settings.curve),
        residuals=map_residuals,
        exposure=_exposure(settings.curve),
    )


def _exposure(curve: RockingCurve) -> Exposure:
    rows, columns = curve.scan
    swept = (curve.etas - 1) * curve.eta_step
    # The background of the detector stays when the beam gives more photons.
    alone = curve.background == 0 and curve.saturation is None
    return Exposure(
        dose=curve.counts / curve.step**2,
        dose_unit="diffracted photons/Å²",
        values=rows * columns * curve.etas * int(np.prod(curve.pixels)),
        proportional=("curve.counts",) if alone else (),
        follows={
            "curve.step": SameField("curve.scan", (rows * curve.step, columns * curve.step)),
            "curve.eta_step": partial(_same_sweep, swept),
        },
    )


def _same_sweep(swept: Degree, step: float) -> dict[str, int]:
    """Return the angles that a step of eta takes to sweep as far."""
    return {"curve.etas": max(5, round(swept / step) + 1)}


def _solve(
    solver: DiffractionMap, particles: MapParticles, measurement: xr.Dataset, keep: Keep
) -> xr.Dataset:
    maps = recover_map(measurement, options=solver, keep=keep)
    return recover_map_particles(maps, options=particles)


def _detector(curve: RockingCurve) -> Noise:
    if curve.saturation is None:
        return PoissonCounting()
    return DetectorNoise(saturation=curve.saturation)


def map_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return errors of strain (ppm, as its bound) and tilt of the points that are scored."""
    names = [name for name in MAPS if name in estimate]
    stds = [f"{name}_std" for name in names if f"{name}_std" in estimate]
    found = array_residuals(estimate[names + stds], truth[names])
    if "strain" in found:
        strain = found["strain"]
        found["strain"] = replace(
            strain, error=1e6 * strain.error, std=1e6 * strain.std, unit="ppm"
        )
    return found
