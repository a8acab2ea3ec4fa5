"""Scenario ``lfp-xas``: LiFePO4 plates in one view at many energies across the Fe L edges.

Asked for are the composition of every pixel and the state of charge of the projection, as Yu et
al. (2018) took them from 2D spectra before the tomography.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import xarray as xr
from pydantic import Field, field_validator, model_validator

from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.forward.optical_density import PixelMean, spectral_stack
from echolith.forward.phosphate_paths import View, pixel_means, ray_paths
from echolith.forward.spectrum_files import reference_spectra
from echolith.forward.tilts import centres
from echolith.forward.xray_absorption import IronEdge, checked_edge_energy, phosphate_response
from echolith.inverse.composition_map import CompositionMap, recover_composition_map
from echolith.protocols import Better
from echolith.structures.body_rays import packed_bodies
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.plate_packing import PackingRegion
from echolith.units import Angstrom, Degree, Electronvolt
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.information import Information
from echolith.validation.metrics import (
    NamedMetric,
    absolute_error,
    mean_error,
    root_mean_square,
)
from echolith.validation.scenario import Scenario
from echolith.validation.spectral_bound import spectral_information

SUMMARY = "LiFePO4 plates in one view across Fe L3: composition of every pixel, state of charge"
LEAST = 50.0
"""Å of phosphate along the beam, below which a pixel has no composition to ask for."""
PUBLISHED = 0.15
"""R factor that 94.64 % of the pixels of Yu et al. were below."""


class LfpXasSettings(Settings):
    """What can be set in the scenario ``lfp-xas``."""

    plates: Annotated[int, Field(ge=1, le=150)] = 12
    state_of_charge: Annotated[float, Field(ge=0, le=1)] = 0.168
    """Of the specimen; that of the projection is nearly the same."""
    active_fraction: Annotated[float, Field(ge=0, le=1)] = 0.4
    pixels: Annotated[int, Field(ge=16, le=1024)] = 64
    pixel_size: Annotated[Angstrom, Field(gt=0)] = 67.0
    tilt: Annotated[Degree, Field(ge=-90, le=90)] = 0.0
    first_energy: Electronvolt = 700.0
    last_energy: Electronvolt = 730.0
    energy_count: Annotated[int, Field(ge=1, le=1000)] = 61
    """Energies, evenly from the first to the last."""
    incident: Annotated[int, Field(ge=1)] = 1000
    """Photons per pixel and energy."""
    edge: IronEdge = IronEdge()
    references: tuple[str, str] | None = None
    """XDI files of LiFePO4 and FePO4, absorption per length, for the solver instead of `edge`."""
    solver: CompositionMap = CompositionMap()

    @field_validator("first_energy", "last_energy")
    @classmethod
    def _about_the_edge(cls, value: float) -> float:
        return checked_edge_energy(value)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        unknowns = 3 + self.solver.background_degree
        if self.energy_count <= unknowns or not self.first_energy < self.last_energy:
            raise ValueError(
                f"{self.energy_count} energies from {self.first_energy:g} to "
                f"{self.last_energy:g} eV for {unknowns} unknowns in each pixel; expected more "
                "energies than that, from lower to higher"
            )
        return self

    @property
    def energies(self) -> tuple[float, ...]:
        """EV, ascending."""
        return tuple(np.linspace(self.first_energy, self.last_energy, self.energy_count).tolist())

    @property
    def ensemble(self) -> PlateEnsemble:
        """Plates in a cylinder that stays in the field at every tilt."""
        field = 0.9 * self.pixels * self.pixel_size
        return PlateEnsemble(
            count=self.plates,
            region=PackingRegion(height=field, width=field, depth=0.7 * field),
            state_of_charge=self.state_of_charge,
            active_fraction=self.active_fraction,
            binder=min(2, self.plates),
        )


def lfp_xas(settings: LfpXasSettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If an energy is outside 680 to 780 eV, or the references cannot be used.
    """
    response = _response(settings)
    return Scenario(
        name="lfp-xas",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings),
        noise=PoissonCounting(),
        solver=partial(recover_composition_map, response=response, options=settings.solver),
        gauge=nothing_free,
        metrics=(
            root_mean_square("composition"),
            mean_error("composition"),
            absolute_error("state_of_charge", unit="1", scale=1.0),
            good_fits(),
        ),
        quantities=("state_of_charge",),
        notes=(
            "The solver's model differs from the generating one: counts are means of the "
            "transmitted intensity over nine rays a pixel through analytic plates and carbon "
            "binder; the solver fits two phases and a straight line to the logarithm. It knows "
            "the absorption of the pure phases.",
            f"Composition is scored where there are {LEAST:g} Å of phosphate or more; there is "
            "none in the estimate where the path is not significant.",
        ),
        information=partial(_information, settings),
        exposure=_exposure(settings),
    )


def _response(settings: LfpXasSettings) -> xr.DataArray:
    if settings.references is not None:
        return reference_spectra(*map(Path, settings.references))
    return phosphate_response(settings.energies, edge=settings.edge)


def _exposure(settings: LfpXasSettings) -> Exposure:
    return Exposure(
        dose=settings.incident * settings.energy_count / settings.pixel_size**2,
        dose_unit="photons/Å²",
        values=settings.energy_count * settings.pixels**2,
    )


def good_fits() -> NamedMetric:
    """Share of the pixels of phosphate whose R factor is below 0.15."""

    def share(estimate: xr.Dataset, _truth: xr.Dataset) -> float:
        if "r_factor" not in estimate or "composition" not in estimate:
            return float("nan")
        inside = np.isfinite(estimate["composition"].values)
        good = estimate["r_factor"].values[inside] < PUBLISHED
        return float(good.mean()) if good.size else float("nan")

    return NamedMetric(name="r_factor_below_0.15", unit="1", function=share, better=Better.HIGHER)


def _build(settings: LfpXasSettings, seed: int) -> PhosphateSpecimen:
    return phosphate_ensemble(settings.ensemble, seed=seed)


def _forward(settings: LfpXasSettings, specimen: PhosphateSpecimen) -> xr.Dataset:
    return spectral_stack(
        specimen,
        energies=settings.energies,
        tilt=settings.tilt,
        pixel_size=settings.pixel_size,
        shape=(settings.pixels, settings.pixels),
        incident=settings.incident,
        edge=settings.edge,
        pixel_mean=PixelMean.TRANSMISSION,
    )


def _paths(settings: LfpXasSettings, specimen: PhosphateSpecimen) -> np.ndarray:
    rays = ray_paths(
        packed_bodies(specimen),
        View(tilt=settings.tilt),
        shape=(settings.pixels, settings.pixels),
        pixel_size=settings.pixel_size,
    )
    return np.asarray(pixel_means(rays, 3), dtype=float)


def _truth(settings: LfpXasSettings, specimen: PhosphateSpecimen) -> xr.Dataset:
    """Return mean paths of every pixel; composition is NaN where there is too little phosphate."""
    paths = _paths(settings, specimen)
    total = paths[:2].sum(axis=0)
    share = np.divide(paths[1], total, out=np.full(total.shape, np.nan), where=total > LEAST)
    axis = centres(settings.pixels, settings.pixel_size)
    return xr.Dataset(
        {
            "path": (("species", "y", "x"), paths[:2], {"units": "Å"}),
            "composition": (("y", "x"), share, {"units": "1"}),
            "state_of_charge": ((), paths[1].sum() / total.sum(), {"units": "1"}),
        },
        coords={
            "species": ["LiFePO4", "FePO4"],
            **{dim: (dim, axis, {"units": "Å"}) for dim in ("y", "x")},
        },
    )


def _information(settings: LfpXasSettings, specimen: PhosphateSpecimen) -> Information:
    truth = _truth(settings, specimen)
    return spectral_information(
        _forward(settings, specimen)["counts"],
        truth["path"],
        response=phosphate_response(settings.energies, edge=settings.edge),
        background_degree=settings.solver.background_degree,
        significance=settings.solver.significance,
    )
