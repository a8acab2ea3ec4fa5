"""Scenario ``lfp-tomography``: LiFePO4 plates at two energies over a tilt series.

Projections of optical density (no ptychography): asked for are the density and the composition of
every voxel, and the state of charge.
"""

from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.forward.optical_density import projected_counts
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, IronEdge, phosphate_response
from echolith.inverse.composition_volume import CompositionSolver, recover_composition
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.phosphate_raster import true_volume
from echolith.structures.plate_packing import PackingRegion
from echolith.units import Electronvolt
from echolith.validation.composition_bound import composition_information
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.information import Information
from echolith.validation.metrics import absolute_error, mean_error, root_mean_square
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals
from echolith.validation.true_resolution import true_half_period

SUMMARY = "LiFePO4 plates, soft X-ray tomography at two energies: composition of every voxel"
FULL = 0.999
"""Share of a voxel that is phosphate, above which it is called inside a particle."""


class LfpTomographySettings(Settings):
    """What can be set in the scenario ``lfp-tomography``."""

    plates: Annotated[int, Field(ge=1, le=150)] = 8
    state_of_charge: Annotated[float, Field(ge=0, le=1)] = 0.2
    active_fraction: Annotated[float, Field(ge=0, le=1)] = 0.4
    pixels: Annotated[int, Field(ge=16, le=1024)] = 72
    """Along each side of a projection; so many voxels along each side of the volume."""
    tilts: Tilts = Tilts()
    energies: tuple[Electronvolt, Electronvolt] = ENERGIES
    incident: Annotated[int, Field(ge=1)] = 1000
    """Photons per pixel, view and energy, in the mean of both energies."""
    split: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the photons at the first energy."""
    edge: IronEdge = IronEdge()
    solver: CompositionSolver = CompositionSolver()

    @property
    def photons(self) -> int | tuple[int, int]:
        """Per pixel and view: at both energies, or at each where they differ."""
        if self.split == 0.5:
            return self.incident
        first, second = (
            max(1, round(2 * share * self.incident)) for share in (self.split, 1 - self.split)
        )
        return first, second

    @property
    def ensemble(self) -> PlateEnsemble:
        """Plates in a cylinder that stays in the field at every tilt."""
        field = 0.9 * self.pixels * self.tilts.voxel_size
        region = PackingRegion(height=field, width=field, depth=0.7 * field)
        return PlateEnsemble(
            count=self.plates,
            region=region,
            state_of_charge=self.state_of_charge,
            active_fraction=self.active_fraction,
            binder=min(2, self.plates),
        )


def lfp_tomography(settings: LfpTomographySettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If the two energies are one.
    """
    if settings.energies[0] == settings.energies[1]:
        raise BadInputError(
            f"energies = {settings.energies[0]:g} eV twice; expected one on each white line, e.g. "
            f"{ENERGIES[0]:g} and {ENERGIES[1]:g} eV"
        )
    return Scenario(
        name="lfp-tomography",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings),
        noise=PoissonCounting(),
        solver=partial(
            recover_composition,
            response=phosphate_response(settings.energies, edge=settings.edge),
            options=settings.solver,
        ),
        gauge=nothing_free,
        metrics=(
            root_mean_square("composition"),
            mean_error("composition"),
            root_mean_square("density"),
            absolute_error("state_of_charge", unit="1", scale=1.0),
            true_half_period("density"),
        ),
        quantities=("state_of_charge",),
        notes=(
            "The solver's model differs from the generating one: projections come from chords "
            "through analytic plates, three by three rays a pixel, their densities averaged; the "
            "solver projects voxels. It knows the absorption of the pure phases.",
            "Composition is scored on voxels that lie wholly inside a particle.",
        ),
        residuals=composition_residuals,
        information=partial(_information, settings),
        exposure=_exposure(settings),
    )


def _exposure(settings: LfpTomographySettings) -> Exposure:
    views = len(settings.tilts.angles) * len(settings.energies)
    area = settings.tilts.voxel_size**2
    return Exposure(
        dose=settings.incident * views / area,
        dose_unit="photons/Å²",
        values=views * settings.pixels**2,
        proportional=("incident",),
    )


def composition_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of the composition of voxels inside particles."""
    error = (estimate["composition"] - truth["composition"]).transpose("z", "y", "x").values
    known = np.flatnonzero(np.isfinite(error))
    std = np.full(error.size, np.nan)
    if "composition_std" in estimate:
        std = estimate["composition_std"].transpose("z", "y", "x").values.ravel()
    found = Residuals(key=known, error=error.ravel()[known], std=std[known], unit="1")
    return {"composition": found} if len(known) else {}


def _build(settings: LfpTomographySettings, seed: int) -> PhosphateSpecimen:
    return phosphate_ensemble(settings.ensemble, seed=seed)


def _forward(settings: LfpTomographySettings, specimen: PhosphateSpecimen) -> xr.Dataset:
    return projected_counts(
        specimen,
        tilts=settings.tilts,
        energies=settings.energies,
        shape=(settings.pixels, settings.pixels),
        incident=settings.photons,
        edge=settings.edge,
    )


def _truth(settings: LfpTomographySettings, specimen: PhosphateSpecimen) -> xr.Dataset:
    raster = true_volume(specimen, settings.tilts.voxel_size, (settings.pixels,) * 3)
    return voxel_truth(specimen, raster)


def voxel_truth(specimen: PhosphateSpecimen, raster: xr.Dataset) -> xr.Dataset:
    """Return density, composition and state of charge; composition is NaN but wholly inside.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    raster : xarray.Dataset
        Of it, from `true_volume`.
    """
    inside = raster["density"] > FULL
    return xr.Dataset(
        {
            "density": raster["density"],
            "composition": raster["composition"].where(inside).assign_attrs(units="1"),
            "state_of_charge": ((), specimen.state_of_charge, {"units": "1"}),
        }
    )


def _information(settings: LfpTomographySettings, specimen: PhosphateSpecimen) -> Information:
    found = true_volume(specimen, settings.tilts.voxel_size, (settings.pixels,) * 3)
    return composition_information(
        _forward(settings, specimen)["counts"].compute(),
        found[["density", "composition", "binder"]].assign(inside=found["density"] > FULL),
        tilts=settings.tilts,
        response=phosphate_response(settings.energies, edge=settings.edge),
    )
