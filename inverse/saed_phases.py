"""Which phases the rings of a diffraction pattern show: posterior probabilities of phase sets.

Rotational average = background + sum over phases of amount times template, the camera constant
known within an uncertainty. Every subset of the candidates gets its evidence: first all of them
over a grid of camera constants, in closed form; then the likely ones with the errors of the model
itself (strength, place and width of every ring) in the covariance. What stays over is looked for
ring by ring: an unknown phase.

References
----------
MacKay, *Information Theory, Inference, and Learning Algorithms* (2003), chapter 28 (evidence).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp

from echolith.forward.acquisition import Settings
from echolith.inverse.saed_rings import RingProfile
from echolith.inverse.saed_templates import Candidate, LineShape, scaled, templates

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class RingSearch(Settings):
    """How rings are told from each other."""

    camera_std: float = 0.005
    """Standard deviation of the camera constant about the one given, part of it."""
    strength_error: float = 0.1
    """Standard deviation of the electrons in a ring about the kinematic ones, part of them."""
    place_error: float = 2e-4
    """Of the radius of a ring, part of it: strain, and cells not known better."""
    width_error: float = 0.3
    """Of the half width of a ring, pixels: phases differ in the size of crystallites."""
    prior: float = 0.15
    """Probability of every phase before the pattern is seen."""
    prior_unknown: float = 0.03
    """The same of rings that no candidate explains."""


GAUSSIANS = (0.9, 1.2, 1.6, 2.2, 3.0)
LORENTZIANS = (0.1, 0.4, 0.8, 1.6)
SCALES = 49
"""Camera constants looked at, over three standard deviations either way."""
LIKELY = 12.0
"""Nats below the best set, to which sets are looked at with the errors of the model."""
MOST_SETS = 10
MOST_FREE = 10
"""Rings of an unknown phase that are taken in."""
MOST_REPLACED = 3
"""Rings of an unknown phase that may take the place of a candidate."""
BACKGROUND = 8
"""Legendre polynomials by which the background is multiplied."""
BACKGROUND_ERROR = 1e-3


@dataclass(frozen=True, kw_only=True)
class RingEvidence:
    """What the rings say.

    Attributes
    ----------
    names : tuple of str
    probability : array, (candidates,)
    unknown : float
        Probability of rings that no candidate explains.
    electrons, electrons_std : array, (candidates,)
        In the rings of each on the detector.
    scale, scale_std : float
        True camera constant over that given.
    free : array
        Radii of unexplained rings, pixels.
    calculated : array, (bins,)
    """

    names: tuple[str, ...]
    probability: Array
    unknown: float
    electrons: Array
    electrons_std: Array
    scale: float
    scale_std: float
    free: Array
    calculated: Array


@dataclass(frozen=True, kw_only=True)
class _Problem:
    profile: RingProfile
    candidates: tuple[Candidate, ...]
    options: RingSearch
    shape: LineShape
    grid: Array
    table: Array
    free: tuple[float, ...] = ()

    @property
    def basis(self) -> Array:
        """Columns of the background, (bins, polynomials)."""
        r = self.profile.radius
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

    def free_columns(self, radii: Array) -> Array:
        """Templates of single rings of one electron, (bins, rings)."""
        r = self.profile.radius[:, None]
        return np.asarray(self.shape(r - radii) / (2 * np.pi * r))


def ring_evidence(
    profile: RingProfile, candidates: Sequence[Candidate], options: RingSearch | None = None
) -> RingEvidence:
    """Return how probable each candidate is by the rings alone."""
    problem = _with_line_shape(profile, tuple(candidates), options or RingSearch())
    while True:
        sets, scales = _likely_sets(problem)
        judged = [_judged(problem, chosen, scales[n]) for n, chosen in enumerate(sets)]
        best = max(judged, key=lambda one: one.evidence)
        gain, radius = _left_over(problem, best)
        if gain < _needed(problem.options) or len(problem.free) == MOST_FREE:
            break
        problem = _with_free(problem, radius)
    if problem.free:
        problem, judged, best = _challenged(problem, judged, best)
    return _result(problem, judged, best, gain)


def _needed(options: RingSearch) -> float:
    """Nats by which a free ring must raise the evidence to be taken in."""
    odds = options.prior_unknown / (1 - options.prior_unknown)
    return float(3.0 - np.log(odds))


def _with_free(problem: _Problem, radius: float) -> _Problem:
    return _Problem(**{**vars(problem), "free": (*problem.free, radius)})


def _scales(options: RingSearch) -> Array:
    return np.asarray(1 + options.camera_std * np.linspace(-3, 3, SCALES))


def _with_line_shape(
    profile: RingProfile, candidates: tuple[Candidate, ...], options: RingSearch
) -> _Problem:
    """Return the problem with the line that all candidates together fit best by."""
    best: tuple[float, _Problem] | None = None
    for gaussian, lorentzian in product(GAUSSIANS, LORENTZIANS):
        shape = LineShape(gaussian=gaussian, lorentzian=lorentzian)
        grid, table = templates(candidates, shape, float(profile.radius[-1]))
        problem = _Problem(
            profile=profile,
            candidates=candidates,
            options=options,
            shape=shape,
            grid=grid,
            table=table,
        )
        evidence, _ = _closed_form(problem, _scales(options)[::3])
        if best is None or evidence.max() > best[0]:
            best = float(evidence.max()), problem
    assert best is not None
    return best[1]


def _subsets(count: int) -> Mask:
    return np.array(list(product((False, True), repeat=count)))


def _closed_form(problem: _Problem, scales: Array) -> tuple[Array, Mask]:
    """Return the evidence of every set at every camera constant, (scales, sets), and the sets."""
    p, options = problem.profile, problem.options
    ring = np.maximum(p.mean - p.background, 0)
    variance = p.variance + (BACKGROUND_ERROR * p.background) ** 2
    weight = 1 / np.sqrt(variance + (options.strength_error * ring) ** 2)
    known = np.hstack([problem.basis, problem.free_columns(np.array(problem.free))])
    known = np.linalg.qr(known * weight[:, None])[0]
    rest = p.mean * weight
    rest = rest - known @ (known.T @ rest)
    sets = _subsets(len(problem.candidates))
    found = []
    for scale in scales:
        columns = scaled(problem.grid, problem.table, p.radius, scale) * weight[:, None]
        columns = columns - known @ (known.T @ columns)
        found.append(_gaussian_evidence(columns.T @ columns, columns.T @ rest, sets, problem))
    prior = -0.5 * ((scales - 1) / options.camera_std) ** 2
    return np.array(found) + prior[:, None], sets


def _gaussian_evidence(gram: Array, moment: Array, sets: Mask, problem: _Problem) -> Array:
    """Return the log evidence of sets by amounts that are positive; -inf where one is not."""
    unit = np.sqrt(np.diag(gram))
    gram, moment = gram / unit / unit[:, None], moment / unit
    both = sets[:, :, None] & sets[:, None, :]
    own = np.where(both, gram + 1e-9 * np.eye(len(gram)), 0.0)
    own += np.eye(len(gram)) * ~sets[:, None, :]
    amounts = np.linalg.solve(own, (sets * moment)[..., None])[..., 0]
    _, volume = np.linalg.slogdet(own)
    count = sets.sum(axis=1)
    occam = 0.5 * (count * np.log(2 * np.pi) - volume) - sets @ np.log(problem.most * unit)
    prior = problem.options.prior
    odds = count * np.log(prior / (1 - prior))
    value = 0.5 * (amounts * moment * sets).sum(axis=1) + occam + odds
    return np.where((amounts > 0).all(axis=1, where=sets), value, -np.inf)


def _likely_sets(problem: _Problem) -> tuple[list[Mask], list[float]]:
    scales = _scales(problem.options)
    evidence, sets = _closed_form(problem, scales)
    top = evidence.max(axis=0)
    order = np.argsort(-top)[:MOST_SETS]
    order = order[top[order] > top[order[0]] - 4 * LIKELY]
    return [sets[k] for k in order], [_peak(scales, evidence[:, k]) for k in order]


def _peak(scales: Array, values: Array) -> float:
    """Return the place of a maximum by the parabola through three points."""
    k = int(np.clip(values.argmax(), 1, len(values) - 2))
    low, middle, high = values[k - 1 : k + 2]
    bend = low - 2 * middle + high
    if not (np.isfinite(bend) and bend < 0):
        return float(scales[k])
    shift = np.clip(0.5 * (low - high) / bend, -1, 1)
    return float(scales[k] + shift * (scales[1] - scales[0]))


@dataclass(frozen=True, kw_only=True)
class _Judged:
    chosen: Mask
    scale: float
    evidence: float
    amounts: Array
    stds: Array
    scale_std: float
    rest: Array
    inverse: Array
    calculated: Array


def _judged(problem: _Problem, chosen: Mask, scale: float) -> _Judged:
    """Return the evidence of a set with the errors of the model in the covariance."""
    p = problem.profile
    step = 1e-4
    table = problem.table[chosen]
    columns, above = (scaled(problem.grid, table, p.radius, s) for s in (scale, scale * (1 + step)))
    free = problem.free_columns(np.array(problem.free))
    design = np.hstack([columns, free])
    amounts = np.full(design.shape[1], np.nan)
    wide = problem.basis * 10
    covariance = np.diag(p.variance + (BACKGROUND_ERROR * p.background) ** 2) + wide @ wide.T
    bare = covariance
    for _ in range(3):
        covariance = bare.copy()
        if np.isfinite(amounts).all():
            count = int(chosen.sum())
            errors = _model_errors(problem, chosen, scale, amounts[:count])
            covariance += errors @ errors.T
            slope = (above - columns) @ amounts[:count] / step
        else:
            covariance += np.diag((0.3 * np.maximum(p.mean - p.background, 0)) ** 2)
            slope = np.zeros(len(p.radius))
        design_now = np.hstack([design, slope[:, None]]) if slope.any() else design
        factor = cho_factor(covariance, lower=True)
        whitened = cho_solve(factor, design_now) if design_now.size else design_now
        gram = design_now.T @ whitened
        if slope.any():
            gram[-1, -1] += 1 / problem.options.camera_std**2
        solution = np.linalg.solve(gram + 1e-12 * np.diag(np.diag(gram)), whitened.T @ p.mean)
        amounts = np.maximum(solution[: design.shape[1]], 0)
    spread = np.linalg.inv(gram + 1e-12 * np.diag(np.diag(gram)))
    rest = p.mean - design_now @ solution
    inverse = cho_solve(factor, np.eye(len(rest)))
    stds = np.sqrt(np.diag(spread))
    unit = np.sqrt(np.diag(gram))
    _, volume = np.linalg.slogdet(gram / unit / unit[:, None])
    prior = problem.options.prior
    occam = 0.5 * (len(unit) * np.log(2 * np.pi) - volume) - np.log(unit).sum()
    occam -= design.shape[1] * np.log(problem.most)
    if len(unit) > design.shape[1]:
        occam -= 0.5 * np.log(2 * np.pi) + np.log(problem.options.camera_std)
    evidence = (
        -0.5 * rest @ inverse @ rest
        - np.log(np.diag(factor[0])).sum()
        + occam
        - 0.5 * ((scale - 1) / problem.options.camera_std) ** 2
        + chosen.sum() * np.log(prior / (1 - prior))
    )
    negative = (solution[: int(chosen.sum())] <= 0).any()
    background = p.mean - design_now @ solution
    smooth = (
        problem.basis
        @ np.linalg.lstsq(
            problem.basis / np.sqrt(p.variance)[:, None],
            background / np.sqrt(p.variance),
            rcond=None,
        )[0]
    )
    return _Judged(
        chosen=chosen,
        scale=scale * (1 + (float(solution[-1]) if len(unit) > design.shape[1] else 0.0)),
        evidence=float(-np.inf if negative else evidence),
        amounts=amounts,
        stds=stds[: design.shape[1]],
        scale_std=float(stds[-1]) if len(unit) > design.shape[1] else problem.options.camera_std,
        rest=rest,
        inverse=inverse,
        calculated=design_now @ solution + smooth,
    )


def _model_errors(problem: _Problem, chosen: Mask, scale: float, amounts: Array) -> Array:
    """Return what a standard deviation of strength, place and width of each ring changes."""
    options, r = problem.options, problem.profile.radius[:, None]
    shape = problem.shape
    wider = LineShape(gaussian=shape.gaussian, lorentzian=shape.lorentzian + options.width_error)
    found = [np.zeros((len(r), 1))]
    for one, amount in zip(
        [c for c, there in zip(problem.candidates, chosen, strict=True) if there],
        amounts,
        strict=True,
    ):
        strong = (one.strength > 1e-3 * one.strength.max()) & (one.radius < r[-1] + 10)
        centre = scale * one.radius[strong]
        height = amount * one.strength[strong] / (2 * np.pi * r)
        line = shape(r - centre)
        moved = shape(r - centre * (1 + options.place_error)) - line
        found += [options.strength_error * height * line, height * moved]
        # Crystallites of a phase are of one size: all its rings are wider together.
        found.append((height * (wider(r - centre) - line)).sum(axis=1, keepdims=True))
    return np.hstack(found)


def _left_over(problem: _Problem, best: _Judged) -> tuple[float, float]:
    """Return by how much one more ring raises the evidence, in nats, and its radius."""
    radii = problem.profile.radius[3:-3]
    columns = problem.free_columns(radii)
    weighted = best.inverse @ columns
    information = (columns * weighted).sum(axis=0)
    amount = weighted.T @ best.rest / information
    nats = 0.5 * amount**2 * information
    nats += 0.5 * np.log(2 * np.pi) - np.log(problem.most * np.sqrt(information))
    nats = np.where(amount > 0, nats, -np.inf)
    k = int(nats.argmax())
    # It may lie anywhere: averaged over all places, of which one peak covers some.
    places = len(radii) / (2.5 * (problem.shape.gaussian + problem.shape.lorentzian))
    return float(nats[k] - np.log(places)), float(radii[k])


def _challenged(
    problem: _Problem, judged: list[_Judged], best: _Judged
) -> tuple[_Problem, list[_Judged], _Judged]:
    """Put rings of an unknown phase in the place of every phase that was found.

    Beside a phase that is not among the candidates, one of them may be found for a ring or two
    that it happens to share.
    """
    for index in np.flatnonzero(best.chosen):
        without = best.chosen.copy()
        without[index] = False
        trial, cost = problem, 0.0
        for _ in range(MOST_REPLACED + 1):
            other = _judged(trial, without, best.scale)
            if other.evidence - cost > best.evidence:
                problem, best = trial, other
                judged = [one for one in judged if not one.chosen[index]]
                judged = [_judged(problem, one.chosen, one.scale) for one in judged]
                judged.append(best)
                break
            gain, radius = _left_over(trial, other)
            if not np.isfinite(gain):
                break
            trial = _with_free(trial, radius)
            cost += _needed(problem.options) + np.log(len(problem.profile.radius) / 4)
    return problem, judged, best


def _result(
    problem: _Problem, judged: Sequence[_Judged], best: _Judged, gain: float
) -> RingEvidence:
    evidence = np.array([one.evidence for one in judged])
    weight = np.exp(evidence - logsumexp(evidence))
    there = np.array([one.chosen for one in judged])
    prior = problem.options.prior_unknown
    odds = np.exp(np.clip(gain + np.log(prior / (1 - prior)), -50, 50))
    count = int(best.chosen.sum())
    electrons, stds = np.zeros(len(best.chosen)), np.full(len(best.chosen), np.nan)
    electrons[best.chosen], stds[best.chosen] = best.amounts[:count], best.stds[:count]
    return RingEvidence(
        names=tuple(one.name for one in problem.candidates),
        probability=weight @ there,
        unknown=1.0 if problem.free else float(odds / (1 + odds)),
        electrons=electrons,
        electrons_std=stds,
        scale=best.scale,
        scale_std=best.scale_std,
        free=np.array(problem.free),
        calculated=best.calculated,
    )
