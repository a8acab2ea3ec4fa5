"""Which sets of phases are worth a closer look: evidence of all of them in closed form."""

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from echolith.inverse.saed_ring_fit import RingFit
from echolith.inverse.saed_ring_model import BACKGROUND, RingProblem, RingState
from echolith.inverse.saed_templates import LineShape, template

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SCALES = 37
"""Camera constants looked at, over three standard deviations either way."""


def first_states(problem: RingProblem, shape: LineShape, *, most: int) -> list[RingState]:
    """Return the likeliest sets of phases and camera constants by one line shape for all."""
    p, options = problem.profile, problem.options
    ring = np.maximum(p.mean - p.background, 0)
    deviation = np.sqrt(p.variance + (options.strength_error * ring) ** 2)
    known = np.linalg.qr(problem.basis / deviation[:, None])[0]
    rest = p.mean / deviation
    rest = rest - known @ (known.T @ rest)
    scales = 1 + options.camera_std * np.linspace(-3, 3, SCALES)
    sets = subsets(len(problem.candidates))
    found = []
    for scale in scales:
        columns = _templates(problem, [shape] * len(problem.candidates), scale) / deviation[:, None]
        columns = columns - known @ (known.T @ columns)
        evidence, amounts = gaussian_evidence(columns.T @ columns, columns.T @ rest, sets, problem)
        found.append((evidence - 0.5 * ((scale - 1) / options.camera_std) ** 2, amounts))
    evidence = np.array([one for one, _ in found])
    best = evidence.argmax(axis=0)
    order = np.argsort(-evidence.max(axis=0))[:most]
    return [
        starting_state(
            tuple(np.flatnonzero(sets[k]).tolist()),
            float(scales[best[k]]),
            shape,
            found[best[k]][1][k][sets[k]],
        )
        for k in order
    ]


def starting_state(
    chosen: tuple[int, ...], scale: float, shape: LineShape, amounts: Array
) -> RingState:
    """Return a state without single rings on the background as it was found."""
    return RingState(
        chosen=chosen,
        scale=scale,
        gaussian=shape.gaussian,
        lorentzian=np.full(len(chosen) + 1, shape.lorentzian),
        amounts=amounts,
        places=np.zeros(0),
        heights=np.zeros(0),
        background=np.eye(1, BACKGROUND)[0],
    )


def likely_states(
    problem: RingProblem, fit: RingFit, *, most: int, within: float
) -> list[RingState]:
    """Return the sets whose evidence about a fit is within so many nats of the best.

    Camera constant and line shapes are those of the fit to first order, its single rings stay.
    """
    state = fit.state
    widths = np.full(len(problem.candidates), state.lorentzian[-1])
    widths[list(state.chosen)] = state.lorentzian[:-1]
    shapes = [LineShape(gaussian=state.gaussian, lorentzian=float(w)) for w in widths]
    columns = _templates(problem, shapes, state.scale)
    n = len(state.chosen)
    shared = np.delete(fit.slopes, np.s_[n + 3 : 2 * n + 3], axis=1)
    _, precision = state.prior_pulls(problem.options)
    prior = np.diag(np.delete(precision, np.s_[n + 3 : 2 * n + 3]) + 1e-12)
    shift = problem.profile.mean - fit.calculated
    amounts = np.zeros(len(problem.candidates))
    amounts[list(state.chosen)] = state.amounts
    rest = (shift + columns @ amounts)[:, None]
    whitened = fit.whitening.product
    across = np.linalg.solve(whitened(shared, shared) + prior, whitened(shared, columns))
    gram = whitened(columns, columns) - whitened(columns, shared) @ across
    moment = (whitened(columns, rest) - across.T @ whitened(shared, rest))[:, 0]
    sets = subsets(len(problem.candidates))
    evidence, amounts = gaussian_evidence(gram, moment, sets, problem)
    order = np.argsort(-evidence)[:most]
    order = order[evidence[order] > evidence[order[0]] - within]
    return [
        RingState(
            chosen=tuple(np.flatnonzero(sets[k]).tolist()),
            scale=state.scale,
            gaussian=state.gaussian,
            lorentzian=np.append(widths[sets[k]], state.lorentzian[-1]),
            amounts=amounts[k][sets[k]],
            places=state.places,
            heights=state.heights,
            background=state.background,
        )
        for k in order
    ]


def subsets(count: int) -> Mask:
    """Return every subset of so many things, (2^count, count)."""
    return np.array(list(product((False, True), repeat=count)))


def gaussian_evidence(
    gram: Array, moment: Array, sets: Mask, problem: RingProblem
) -> tuple[Array, Array]:
    """Return log evidence and amounts (sets, candidates) of sets by amounts that are positive."""
    unit = np.sqrt(np.diag(gram))
    gram, moment = gram / unit / unit[:, None], moment / unit
    both = sets[:, :, None] & sets[:, None, :]
    own = np.where(both, gram + 1e-9 * np.eye(len(gram)), 0.0)
    own += np.eye(len(gram)) * ~sets[:, None, :]
    inverse = np.linalg.inv(own)
    amounts = np.einsum("sij,sj->si", inverse, sets * moment)
    stds = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2))
    _, volume = np.linalg.slogdet(own)
    count = sets.sum(axis=1)
    occam = 0.5 * (count * np.log(2 * np.pi) - volume) - sets @ np.log(problem.most * unit)
    prior = problem.options.prior
    value = 0.5 * (amounts * moment * sets).sum(axis=1) + occam
    value += count * np.log(prior / (1 - prior))
    value += np.where(sets, log_ndtr(amounts / stds), 0.0).sum(axis=1)
    return value, amounts / unit


def _templates(problem: RingProblem, shapes: list[LineShape], scale: float) -> Array:
    """Return one column for each candidate, (bins, candidates)."""
    return np.array(
        [
            template(one, shape, scale, problem.profile.radius)[0]
            for one, shape in zip(problem.candidates, shapes, strict=True)
        ]
    ).T
