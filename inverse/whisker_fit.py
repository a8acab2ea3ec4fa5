"""Fit the optical profile of a whisker to all frames at once: edges of each, optics of all.

Fisher scoring for Poisson counts; what is each frame's own is eliminated frame by frame (Schur
complement), so the cost is linear in the frames.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.whisker_edges import EdgeOptics
from echolith.inverse.whisker_profile import Profiles

Array = npt.NDArray[np.float64]

OWN_STEPS = np.array([0.05, 0.05])
"""Pixels, of base and tip, for slopes."""
COMMON_STEPS = np.array([1e-3, 1e-3, 1e-4, 1e-4, 1e-3, 1e-4, 1e-2])
LARGEST_COMMON = np.array([0.4, 0.4, 0.1, 0.1, 0.4, 0.2, 1.0])
"""One step of what is common."""
BELIEVED = np.array([np.inf, 0.5, np.inf, 0.1, np.inf, np.inf, 1.0])
"""How far growths and focus may be from 0 beforehand, one standard deviation."""
LARGEST_STEP = 1.5
"""Pixels, of an edge in one round."""
SEARCHED = np.arange(-5.0, 5.25, 0.5)
"""Pixels about where an edge is thought to be."""
PHASES = np.arange(0.4, 6.3, 0.6)
"""rad, tried for each edge."""
STARTS = (3, 2)
"""Phases of the tip, and of the base for each, from which all is fitted."""
ROUNDS = 12
FIRST_ROUNDS = 5
OWN_ROUNDS = 8
VALUES_AT_ONCE = 1 << 21


@dataclass(frozen=True, kw_only=True)
class EdgeFit:
    """Own and common parameters of `EdgeOptics`, and how well they are known.

    Attributes
    ----------
    own : array (frames, 3)
    covariance : array (frames, 3, 3)
        Given what is common.
    common : array (7,)
    misfit : array (frames,)
        Chi² per degree of freedom.
    """

    own: Array
    covariance: Array
    common: Array
    misfit: Array


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Profiles, the optics behind them, when they were taken and how far the tip went meanwhile."""

    profiles: Profiles
    optics: EdgeOptics
    when: Array
    ways: Array

    def chosen(self, frames: npt.NDArray[np.int64]) -> "Watched":
        """Return some of the frames."""
        return Watched(
            profiles=self.profiles.chosen(frames),
            optics=self.optics,
            when=self.when[frames],
            ways=self.ways[frames],
        )

    def mean(self, own: Array, common: Array) -> Array:
        """Return the expected counts, (frames, bins)."""
        seen = self.optics.intensity(own, common, self.when, self.ways)
        return np.asarray(self.profiles.pixels * own[:, 2:] * seen)

    def likelihood(self, own: Array, common: Array) -> Array:
        """Return the logarithm of the likelihood of each frame but for a constant."""
        mean = self.mean(own, common)
        return np.asarray((self.profiles.counts * np.log(mean + 1e-9) - mean).sum(axis=1))


def fit_common(
    watched: Watched, own: Array, common: Array, *, rounds: int = ROUNDS
) -> tuple[Array, Array]:
    """Return own and common parameters fitted together, by damped Fisher scoring."""
    damping = 1e-3
    value = _value(watched, own, common)
    for _ in range(rounds):
        step_own, step_common = _step(watched, own, common, damping)
        tried = own + step_own, common + step_common
        reached = _value(watched, *tried)
        if reached > value:
            gained = reached - value
            own, common, value = *tried, reached
            damping /= 5
            if gained < 0.01:
                break
        else:
            damping *= 10
    return own, common


def fit_own(watched: Watched, own: Array, common: Array) -> EdgeFit:
    """Return each frame's edges with the optics given; in pieces, so that memory is bounded."""
    size = watched.ways.shape[1] * len(watched.optics.transfer)
    pieces = np.array_split(np.arange(len(own)), 1 + len(own) * size // VALUES_AT_ONCE)
    fits = [_fit_piece(watched.chosen(piece), own[piece], common) for piece in pieces]
    return EdgeFit(
        own=np.concatenate([fit.own for fit in fits]),
        covariance=np.concatenate([fit.covariance for fit in fits]),
        common=common,
        misfit=np.concatenate([fit.misfit for fit in fits]),
    )


def searched(watched: Watched, own: Array, common: Array, which: int) -> tuple[Array, Array]:
    """Return the likeliest of places about an edge (0: base, 1: tip), and how likely it is."""
    tries = []
    for away in SEARCHED:
        moved = own.copy()
        moved[:, which] += away
        tries.append(watched.likelihood(moved, common))
    best = np.argmax(tries, axis=0)
    found = own.copy()
    found[:, which] += SEARCHED[best]
    return found, np.max(tries, axis=0)


def first_common(watched: Watched, own: Array, common: Array) -> Array:
    """Return common parameters near the best fit: fringes look alike at several phases."""
    starts = [
        start
        for _, tip_own, tip_common in _by_phase(watched, own, common, 0)[: STARTS[0]]
        for start in _by_phase(watched, tip_own, tip_common, 4)[: STARTS[1]]
    ]
    fits = []
    for _, edges, tried in starts:
        found = fit_common(watched, fit_own(watched, edges, tried).own, tried, rounds=FIRST_ROUNDS)
        fits.append((_value(watched, *found), found[1]))
    return max(fits, key=lambda one: one[0])[1]


def _by_phase(
    watched: Watched, own: Array, common: Array, index: int
) -> list[tuple[float, Array, Array]]:
    """Return how likely phases are with the best places of their edge, the likeliest first."""
    tries = []
    for phase in PHASES:
        tried = common.copy()
        # The base's fringes tell its phase beyond that of the whisker.
        tried[index] = phase + (common[0] if index else 0.0)
        moved, value = searched(watched, own, tried, 0 if index else 1)
        tries.append((float(value.sum()), moved, tried))
    return sorted(tries, key=lambda one: -one[0])


def _fit_piece(watched: Watched, own: Array, common: Array) -> EdgeFit:
    for edge in (1, 0):
        own, _ = searched(watched, own, common, edge)
    value, part = watched.likelihood(own, common), np.ones((len(own), 1), dtype=np.float64)
    for _ in range(OWN_ROUNDS):
        slopes, left, mean = _slopes(watched, own, common)
        normal, vector = _normal(slopes, left, mean)
        step = np.asarray(np.linalg.solve(normal, vector[..., None])[..., 0], dtype=np.float64)
        tried = own + part * _limited(step, own)
        reached = watched.likelihood(tried, common)
        better = (reached > value)[:, None]
        own, value = np.where(better, tried, own), np.maximum(reached, value)
        part = np.where(better, np.minimum(2 * part, 1), part / 3)
    slopes, left, mean = _slopes(watched, own, common)
    normal, _ = _normal(slopes, left, mean)
    freedom = mean.shape[1] - slopes.shape[2]
    return EdgeFit(
        own=own,
        covariance=np.asarray(np.linalg.inv(normal), dtype=np.float64),
        common=common,
        misfit=(left**2 / mean).sum(axis=1) / freedom,
    )


def _value(watched: Watched, own: Array, common: Array) -> float:
    believed = np.sum((common / BELIEVED) ** 2) / 2
    return float(watched.likelihood(own, common).sum() - believed)


def _slopes(watched: Watched, own: Array, common: Array) -> tuple[Array, Array, Array]:
    """Return slopes by `OWN` (frames, bins, 3), counts less their mean, and the mean."""
    mean = watched.mean(own, common)
    slopes = [_slope(watched, own, common, n) for n in range(2)]
    slopes.append(mean / own[:, 2:])
    return np.stack(slopes, axis=2), watched.profiles.counts - mean, np.maximum(mean, 1e-6)


def _slope(watched: Watched, own: Array, common: Array, n: int) -> Array:
    away = np.zeros(3)
    away[n] = OWN_STEPS[n]
    change = watched.mean(own + away, common) - watched.mean(own - away, common)
    return np.asarray(change / (2 * OWN_STEPS[n]))


def _normal(slopes: Array, left: Array, mean: Array) -> tuple[Array, Array]:
    weighted = slopes / mean[..., None]
    normal = np.einsum("fbi,fbj->fij", weighted, slopes)
    # An edge that does not show keeps its place.
    normal = normal + np.diag([1e-6, 1e-6, 1e-9])
    return normal, np.einsum("fbi,fb->fi", weighted, left)


def _limited(step: Array, own: Array) -> Array:
    edges = np.clip(step[:, :2], -LARGEST_STEP, LARGEST_STEP)
    electrons = np.clip(step[:, 2:], -0.3 * own[:, 2:], 0.3 * own[:, 2:])
    return np.concatenate([edges, electrons], axis=1)


def _step(watched: Watched, own: Array, common: Array, damping: float) -> tuple[Array, Array]:
    """Return the steps of own and common parameters."""
    slopes, left, mean = _slopes(watched, own, common)
    normal, vector = _normal(slopes, left, mean)
    shared = []
    for n, size in enumerate(COMMON_STEPS):
        away = np.zeros(len(common))
        away[n] = size
        change = watched.mean(own, common + away) - watched.mean(own, common - away)
        shared.append(change / (2 * size))
    of_all = np.stack(shared, axis=2)
    weighted = of_all / mean[..., None]
    cross = np.einsum("fbi,fbg->fig", slopes / mean[..., None], of_all)
    inner = np.einsum("fbg,fbh->gh", weighted, of_all) + np.diag(BELIEVED**-2)
    pull = np.einsum("fbg,fb->g", weighted, left) - common * BELIEVED**-2
    solved = np.linalg.solve(normal, np.concatenate([cross, vector[..., None]], axis=2))
    reduced = inner - np.einsum("fig,fih->gh", cross, solved[..., :-1])
    reduced += np.diag(damping * np.diag(inner) + 1e-9)
    step = np.linalg.solve(reduced, pull - np.einsum("fig,fi->g", cross, solved[..., -1]))
    step = step * min(1.0, 1 / max(float(np.max(np.abs(step) / LARGEST_COMMON)), 1e-12))
    own_step = solved[..., -1] - np.einsum("fig,g->fi", solved[..., :-1], step)
    return _limited(own_step, own), step
