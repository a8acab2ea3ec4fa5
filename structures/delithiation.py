"""Extraction of lithium: how much stays in the alkali layer and in the transition-metal layer."""

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.cation_sites import LITHIUM, remember_columns


def delithiated(
    atoms: Atoms, *, alkali_layer: float, metal_layer: float = 0.0, seed: int = 0
) -> Atoms:
    """Return a specimen from which lithium is taken at random.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled specimen of Li-rich oxide.
    alkali_layer, metal_layer : float
        Part of the lithium of each layer that stays, 0 to 1; the number of atoms is rounded to
        the nearest whole one, so exact. The metal layer gives up its lithium first (by default
        all): charged to 4.6 V and more, it is found empty of it.
    seed : int

    Returns
    -------
    ase.Atoms
        Columns that lose every atom stay known to `cation_sites`.

    Raises
    ------
    BadInputError
        If a part is outside 0 to 1 or the atoms do not name their columns.
    """
    remaining: Atoms = atoms.copy()
    remember_columns(remaining)
    kept = np.ones(len(atoms), dtype=bool)
    for kind, part in (("Li", alkali_layer), ("M", metal_layer)):
        check_part(f"lithium left on {kind} sites", part)
        kept[_leaving(atoms, kind, part, seed)] = False
    del remaining[np.flatnonzero(~kept)]
    return remaining


def _leaving(atoms: Atoms, kind: str, part: float, seed: int) -> npt.NDArray[np.intp]:
    here = (atoms.arrays["column_kind"] == kind) & (atoms.numbers == LITHIUM)
    index = np.flatnonzero(here)
    order = stream(seed, "delithiation", kind).permutation(index)
    return np.asarray(order[round(part * len(index)) :])


def check_part(name: str, part: float, largest: float = 1.0) -> None:
    """Refuse a fraction outside 0 to the largest.

    Raises
    ------
    BadInputError
    """
    if not 0 <= part <= largest:
        raise BadInputError(
            f"{name} = {part:g}; expected a fraction of 0 to {largest:g}; give 5 % as 0.05"
        )
