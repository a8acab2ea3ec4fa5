"""Variable projection: the aberrations that explain most of the overlaps, amplitudes eliminated.

With S(K, Q) in units of its standard deviation and g = Gamma(K, Q; x) in the same unit, minimise

    F(x) = sum_Q min_a |S - a g|² = sum_Q (|S|² - |g.S|² / |g|²).

Amplitudes a_Q are solved for, never unwrapped. With J = dg/dx and its part J' perpendicular to g
the gradient is ``-2 Re sum_Q a* J'.S`` and Kaufman's curvature ``2 sum_Q |a|² Re J'.J'``. The
steps are Gauss-Newton's through an eigendecomposition, limited in length; directions that the data
do not tell apart are not moved.

A phase object has one amplitude in both sidebands, ``i phi_Q``. What is scattered twice, and what
is lost to high angles, acts as absorption, ``exp(i phi - mu)``: amplitudes ``i phi_Q - mu_Q`` and
``i phi_Q + mu_Q``, two free ones, g two columns.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from echolith.inverse.aberration_basis import exponents
from echolith.inverse.aberration_kernels import fill_overlap
from echolith.inverse.aberration_overlaps import FloatArray, Overlap, Overlaps

ComplexArray = npt.NDArray[np.complex128]

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
    overlaps: Overlaps,
    phases: FloatArray,
    order: int,
    damping: Damping,
    *,
    absorbing: bool = False,
    most: int | None = None,
) -> Misfit:
    """Return F and its derivatives.

    Parameters
    ----------
    overlaps : Overlaps
    phases : array, (components,)
        rad at the rim.
    order : int
    damping : Damping
    absorbing : bool, optional
        Give each sideband an amplitude of its own.
    most : int, optional
        Use the strongest Q only.
    """
    count = len(phases)
    scores, value, explained, freedom = [], 0.0, 0.0, 0
    curvature, information = np.zeros((count, count)), np.zeros((count, count))
    for overlap in overlaps.chosen[:most]:
        basis, slopes = _model(overlaps, overlap, phases, order, damping, absorbing)
        rank = len(basis)
        if not rank:
            continue
        across_to, triangle = np.linalg.qr(basis.T)
        taken = across_to.conj().T @ overlap.signal
        tangent = np.tensordot(np.linalg.solve(triangle, taken), slopes, axes=1)
        across = tangent - across_to @ (across_to.conj().T @ tangent)
        normal = np.real(across.conj().T @ across)
        power = float(np.vdot(overlap.signal, overlap.signal).real)
        strength = float(np.vdot(taken, taken).real)
        scores.append(np.real(across.conj().T @ overlap.signal))
        curvature += normal
        # Of the strength, noise makes 1 for every amplitude.
        information += max(1 - rank / max(strength, 1e-300), 0) * normal
        value += power - strength
        explained += strength - rank * overlaps.floor
        freedom += overlap.pixels.size - rank
    return Misfit(
        value=value,
        scores=np.array(scores).reshape(-1, count),
        curvature=curvature,
        information=information,
        explained=explained,
        freedom=freedom,
        floor=overlaps.floor,
    )


def _model(
    overlaps: Overlaps,
    overlap: Overlap,
    phases: FloatArray,
    order: int,
    damping: Damping,
    absorbing: bool,
) -> tuple[ComplexArray, ComplexArray]:
    """Return what the amplitudes multiply, (amplitudes, pixels), and its derivatives."""
    where, size, count = overlap.pixels, overlap.pixels.size, len(phases)
    sidebands, slopes = np.empty((2, size), complex), np.empty((2, size, count), complex)
    fill_overlap(
        overlaps.x[where], overlaps.y[where], overlaps.samples[where],
        overlap.q[0], overlap.q[1], overlaps.square, exponents(order), phases,
        damping.focal, damping.thick, sidebands, slopes,
    )  # fmt: skip
    if not absorbing:
        sidebands, slopes = sidebands.sum(axis=0)[None], slopes.sum(axis=0)[None]
    seen = np.abs(sidebands).max(axis=1) > 0
    return sidebands[seen] / overlap.root, slopes[seen] / overlap.root[:, None]


def refined(
    overlaps: Overlaps,
    phases: FloatArray,
    order: int,
    damping: Damping,
    *,
    turns: int,
    absorbing: bool = False,
    most: int | None = None,
) -> Solution:
    """Descend from a start to the nearest minimum of F.

    Parameters
    ----------
    overlaps, phases, order, damping, absorbing, most
        As for `misfit`.
    turns : int
        Most steps.
    """
    at = partial(misfit, overlaps, order=order, damping=damping, absorbing=absorbing, most=most)
    here = Solution(phases=phases, misfit=at(phases))
    for _ in range(turns):
        step = _step(here.misfit)
        size = float(np.sqrt(2 * step @ here.misfit.curvature @ step))
        if size < CONVERGED:
            break
        nearer = None
        for _ in range(HALVINGS):
            trial = here.phases + step
            there = at(trial)
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
