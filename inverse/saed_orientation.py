"""Orientation of a crystal from its spots: pairs of spots propose it, electrons decide the tilt.

Places tell the turn about the beam and the zone, intensities the tilt: a spot fades as its lattice
point leaves the Ewald sphere. All tilts and thicknesses near a proposal are tried, with all beams
at once; every place where a spot might be counts, whether one was found there or not. Several
minima may be left: each gets a probability. Patterns of one zone look the same after half a turn
about its axis; where no spot tells the two apart, both are given.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.saed_measured_spots import MeasuredSpots
from echolith.inverse.saed_orientation_kernels import proposals, scores
from echolith.inverse.saed_orientation_minima import (
    FARTHEST,
    TOLERANCE,
    full_fit,
    search_minima,
    zone_direction,
)
from echolith.inverse.saed_spot_crystal import (
    SpotCrystal,
    excitation,
    half_turned,
    misorientation,
)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SEEDS = 7
"""Strongest spots whose pairs propose orientations."""
KEPT = 2
"""Proposals that are followed."""
NEARLY = 0.8
"""Of the mark of the best proposal, from which another is followed."""
OTHER_MARGIN = 12.0
"""The same for half a turn about the zone axis."""
APART = 3.0
"""Degrees, from which two orientations are two answers, not one with an uncertainty."""
LEAST_SPOTS = 4
POOR = 3.0
"""Chi squared per degree of freedom, above which the tilt may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Orientation of a crystal.

    Attributes
    ----------
    matrix : array, (3, 3)
        From the crystal's Cartesian axes to x, y, z (along the beam).
    probability : float
        Of this minimum against others of the tilt, 0 to 1.
    second : array, (3, 3), optional
        The next one.
    second_probability : float
    other : array, (3, 3), optional
        Half a turn about the zone axis away, where it explains the spots as well.
    tilt_std : float
        Of the direction of the beam, other minima counted in, degree.
    turn_std : float
        Of the turn about the beam, degree.
    thickness, thickness_std : float
        Å.
    matched : array of bool, (spots,)
        Spots that are the crystal's.
    chi_squared : float
        Per degree of freedom.
    cost : float
        Chi squared of all spots over that without a crystal: to compare candidates.
    """

    matrix: Array
    probability: float
    second: Array | None
    second_probability: float
    other: Array | None
    tilt_std: float
    turn_std: float
    thickness: float
    thickness_std: float
    matched: Mask
    chi_squared: float
    cost: float

    @property
    def explained(self) -> float:
        """Part of the spots that are the crystal's, 0 to 1."""
        return float(self.matched.mean())


def find_orientation(
    crystal: SpotCrystal, spots: MeasuredSpots, *, thorough: bool = True
) -> Orientation | None:
    """Return the orientation of a crystal, or None where the spots do not fix one.

    A search that is not ``thorough`` is enough to tell which crystal it is.
    """
    if len(spots.vectors) < LEAST_SPOTS:
        return None
    begin = starts(crystal, spots)
    found = [_oriented(crystal, start, spots, thorough) for start in begin]
    best = min(found, key=lambda one: one.cost, default=None)
    if best is not None and thorough and best.chi_squared > POOR:
        axes = [zone_direction(crystal, start, spots) for start in begin]
        twins = [half_turned(a, b) for a, b in zip(begin, axes, strict=True) if b is not None]
        found += [_oriented(crystal, one, spots, thorough) for one in twins]
        best = min(found, key=lambda one: one.cost)
    return best if best is not None and best.matched.sum() >= LEAST_SPOTS else None


def _oriented(
    crystal: SpotCrystal, start: Array, spots: MeasuredSpots, thorough: bool
) -> Orientation:
    """Return the best orientation near a proposal, or half a turn about the zone axis from it."""
    minima = search_minima(crystal, start, spots, thorough=thorough)
    best = full_fit(crystal, minima.matrix(0), minima.values[0, 2], spots)
    second = minima.matrix(1) if len(minima.values) > 1 else None
    other = None
    if best.axis is not None:
        turned = full_fit(crystal, half_turned(best.matrix, best.axis), minima.values[0, 2], spots)
        if turned.cost < best.cost:
            second = None if second is None else half_turned(second, best.axis)
            best, turned = turned, best
        as_good = turned.cost - best.cost < OTHER_MARGIN * best.chi_squared
        if as_good and misorientation(best.matrix, turned.matrix, crystal.rotations) > APART:
            other = turned.matrix
    own = best.covariance[0, 0] + best.covariance[1, 1]
    return Orientation(
        matrix=best.matrix,
        probability=float(minima.probability[0]),
        second=second,
        second_probability=0.0 if second is None else float(minima.probability[1]),
        other=other,
        tilt_std=float(np.degrees(max(minima.tilt_std, np.sqrt(own)))),
        turn_std=float(np.degrees(best.turn_std)),
        thickness=best.thickness,
        thickness_std=best.thickness * float(np.sqrt(best.covariance[2, 2])),
        matched=best.matched,
        chi_squared=best.chi_squared,
        cost=best.cost,
    )


def starts(crystal: SpotCrystal, spots: MeasuredSpots) -> list[Array]:
    """Return the orientations that pairs of spots propose and all spots support."""
    proposed = proposals(crystal.g, spots.vectors[:SEEDS], 0.02, 0.03)
    if not len(proposed):
        return []
    amplitude = np.sqrt(spots.electrons)
    marks = scores(
        proposed, crystal.g, crystal.coupling, crystal.k, spots.vectors, amplitude, TOLERANCE
    )
    chosen: list[Array] = []
    known: list[Array] = []
    for n in np.argsort(-marks):
        if marks[n] < NEARLY * marks.max() or len(chosen) == KEPT:
            break
        if all(misorientation(proposed[n], one, crystal.rotations) > APART for one in known):
            chosen.append(proposed[n])
            known.append(proposed[n])
            axis = zone_direction(crystal, proposed[n], spots)
            if axis is not None:
                known.append(half_turned(proposed[n], axis))
    return [one for one in chosen if _near_spots(crystal, one, spots).sum() >= LEAST_SPOTS]


def _near_spots(crystal: SpotCrystal, start: Array, spots: MeasuredSpots) -> Mask:
    """Return the spots near lattice points, roughly: most must be for a search to be worth it."""
    turned = crystal.g @ start.T
    turned = turned[np.abs(excitation(turned, crystal.k)) < FARTHEST]
    away = np.linalg.norm(spots.vectors[:, None, :2] - turned[None, :, :2], axis=-1)
    return np.asarray(away.min(axis=1) < 2 * TOLERANCE)
