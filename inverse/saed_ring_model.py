"""The model of a rotational average: background, rings of phases, single rings of none.

Known beside the counting noise are the errors of the model itself: the strength and the place of
every ring are uncertain. They are Gaussian, so that they are in the covariance, not parameters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Settings
from echolith.inverse.saed_rings import RingProfile
from echolith.inverse.saed_templates import FINE, REACH, Candidate, LineShape, template

Array = npt.NDArray[np.float64]

BACKGROUND = 12
"""Legendre polynomials of the root of the radius, by which the background is multiplied."""
BACKGROUND_WIDTH = 1.0
"""Standard deviation of their factors."""
GAUSSIAN = (1.3, 0.5)
"""Pixels, width of the beam before the pattern is seen, and standard deviation of its logarithm."""
LORENTZIAN = (0.4, 0.8)
"""The same of the half width that small crystallites add."""
ALIKE = 0.5
"""Pixels; rings of a phase in such a step of the radius share their error."""
FAINT = 0.1
"""Of the counting noise; smaller errors of the model are left out."""


class RingSearch(Settings):
    """How rings are told from each other."""

    camera_std: float = 0.005
    """Standard deviation of the camera constant about the one given, part of it."""
    strength_error: float = 0.1
    """Standard deviation of the electrons in a ring about the kinematic ones, part of them."""
    place_error: float = 2e-4
    """Of the radius of a ring, part of it: strain, and cells not known better."""
    prior: float = 0.15
    """Probability of every phase before the pattern is seen."""
    prior_unknown: float = 0.03
    """The same of rings that no candidate explains."""


@dataclass(frozen=True, kw_only=True)
class RingProblem:
    """What is to be explained, and by what."""

    profile: RingProfile
    candidates: tuple[Candidate, ...]
    options: RingSearch

    @property
    def basis(self) -> Array:
        """Columns of the background, (bins, polynomials)."""
        r = np.sqrt(self.profile.radius)
        place = 2 * (r - r[0]) / (r[-1] - r[0]) - 1
        columns = np.polynomial.legendre.legvander(place, BACKGROUND - 1)
        return np.asarray(columns * self.profile.background[:, None])

    @property
    def most(self) -> float:
        """Electrons in all rings together, the most any phase can have."""
        p = self.profile
        excess = np.maximum(p.mean - p.background, 0)
        electrons = float((excess * 2 * np.pi * p.radius * np.gradient(p.radius)).sum())
        noise = float(np.sqrt((p.variance * (2 * np.pi * p.radius) ** 2).sum()))
        return electrons + noise


@dataclass(frozen=True, kw_only=True)
class RingState:
    """Values of everything a set of phases and single rings leaves free.

    Attributes
    ----------
    chosen : tuple of int
        Candidates of the set.
    scale, gaussian : float
        Camera constant over that told; width of the beam, pixels.
    lorentzian : array, (phases + 1,)
        Half widths, pixels; the last is that of single rings.
    amounts : array, (phases,)
        Electrons in the rings of each phase.
    places, heights : array, (singles,)
        Radii (pixels) and electrons of single rings.
    background : array, (polynomials,)
    """

    chosen: tuple[int, ...]
    scale: float
    gaussian: float
    lorentzian: Array
    amounts: Array
    places: Array
    heights: Array
    background: Array

    def moved(self, step: Array) -> "RingState":
        """Return the state a step along the columns of `slopes` away."""
        n, m = len(self.chosen), len(self.places)
        cuts = np.cumsum([1, 1, n + 1, n, m, m])
        scale, gaussian, lorentzian, amounts, places, heights, background = np.split(step, cuts)
        return RingState(
            chosen=self.chosen,
            scale=self.scale + float(scale[0]),
            gaussian=self.gaussian * float(np.exp(gaussian[0])),
            lorentzian=self.lorentzian * np.exp(lorentzian),
            amounts=self.amounts + amounts,
            places=self.places + places,
            heights=self.heights + heights,
            background=self.background + background,
        )

    def prior_pulls(self, options: RingSearch) -> tuple[Array, Array]:
        """Return how far each value is from its prior and the prior's inverse variance."""
        n, m = len(self.chosen), len(self.places)
        flat = np.zeros(n + 2 * m)
        away = [
            [self.scale - 1],
            [np.log(self.gaussian / GAUSSIAN[0])],
            np.log(self.lorentzian / LORENTZIAN[0]),
            flat,
            self.background - np.eye(1, BACKGROUND)[0],
        ]
        precision = [
            np.array([options.camera_std**-2]),
            np.array([GAUSSIAN[1] ** -2]),
            np.full(n + 1, LORENTZIAN[1] ** -2),
            flat,
            np.full(BACKGROUND, BACKGROUND_WIDTH**-2),
        ]
        return np.concatenate(away), np.concatenate(precision)


def mean_and_slopes(problem: RingProblem, state: RingState) -> tuple[Array, Array]:
    """Return the mean counts (bins,) and their derivatives (bins, values).

    By the camera constant, logarithms of Gaussian and Lorentzian widths, amounts, places and
    heights of single rings, and factors of the background.
    """
    r = problem.profile.radius
    n = len(state.chosen)
    parts = [
        template(
            problem.candidates[k], LineShape(gaussian=state.gaussian, lorentzian=w), state.scale, r
        )
        for k, w in zip(state.chosen, state.lorentzian[:-1], strict=True)
    ]
    shape = LineShape(gaussian=state.gaussian, lorentzian=float(state.lorentzian[-1]))
    single = shape.with_slopes(r - state.places[:, None]) / (2 * np.pi * r)
    single[1] *= -1
    table = np.concatenate([np.array(parts).reshape(n, 4, len(r)), single.transpose(1, 0, 2)])
    amounts = np.concatenate([state.amounts, state.heights])
    weighted = table * amounts[:, None, None]
    by_lorentzian = np.zeros((n + 1, len(r)))
    by_lorentzian[:n] = weighted[:n, 3]
    by_lorentzian[n] = weighted[n:, 3].sum(axis=0)
    rows = [
        weighted[:n, 1].sum(axis=0)[None],
        state.gaussian * weighted[:, 2].sum(axis=0)[None],
        state.lorentzian[:, None] * by_lorentzian,
        table[:n, 0],
        weighted[n:, 1],
        table[n:, 0],
        problem.basis.T,
    ]
    mean = weighted[:, 0].sum(axis=0) + problem.basis @ state.background
    return mean, np.vstack(rows).T


def model_errors(problem: RingProblem, state: RingState, noise: Array) -> Array:
    """Return what a standard deviation of strength and place of each ring changes, (bins, errors).

    Errors far below the counting ``noise`` (bins,) are left out.
    """
    options, r = problem.options, problem.profile.radius
    found = [np.zeros((0, len(r)))]
    for k, width, amount in zip(state.chosen, state.lorentzian, state.amounts, strict=False):
        radius, electrons = _grouped(problem.candidates[k], state.scale)
        electrons = np.maximum(amount, 0) * electrons
        shape = LineShape(gaussian=state.gaussian, lorentzian=float(width))
        away = np.arange(-REACH, REACH + FINE / 2, FINE)
        line = shape(away)
        slope = np.gradient(line, FINE)
        level = np.interp(radius, r, noise) * 2 * np.pi * radius
        for curve, size in (
            (line, options.strength_error * electrons),
            (slope, options.place_error * radius * electrons),
        ):
            large = (size * np.abs(curve).max() > FAINT * level) & (radius < r[-1] + 10)
            shapes = np.interp(r - radius[large, None], away, curve, left=0, right=0)
            found.append(size[large, None] * shapes / (2 * np.pi * r))
    return np.vstack(found).T


def _grouped(candidate: Candidate, scale: float) -> tuple[Array, Array]:
    """Return radii of groups of rings, and the root of the sum of squares of their electrons."""
    radius = scale * candidate.radius
    _, group = np.unique((radius / ALIKE).astype(np.intp), return_inverse=True)
    squares = np.bincount(group, weights=candidate.strength**2)
    middle = np.bincount(group, weights=candidate.strength**2 * radius) / squares
    return middle, np.sqrt(squares)
