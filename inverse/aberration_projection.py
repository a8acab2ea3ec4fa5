"""Variable projection: the aberrations that explain most of the overlaps, amplitudes eliminated.

With S(K, Q) in units of its standard deviation and g = Gamma(K, Q; x) in the same unit, minimise

    F(x) = sum_Q min_a |S - a g|² = sum_Q (|S|² - |g.S|² / |g|²).

Amplitudes a_Q are solved for, never unwrapped. With J = dg/dx and its part J' perpendicular to g
the gradient is ``-2 Re sum_Q a* J'.S`` and Kaufman's curvature ``2 sum_Q |a|² Re J'.J'``. The
steps are Gauss-Newton's through an eigendecomposition, limited in length; directions that the data
do not tell apart are not moved.
"""

from dataclasses import dataclass

import numpy as np

from echolith.inverse.aberration_basis import exponents
from echolith.inverse.aberration_kernels import fill_overlap
from echolith.inverse.aberration_overlaps import FloatArray, Overlaps

LONGEST_STEP = 1.5
"""rad at the rim: beyond, the phases are no longer linear."""
UNKNOWN = np.pi
"""rad at the rim: a direction known worse than this is not known at all."""
CONVERGED = 1e-3
"""A step shorter than this many of its own standard deviations ends the fit."""
HALVINGS = 6


@dataclass(frozen=True, kw_only=True)
class Damping:
    """What lessens the sidebands towards the rim; see `kernels.damping`."""

    focal: float = 0.0
    thick: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Misfit:
    """F and its derivatives at some aberrations.

    ``scores`` (Q, components): minus half the gradient of every Q; ``information`` half of the
    expected curvature, amplitudes corrected for their own noise; both in rad at the rim.
    """

    value: float
    scores: FloatArray
    curvature: FloatArray
    information: FloatArray
    explained: float
    """Power that the model takes up, less what it takes up of noise."""
    freedom: int
    """Complex numbers less amplitudes."""
    floor: float
    """Noise expected per degree of freedom: 1 for counts."""

    @property
    def share(self) -> float:
        """Power that the model takes up over all power beyond the noise."""
        left = max(self.value - self.floor * self.freedom, 0.0)
        taken = max(self.explained, 0.0)
        return taken / (taken + left) if taken else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """Aberrations in rad at the rim and the misfit there."""

    phases: FloatArray
    misfit: Misfit


def misfit(
    overlaps: Overlaps, phases: FloatArray, order: int, damping: Damping, *, most: int | None = None
) -> Misfit:
    """Return F and its derivatives.

    Parameters
    ----------
    overlaps : Overlaps
    phases : array, (components,)
        rad at the rim.
    order : int
    damping : Damping
    most : int, optional
        Use the strongest Q only.
    """
    powers, count = exponents(order), len(phases)
    scores, value, explained, freedom = [], 0.0, 0.0, 0
    curvature, information = np.zeros((count, count)), np.zeros((count, count))
    for overlap in overlaps.chosen[:most]:
        where, size = overlap.pixels, overlap.pixels.size
        gamma, jacobian = np.empty(size, complex), np.empty((size, count), complex)
        fill_overlap(
            overlaps.x[where], overlaps.y[where], overlaps.samples[where],
            overlap.q[0], overlap.q[1],
            overlaps.square, powers, phases, damping.focal, damping.thick, gamma, jacobian,
        )  # fmt: skip
        gamma /= overlap.root
        jacobian /= overlap.root[:, None]
        norm = float(np.vdot(gamma, gamma).real)
        if norm <= 0:
            continue
        amplitude = np.vdot(gamma, overlap.signal) / norm
        across = jacobian - np.outer(gamma, gamma.conj() @ jacobian / norm)
        normal = np.real(across.conj().T @ across)
        power = float(np.vdot(overlap.signal, overlap.signal).real)
        strength = float(np.abs(amplitude) ** 2)
        scores.append(np.real(amplitude.conjugate() * (across.conj().T @ overlap.signal)))
        curvature += strength * normal
        information += max(strength - 1 / norm, 0) * normal
        value += power - strength * norm
        explained += strength * norm - overlaps.floor
        freedom += size - 1
    return Misfit(
        value=value,
        scores=np.array(scores).reshape(-1, count),
        curvature=curvature,
        information=information,
        explained=explained,
        freedom=freedom,
        floor=overlaps.floor,
    )


def refined(
    overlaps: Overlaps,
    phases: FloatArray,
    order: int,
    damping: Damping,
    *,
    turns: int,
    most: int | None = None,
) -> Solution:
    """Descend from a start to the nearest minimum of F.

    Parameters
    ----------
    overlaps, phases, order, damping, most
        As for `misfit`.
    turns : int
        Most steps.
    """
    here = Solution(phases=phases, misfit=misfit(overlaps, phases, order, damping, most=most))
    for _ in range(turns):
        step = _step(here.misfit)
        size = float(np.sqrt(2 * step @ here.misfit.curvature @ step))
        if size < CONVERGED:
            break
        nearer = None
        for _ in range(HALVINGS):
            trial = here.phases + step
            there = misfit(overlaps, trial, order, damping, most=most)
            if there.value < here.misfit.value:
                nearer = Solution(phases=trial, misfit=there)
                break
            step = step / 2
        if nearer is None:
            break
        here = nearer
    return here


def _step(at: Misfit) -> FloatArray:
    values, vectors = np.linalg.eigh(at.curvature)
    known = 2 * values > 1 / UNKNOWN**2
    along = vectors.T @ at.scores.sum(axis=0)
    step = vectors[:, known] @ (along[known] / values[known])
    length = float(np.linalg.norm(step))
    return np.asarray(step * min(1.0, LONGEST_STEP / max(length, 1e-30)))
