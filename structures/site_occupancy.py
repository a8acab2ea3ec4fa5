"""Sites shared by elements or partly empty, in ASE's convention."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError


def site_contents(atoms: Atoms) -> list[dict[str, float]]:
    """Return the occupancy of each element on the site of each atom.

    Reads ``info["occupancy"]`` (``{kind: {element: occupancy}}``) with the array
    ``spacegroup_kinds``; an atom without an entry is whole.

    Raises
    ------
    BadInputError
        If an occupancy is negative or those of a site sum to more than 1.
    """
    occupancy = atoms.info.get("occupancy") or {}
    kinds = atoms.arrays.get("spacegroup_kinds")
    symbols = list(atoms.symbols)
    if not occupancy or kinds is None:
        return [{symbol: 1.0} for symbol in symbols]
    by_kind = {str(kind): content for kind, content in occupancy.items()}
    contents = [
        dict(by_kind.get(str(kind), {symbol: 1.0}))
        for kind, symbol in zip(kinds.tolist(), symbols, strict=True)
    ]
    for content in contents:
        _check(content)
    return contents


def _check(content: Mapping[str, float]) -> None:
    total = sum(content.values())
    # CIF occupancies are rounded to three or four digits.
    if min(content.values()) < 0 or total > 1.005 or not np.isfinite(total):
        raise BadInputError(
            f"occupancies {dict(content)} of one site sum to {total:g}; expected 0 to 1 in all"
        )


def is_fractional(atoms: Atoms) -> bool:
    """Say whether any site is shared or partly empty."""
    return any(_partial(content) for content in site_contents(atoms))


def _partial(content: Mapping[str, float]) -> bool:
    return len([s for s in content.values() if s > 0]) != 1 or abs(sum(content.values()) - 1) > 1e-6


def cell_content(atoms: Atoms) -> dict[str, float]:
    """Return how many atoms of each element the cell holds on average."""
    total: dict[str, float] = {}
    for content in site_contents(atoms):
        for element, share in content.items():
            total[element] = total.get(element, 0.0) + share
    return total


def uniform_to_symbols(
    uniform: npt.NDArray[np.float64], content: Mapping[str, float]
) -> npt.NDArray[np.str_]:
    """Turn uniform numbers in [0, 1) into element symbols; ``""`` where the site is empty."""
    edges = np.cumsum(list(content.values()))
    if edges[-1] > 1 - 1e-6:
        edges = edges / edges[-1]
        edges[-1] = 1.0
    return np.asarray(np.array([*content, ""])[np.searchsorted(edges, uniform, side="right")])
