"""Orientation of a crystal from its spots: pairs of spots propose it, all spots refine it.

Places tell the turn about the beam and the zone, intensities the tilt: a spot fades as its lattice
point leaves the Ewald sphere, (sin(pi t s) / (pi s))². Patterns of one zone look the same after
half a turn about its axis; where no spot tells the two apart, both are given.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase, symmetry_operations
from echolith.forward.electron_factors import electron_structure_factors
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import lattice_points, reciprocal_basis
from echolith.inverse.saed_orientation_fit import Lattice, SeenSpots, refined
from echolith.inverse.saed_orientation_kernels import likely_tilts, near_points, proposals, scores
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Fit = tuple[Array, float, Array, Array, int]

TOLERANCE = 0.012
"""1/Å, within which a spot is that of a lattice point while orientations are proposed."""
SEEDS = 7
"""Strongest spots whose pairs propose orientations."""
KEPT = 2
"""Proposals that are refined."""
STARTS = 50
"""Tilts and thicknesses from which intensities alone are fitted."""
REFINED = 4
"""Of them, the best, from which places are fitted too."""
THICKNESSES = np.array([60.0, 85.0, 110.0, 135.0, 160.0, 190.0, 220.0, 255.0, 290.0, 330.0, 380.0])
"""Å, that are tried."""
TILT_STEP = np.radians(0.4)
TILTS = TILT_STEP * np.stack(np.meshgrid(*[np.arange(-9.0, 10.0)] * 2), axis=-1).reshape(-1, 2)
"""Rad, about x and y, that are tried."""
MARGIN = 12.0
"""Chi squared by which the better of two orientations must win."""
APART = 3.0
"""Degrees, from which two orientations are two answers, not one with an uncertainty."""
LEAST_SPOTS = 4


@dataclass(frozen=True, kw_only=True)
class SpotCrystal:
    """A candidate crystal, set up once.

    Attributes
    ----------
    phase : CrystalPhase
    g : array, (points, 3)
        1/Å, crystal frame.
    coupling : array, (points,)
        lambda |F| / V, 1/Å.
    k : float
        1 / lambda, 1/Å.
    rotations : array, (n, 3, 3)
        Of the crystal's point group, proper ones, Cartesian.
    """

    phase: CrystalPhase
    g: Array
    coupling: Array
    k: float
    rotations: Array

    @property
    def lattice(self) -> Lattice:
        """For compiled functions."""
        return Lattice(self.g, self.coupling, self.k)


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Orientation of a crystal.

    Attributes
    ----------
    matrix : array, (3, 3)
        From the crystal's Cartesian axes to x, y, z (along the beam).
    other : array, (3, 3), optional
        Another one that explains the spots as well.
    std : float
        Root mean square of the three components of the rotation, degree.
    tilt_std, turn_std : float
        Of the tilt of the beam's direction and of the turn about the beam, degree.
    thickness : float
        Å.
    explained : float
        Part of the spots that are the crystal's, 0 to 1.
    chi_squared : float
        Per degree of freedom.
    """

    matrix: Array
    other: Array | None
    std: float
    tilt_std: float
    turn_std: float
    thickness: float
    explained: float
    chi_squared: float


def spot_crystal(phase: CrystalPhase, *, energy: Electronvolt, reach: float) -> SpotCrystal:
    """Set up a candidate: lattice points with |g| up to ``reach`` (1/Å) and their strengths."""
    hkl, g = lattice_points(phase, longest=reach)
    factors = np.abs(electron_structure_factors(phase, hkl, energy=energy))
    there = factors > 1e-3 * factors.max()
    basis = reciprocal_basis(phase)
    operations = np.unique(symmetry_operations(phase.spacegroup)[0], axis=0)
    cell = np.linalg.inv(basis.T)
    turned = np.array([cell @ op @ np.linalg.inv(cell) for op in operations])
    proper = turned[np.linalg.det(turned) > 0]
    k = 1 / wavelength(energy)
    return SpotCrystal(
        phase=phase,
        g=np.ascontiguousarray(g[there]),
        coupling=factors[there] / (k * phase.volume),
        k=k,
        rotations=proper,
    )


def spot_vectors(places: Array, *, k: float, distance: float) -> Array:
    """Return g of spots on the Ewald sphere, (spots, 3), 1/Å, from places in pixels."""
    tangent = places / distance
    across = k * tangent / np.sqrt(1 + (tangent**2).sum(axis=1))[:, None]
    along = np.sqrt(k**2 - (across**2).sum(axis=1)) - k
    return np.ascontiguousarray(np.column_stack([across, along]))


def find_orientation(
    crystal: SpotCrystal,
    vectors: Array,
    vector_std: Array,
    electrons: Array,
    *,
    threshold: float,
    full: Mask | None = None,
    visible: Callable[[Array], Mask] | None = None,
) -> Orientation | None:
    """Return the orientation of a crystal, or None where the spots do not fix one.

    Parameters
    ----------
    crystal : SpotCrystal
    vectors : array, (spots, 3)
        As from `spot_vectors`, the strongest spot first.
    vector_std : array, (spots,)
        Of each component, 1/Å.
    electrons : array, (spots,)
    threshold : float
        Electrons of the weakest spot that would have been found.
    full : array of bool, optional
        Spots whose electrons are not known.
    visible : callable, optional
        From g (points, 3) in the frame of the pattern to whether a spot there would be seen.
    """
    if len(vectors) < LEAST_SPOTS:
        return None
    bound = np.zeros(len(vectors), dtype=np.bool_) if full is None else full
    proposed = proposals(crystal.g, vectors[:SEEDS], 0.02, 0.03)
    if not len(proposed):
        return None
    amplitude = np.sqrt(electrons)
    marks = scores(proposed, crystal.g, crystal.coupling, crystal.k, vectors, amplitude, TOLERANCE)

    def seen(start: Array) -> SeenSpots:
        shown = _shown(crystal, start, visible)
        return SeenSpots(vectors, vector_std, electrons, bound, threshold, shown, TOLERANCE)

    fits = []
    for start in _distinct(proposed[np.argsort(-marks)], crystal.rotations):
        fits += _fits_near(crystal, start, seen(start))
    matrix, _, values, _, _ = min(fits, key=lambda one: one[1])
    twin = _half_turn(matrix, crystal.phase) @ matrix
    values = np.array([0.0, 0.0, 0.0, values[3], values[4]])
    fits.append(refined(twin, values, crystal.lattice, seen(twin)))
    matrix, chi, values, information, matched = min(fits, key=lambda one: one[1])
    if matched < LEAST_SPOTS:
        return None
    freedom = max(1, 2 * matched + len(vectors) - 5)
    worse = max(1.0, chi / freedom)
    spread = np.degrees(np.sqrt(np.diag(np.linalg.pinv(information))[:3] * worse))
    tilt = _with_rivals(float(np.hypot(spread[0], spread[1])), crystal, fits, worse)
    other = _other(crystal, fits, chi, worse, matrix)
    return Orientation(
        matrix=matrix,
        other=other,
        std=float(np.sqrt((spread**2).mean())),
        tilt_std=tilt,
        turn_std=float(spread[2]),
        thickness=float(np.exp(values[3])),
        explained=matched / len(vectors),
        chi_squared=chi / freedom,
    )


def _shown(crystal: SpotCrystal, start: Array, visible: Callable[[Array], Mask] | None) -> Mask:
    if visible is None:
        return np.ones(len(crystal.g), dtype=np.bool_)
    return visible(crystal.g @ start.T)


def _fits_near(crystal: SpotCrystal, start: Array, seen: SeenSpots) -> list[Fit]:
    """Return fits from the tilts and thicknesses about a proposal that intensities ask for."""
    near, owner = near_points(start, crystal.g, crystal.k, seen.vectors, seen.shown, seen.tolerance)
    known = (owner < 0) | ~seen.full[owner]
    near, owner = near[known], owner[known]
    amplitude = np.where(owner < 0, -1.0, np.sqrt(seen.electrons[owner]))
    found, chi = likely_tilts(
        crystal.g[near] @ start.T,
        crystal.coupling[near],
        crystal.k,
        amplitude,
        seen.threshold,
        TILTS,
        THICKNESSES,
        STARTS,
    )
    chosen = found[chi < chi[0] + MARGIN]
    fits = []
    for tilt_x, tilt_y, thickness in chosen[:REFINED]:
        values = np.array([tilt_x, tilt_y, 0.0, thickness, 0.0])
        fits.append(refined(start, values, crystal.lattice, seen))
    return fits


def _half_turn(matrix: Array, phase: CrystalPhase) -> Array:
    """Return half a turn about the nearest zone axis, in the frame of the pattern, (3, 3)."""
    uvw, _ = zone_axis(matrix, phase)
    axis = matrix @ np.linalg.inv(reciprocal_basis(phase)).T @ np.array(uvw)
    axis /= np.linalg.norm(axis)
    return np.asarray(2 * np.outer(axis, axis) - np.eye(3))


def misorientation(one: Array, other: Array, rotations: Array) -> float:
    """Return the smallest angle between orientations of a crystal of this symmetry, degree."""
    turns = np.einsum("ij,njk,lk->nil", one, rotations, other)
    traces = np.trace(turns, axis1=1, axis2=2)
    best = turns[int(traces.argmax())]
    # By sine and cosine: the arc cosine alone loses angles below 1e-6 degree.
    sine = np.linalg.norm(best - best.T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (traces.max() - 1) / 2)))


def zone_axis(
    matrix: Array, phase: CrystalPhase, *, largest: int = 4
) -> tuple[tuple[int, ...], float]:
    """Return the zone axis [uvw] nearest to the source, and its angle from it in degrees.

    Of those with indices up to ``largest`` the simplest within reach: a degree more counts as
    much as one more of the sum of the indices' sizes.
    """
    n = np.arange(-largest, largest + 1)
    uvw = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)
    uvw = uvw[(np.gcd.reduce(uvw, axis=1) == 1)]
    cell = np.linalg.inv(reciprocal_basis(phase).T)
    directions = uvw @ cell.T @ matrix.T
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    angle = np.degrees(np.arctan2(np.hypot(*directions[:, :2].T), -directions[:, 2]))
    k = int((angle + np.abs(uvw).sum(axis=1)).argmin())
    return tuple(int(i) for i in uvw[k]), float(angle[k])


def _distinct(proposed: Array, rotations: Array) -> list[Array]:
    chosen: list[Array] = []
    for one in proposed:
        if all(misorientation(one, other, rotations) > 1.5 for other in chosen):
            chosen.append(one)
        if len(chosen) == KEPT:
            break
    return chosen


def _with_rivals(tilt: float, crystal: SpotCrystal, fits: list[Fit], worse: float) -> float:
    """Return the standard deviation of the tilt, other minima nearly as deep counted in, degree."""
    best = min(fits, key=lambda one: one[1])
    away = np.array([misorientation(one[0], best[0], crystal.rotations) for one in fits])
    weight = np.exp(-0.5 * np.array([one[1] - best[1] for one in fits]) / worse)
    weight[(away < 5 * tilt) | (away > APART)] = 0.0
    return float(np.sqrt(tilt**2 + (weight * away**2).sum() / (1 + weight.sum())))


def _other(
    crystal: SpotCrystal, fits: list[Fit], chi: float, worse: float, matrix: Array
) -> Array | None:
    """Return the best of the fits that is another orientation and as good."""
    far = [one for one in fits if misorientation(one[0], matrix, crystal.rotations) > APART]
    rival = min(far, key=lambda one: one[1], default=None)
    if rival is None or rival[1] - chi > MARGIN * worse:
        return None
    return np.asarray(rival[0])
