"""The settings that say what a specimen of Li-rich oxide is, and the specimen they build."""

from pathlib import Path
from typing import Annotated

from ase import Atoms
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.structures.amorphous import with_amorphous_carbon
from echolith.structures.files import read_structure
from echolith.structures.li_rich_oxide import (
    Occupation,
    ProjectedParameters,
    field_specimen,
    periodic_specimen,
)
from echolith.structures.li_rich_states import ChargeState, Region, state_parameters
from echolith.structures.orientation import project_structure
from echolith.structures.redox_cells import redox_specimen
from echolith.structures.redox_models import RedoxModel, model_parameters
from echolith.structures.specimen_shape import mistilted, slope_of_variation, wedge
from echolith.structures.tm_migration import in_plane_migration, out_of_plane_migration
from echolith.units import Angstrom, Milliradian

Share = Annotated[float, Field(ge=0, le=0.3)]
Tilt = Annotated[Milliradian, Field(ge=-50, le=50)]
Layer = Annotated[Angstrom, Field(ge=0, le=500)]


class SpecimenSettings(Settings):
    """What the specimen is."""

    state: ChargeState = ChargeState.PRISTINE
    region: Region = Region.BULK
    as_measured: bool = False
    """With the published lengths as they are, 3 to 4 % too long; else scaled to the literature's
    pristine cell, so that the published changes alone are kept."""
    model: RedoxModel | None = None
    """A calculated structure instead of a state; with its vacancy clusters and molecules placed,
    or as its mean cell where the occupation is ordered."""
    thickness: Annotated[Angstrom, Field(gt=0, le=1000)] = 20.0
    occupation: Occupation = Occupation.RANDOM
    in_plane_migration: Share = 0.0
    """Share of the transition metals that have changed places within their layer."""
    out_of_plane_migration: Share = 0.0
    """Share of the transition metals that have moved into the alkali layer."""
    wedge: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the thickness lost from one side of the field to the other, along x."""
    tilt: tuple[Tilt, Tilt] = (0.0, 0.0)
    """About x and about y."""
    amorphous: tuple[Layer, Layer] = (0.0, 0.0)
    """Thickness of amorphous carbon on the entrance and on the exit face."""
    structure: Path | None = None
    zone_axis: tuple[int, int, int] = (0, 1, 0)

    @property
    def parameters(self) -> ProjectedParameters:
        """The projected cell."""
        if self.model is not None:
            return model_parameters(self.model)
        return state_parameters(self.state, self.region, as_measured=self.as_measured)

    @property
    def defective(self) -> bool:
        """Whether no small cell repeats."""
        moved = self.in_plane_migration or self.out_of_plane_migration
        return bool(moved or self.wedge or any(self.amorphous))


def build_specimen(settings: SpecimenSettings, *, field: tuple[float, float], seed: int) -> Atoms:
    """Build the specimen.

    Parameters
    ----------
    settings : SpecimenSettings
    field : (float, float)
        Height and width that must be filled, Å; a perfect crystal is one cell that repeats.
    seed : int

    Raises
    ------
    BadInputError
        If the structure cannot be read, or holds too little room for what migrates.
    """
    if settings.structure is not None:
        return project_structure(
            read_structure(settings.structure),
            zone_axis=settings.zone_axis,
            field=field,
            thickness=settings.thickness,
            seed=seed,
        )
    return _shaped(_migrated(_crystal(settings, field, seed), settings, seed), settings, seed)


def _crystal(settings: SpecimenSettings, field: tuple[float, float], seed: int) -> Atoms:
    ordered = settings.occupation is Occupation.ORDERED
    if settings.model is not None and not ordered:
        return redox_specimen(settings.model, field=field, thickness=settings.thickness, seed=seed)
    if ordered and not settings.defective:
        return periodic_specimen(
            settings.parameters, thickness=settings.thickness, occupation=settings.occupation
        )
    return field_specimen(
        settings.parameters,
        field=field,
        thickness=settings.thickness,
        occupation=settings.occupation,
        seed=seed,
    )


def _migrated(atoms: Atoms, settings: SpecimenSettings, seed: int) -> Atoms:
    if settings.in_plane_migration:
        atoms = in_plane_migration(atoms, fraction=settings.in_plane_migration, seed=seed)
    if settings.out_of_plane_migration:
        atoms = out_of_plane_migration(atoms, fraction=settings.out_of_plane_migration, seed=seed)
    return atoms


def _shaped(atoms: Atoms, settings: SpecimenSettings, seed: int) -> Atoms:
    if settings.wedge:
        atoms = wedge(atoms, slope=slope_of_variation(atoms, settings.wedge))
    if any(settings.tilt):
        atoms = mistilted(atoms, tilt=settings.tilt)
    if any(settings.amorphous):
        entrance, exit_ = settings.amorphous
        atoms = with_amorphous_carbon(atoms, entrance=entrance, exit=exit_, seed=seed)
    return atoms
