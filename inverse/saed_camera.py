"""Camera constant from the places of a crystal's spots, before the rings are looked at.

A lattice with fewer parameters than spots is recognised by their places alone; the length of its
vectors is then the camera constant, ten times better than what an instrument tells. Without it a
lattice of the same kind and 1 % larger could not be told from a candidate by its rings.
"""

from collections.abc import Sequence

import numpy as np

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.optics import wavelength
from echolith.inverse.saed_crystals import CrystalOptions, measured_spots, prepared_crystal
from echolith.inverse.saed_orientation import LEAST_SPOTS, starts
from echolith.inverse.saed_orientation_minima import TOLERANCE, turned_onto
from echolith.inverse.saed_spots import FoundSpots
from echolith.units import Electronvolt

FITS = 20.0
"""Chi squared of places per degree of freedom, up to which a lattice is the right one: the tilt is
not known yet. Of spots that are not the lattice's it is hundreds."""
HALF = 0.5
"""Of the spots must be the lattice's."""
CELL_STD = 5e-4
"""Of the length of vectors, part of it: strain, temperature and a tilt not known yet."""


def camera_of_spots(
    spots: FoundSpots,
    candidates: Sequence[CrystalPhase],
    *,
    energy: Electronvolt,
    distance: float,
    scale_std: float,
    options: CrystalOptions,
) -> tuple[float, float] | None:
    """Return the true camera constant over that told, and its standard deviation.

    None where the places of spots show no lattice, or two kinds as well as each other.
    """
    if len(spots.places) < LEAST_SPOTS:
        return None
    measured = measured_spots(
        spots, k=1 / wavelength(energy), distance=distance, scale_std=scale_std
    )
    found = []
    for phase in candidates:
        if phase.name not in options.phases:
            continue
        crystal = prepared_crystal(phase, energy)
        for start in starts(crystal, measured):
            turned = turned_onto(crystal, start, measured, 2 * TOLERANCE)
            fits = turned.chi_squared < FITS * (2 * turned.spots - 2)
            if fits and turned.spots >= max(LEAST_SPOTS, HALF * len(spots.places)):
                found.append((turned.spots, phase.name, turned))
    most = max((count for count, _, _ in found), default=0)
    best = [(name, turned) for count, name, turned in found if count == most]
    if len({name for name, _ in best}) != 1:
        return None
    turned = best[0][1]
    return turned.scale, float(np.hypot(turned.scale_std, CELL_STD))
