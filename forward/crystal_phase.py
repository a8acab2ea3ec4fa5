"""A crystalline phase as diffraction sees it: symmetry, cell, sites with occupancies."""

from functools import cache, lru_cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.units import Angstrom, Degree

Array = npt.NDArray[np.float64]

SAME_POSITION = 1e-3
"""Fractional coordinates; images nearer than this are one atom of a special position."""


class PhaseSite(Settings):
    """One crystallographic site; several may share a position."""

    label: str
    """Of the site, e.g. Li1; sites that share a position have labels of their own."""
    element: str
    position: tuple[float, float, float]
    """Fractional."""
    occupancy: Annotated[float, Field(ge=0, le=1)] = 1.0
    b_iso: Annotated[float, Field(ge=0, le=20)] = 0.5
    """Displacement parameter B, Å²: amplitudes fall by exp(-B / 4 d²)."""

    @field_validator("element")
    @classmethod
    def _known(cls, value: str) -> str:
        import gemmi

        if gemmi.Element(value).atomic_number == 0:
            raise ValueError(f"element = {value!r}; expected a chemical symbol such as Fe")
        return value


class CrystalPhase(Settings):
    """A phase: its space group, conventional cell and sites."""

    name: str
    spacegroup: str
    """Hermann-Mauguin with its setting where there are several, e.g. ``R -3 m:H``."""
    cell: tuple[Angstrom, Angstrom, Angstrom, Degree, Degree, Degree]
    sites: tuple[PhaseSite, ...]

    @field_validator("spacegroup")
    @classmethod
    def _known_group(cls, value: str) -> str:
        import gemmi

        if gemmi.find_spacegroup_by_name(value) is None:
            raise ValueError(
                f"spacegroup = {value!r} is not known; expected a Hermann-Mauguin symbol such as "
                "'P n m a' or 'R -3 m:H'"
            )
        return value

    @field_validator("cell")
    @classmethod
    def _plausible(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        lengths, angles = np.array(value[:3]), np.array(value[3:])
        if (lengths < 1).any() or (lengths > 200).any():
            raise ValueError(f"cell = {value}; expected lengths of 1 to 200 Å; did you give nm?")
        if (angles < 20).any() or (angles > 160).any():
            raise ValueError(f"cell = {value}; expected angles of 20 to 160°")
        return value

    @property
    def unit_cell(self) -> Any:
        """The cell as gemmi's."""
        import gemmi

        return gemmi.UnitCell(*self.cell)

    @property
    def volume(self) -> float:
        """Of the conventional cell, Å³."""
        return float(self.unit_cell.volume)

    @property
    def mass(self) -> float:
        """Of the atoms in the conventional cell, g/mol."""
        import gemmi

        return float(
            sum(
                site.occupancy * multiplicity * gemmi.Element(site.element).weight
                for site, multiplicity in zip(self.sites, self.multiplicities, strict=True)
            )
        )

    @property
    def multiplicities(self) -> tuple[int, ...]:
        """How many atoms of each site are in the conventional cell."""
        return tuple(len(orbit(self.spacegroup, site.position)) for site in self.sites)

    @property
    def density(self) -> float:
        """Mass per volume, g/mol/Å³ (times 1.6605 in g/cm³)."""
        return self.mass / self.volume


@cache
def symmetry_operations(spacegroup: str) -> tuple[Array, Array]:
    """Return rotations (operations, 3, 3) and translations (operations, 3), centring included.

    Raises
    ------
    BadInputError
        If the space group is not known.
    """
    import gemmi

    group = gemmi.find_spacegroup_by_name(spacegroup)
    if group is None:
        raise BadInputError(f"space group '{spacegroup}' is not known; e.g. 'P n m a'")
    operations = list(group.operations())
    rotation = np.array([op.rot for op in operations], dtype=float) / gemmi.Op.DEN
    translation = np.array([op.tran for op in operations], dtype=float) / gemmi.Op.DEN
    return rotation, translation


@lru_cache(maxsize=4096)
def orbit(spacegroup: str, position: tuple[float, float, float]) -> Array:
    """Return every distinct image of a position in the conventional cell, (images, 3), fractional.

    Examples
    --------
    >>> len(orbit("F m -3 m", (0.0, 0.0, 0.0))), len(orbit("R -3 m:H", (0.0, 0.0, 0.24)))
    (4, 6)
    """
    rotation, translation = symmetry_operations(spacegroup)
    images = (rotation @ np.array(position) + translation) % 1.0
    distinct: list[Array] = []
    for image in images:
        away = [image - other for other in distinct]
        if all(np.abs(step - np.round(step)).max() > SAME_POSITION for step in away):
            distinct.append(image)
    return np.array(distinct)
