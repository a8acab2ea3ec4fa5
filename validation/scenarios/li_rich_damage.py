"""Scenario ``li-rich-damage``: the surface layer of Li-rich oxide grows from scan to scan.

Several 4D-STEM scans of one field. Asked for are the depth of the reconstructed layer in each of
them, how much it has grown, and the contrast of the alkali layers after to before.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Self

import numpy as np
import xarray as xr
from ase import Atoms
from pydantic import Field, model_validator

from echolith.exposures import DIM, join_exposures
from echolith.forward.noise import PoissonCounting
from echolith.forward.surface_growth import (
    DEEPEST,
    AngstromPerDose,
    GrowthLaw,
    SurfaceGrowth,
    depths_of_exposures,
)
from echolith.inverse.surface_damage import recover_damage
from echolith.inverse.surface_kinds import Surface
from echolith.structures.li_rich_states import state_parameters
from echolith.structures.surface_layers import SurfacePhase
from echolith.units import Angstrom
from echolith.validation.damage_bound import alkali_scattering, damage_information
from echolith.validation.gauge import nothing_free
from echolith.validation.information import Information
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_surface import LiRichSurfaceSettings, li_rich_surface
from echolith.validation.scenarios.stem_settings import map_exposure
from echolith.validation.surface_bound import Layer

SUMMARY = "Li-rich layered oxide, scanned again and again: growth of the reconstructed surface"
QUANTITIES = ("growth", "alkali_contrast")

Specimens = Mapping[str, Atoms]


class LiRichDamageSettings(LiRichSurfaceSettings):
    """What can be set in the scenario ``li-rich-damage``."""

    depth: Annotated[Angstrom, Field(ge=0, le=60)] = 8.0
    """Before the first exposure."""
    exposures: Annotated[int, Field(ge=2, le=16)] = 2
    """Of one field, each at the dose."""
    law: GrowthLaw = GrowthLaw.SATURATING
    rate: Annotated[AngstromPerDose, Field(ge=0)] = 1e-4
    """Depth for each e/Å², at first."""
    final: Annotated[Angstrom, Field(gt=0, le=DEEPEST)] = 40.0
    """Depth after any dose, of a law that saturates."""

    @model_validator(mode="after")
    def _a_layer_that_grows(self) -> Self:
        if self.phase is SurfacePhase.LAYERED:
            raise ValueError("phase = layered; expected a phase that differs from the bulk")
        deepest = float(self.depths[-1])
        if deepest > 60:
            raise ValueError(
                f"the layer is {deepest:.3g} Å deep in the last exposure; expected at most 60 Å; "
                "lower rate, dose or exposures"
            )
        return self

    @property
    def growth(self) -> SurfaceGrowth:
        """The law of growth."""
        return SurfaceGrowth(law=self.law, initial=self.depth, rate=self.rate, final=self.final)

    @property
    def depths(self) -> np.ndarray:
        """Depth half-way through each exposure, which it is given throughout, (exposure,) Å."""
        return depths_of_exposures([self.dose] * self.exposures, self.growth)

    def alone(self) -> dict[str, Scenario]:
        """Return every exposure as a measurement of its own."""
        names = LiRichSurfaceSettings.model_fields
        kept = {name: getattr(self, name) for name in names if name != "depth"}
        return {
            str(n): li_rich_surface(LiRichSurfaceSettings(**kept, depth=float(depth)))
            for n, depth in enumerate(self.depths, start=1)
        }


def li_rich_damage(settings: LiRichDamageSettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If the settings do not fit together, e.g. a detector that cuts the disc.
    """
    alone = settings.alone()
    return Scenario(
        name="li-rich-damage",
        settings=settings,
        build=partial(_build, alone),
        truth=partial(_truth, alone),
        forward=partial(_forward, alone),
        noise=PoissonCounting(),
        solver=partial(recover_damage, options=settings.solver),
        gauge=nothing_free,
        metrics=(
            absolute_error("growth", unit="nm", scale=0.1),
            absolute_error("alkali_contrast", unit="1", scale=1.0),
            depth_rms(),
            phases_found(),
        ),
        quantities=QUANTITIES,
        notes=(
            "The solver's model differs from the generating one, as in li-rich-surface. A layer "
            "has the depth that it reaches half-way through an exposure throughout it.",
        ),
        information=partial(_information, settings, alone),
        exposure=map_exposure(
            settings, dose=settings.exposures * settings.dose, maps=settings.exposures
        ),
    )


def _information(
    settings: LiRichDamageSettings, alone: Mapping[str, Scenario], specimens: Specimens
) -> Information:
    return damage_information(
        {name: one.truth(specimens[name]) for name, one in alone.items()},
        [
            Layer(
                phase=Surface(settings.phase.value),
                depth=float(depth),
                width=settings.interface_width,
            )
            for depth in settings.depths
        ],
        parameters=state_parameters(settings.state),
        thickness=settings.thickness,
        acquisition=settings.acquisition,
        simulation=settings.simulation,
        noise=PoissonCounting(),
    )


def depth_rms() -> NamedMetric:
    """Rms error of the depth over the exposures, nm; NaN where one is not determined."""

    def rms(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if "surface_depth" not in estimate:
            return float("nan")
        error = estimate["surface_depth"].values - truth["surface_depth"].values
        return 0.1 * float(np.sqrt(np.mean(error**2)))

    return NamedMetric(name="surface_depth_rms", unit="nm", function=rms)


def phases_found() -> NamedMetric:
    """Share of the exposures with the true phase; "cannot tell" is not found."""

    def share(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if "surface_phase" not in estimate:
            return 0.0
        return float(np.mean(estimate["surface_phase"].values == truth["surface_phase"].values))

    return NamedMetric(name="phases_found", unit="1", function=share)


def _build(alone: Mapping[str, Scenario], seed: int) -> Specimens:
    # With one seed a deeper layer converts the same sites and more.
    return {name: one.build(seed) for name, one in alone.items()}


def _forward(alone: Mapping[str, Scenario], specimens: Specimens) -> xr.Dataset:
    return join_exposures({name: one.forward(specimens[name]) for name, one in alone.items()})


def _truth(alone: Mapping[str, Scenario], specimens: Specimens) -> xr.Dataset:
    surfaces = [one.truth(specimens[name]) for name, one in alone.items()]
    depth = np.array([float(one["surface_depth"]) for one in surfaces])
    w = np.array([alkali_scattering(one) for one in surfaces])
    return xr.Dataset(
        {
            "surface_phase": (DIM, [str(one["surface_phase"].values) for one in surfaces]),
            "surface_depth": (DIM, depth, {"units": "Å"}),
            "alkali_scattering": (DIM, w, {"units": "Å"}),
            "growth": ((), depth[-1] - depth[0], {"units": "Å"}),
            "alkali_contrast": ((), w[-1] / w[0], {"units": "1"}),
        },
        coords={DIM: list(alone)},
    )
