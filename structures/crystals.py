"""Crystals by name, as ASE atoms with fractional occupancies kept."""

from typing import Any

from ase import Atoms
from ase.spacegroup import crystal as build_crystal

from echolith.errors import BadInputError, near_match
from echolith.structures.crystal_table import CRYSTALS, CrystalData


def crystal_names() -> tuple[str, ...]:
    """Return the names of all crystals."""
    return tuple(CRYSTALS)


def crystal_data(name: str) -> CrystalData:
    """Return space group, cell, sites and source of a crystal.

    Raises
    ------
    BadInputError
        If there is none of this name; the nearest one is named.
    """
    if name not in CRYSTALS:
        raise BadInputError(f"there is no crystal '{name}'; {near_match(name, CRYSTALS)}")
    return CRYSTALS[name]


def crystal(name: str) -> Atoms:
    """Return the conventional cell of a crystal.

    Parameters
    ----------
    name : str
        One of `crystal_names`.

    Returns
    -------
    ase.Atoms
        One atom a site, named by its most frequent element; periodic. Where sites are shared or
        partly empty, ``info["occupancy"]`` holds ``{kind: {element: occupancy}}`` and the array
        ``spacegroup_kinds`` the kind of each atom (ASE's convention). ``info["source"]`` names
        the literature.

    Raises
    ------
    BadInputError
        If there is none of this name.

    Examples
    --------
    >>> crystal("Li2O").get_chemical_formula()
    'Li8O4'
    """
    data = crystal_data(name)
    entries = [
        (element, site.position, share)
        for site in data.sites
        for element, share in site.content.items()
    ]
    shared: dict[str, Any] = {}
    if any(share < 1 for *_, share in entries):
        shared = {"occupancies": [share for *_, share in entries], "onduplicates": "keep"}
    atoms = build_crystal(
        [element for element, *_ in entries],
        [position for _, position, _ in entries],
        spacegroup=data.spacegroup,
        setting=data.setting,
        cellpar=data.cell,
        **shared,
    )
    atoms.info["source"] = data.source
    return atoms
