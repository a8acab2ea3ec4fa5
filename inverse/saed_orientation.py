"""Orientation of a crystal from its spots: pairs of spots propose it, electrons decide the tilt.

Places tell the turn about the beam and the zone, intensities the tilt: a spot fades as its lattice
point leaves the Ewald sphere. All tilts and thicknesses near a proposal are tried, with all beams
at once; every place where a spot might be counts, whether one was found there or not. Several
minima may be left: each gets a probability. Patterns of one zone look the same after half a turn
about its axis; where no spot tells the two apart, both are given.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase, symmetry_operations
from echolith.forward.electron_factors import electron_structure_factors
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import lattice_points, reciprocal_basis
from echolith.forward.structure_factors import Integers
from echolith.inverse.saed_orientation_fit import Beams, fitted, turn_matrix
from echolith.inverse.saed_orientation_kernels import proposals, scores
from echolith.inverse.saed_orientation_search import coarse_misfits, likely_tilts, tilt_grid
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TOLERANCE = 0.012
"""1/Å, within which a spot is that of a lattice point."""
CLEAR = 0.025
"""1/Å from a spot, beyond which electrons of another place are not its."""
SEEDS = 7
"""Strongest spots whose pairs propose orientations."""
KEPT = 2
"""Proposals that are followed."""
NEARLY = 0.8
"""Of the mark of the best proposal, from which another is followed."""
FARTHEST = 0.12
"""1/Å from the Ewald sphere, beyond which a beam takes no part."""
TILTS = tilt_grid(np.radians(5.5))
"""Rad, about x and y, that are tried."""
QUICK, THOROUGH = (12, 10), (60, 40)
"""Tilts of the coarse grid that are followed, and starts of fits; the second where needed."""
MOST_BEAMS, MOST_FITS = 24, 20
"""Of a search; the last fit has all beams."""
GOOD = 0.8
"""Chi squared per degree of freedom, above which the search goes on."""
FEW = 11
"""Places of possible spots, fewer of which may agree by chance: the search goes on."""
SEARCH_ERROR, ERROR = 0.1, 0.03
"""Part of the amplitude of a spot that theory misses while searching; of the electrons at last."""
NOT_MATCHED = 25.0
"""Chi squared of a spot that the crystal does not explain."""
SCALE_STD = 0.005
"""Of the lengths of g, before the spots are seen."""
MARGIN = 30.0
"""Chi squared above the best from which a minimum is none."""
SAME = np.radians(0.005)
"""Rad, within which two minima are one."""
OTHER_MARGIN = 12.0
"""The same for half a turn about the zone axis."""
APART = 3.0
"""Degrees, from which two orientations are two answers, not one with an uncertainty."""
LEAST_SPOTS = 4


@dataclass(frozen=True, kw_only=True)
class SpotCrystal:
    """A candidate crystal, set up once.

    Attributes
    ----------
    phase : CrystalPhase
    hkl : array of int, (points, 3)
    g : array, (points, 3)
        1/Å, crystal frame.
    coupling : array, (points,)
        lambda |F| / V, 1/Å.
    table : array, (n, n, n)
        lambda F / V of every difference of two hkl, from the most negative indices on.
    k : float
        1 / lambda, 1/Å.
    rotations : array, (n, 3, 3)
        Of the crystal's point group, proper ones, Cartesian.
    """

    phase: CrystalPhase
    hkl: Integers
    g: Array
    coupling: Array
    table: npt.NDArray[np.complex128] | Array
    k: float
    rotations: Array

    def matrix(self, chosen: Integers) -> npt.NDArray[np.complex128] | Array:
        """Return lambda F / V between the incident beam and those of chosen points, 1/Å."""
        beams = np.vstack([np.zeros((1, 3), dtype=np.int64), self.hkl[chosen]])
        steps = beams[:, None] - beams[None] + np.array(self.table.shape) // 2
        return np.ascontiguousarray(self.table[tuple(np.moveaxis(steps, -1, 0))])


@dataclass(frozen=True, kw_only=True)
class MeasuredSpots:
    """Spots of a pattern, the strongest first.

    Attributes
    ----------
    vectors : array, (spots, 3)
        As from `spot_vectors`.
    vector_std : array, (spots,)
        Of each component, 1/Å.
    electrons, electrons_std : array, (spots,)
    full : array of bool, (spots,)
        Spots that hold more electrons than these.
    taken : array, (n, 3)
        Of spots of other crystals.
    measure : callable
        From g (points, 3) in the frame of the pattern to electrons there and their standard
        deviation, infinite where nothing is seen.
    """

    vectors: Array
    vector_std: Array
    electrons: Array
    electrons_std: Array
    full: Mask
    taken: Array
    measure: Callable[[Array], tuple[Array, Array]]

    def without(self, matched: Mask) -> "MeasuredSpots":
        """Return the other spots."""
        return MeasuredSpots(
            vectors=self.vectors[~matched],
            vector_std=self.vector_std[~matched],
            electrons=self.electrons[~matched],
            electrons_std=self.electrons_std[~matched],
            full=self.full[~matched],
            taken=np.vstack([self.taken, self.vectors[matched]]),
            measure=self.measure,
        )


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


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """All that is fitted from an orientation: see `Orientation`; ``turn_std`` in rad."""

    matrix: Array
    thickness: float
    covariance: Array
    turn_std: float
    matched: Mask
    cost: float
    chi_squared: float


@dataclass(frozen=True, kw_only=True)
class _Minima:
    """Minima near a proposal, the most probable first.

    ``values`` (n, 3), tilts about x and y (rad) and log thickness; ``covariance`` (n, 3, 3);
    ``probability`` (n,).
    """

    start: Array
    values: Array
    covariance: Array
    probability: Array

    def matrix(self, n: int) -> Array:
        """Return the orientation of one."""
        return turn_matrix(np.append(self.values[n, :2], 0.0)) @ self.start

    @property
    def tilt_std(self) -> float:
        """From the best one, all counted in, rad."""
        away = ((self.values[:, :2] - self.values[0, :2]) ** 2).sum(axis=1)
        own = self.covariance[:, 0, 0] + self.covariance[:, 1, 1]
        return float(np.sqrt(self.probability @ (away + own)))


def spot_crystal(phase: CrystalPhase, *, energy: Electronvolt, reach: float) -> SpotCrystal:
    """Set up a candidate: lattice points with |g| up to ``reach`` (1/Å) and their strengths."""
    hkl, g = lattice_points(phase, longest=reach)
    k = 1 / wavelength(energy)
    limit = 2 * np.abs(hkl).max(axis=0)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in limit], indexing="ij"), axis=-1)
    flat = steps.reshape(-1, 3)
    factors = np.zeros(len(flat), dtype=np.complex128)
    some = flat.any(axis=1)
    factors[some] = electron_structure_factors(phase, flat[some], energy=energy)
    every = factors.reshape(steps.shape[:-1]) / (k * phase.volume)
    table: npt.NDArray[np.complex128] | Array = every
    if np.abs(every.imag).max() < 1e-9 * np.abs(every).max():
        table = every.real  # the crystal is its own inverse: twice as fast
    coupling = np.abs(table[tuple((hkl + limit).T)])
    there = coupling > 1e-3 * coupling.max()
    basis = reciprocal_basis(phase)
    operations = np.unique(symmetry_operations(phase.spacegroup)[0], axis=0)
    cell = np.linalg.inv(basis.T)
    turned = np.array([cell @ op @ np.linalg.inv(cell) for op in operations])
    return SpotCrystal(
        phase=phase,
        hkl=hkl[there],
        g=np.ascontiguousarray(g[there]),
        coupling=coupling[there],
        table=table,
        k=k,
        rotations=turned[np.linalg.det(turned) > 0],
    )


def spot_vectors(places: Array, *, k: float, distance: float) -> Array:
    """Return g of spots on the Ewald sphere, (spots, 3), 1/Å, from places in pixels."""
    tangent = places / distance
    across = k * tangent / np.sqrt(1 + (tangent**2).sum(axis=1))[:, None]
    along = np.sqrt(k**2 - (across**2).sum(axis=1)) - k
    return np.ascontiguousarray(np.column_stack([across, along]))


def find_orientation(crystal: SpotCrystal, spots: MeasuredSpots) -> Orientation | None:
    """Return the orientation of a crystal, or None where the spots do not fix one."""
    if len(spots.vectors) < LEAST_SPOTS:
        return None
    found = [_oriented(crystal, start, spots) for start in _starts(crystal, spots)]
    best = min(found, key=lambda one: one.cost, default=None)
    return best if best is not None and best.matched.sum() >= LEAST_SPOTS else None


def _oriented(crystal: SpotCrystal, start: Array, spots: MeasuredSpots) -> Orientation:
    """Return the best orientation near a proposal, or half a turn about the zone axis from it."""
    minima = _minima(crystal, start, spots)
    here = _fit(crystal, minima.matrix(0), minima.values[0, 2], spots)
    there = _fit(crystal, _half_turned(here.matrix, crystal.phase), minima.values[0, 2], spots)
    best, other = (here, there) if here.cost <= there.cost else (there, here)
    as_good = other.cost - best.cost < OTHER_MARGIN * best.chi_squared
    twins = misorientation(here.matrix, there.matrix, crystal.rotations) > APART
    second = None
    if len(minima.values) > 1:
        second = minima.matrix(1)
        second = second if best is here else _half_turned(second, crystal.phase)
    own = best.covariance[0, 0] + best.covariance[1, 1]
    return Orientation(
        matrix=best.matrix,
        probability=float(minima.probability[0]),
        second=second,
        second_probability=0.0 if second is None else float(minima.probability[1]),
        other=other.matrix if as_good and twins else None,
        tilt_std=float(np.degrees(max(minima.tilt_std, np.sqrt(own)))),
        turn_std=float(np.degrees(best.turn_std)),
        thickness=best.thickness,
        thickness_std=best.thickness * float(np.sqrt(best.covariance[2, 2])),
        matched=best.matched,
        chi_squared=best.chi_squared,
        cost=best.cost,
    )


def _starts(crystal: SpotCrystal, spots: MeasuredSpots) -> list[Array]:
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
            known += [proposed[n], _half_turned(proposed[n], crystal.phase)]
    return [one for one in chosen if _near_spots(crystal, one, spots).sum() >= LEAST_SPOTS]


def _near_spots(crystal: SpotCrystal, start: Array, spots: MeasuredSpots) -> Mask:
    """Return the spots near lattice points, roughly: most must be for a search to be worth it."""
    turned = crystal.g @ start.T
    turned = turned[np.abs(_excitation(turned, crystal.k)) < FARTHEST]
    away = np.linalg.norm(spots.vectors[:, None, :2] - turned[None, :, :2], axis=-1)
    return np.asarray(away.min(axis=1) < 2 * TOLERANCE)


def _minima(crystal: SpotCrystal, start: Array, spots: MeasuredSpots) -> _Minima:
    """Return the minima of the misfit near a proposal."""
    start = _turned_onto(crystal, start, spots, 2 * TOLERANCE)[0]
    beams, _ = _beams(crystal, start, spots, 2 * TOLERANCE, most=MOST_BEAMS)
    ranked = TILTS[np.argsort(coarse_misfits(beams, TILTS, SEARCH_ERROR))]
    freedom = max(1, len(beams.electrons) - 4)
    for followed, starts in (QUICK, THOROUGH):
        tried = likely_tilts(beams, ranked[:followed], SEARCH_ERROR, starts)
        wide = sorted((fitted(one, beams, SEARCH_ERROR, True) for one in tried), key=_chi)
        chosen = _different(wide)[:MOST_FITS]
        fits = sorted((fitted(one[0], beams, ERROR, False) for one in chosen), key=_chi)
        if fits[0][1] < GOOD * freedom and len(beams.electrons) >= FEW:
            break
    worse = max(1.0, fits[0][1] / freedom)
    fits = [one for one in _different(fits) if one[1] < fits[0][1] + MARGIN * worse]
    covariance = worse * np.array([np.linalg.pinv(one[2]) for one in fits])
    weight = np.exp(-0.5 * np.array([one[1] - fits[0][1] for one in fits]) / worse)
    weight *= np.sqrt(np.maximum(np.linalg.det(covariance), 0.0))
    if not weight.any():
        weight[0] = 1.0
    order = np.argsort(-weight)
    return _Minima(
        start=start,
        values=np.array([one[0] for one in fits])[order],
        covariance=covariance[order],
        probability=weight[order] / weight.sum(),
    )


def _chi(fit: tuple[Array, float, Array]) -> float:
    return fit[1]


def _different(fits: list[tuple[Array, float, Array]]) -> list[tuple[Array, float, Array]]:
    """Return fits that are not the same minimum as a better one."""
    chosen: list[tuple[Array, float, Array]] = []
    for one in fits:
        if all(np.hypot(*(one[0] - known[0])[:2]) > SAME for known in chosen):
            chosen.append(one)
    return chosen


def _fit(crystal: SpotCrystal, start: Array, log_thickness: float, spots: MeasuredSpots) -> _Fit:
    """Fit all there is from an orientation."""
    start, turn_std, away = _turned_onto(crystal, start, spots, TOLERANCE)
    beams, matched = _beams(crystal, start, spots, TOLERANCE)
    values, chi, information = fitted(np.array([0.0, 0.0, log_thickness]), beams, ERROR, False)
    empty = (beams.electrons / beams.std)[int(matched.sum()) :]
    nothing = float(np.minimum(empty**2, NOT_MATCHED).sum())
    worse = max(1.0, (chi + away) / max(1, len(beams.electrons) + 2 * int(matched.sum()) - 6))
    return _Fit(
        matrix=turn_matrix(np.append(values[:2], 0.0)) @ start,
        thickness=float(np.exp(values[2])),
        covariance=np.asarray(np.linalg.pinv(information) * worse, dtype=np.float64),
        turn_std=turn_std * np.sqrt(worse),
        matched=matched,
        cost=chi + away - nothing + NOT_MATCHED * float((~matched).sum()),
        chi_squared=worse,
    )


def _turned_onto(
    crystal: SpotCrystal, start: Array, spots: MeasuredSpots, tolerance: float
) -> tuple[Array, float, float]:
    """Return an orientation turned about the beam onto the spots, std (rad) and chi squared."""
    turned = crystal.g @ start.T
    near = np.nonzero(np.abs(_excitation(turned, crystal.k)) < FARTHEST)[0]
    away = np.linalg.norm(spots.vectors[:, None, :2] - turned[None, near, :2], axis=-1)
    mine = away.min(axis=1) < tolerance
    if not mine.any():
        return start, np.inf, 0.0
    point = turned[near[away.argmin(axis=1)[mine]], :2]
    std = spots.vector_std[mine, None]
    design = (
        np.stack([np.stack([-point[:, 1], point[:, 0]], axis=1), point], axis=-1) / std[..., None]
    )
    rest = (spots.vectors[mine, :2] - point) / std
    design = np.vstack([design.reshape(-1, 2), [[0.0, 1 / SCALE_STD]]])
    rest = np.append(rest.ravel(), 0.0)
    step = np.linalg.lstsq(design, rest)[0]
    covariance = np.linalg.inv(design.T @ design)
    chi = float(((rest - design @ step) ** 2).sum())
    turn = turn_matrix(np.array([0.0, 0.0, step[0]]))
    return turn @ start, float(np.sqrt(covariance[0, 0])), chi


def _excitation(turned: Array, k: float) -> Array:
    return np.asarray(np.sqrt(k**2 - (turned[:, :2] ** 2).sum(axis=1)) - k - turned[:, 2])


def _beams(
    crystal: SpotCrystal,
    start: Array,
    spots: MeasuredSpots,
    tolerance: float,
    *,
    most: int | None = None,
) -> tuple[Beams, Mask]:
    """Return beams near an orientation with what was measured, and the spots that are theirs.

    Places of spots come first, then those where none was found. Of ``most`` beams those of spots
    come first, then those that are strong near the Ewald sphere.
    """
    turned = crystal.g @ start.T
    s = _excitation(turned, crystal.k)
    near = np.nonzero(np.abs(s) < FARTHEST)[0]
    away = np.linalg.norm(turned[near, None, :2] - spots.vectors[None, :, :2], axis=-1)
    order = np.argsort(
        -(crystal.coupling[near] / (0.01 + np.abs(s[near]))) - (away.min(axis=1) < tolerance)
    )[:most]
    near, nearest, distance = near[order], away[order].argmin(axis=1), away[order].min(axis=1)
    mine = distance < tolerance
    matched = np.zeros(len(spots.vectors), dtype=np.bool_)
    matched[nearest[mine]] = True
    number = np.cumsum(matched) - 1
    owner = np.where(mine, number[nearest], -1)
    electrons, std = spots.measure(turned[near])
    every = np.vstack([spots.vectors, spots.taken])[:, :2]
    clear = np.linalg.norm(turned[near, None, :2] - every, axis=-1).min(axis=1) > CLEAR
    empty = np.nonzero(clear & np.isfinite(std))[0]
    owner[empty] = matched.sum() + np.arange(len(empty))
    beams = Beams(
        turned[near],
        crystal.matrix(near),
        owner.astype(np.int64),
        np.append(spots.electrons[matched], electrons[empty]),
        np.append(spots.electrons_std[matched], std[empty]),
        np.append(spots.full[matched], np.zeros(len(empty), dtype=np.bool_)),
        crystal.k,
    )
    return beams, matched


def _half_turned(matrix: Array, phase: CrystalPhase) -> Array:
    """Return an orientation half a turn about its nearest zone axis away."""
    uvw, _ = zone_axis(matrix, phase)
    axis = matrix @ np.linalg.inv(reciprocal_basis(phase)).T @ np.array(uvw)
    axis /= np.linalg.norm(axis)
    return np.asarray((2 * np.outer(axis, axis) - np.eye(3)) @ matrix)


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
