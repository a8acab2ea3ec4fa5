"""Scenarios of powder diffraction: ``lfp-powder``, ``linio2-powder`` and ``nmc622-powder``.

A pattern is simulated by a richer model (Voigt lines, exact axial divergence) of phases whose cells
are near those that the solver starts from, and refined.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.cation_exchange import exchanged, without_exchange
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase, powder_mean
from echolith.forward.powder_profile import AxialDivergence
from echolith.inverse.powder_checks import check_wavelength
from echolith.inverse.powder_parameters import OccupancyShift, free_cell
from echolith.inverse.rietveld import RietveldOptions, refine
from echolith.seeds import stream
from echolith.units import Angstrom, Second
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.metrics import NamedMetric
from echolith.validation.powder_bound import Powder, powder_information
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

LFP_SUMMARY = "LiFePO4 and FePO4 powder: cells and weights by Rietveld refinement"
LINIO2_SUMMARY = "LiNiO2 powder: cell, and exchange of lithium and nickel"
NMC622_SUMMARY = "NMC622 powder: cell, and exchange of lithium and nickel"
TAKEN = PowderAcquisition(
    stop=110.0,
    displacement=3e-4,
    divergence=AxialDivergence(sample=0.02, slit=0.015),
    background=(150.0, -60.0, 30.0, 0.0, 10.0),
)
COMPARED = ("cell_length", "weight_fraction", "size", "strain")


class PowderSettings(Settings):
    """What can be set in every scenario of a powder."""

    acquisition: PowderAcquisition = TAKEN
    """How the pattern is really taken, its counts those of one second a point; of this the solver
    knows the source's lines, the geometry and the polarisation."""
    dwell: Annotated[Second, Field(gt=0, le=1e5)] = 1.0
    """Counting time of a point."""
    cell_spread: Annotated[float, Field(ge=0, le=0.01)] = 0.005
    """By how much, as a part, each length of the true cells is off those the solver starts from,
    either way; drawn with the seed."""
    size: Annotated[Angstrom, Field(gt=50)] = 600.0
    strain: Annotated[float, Field(ge=0, le=0.01)] = 5e-4
    march: Annotated[float, Field(gt=0.2, le=5)] = 1.0
    """Preferred orientation of 001 (March-Dollase)."""
    calibrated: bool = False
    """The solver knows the instrument's widths and axial divergence, as from a standard."""
    solver: RietveldOptions = RietveldOptions()

    @property
    def taken(self) -> PowderAcquisition:
        """How the pattern is taken in the time there is."""
        one = self.acquisition
        background = tuple(self.dwell * value for value in one.background)
        return one.model_copy(
            update={"peak_counts": self.dwell * one.peak_counts, "background": background}
        )


class LfpPowderSettings(PowderSettings):
    """What can be set in the scenario ``lfp-powder``."""

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Weight of LiFePO4 in LiFePO4 and FePO4."""


class LayeredPowderSettings(PowderSettings):
    """What can be set in the scenarios ``linio2-powder`` and ``nmc622-powder``."""

    exchange: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    """Part of the lithium sites that nickel holds, lithium being on so many sites of metal."""


def lfp_powder(settings: LfpPowderSettings) -> Scenario:
    """Make the scenario ``lfp-powder`` from its settings."""
    known = (crystal_phase("LiFePO4"), crystal_phase("FePO4"))

    def build(seed: int) -> Powder:
        weights = (settings.fraction, 1 - settings.fraction)
        parts = [
            grains(phase, weight, settings)
            for phase, weight in zip(drawn_cells(known, settings, seed), weights, strict=True)
            if weight > 0
        ]
        return Powder(sample=tuple(parts))

    return powder_scenario("lfp-powder", settings, known, build, ("weight_LiFePO4",), ())


def linio2_powder(settings: LayeredPowderSettings) -> Scenario:
    """Make the scenario ``linio2-powder`` from its settings."""
    return _layered("linio2-powder", "LiNiO2", settings)


def nmc622_powder(settings: LayeredPowderSettings) -> Scenario:
    """Make the scenario ``nmc622-powder`` from its settings."""
    return _layered("nmc622-powder", "NMC622", settings)


def _exposure(settings: PowderSettings) -> Exposure:
    points = len(settings.acquisition.angles)
    seconds = points * settings.dwell
    return Exposure(
        dose=seconds,
        dose_unit="s of beam",
        values=points,
        seconds=seconds,
        proportional=("dwell",),
    )


def _layered(scenario: str, crystal: str, settings: LayeredPowderSettings) -> Scenario:
    ideal, slopes = without_exchange(crystal_phase(crystal))

    def build(seed: int) -> Powder:
        (phase,) = drawn_cells((ideal,), settings, seed)
        mixed = exchanged(phase, slopes, settings.exchange)
        return Powder(sample=(grains(mixed, 1.0, settings),), exchange=settings.exchange)

    shift = OccupancyShift(name="exchange", phase=crystal, slopes=slopes)
    return powder_scenario(scenario, settings, (ideal,), build, ("exchange",), (shift,))


def powder_scenario(
    name: str,
    settings: PowderSettings,
    known: tuple[CrystalPhase, ...],
    build: Callable[[int], Powder],
    quantities: tuple[str, ...],
    shifts: tuple[OccupancyShift, ...],
) -> Scenario:
    """Make a scenario of phases that the solver knows, its quantities beside their cells."""
    lengths = tuple(
        f"{axis}_{phase.name}" for phase in known for axis in free_cell(phase) if axis in "abc"
    )
    return Scenario(
        name=name,
        settings=settings,
        build=build,
        truth=partial(_truth, known),
        forward=lambda powder: powder_mean(powder.sample, acquisition=settings.taken),
        noise=PoissonCounting(),
        solver=partial(_solve, settings, known, shifts),
        gauge=nothing_free,
        metrics=(
            NamedMetric(name="cell_error", unit="ppm", function=_cell_error),
            NamedMetric(name="r_weighted", unit="1", function=lambda e, _t: _told(e, "r_weighted")),
            NamedMetric(
                name="chi_squared", unit="1", function=lambda e, _t: _told(e, "chi_squared")
            ),
        ),
        quantities=(*quantities, *lengths),
        notes=(
            "The solver's model differs from the generating one: pseudo-Voigt lines and axial "
            "divergence of equal heights to second order, against Voigt lines and its exact curve.",
            "Both take structure factors from the same tables.",
        ),
        information=partial(powder_information, settings.taken, calibrated=settings.calibrated),
        exposure=_exposure(settings),
        residuals=powder_residuals,
    )


def powder_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return errors of cells, weights, sizes and strains of the phases that were determined."""
    names = [name for name in COMPARED if name in estimate and name in truth]
    with_std = [*names, *(f"{name}_std" for name in names if f"{name}_std" in estimate)]
    return array_residuals(estimate[with_std], truth[names])


def _solve(
    settings: PowderSettings,
    known: tuple[CrystalPhase, ...],
    shifts: tuple[OccupancyShift, ...],
    measurement: xr.Dataset,
) -> xr.Dataset:
    taken = settings.taken
    check_wavelength(measurement, taken)
    instrument = PowderAcquisition(
        geometry=taken.geometry, lines=taken.lines, polarization=taken.polarization
    )
    refined = settings.solver.refined
    if settings.calibrated:
        standard = {"widths": taken.widths, "divergence": taken.divergence}
        instrument = instrument.model_copy(update=standard)
        refined = refined.model_copy(update={"gaussian": False, "divergence": False})
    if not refined.occupancies:
        refined = refined.model_copy(update={"occupancies": shifts})
    if settings.march != 1:
        refined = refined.model_copy(update={"orientation": True})
    found = refine(
        measurement,
        phases=tuple(PowderPhase(phase=phase) for phase in known),
        instrument=instrument,
        options=settings.solver.model_copy(update={"refined": refined}),
    )
    return found.assign(_scalars(found, known)).assign_attrs(conclusion=_agreement(found))


def _agreement(found: xr.Dataset) -> str:
    """Say how well the pattern is met, and what is not determined."""
    unknown = found.attrs["undetermined"]
    return (
        f"Weighted R {100 * float(found['r_weighted']):.2f} %, "
        f"{100 * float(found['r_expected']):.2f} % expected of counting alone; chi squared "
        f"{float(found['chi_squared']):.2f}."
        + ("" if found.attrs["converged"] else " The fit did not converge.")
        + (f" Not determined: {', '.join(unknown)}." if unknown else "")
    )


def _scalars(found: xr.Dataset, known: tuple[CrystalPhase, ...]) -> dict[str, xr.DataArray]:
    """Return the quantities of the scenario under their names, with their ``_std``."""
    named: dict[str, xr.DataArray] = {}
    for mark in ("", "_std"):
        for phase in known:
            own = found.sel(phase=phase.name, drop=True)
            named[f"weight_{phase.name}{mark}"] = own[f"weight_fraction{mark}"]
            for axis in "abc":
                cell = own[f"cell_length{mark}"].sel(axis=axis, drop=True)
                named[f"{axis}_{phase.name}{mark}"] = cell
            exchange = f"{phase.name}.exchange"
            if exchange in found["parameter"].values:
                values = found[f"parameters{mark}"].sel(parameter=exchange, drop=True)
                named[f"exchange{mark}"] = values.assign_attrs(units="1")
    # What is not determined is no estimate.
    unknown = {name for name, value in named.items() if np.isnan(float(value))}
    return {
        name: value for name, value in named.items() if name.removesuffix("_std") not in unknown
    }


def _truth(known: tuple[CrystalPhase, ...], powder: Powder) -> xr.Dataset:
    by_name = {part.phase.name: part for part in powder.sample}
    total = sum(part.weight for part in powder.sample)
    missing = np.full(3, np.nan)
    rows = [by_name.get(phase.name) for phase in known]
    truth = xr.Dataset(
        {
            "cell_length": (
                ("phase", "axis"),
                np.array([missing if row is None else row.phase.cell[:3] for row in rows]),
                {"units": "Å"},
            ),
            "weight_fraction": (
                "phase",
                np.array([0.0 if row is None else row.weight / total for row in rows]),
                {"units": "1"},
            ),
            "size": (
                "phase",
                np.array([np.nan if row is None else row.size for row in rows], dtype=float),
                {"units": "Å"},
            ),
            "strain": (
                "phase",
                np.array([np.nan if row is None else row.strain for row in rows]),
                {"units": "1"},
            ),
        },
        coords={"phase": [phase.name for phase in known], "axis": ["a", "b", "c"]},
    )
    if powder.exchange is not None:
        truth["exchange"] = ((), powder.exchange, {"units": "1"})
    for phase in known:
        own = truth.sel(phase=phase.name, drop=True)
        truth[f"weight_{phase.name}"] = own["weight_fraction"]
        for axis in "abc":
            truth[f"{axis}_{phase.name}"] = own["cell_length"].sel(axis=axis, drop=True)
    return truth


def drawn_cells(
    known: tuple[CrystalPhase, ...], settings: PowderSettings, seed: int
) -> tuple[CrystalPhase, ...]:
    """Return phases with lengths of their cells drawn, as symmetry allows."""
    found = []
    for index, phase in enumerate(known):
        parts = 1 + settings.cell_spread * stream(seed, "powder", index).uniform(-1, 1, 3)
        free = free_cell(phase)
        lengths = [
            edge * (parts[k] if axis in free else parts[0])
            for k, (axis, edge) in enumerate(zip("abc", phase.cell[:3], strict=True))
        ]
        cell = (float(lengths[0]), float(lengths[1]), float(lengths[2]), *phase.cell[3:])
        found.append(phase.model_copy(update={"cell": cell}))
    return tuple(found)


def grains(phase: CrystalPhase, weight: float, settings: PowderSettings) -> PowderPhase:
    """Return a phase with the crystallites of the settings."""
    return PowderPhase(
        phase=phase,
        weight=weight,
        size=settings.size,
        strain=settings.strain,
        march=settings.march,
    )


def _cell_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    if "cell_length" not in estimate:
        return float("nan")
    error = (estimate["cell_length"] / truth["cell_length"] - 1).values
    known = np.isfinite(error)
    return float(1e6 * np.abs(error[known]).max()) if known.any() else float("nan")


def _told(estimate: xr.Dataset, name: str) -> float:
    return float(estimate[name]) if name in estimate else float("nan")
