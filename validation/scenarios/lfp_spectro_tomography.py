"""Scenario ``lfp-spectro-tomography``: from frames or projections to the state of every particle.

A misaligned tilt series of LiFePO4 plates at two energies goes through ptychography, alignment,
tomography, chemistry and the statistics of particles, with the truth of each.
"""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Self

import xarray as xr
from pydantic import Field, model_validator

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.far_field import FarField
from echolith.forward.noise import PoissonCounting
from echolith.forward.optical_density import projected_counts
from echolith.forward.phosphate_frames import tilt_series_frames
from echolith.forward.tilt_placement import TiltJitter, tilt_placement
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, IronEdge, phosphate_response
from echolith.forward.xray_probe import ZonePlate
from echolith.inverse.far_field_options import Constraint, FarFieldSolver
from echolith.inverse.spectro_tomography import SpectroTomographySolver, spectro_tomography
from echolith.inverse.tilt_alignment import AlignmentOptions, Freedom
from echolith.inverse.transmission_map import TransmissionMap
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.phosphate_raster import true_volume
from echolith.structures.plate_packing import PackingRegion
from echolith.units import Angstrom, Electronvolt
from echolith.validation.gauge import nothing_free
from echolith.validation.metrics import absolute_error, mean_error, root_mean_square
from echolith.validation.particle_metrics import (
    particle_metrics,
    particle_residuals,
    particle_truth,
)
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.lfp_tomography import (
    composition_residuals,
    voxel_truth,
)
from echolith.validation.statistics import Residuals
from echolith.validation.tilt_gauge import standard_gauge

SUMMARY = "LiFePO4 plates, the whole chain: ptychography, alignment, volumes, chemistry, particles"
ALIGNED = {"shift_x": "Å", "shift_y": "Å", "rotation": "°", "scale": "1"}
NONE = xr.DataArray(0.0)
AXIS = {"axis_offset": "Å", "axis_tilt": "°"}


class Record(Enum):
    """What the measurement holds."""

    FRAMES = "frames"
    """Far-field frames of every view, as a beam line records them."""
    PROJECTIONS = "projections"
    """Transmitted photons of every pixel: without probe and diffraction, fast."""


class LfpSpectroTomographySettings(Settings):
    """What can be set in the scenario ``lfp-spectro-tomography``."""

    record: Record = Record.FRAMES
    plates: Annotated[int, Field(ge=1, le=150)] = 4
    facet_area: Annotated[float, Field(gt=0)] = 5e5
    """Median of the large facets, Å²."""
    state_of_charge: Annotated[float, Field(ge=0, le=1)] = 0.3
    active_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    pixels: Annotated[int, Field(ge=16, le=1024)] = 41
    """Along each side of a projection and of the volume; odd where frames are recorded."""
    tilts: Tilts = Tilts(angles=tuple(float(angle) for angle in range(-80, 78, 3)))
    """Its voxels are also the pixels of ptychography."""
    energies: tuple[Electronvolt, Electronvolt] = ENERGIES
    jitter: TiltJitter = TiltJitter(
        shift=130.0, rotation=0.2, scale=0.002, axis_offset=60.0, axis_tilt=0.3
    )
    frames: FarField = FarField(
        plate=ZonePlate(outer_zone_width=600, defocus=4e4),
        shape=(10, 10),
        step=350.0,
        jitter=60.0,
        pixels=64,
        photons=1e6,
        background=0.05,
    )
    """Of each view, where frames are recorded."""
    slab: Annotated[Angstrom, Field(gt=0)] | None = None
    """Of multislice in frames; ``null`` for the projection approximation."""
    incident: Annotated[int, Field(ge=1)] = 1000
    """Photons per pixel, view and energy, where projections are recorded."""
    edge: IronEdge = IronEdge()
    solver: SpectroTomographySolver = SpectroTomographySolver(
        transmission=TransmissionMap(
            ptychography=FarFieldSolver(
                iterations=40, background=True, constraint=Constraint.POISSON, alpha=1.0
            ),
            half_period=70.0,
        ),
        alignment=AlignmentOptions(freedom=Freedom.SHIFT),
    )
    """A small field tells rotations of 0.2° worse than they are; at the published size let the
    alignment find them too (``solver.alignment.freedom=similarity``)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.energies[0] == self.energies[1]:
            raise ValueError(
                f"energies = {self.energies[0]:g} eV twice; expected one on each white line, e.g. "
                f"{ENERGIES[0]:g} and {ENERGIES[1]:g} eV"
            )
        if self.record is Record.FRAMES and self.pixels % 2 == 0:
            raise ValueError(
                f"pixels = {self.pixels}; expected an odd number where frames are recorded"
            )
        if self.record is Record.FRAMES and self.frames.pixel_size != self.tilts.voxel_size:
            raise ValueError(
                f"frames.pixel_size = {self.frames.pixel_size:g} Å and tilts.voxel_size = "
                f"{self.tilts.voxel_size:g} Å; expected one value for both"
            )
        return self

    @property
    def ensemble(self) -> PlateEnsemble:
        """Plates in a cylinder that stays in the field, moved as the jitter moves it."""
        side = self.pixels * self.tilts.voxel_size - 2 * self.jitter.shift
        field = 0.86 * side - abs(self.jitter.axis_offset)
        region = PackingRegion(height=field, width=field, depth=0.8 * field)
        return PlateEnsemble(
            count=self.plates,
            region=region,
            facet_area=self.facet_area,
            facet_spread=0.3 if self.plates < 20 else 0.45,
            state_of_charge=self.state_of_charge,
            active_fraction=self.active_fraction,
            gap=20.0,
            binder=min(1, self.plates),
            binder_radius=200.0,
        )


@dataclass(frozen=True, kw_only=True)
class TiltedPlates:
    """Plates, and where each of their projections lies."""

    plates: PhosphateSpecimen
    placement: xr.Dataset
    seed: int


def lfp_spectro_tomography(settings: LfpSpectroTomographySettings) -> Scenario:
    """Make the scenario from its settings."""
    field = (settings.pixels,) * 2 if settings.record is Record.FRAMES else None
    return Scenario(
        name="lfp-spectro-tomography",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings),
        noise=PoissonCounting()
        if settings.record is Record.PROJECTIONS
        else DetectorNoise(readout=settings.frames.readout, saturation=settings.frames.saturation),
        solver=spectro_tomography(
            response=phosphate_response(settings.energies, edge=settings.edge),
            field=field,
            options=settings.solver,
        ),
        gauge=nothing_free,
        metrics=(
            root_mean_square("composition"),
            mean_error("composition"),
            root_mean_square("density"),
            absolute_error("state_of_charge", unit="1", scale=1.0),
            *(root_mean_square(name, unit=unit) for name, unit in ALIGNED.items()),
            *(absolute_error(name, unit=unit, scale=1.0) for name, unit in AXIS.items()),
            *particle_metrics(),
        ),
        quantities=("state_of_charge", "active_fraction", "axis_offset", "axis_tilt"),
        notes=(
            "The solver's model differs from the generating one: chords through analytic plates "
            "against voxels, and with frames a wave on finer pixels.",
            "What no tilt series tells is taken out of the jitter before it is simulated: a shift "
            "of the whole specimen, a mean rotation (it is the axis tilt) and magnification.",
            "Composition is scored on voxels that lie wholly inside a particle.",
            "The place of an image from frames holds where ptychography put the object, which is "
            "free together with the probe: errors of shifts are then not those of the alignment.",
        ),
        residuals=partial(chain_residuals, settings.record),
    )


def chain_residuals(
    record: Record, estimate: xr.Dataset, truth: xr.Dataset
) -> dict[str, Residuals]:
    """Return errors of voxels, of particles, and of where projections lie.

    Where an image from frames lies is not told by them alone: object and probe may move together.
    """
    found = composition_residuals(estimate, truth)
    found |= particle_residuals(estimate, truth)
    if record is Record.FRAMES:
        return found
    # What the alignment was not asked for has no uncertainty.
    names = [name for name in ALIGNED if float(estimate.get(f"{name}_std", NONE).max()) > 0]
    stds = [f"{name}_std" for name in names]
    return found | array_residuals(estimate[names + stds], truth[names])


def _build(settings: LfpSpectroTomographySettings, seed: int) -> TiltedPlates:
    drawn = tilt_placement(settings.tilts, settings.jitter, energies=settings.energies, seed=seed)
    return TiltedPlates(
        plates=phosphate_ensemble(settings.ensemble, seed=seed),
        placement=standard_gauge(drawn),
        seed=seed,
    )


def _forward(settings: LfpSpectroTomographySettings, specimen: TiltedPlates) -> xr.Dataset:
    if settings.record is Record.PROJECTIONS:
        return projected_counts(
            specimen.plates,
            tilts=settings.tilts,
            energies=settings.energies,
            shape=(settings.pixels, settings.pixels),
            incident=settings.incident,
            edge=settings.edge,
            placement=specimen.placement,
        )
    return tilt_series_frames(
        specimen.plates,
        tilts=settings.tilts,
        energies=settings.energies,
        frames=settings.frames,
        edge=settings.edge,
        placement=specimen.placement,
        slab=settings.slab,
        seed=specimen.seed,
    )


def _truth(settings: LfpSpectroTomographySettings, specimen: TiltedPlates) -> xr.Dataset:
    raster = true_volume(specimen.plates, settings.tilts.voxel_size, (settings.pixels,) * 3)
    threshold = settings.solver.particles.activity_threshold
    truth = voxel_truth(specimen.plates, raster)
    truth = truth.merge(particle_truth(specimen.plates, raster, threshold=threshold))
    return truth.merge(specimen.placement)
