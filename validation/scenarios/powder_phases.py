"""The scenario ``powder``: a pattern of any phases, simulated or recorded, and its refinement."""

from typing import Annotated

from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.cif_files import read_phase
from echolith.forward.crystal_phases import crystal_phase
from echolith.inverse.powder_parameters import Refined
from echolith.inverse.rietveld import RietveldOptions
from echolith.validation.powder_bound import Powder
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.powder import (
    PowderSettings,
    drawn_cells,
    grains,
    powder_scenario,
)

SUMMARY = "Powder of phases by name or CIF: cells and weights by Rietveld refinement"


class AnyPowderSettings(PowderSettings):
    """What can be set in the scenario ``powder``."""

    phases: tuple[str, ...] = ("LiNiO2", "Li2CO3")
    """Crystals of the table by name, others as CIF files (``LiCoO2.cif``)."""
    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Of the phases in what is simulated, in their order; equal by default."""
    solver: RietveldOptions = RietveldOptions(
        refined=Refined(orientation=True, displacement_parameter=True, background=10)
    )
    """By default with what recorded patterns need."""

    @field_validator("phases", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


def powder(settings: AnyPowderSettings) -> Scenario:
    """Make the scenario ``powder`` from its settings."""
    known = tuple(
        read_phase(name) if name.lower().endswith(".cif") else crystal_phase(name)
        for name in settings.phases
    )
    weights = settings.weights or (1.0,) * len(known)
    if not known or len(weights) != len(known):
        raise BadInputError(
            f"{len(known)} phases and {len(weights)} weights; expected one or more phases, and a "
            "weight for each"
        )

    def build(seed: int) -> Powder:
        drawn = zip(drawn_cells(known, settings, seed), weights, strict=True)
        return Powder(sample=tuple(grains(phase, weight, settings) for phase, weight in drawn))

    named = tuple(f"weight_{phase.name}" for phase in known) if len(known) > 1 else ()
    return powder_scenario("powder", settings, known, build, named, ())
