"""Which phases the rings of a diffraction pattern show: posterior probabilities of phase sets.

Rotational average = background + sum over phases of amount times template, the camera constant
known within an uncertainty. Every subset of the candidates gets its evidence in closed form; the
likely ones are then fitted, each phase with a line width of its own, the errors of strengths and
places in the covariance. What stays over is looked for ring by ring: an unknown phase.

References
----------
MacKay, *Information Theory, Inference, and Learning Algorithms* (2003), chapter 28 (evidence).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from echolith.inverse.saed_ring_fit import MOST_SINGLE, RingFit, fit_rings
from echolith.inverse.saed_ring_model import RingProblem, RingSearch, RingState
from echolith.inverse.saed_ring_sets import first_states, likely_states
from echolith.inverse.saed_rings import RingProfile
from echolith.inverse.saed_templates import Candidate, LineShape

Array = npt.NDArray[np.float64]

FIRST_SHAPE = LineShape(gaussian=1.3, lorentzian=0.4)
FIRST_SETS = 4
"""Sets that are fitted to find the line shapes and the camera constant."""
LIKELY = 12.0
"""Nats below the best set, to which sets are fitted."""
MOST_SETS = 10
MOST_REPLACED = 8
"""Rings of an unknown phase that may take the place of a candidate."""
ROUNDS = 3
FEW_STEPS = 2
"""Of the fit while rings are added one by one."""
PATIENCE = 2
"""Rings in a row that may lower the evidence before the next one raises it."""


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


def ring_evidence(
    profile: RingProfile, candidates: Sequence[Candidate], options: RingSearch | None = None
) -> RingEvidence:
    """Return how probable each candidate is by the rings alone."""
    problem = RingProblem(
        profile=profile, candidates=tuple(candidates), options=options or RingSearch()
    )
    known = _best_sets(
        problem,
        [fit_rings(problem, one) for one in first_states(problem, FIRST_SHAPE, most=FIRST_SETS)],
    )
    free = _with_unknown(problem, known[0])
    return _result(problem, known, free)


def _best_sets(problem: RingProblem, fits: Sequence[RingFit]) -> list[RingFit]:
    """Return the fits of all likely sets, the best first."""
    best = _best(fits)
    for _ in range(ROUNDS):
        states = likely_states(problem, best, most=MOST_SETS, within=LIKELY)
        fits = [fit_rings(problem, one) for one in states]
        fits += [best] * (best.state.chosen not in {one.state.chosen for one in fits})
        again = _best(fits)
        settled = again.state.chosen == best.state.chosen
        best = again
        if settled:
            break
    return sorted(fits, key=lambda one: -one.evidence)


def _best(fits: Sequence[RingFit]) -> RingFit:
    return max(fits, key=lambda one: one.evidence)


def _with_unknown(problem: RingProblem, best: RingFit) -> list[RingFit]:
    """Return the fits of likely sets beside rings of an unknown phase, at least one."""
    fit = with_free_rings(problem, best, most=MOST_SINGLE)
    fits = [fit]
    if fit.evidence < best.evidence:
        return fits
    for _ in range(ROUNDS):
        tried = _challenged(problem, fit, most=MOST_REPLACED)
        fits = _best_sets(problem, tried)
        fits += [one for one in tried if one not in fits]
        again = with_free_rings(problem, fits[0], most=MOST_SINGLE)
        if again.evidence <= fits[0].evidence:
            break
        fit = again
    return _doubted(problem, fits)


def _doubted(problem: RingProblem, fits: Sequence[RingFit]) -> list[RingFit]:
    """Return the fits, and the best one without each of its phases beside rings in its place."""
    found = sorted(fits, key=lambda one: -one.evidence)
    for _ in range(ROUNDS):
        best = found[0]
        found = sorted(
            [*found, *_challenged(problem, best, most=MOST_SINGLE)[1:]],
            key=lambda one: -one.evidence,
        )
        if found[0] is best:
            break
    return found


def with_free_rings(problem: RingProblem, fit: RingFit, *, most: int) -> RingFit:
    """Return the fit with single rings, at least one, as many as raise the evidence."""
    tried: list[RingFit] = []
    for _ in range(most):
        state = _with_ring(problem, fit)
        if state is None:
            break
        fit = fit_rings(problem, state, steps=FEW_STEPS)
        tried.append(fit)
        if len(tried) > PATIENCE and _best(tried) not in tried[-PATIENCE:]:
            break
    return fit_rings(problem, _best(tried).state) if tried else fit


def _with_ring(problem: RingProblem, fit: RingFit) -> RingState | None:
    """Return the state with one more ring, where it explains most of what is left."""
    state, radii = fit.state, problem.profile.radius
    shape = LineShape(gaussian=state.gaussian, lorentzian=float(state.lorentzian[-1]))
    columns = shape(radii[:, None] - radii) / (2 * np.pi * radii[:, None])
    whitened = fit.whitening.product
    mixed = whitened(fit.slopes, columns)
    information = np.diag(whitened(columns, columns)) - (mixed * (fit.covariance @ mixed)).sum(0)
    rest = (problem.profile.mean - fit.calculated)[:, None]
    moment = whitened(columns, rest)[:, 0] - mixed.T @ (
        fit.covariance @ whitened(fit.slopes, rest)[:, 0]
    )
    amount = moment / np.maximum(information, 1e-300)
    gain = np.where((amount > 0) & (information > 0), amount * moment, -np.inf)[3:-3]
    k = 3 + int(gain.argmax())
    if not np.isfinite(gain[k - 3]):
        return None
    return replace(
        state,
        places=np.append(state.places, radii[k]),
        heights=np.append(state.heights, amount[k]),
    )


def _challenged(problem: RingProblem, best: RingFit, *, most: int) -> list[RingFit]:
    """Return the fit, and others with rings of an unknown phase in the place of each of its phases.

    Beside a phase that is not among the candidates, one of them may be found for a ring or two
    that it happens to share.
    """
    return [
        best,
        *(
            with_free_rings(problem, fit_rings(problem, without(best.state, index)), most=most)
            for index in best.state.chosen
        ),
    ]


def without(state: RingState, index: int) -> RingState:
    """Return the state without one of its phases."""
    keep = np.array([k != index for k in state.chosen], dtype=bool)
    return replace(
        state,
        chosen=tuple(k for k in state.chosen if k != index),
        lorentzian=state.lorentzian[np.append(keep, True)],
        amounts=state.amounts[keep],
    )


def _best_of_sets(fits: Sequence[RingFit]) -> list[RingFit]:
    """Return the best fit of every set: a set that was fitted twice is no more probable."""
    chosen = {one.state.chosen: one for one in sorted(fits, key=lambda one: one.evidence)}
    return list(chosen.values())


def _result(
    problem: RingProblem, known: Sequence[RingFit], free: Sequence[RingFit]
) -> RingEvidence:
    prior = problem.options.prior_unknown
    known, free = _best_of_sets(known), _best_of_sets(free)
    fits = [*known, *free]
    evidence = np.array([one.evidence for one in fits])
    evidence[len(known) :] += np.log(prior / (1 - prior))
    weight = np.exp(evidence - logsumexp(evidence))
    count = len(problem.candidates)
    there = np.array([[k in one.state.chosen for k in range(count)] for one in fits])
    best = fits[int(evidence.argmax())]
    chosen = list(best.state.chosen)
    electrons, stds = np.zeros(count), np.full(count, np.nan)
    electrons[chosen], stds[chosen] = best.state.amounts, best.amount_stds
    return RingEvidence(
        names=tuple(one.name for one in problem.candidates),
        probability=weight @ there,
        unknown=float(weight[len(known) :].sum()),
        electrons=electrons,
        electrons_std=stds,
        scale=best.state.scale,
        scale_std=float(np.sqrt(best.covariance[0, 0])),
        free=best.state.places,
        calculated=best.calculated,
    )
