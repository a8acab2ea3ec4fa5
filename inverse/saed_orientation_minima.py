"""Minima of the misfit of a spot pattern about a proposed orientation, and the fit of one.

All tilts and thicknesses near a proposal are tried, with all beams at once; every place where a
spot might be counts, whether one was found there or not. Several minima may be left: each gets a
probability.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from echolith.inverse.saed_measured_spots import MeasuredSpots
from echolith.inverse.saed_orientation_fit import Beams, fitted, turn_matrix
from echolith.inverse.saed_orientation_places import place_misfits
from echolith.inverse.saed_orientation_search import coarse_misfits, likely_tilts, tilt_grid
from echolith.inverse.saed_spot_crystal import SpotCrystal, excitation

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TOLERANCE = 0.012
"""1/Å, within which a spot is that of a lattice point."""
CLEAR = 0.025
"""1/Å from a spot, beyond which electrons of another place are not its."""
FARTHEST = 0.12
"""1/Å from the Ewald sphere, beyond which a beam takes no part."""
TILTS = tilt_grid(np.radians(5.5))
"""Rad, about x and y, that are tried."""
QUICK, THOROUGH = (300, 10), (3000, 60)
"""Tilts of the grid that are tried with all beams, and starts of fits; the second where needed."""
PLACES = 30.0
"""Chi squared of places above the least, up to which a tilt is tried."""
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
MARGIN = 30.0
"""Chi squared above the best from which a minimum is none."""
FLAT = 1e-6
"""Of the size of the pattern, up to which lattice points are in one plane."""
SAME = np.radians(0.005)
"""Rad, within which two minima are one."""


@dataclass(frozen=True, kw_only=True)
class Turned:
    """An orientation turned about the beam onto spots.

    ``turn_std`` in rad; ``scale``, camera constant over the one used, and its standard deviation;
    ``chi_squared`` of the places of ``spots`` that are near lattice points.
    """

    matrix: Array
    turn_std: float
    scale: float
    scale_std: float
    chi_squared: float
    spots: int


@dataclass(frozen=True, kw_only=True)
class FullFit:
    """All that is fitted from an orientation: see `Orientation`; ``turn_std`` in rad.

    ``axis`` (3,) is the zone axis, where all lattice points of the spots lie in one plane.
    """

    matrix: Array
    thickness: float
    covariance: Array
    turn_std: float
    matched: Mask
    axis: Array | None
    cost: float
    chi_squared: float


@dataclass(frozen=True, kw_only=True)
class Minima:
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


def search_minima(
    crystal: SpotCrystal, start: Array, spots: MeasuredSpots, *, thorough: bool
) -> Minima:
    """Return the minima of the misfit near a proposal; ``thorough`` takes ten times as long."""
    start = turned_onto(crystal, start, spots, 2 * TOLERANCE).matrix
    beams, _ = _beams(crystal, start, spots, 2 * TOLERANCE, most=MOST_BEAMS)
    places = partial(_place_misfits, crystal, start, spots)
    away = places(TILTS)
    near = away < away.min() + PLACES
    tilts, away = TILTS[near], away[near]
    freedom = max(1, len(beams.electrons) - 4)
    for tried, starts in (QUICK, THOROUGH)[: 2 if thorough else 1]:
        chosen = np.arange(len(tilts))
        if len(tilts) > tried:
            chosen = np.argsort(coarse_misfits(beams, tilts, SEARCH_ERROR) + away)[:tried]
        begin = likely_tilts(beams, tilts[chosen], away[chosen], SEARCH_ERROR, starts)
        wide = sorted((fitted(one, beams, SEARCH_ERROR, True) for one in begin), key=_chi)
        fits = [fitted(one[0], beams, ERROR, False) for one in _different(wide)[:MOST_FITS]]
        with_places = places(np.array([one[0][:2] for one in fits]))
        fits = sorted(
            ((one[0], one[1] + chi, one[2]) for one, chi in zip(fits, with_places, strict=True)),
            key=_chi,
        )
        if fits[0][1] - away.min() < GOOD * freedom and len(beams.electrons) >= FEW:
            break
    worse = max(1.0, (fits[0][1] - away.min()) / freedom)
    fits = [one for one in _different(fits) if one[1] < fits[0][1] + MARGIN * worse]
    covariance = worse * np.array([np.linalg.pinv(one[2]) for one in fits])
    weight = np.exp(-0.5 * np.array([one[1] - fits[0][1] for one in fits]) / worse)
    weight *= np.sqrt(np.maximum(np.linalg.det(covariance), 0.0))
    if not weight.any():
        weight[0] = 1.0
    order = np.argsort(-weight)
    return Minima(
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


def full_fit(
    crystal: SpotCrystal, start: Array, log_thickness: float, spots: MeasuredSpots
) -> FullFit:
    """Fit all there is from an orientation."""
    turned = turned_onto(crystal, start, spots, TOLERANCE)
    start, away = turned.matrix, turned.chi_squared
    beams, matched = _beams(crystal, start, spots, TOLERANCE)
    values, chi, information = fitted(np.array([0.0, 0.0, log_thickness]), beams, ERROR, False)
    empty = (beams.electrons / beams.std)[int(matched.sum()) :]
    nothing = float(np.minimum(empty**2, NOT_MATCHED).sum())
    worse = max(1.0, (chi + away) / max(1, len(beams.electrons) + 2 * int(matched.sum()) - 6))
    return FullFit(
        matrix=turn_matrix(np.append(values[:2], 0.0)) @ start,
        thickness=float(np.exp(values[2])),
        covariance=np.asarray(np.linalg.pinv(information) * worse, dtype=np.float64),
        turn_std=turned.turn_std * np.sqrt(worse),
        matched=matched,
        axis=zone_direction(crystal, start, spots),
        cost=chi + away - nothing + NOT_MATCHED * float((~matched).sum()),
        chi_squared=worse,
    )


def _points(
    crystal: SpotCrystal, start: Array, spots: MeasuredSpots, tolerance: float
) -> tuple[Array, Mask]:
    """Return the lattice points (n, 3) nearest to spots, and which spots have one."""
    turned = crystal.g @ start.T
    near = np.nonzero(np.abs(excitation(turned, crystal.k)) < FARTHEST)[0]
    away = np.linalg.norm(spots.vectors[:, None, :2] - turned[None, near, :2], axis=-1)
    # Of two points in the same place the one near the Ewald sphere is seen.
    unlikely = away / tolerance + np.abs(excitation(turned[near], crystal.k)) / FARTHEST
    unlikely[away >= tolerance] = np.inf
    mine = np.isfinite(unlikely.min(axis=1))
    return turned[near[unlikely.argmin(axis=1)[mine]]], mine


def zone_direction(crystal: SpotCrystal, start: Array, spots: MeasuredSpots) -> Array | None:
    """Return the direction across the lattice points of all spots, where they are in one plane."""
    points, _ = _points(crystal, start, spots, 2 * TOLERANCE)
    if len(points) < 2:
        return None
    sizes, axes = np.linalg.svd(points)[1:]
    return axes[2] if len(sizes) < 3 or sizes[2] < FLAT * sizes[0] else None


def _place_misfits(crystal: SpotCrystal, start: Array, spots: MeasuredSpots, tilts: Array) -> Array:
    point, mine = _points(crystal, start, spots, 2 * TOLERANCE)
    return place_misfits(
        point, spots.vectors[mine, :2], spots.vector_std[mine], spots.scale_std, tilts
    )


def turned_onto(
    crystal: SpotCrystal, start: Array, spots: MeasuredSpots, tolerance: float
) -> Turned:
    """Turn an orientation about the beam onto the spots within ``tolerance``, 1/Å."""
    point, mine = _points(crystal, start, spots, tolerance)
    if not mine.any():
        return Turned(
            matrix=start,
            turn_std=np.inf,
            scale=1.0,
            scale_std=spots.scale_std,
            chi_squared=0.0,
            spots=0,
        )
    point = point[:, :2]
    std = spots.vector_std[mine, None]
    design = (
        np.stack([np.stack([-point[:, 1], point[:, 0]], axis=1), point], axis=-1) / std[..., None]
    )
    rest = (spots.vectors[mine, :2] - point) / std
    design = np.vstack([design.reshape(-1, 2), [[0.0, 1 / spots.scale_std]]])
    rest = np.append(rest.ravel(), 0.0)
    step = np.linalg.lstsq(design, rest)[0]
    covariance = np.linalg.inv(design.T @ design)
    return Turned(
        matrix=turn_matrix(np.array([0.0, 0.0, step[0]])) @ start,
        turn_std=float(np.sqrt(covariance[0, 0])),
        scale=1 + float(step[1]),
        scale_std=float(np.sqrt(covariance[1, 1])),
        chi_squared=float(((rest - design @ step) ** 2).sum()),
        spots=int(mine.sum()),
    )


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
    s = excitation(turned, crystal.k)
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
