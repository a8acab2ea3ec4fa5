"""Unit cells of LixFePO4, and how much of each end member a specimen of plates holds."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal as build_crystal

from echolith.errors import BadInputError
from echolith.structures.crystal_table import CrystalData, Site
from echolith.structures.crystals import crystal_data
from echolith.structures.delithiation_fields import DELITHIATED, LITHIATED
from echolith.structures.phosphate_plates import PhosphateSpecimen


def phosphate_data(lithium: float) -> CrystalData:
    """Return LixFePO4: cell and positions between those of LiFePO4 and FePO4 (Vegard).

    Parameters
    ----------
    lithium : float
        x, 0 to 1.

    Returns
    -------
    CrystalData
        Space group Pnma; the lithium site is shared with vacancies.

    Raises
    ------
    BadInputError
        If x is outside 0 to 1.
    """
    if not 0 <= lithium <= 1:
        raise BadInputError(f"lithium = {lithium:g}; expected x of LixFePO4, 0 to 1")
    full, empty = crystal_data("LiFePO4"), crystal_data("FePO4")
    a, b, c, *angles = (
        lithium * x + (1 - lithium) * y for x, y in zip(full.cell, empty.cell, strict=True)
    )
    # The table lists the sites of both phases in one order, lithium before the others.
    sites = [
        replace(one, position=_between(one, other, lithium))
        for one, other in zip(full.sites[1:], empty.sites, strict=True)
    ]
    if lithium > 0:
        sites.insert(0, replace(full.sites[0], content={"Li": lithium}))
    return CrystalData(
        spacegroup=full.spacegroup,
        cell=(a, b, c, angles[0], angles[1], angles[2]),
        sites=tuple(sites),
        source=f"interpolated: {full.source}; {empty.source}",
    )


def _between(one: Site, other: Site, part: float) -> tuple[float, float, float]:
    x, y, z = part * np.array(one.position) + (1 - part) * np.array(other.position)
    return float(x), float(y), float(z)


def phosphate_cell(lithium: float) -> Atoms:
    """Return the conventional cell of LixFePO4 with the lithium occupancy kept.

    Parameters
    ----------
    lithium : float
        x, 0 to 1.

    Returns
    -------
    ase.Atoms
        As from `crystal`.

    Examples
    --------
    >>> phosphate_cell(0.93).get_chemical_formula()
    'Fe4Li4O16P4'
    """
    data = phosphate_data(lithium)
    entries = [(e, site, share) for site in data.sites for e, share in site.content.items()]
    shared = {"occupancies": [share for *_, share in entries], "onduplicates": "keep"}
    atoms = build_crystal(
        [element for element, *_ in entries],
        [site.position for _, site, _ in entries],
        spacegroup=data.spacegroup,
        cellpar=data.cell,
        **(shared if 0 < lithium < 1 else {}),
    )
    atoms.info["source"] = data.source
    return atoms


def end_member_shares(
    specimen: PhosphateSpecimen,
    *,
    low: float = LITHIATED,
    high: float = DELITHIATED,
) -> dict[float, float]:
    """Return the parts of a specimen's volume in the two end members, by their lithium.

    Every composition between them is taken as a mixture (lever rule), which is what a powder
    pattern or an absorption spectrum of the whole tells of fronts, and not of solid solutions.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    low, high : float
        Fraction of FePO4 in the end members.

    Returns
    -------
    dict
        x of LixFePO4 to its part of the volume; the parts add to 1.

    Raises
    ------
    BadInputError
        If the state of charge is not between those of the end members.
    """
    charge = specimen.state_of_charge
    if not low <= charge <= high:
        raise BadInputError(
            f"state of charge = {charge:g}; expected between the end members {low:g} and {high:g}"
        )
    part = (charge - low) / (high - low)
    return {1 - low: 1 - part, 1 - high: part}
