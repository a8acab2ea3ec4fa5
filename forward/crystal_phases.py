"""Phases for diffraction made from the crystals and specimens of `echolith.structures`."""

import numpy as np

from echolith.forward.crystal_phase import CrystalPhase, PhaseSite
from echolith.forward.powder_pattern import PowderPhase
from echolith.structures.crystal_table import CrystalData
from echolith.structures.crystals import crystal_data, crystal_names
from echolith.structures.phosphate_cells import end_member_shares, phosphate_data
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.units import Angstrom


def crystal_phase(name: str, data: CrystalData | None = None) -> CrystalPhase:
    """Return a crystal as a phase.

    Parameters
    ----------
    name : str
        Of the phase; of a crystal of the table where no data are given.
    data : CrystalData, optional

    Returns
    -------
    CrystalPhase
        A site for every element of every site of the crystal, labelled element and number.

    Raises
    ------
    BadInputError
        If there is no such crystal.

    Examples
    --------
    >>> [site.label for site in crystal_phase("LiNiO2").sites]
    ['Li1', 'Ni2', 'O3']
    """
    data = data or crystal_data(name)
    sites = tuple(
        PhaseSite(
            label=f"{element}{number}", element=element, position=site.position, occupancy=share
        )
        for number, site in enumerate(data.sites, start=1)
        for element, share in site.content.items()
    )
    group = spacegroup_name(data.spacegroup, data.setting)
    return CrystalPhase(name=name, spacegroup=group, cell=data.cell, sites=sites)


def table_phases() -> tuple[CrystalPhase, ...]:
    """Return every crystal of the table as a phase, as candidates for a search."""
    return tuple(crystal_phase(name) for name in crystal_names())


def spacegroup_name(number: int, setting: int) -> str:
    """Return the full symbol of a space group: hexagonal axes, and the origin of the setting.

    Examples
    --------
    >>> spacegroup_name(166, 1), spacegroup_name(227, 2), spacegroup_name(62, 1)
    ('R -3 m:H', 'F d -3 m:2', 'P n m a')
    """
    import gemmi

    known = [group for group in gemmi.spacegroup_table() if group.number == number]
    wanted = [group for group in known if group.ext in ("H", str(setting))]
    return str((wanted or known)[0].xhm())


def ensemble_powder(
    specimen: PhosphateSpecimen, *, size: Angstrom | None = None
) -> tuple[PowderPhase, ...]:
    """Return the phases a powder pattern of an ensemble of plates shows: its two end members.

    Parameters
    ----------
    specimen : PhosphateSpecimen
        Compositions between the end members count as mixtures of them (lever rule).
    size : float, optional
        Of crystallites, Å; by default the cube root of a plate's mean volume.

    Returns
    -------
    tuple of PowderPhase
        Poor in FePO4, then rich; one of no volume is left out.
    """
    volumes = specimen.particles()["volume"].values
    size = float(np.cbrt(volumes.mean())) if size is None else size
    found = []
    for lithium, part in end_member_shares(specimen).items():
        phase = crystal_phase(f"Li{lithium:.2f}FePO4", phosphate_data(lithium))
        if part > 0:
            found.append(PowderPhase(phase=phase, weight=part * phase.density, size=size))
    return tuple(found)
