"""Scenario ``li-rich-surface``: the reconstructed surface of Li-rich oxide in 4D-STEM.

The scan reaches from the bulk across the surface into vacuum. Asked for are the phase of the
surface layer, its depth, and what stands on the sites of its alkali layer.
"""

from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    Settings,
    StemAcquisition,
)
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import to_scan_frame
from echolith.forward.stem import Simulation, stem_mean
from echolith.inverse.surface_kinds import Surface
from echolith.inverse.surface_recovery import SurfaceSolver, recover_surface
from echolith.structures.li_rich_oxide import Occupation
from echolith.structures.li_rich_states import ChargeState, Region, state_parameters
from echolith.structures.surface_layers import SurfacePhase, surface_specimen, true_surface
from echolith.structures.tm_migration import out_of_plane_migration
from echolith.units import Angstrom, Degree, ElectronsPerSquareAngstrom
from echolith.validation.gauge import nothing_free
from echolith.validation.information import Information
from echolith.validation.matching import match_columns
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.stem_settings import (
    map_exposure,
    meant_acquisition,
    probe_width,
)
from echolith.validation.statistics import Residuals
from echolith.validation.surface_bound import Layer, surface_information

SUMMARY = "Li-rich layered oxide, reconstructed surface: phase, depth, tetrahedral occupancy"
QUANTITIES = (
    "surface_depth",
    "tetrahedral_occupancy",
    "tm_in_surface_alkali_layer",
    "tm_in_alkali_layer",
)
EDGE = 1.0
"""Å; true columns nearer than this to the border of the scan are not asked for."""


class LiRichSurfaceSettings(Settings):
    """What can be set in the scenario ``li-rich-surface``."""

    state: ChargeState = ChargeState.CHARGED
    phase: SurfacePhase = SurfacePhase.LIMN2O4
    depth: Annotated[Angstrom, Field(ge=0, le=60)] = 15.0
    interface_width: Annotated[Angstrom, Field(ge=0.01, le=20)] = 2.0
    thickness: Annotated[Angstrom, Field(gt=0, le=1000)] = 20.0
    occupation: Occupation = Occupation.RANDOM
    migration: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Part of the transition metals of the M sites that went into the alkali layers."""
    direction: Degree = 0.0
    """Of the outward normal, from x towards y; the vacuum is on that side of the scan."""
    vacuum: Annotated[Angstrom, Field(ge=0)] = 4.0
    """Between the surface and the border of the scan."""
    beam: Beam = Beam()
    scan: Scan = Scan(shape=(36, 132), step=(0.27, 0.27))
    detector: PixelDetector = PixelDetector(shape=(40, 40), pixel_size=(1.2, 1.2))
    haadf: AnnularDetector = AnnularDetector(inner=50.0)
    """From 50 mrad: a specimen so thin scatters little beyond."""
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 8.1e4
    simulation: Simulation = Simulation()
    solver: SurfaceSolver = SurfaceSolver()

    @property
    def acquisition(self) -> StemAcquisition:
        """The measurement these settings describe."""
        return meant_acquisition(self)


def li_rich_surface(settings: LiRichSurfaceSettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If the settings do not fit together, e.g. a detector that cuts the disc.
    """
    acquisition = settings.acquisition
    return Scenario(
        name="li-rich-surface",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(stem_mean, acquisition=acquisition, simulation=settings.simulation),
        noise=PoissonCounting(),
        solver=partial(recover_surface, options=settings.solver),
        gauge=nothing_free,
        metrics=(
            phase_right(),
            phase_wrong(),
            absolute_error("surface_depth", unit="nm", scale=0.1),
            absolute_error("tetrahedral_occupancy", unit="1", scale=1.0),
            absolute_error("tm_in_surface_alkali_layer", unit="1", scale=1.0),
            absolute_error("tm_in_alkali_layer", unit="1", scale=1.0),
        ),
        quantities=QUANTITIES,
        notes=(
            "The solver's model differs from the generating one: data come from multislice of "
            "atoms; the solver assumes a thin phase with one response of all columns. It knows "
            "the phases that may occur and what a column of each holds in the mean.",
        ),
        information=partial(_information, settings),
        residuals=composition_residuals,
        exposure=map_exposure(settings, dose=settings.dose),
    )


def phase_right() -> NamedMetric:
    """1 where the true phase was found; "cannot tell" is no success, and no error."""
    return NamedMetric(
        name="phase_found", unit="1", function=lambda e, t: float(_found(e) == _true(t))
    )


def phase_wrong() -> NamedMetric:
    """1 where another than the true phase was found."""
    return NamedMetric(
        name="phase_wrong",
        unit="1",
        function=lambda e, t: float(_found(e) not in ("cannot tell", _true(t))),
    )


def _found(estimate: xr.Dataset) -> str:
    return str(estimate["surface_phase"].values) if "surface_phase" in estimate else "cannot tell"


def _true(truth: xr.Dataset) -> str:
    return str(truth["surface_phase"].values)


def composition_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of the share of metals on every column, by kind of column."""
    found = {}
    for species in ("M", "Li", "T"):
        match = match_columns(estimate, truth, species=species)
        ours = estimate["tm_fraction"].values[match.estimate]
        found[f"tm_fraction_{species.lower()}"] = Residuals(
            key=match.truth,
            error=ours - truth["tm_fraction"].values[match.truth],
            std=estimate["tm_fraction_std"].values[match.estimate],
            unit="1",
        )
    return {name: one for name, one in found.items() if len(one.error)}


def _build(settings: LiRichSurfaceSettings, seed: int) -> Atoms:
    box = probe_width(settings)
    height, width = (length + box for length in settings.scan.extent)
    angle = np.deg2rad(settings.direction)
    normal = np.abs([np.cos(angle), np.sin(angle)])
    atoms = surface_specimen(
        state_parameters(settings.state),
        surface_parameters=state_parameters(settings.state, Region.SURFACE),
        phase=settings.phase,
        depth=settings.depth,
        interface_width=settings.interface_width,
        field=(height, width),
        thickness=settings.thickness,
        direction=settings.direction,
        vacuum=settings.vacuum + box / 2 / float(normal.max()),
        occupation=settings.occupation,
        seed=seed,
    )
    if not settings.migration:
        return atoms
    return out_of_plane_migration(atoms, fraction=settings.migration, seed=seed)


def _information(settings: LiRichSurfaceSettings, specimen: Atoms) -> Information:
    return surface_information(
        _truth(settings, specimen),
        layer=Layer(
            phase=Surface(settings.phase.value),
            depth=settings.depth,
            width=settings.interface_width,
        ),
        parameters=state_parameters(settings.state),
        thickness=settings.thickness,
        acquisition=settings.acquisition,
        simulation=settings.simulation,
        noise=PoissonCounting(),
    )


def _truth(settings: LiRichSurfaceSettings, specimen: Atoms) -> xr.Dataset:
    """Return what stands in the scan; occupancies are those of the columns there."""
    found = true_surface(specimen)
    xy = np.stack([found["x"].values, found["y"].values], axis=-1)
    xy = to_scan_frame(xy, settings.scan, np.asarray(specimen.cell))
    height, width = settings.scan.extent
    inset = np.minimum(xy, np.array([width, height]) - xy).min(axis=1)
    found = found.assign(
        x=("column", xy[:, 0], {"units": "Å"}), y=("column", xy[:, 1], {"units": "Å"})
    ).isel(column=np.flatnonzero(inset > EDGE))
    found = found.assign(surface_phase=((), settings.phase.value))
    alkali = found["species"].values == "Li"
    found["tm_in_alkali_layer"] = (
        (),
        float(found["tm_fraction"].values[alkali].mean()),
        {"units": "1"},
    )
    surface = found["depth"].values < settings.depth
    for name, kind, values in (
        ("tm_in_surface_alkali_layer", "Li", found["tm_fraction"].values),
        ("tetrahedral_occupancy", "T", 1 - found["vacancy"].values),
    ):
        here = surface & (found["species"].values == kind)
        found = found.drop_vars(name, errors="ignore")
        if here.any() and settings.phase is not SurfacePhase.LAYERED:
            found[name] = ((), float(values[here].mean()), {"units": "1"})
    return found.drop_vars("surface_depth") if settings.phase is SurfacePhase.LAYERED else found
