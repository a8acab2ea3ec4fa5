"""Frozen phonons: random displacements of the atoms, one set per configuration."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError, near_match
from echolith.forward.acquisition import Settings
from echolith.seeds import stream

if TYPE_CHECKING:
    from ase import Atoms

LARGEST_DISPLACEMENT = 1.0
"""Å. A root mean square beyond this is a melt or a mistaken unit."""


class Phonons(Settings):
    """Frozen-phonon averaging (Loane, Xu & Silcox, Acta Cryst. A47 (1991) 267, Einstein model).

    ``displacement`` is the root mean square along one axis in Å, one number for all elements or
    one for each element; 0 configurations means a static specimen.
    """

    configurations: Annotated[int, Field(ge=0)] = 0
    displacement: float | dict[str, float] = 0.08
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("displacement")
    @classmethod
    def _plausible(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        for rms in value.values() if isinstance(value, dict) else [value]:
            if not 0 <= rms <= LARGEST_DISPLACEMENT:
                raise ValueError(
                    f"displacement = {rms:g} Å; expected 0 to {LARGEST_DISPLACEMENT:g} Å (root "
                    "mean square along one axis)"
                )
        return value


def rms_displacements(atoms: "Atoms", phonons: Phonons) -> npt.NDArray[np.float64]:
    """Return the root mean square displacement of every atom along one axis, (n,) in Å.

    Raises
    ------
    BadInputError
        If an element of the specimen has no displacement.
    """
    symbols = [str(symbol) for symbol in atoms.symbols]
    if not isinstance(phonons.displacement, dict):
        return np.full(len(symbols), float(phonons.displacement))
    missing = sorted(set(symbols) - set(phonons.displacement))
    if missing:
        hint = near_match(missing[0], phonons.displacement) if phonons.displacement else ""
        raise BadInputError(
            f"phonons.displacement has no value for {', '.join(missing)}; give a root mean square "
            f"in Å for every element of the specimen, or one number for all ({hint})"
        )
    return np.array([phonons.displacement[symbol] for symbol in symbols])


def displaced(atoms: "Atoms", phonons: Phonons, configuration: int) -> "Atoms":
    """Return a copy with atoms displaced across the beam.

    The displacement of an atom depends on the seed, the configuration and the atom's place in
    the list alone. The projection over a slice does not see a shift along the beam, so none is
    made and every atom keeps its slice. In a periodic cell all images of an atom move together.

    Parameters
    ----------
    atoms : ase.Atoms
    phonons : Phonons
    configuration : int
        Counted from 0.
    """
    moved: Atoms = atoms.copy()
    if phonons.configurations:
        normal = stream(phonons.seed, "phonons", configuration).normal(size=(len(atoms), 3))
        moved.positions[:, :2] += normal[:, :2] * rms_displacements(atoms, phonons)[:, None]
    return moved
