"""Drift as a function of time, from what every scan line tells of its displacement.

Displacement of line i at time t_i: ``d_i = s(t_i) + j_i``, s a cubic B-spline with a prior on its
bends (an integrated random walk), j independent from line to line. The template is known up to a
displacement c of its own for each of its rows, which all lines that cross the row share; that is
why lines tell differences between frames only, and what is common to all frames follows from the
continuity of s from frame to frame, or not at all. Lines enter with their information N and
``z = N d + gradient`` (quadratic log-likelihood); j and c are integrated out; the sizes of bends
and jitter are those of the largest evidence.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

ROW_STD = 1.0
"""Å. Prior on the displacement of the template's rows: wide against what is looked for."""
PINNED = 1e-3
"""Å. How closely what is not determined (a shift of all frames) is held at zero."""
SMALLEST, LARGEST = 1e-4, 1.0
"""Å. Range of jitter and of bends of the drift from one node to the next."""


class Continuity(Enum):
    """What is known of the drift between frames."""

    CONTINUOUS = "continuous"
    """One drift runs through all frames at known times: it fixes the mean velocity too."""
    PER_FRAME = "per-frame"
    """Every frame has a drift of its own (the field was re-centred, or times are not known): the
    drift common to all frames is not determined."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Standard deviations (Å): jitter along x and y, bend of the drift at a node."""

    jitter_x: float = 0.02
    jitter_y: float = 0.02
    bend: float = 0.05

    @property
    def jitter(self) -> Array:
        """Covariance of one line's jitter, (2,)."""
        return np.array([self.jitter_x**2, self.jitter_y**2])


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What lines tell: information (line, 2, 2) in 1/Å², z (line, 2), row of the template."""

    information: Array
    z: Array
    row: Indices


@dataclass(frozen=True, kw_only=True)
class Path:
    """Displacements (line, 2) xy in Å: smooth part, whole, and their standard deviations.

    ``slope_std`` (2,): of the mean slope of all frames, Å per line.
    """

    smooth: Array
    smooth_std: Array
    displacement: Array
    std: Array
    slope_std: Array
    evidence: float


@dataclass(frozen=True, kw_only=True)
class DriftModel:
    """Spline basis (line, coefficient) over the lines of all frames.

    Rows of coefficients: ``bends``, held small, and ``means`` that the data cannot tell, held at
    zero.
    """

    basis: Array
    bends: Array
    means: Array
    slope: Array
    """(coefficient,): mean over the frames of the straight lines that fit their drift, per line."""

    @classmethod
    def of(cls, times: Array, *, nodes: int, continuity: Continuity) -> "DriftModel":
        """Make it for line times (frame, ny), with so many nodes in each frame's duration."""
        if continuity is Continuity.CONTINUOUS:
            duration = float(np.median(times[:, -1] - times[:, 0]))
            count = max(4, int(np.ceil((times[-1, -1] - times[0, 0]) / duration * nodes)))
            basis = _splines(times.ravel(), count)
            bends = np.diff(np.eye(basis.shape[1]), n=2, axis=0)
            mean = basis.mean(axis=0)[None]
            return cls(basis=basis, bends=bends, means=mean, slope=_mean_slope(basis, times))
        blocks = [_splines(line, nodes) for line in times]
        size = blocks[0].shape[1]
        basis = np.zeros((times.size, size * len(blocks)))
        apart: Array = np.asarray(
            np.kron(np.eye(len(blocks)), np.diff(np.eye(size), n=2, axis=0)), dtype=np.float64
        )
        for n, block in enumerate(blocks):
            basis[n * len(block) : (n + 1) * len(block), n * size : (n + 1) * size] = block
        held: Array = np.kron(np.ones(len(blocks)) / len(blocks), np.eye(size)).astype(np.float64)
        return cls(basis=basis, bends=apart, means=held, slope=_mean_slope(basis, times))

    def sizes(self, lines: Lines, start: Sizes) -> Sizes:
        """Return the sizes of largest evidence."""

        def loss(p: Array) -> float:
            return -self._solve(lines, _sizes(p)).evidence

        first = np.log([start.jitter_x, start.jitter_y, start.bend])
        simplex = np.vstack([first, first + np.eye(3)])
        options = {"initial_simplex": simplex, "xatol": 0.1, "fatol": 0.1, "maxfev": 60}
        return _sizes(minimize(loss, first, method="Nelder-Mead", options=options).x)

    def path(self, lines: Lines, sizes: Sizes) -> Path:
        """Return the most probable displacements and their standard deviations."""
        solved = self._solve(lines, sizes)
        smooth = self.basis @ solved.coefficients.T
        free = lines.z - np.einsum("nij,nj->ni", lines.information, smooth + solved.rows[lines.row])
        jitter = sizes.jitter * np.einsum("nij,nj->ni", solved.damping, free)
        smooth_std, std = self._stds(lines, sizes, solved)
        slopes = np.kron(np.eye(2), self.slope)
        slope_variance = np.einsum("ik,ki->i", slopes, cho_solve(solved.factor, slopes.T))
        return Path(
            smooth=smooth,
            smooth_std=smooth_std,
            displacement=smooth + jitter,
            std=std,
            slope_std=np.sqrt(slope_variance),
            evidence=solved.evidence,
        )

    def _stds(self, lines: Lines, sizes: Sizes, solved: "_Solved") -> tuple[Array, Array]:
        """Return the standard deviations of smooth drift and displacements.

        With K = J (I + N J)^-1 N: ``j = ... - K (s + c)`` and ``c = ... - G s``, so that d follows
        s by ``1 - K + K G``; jitter itself is known to ``J (I + N J)^-1``, c to the inverse of its
        information.
        """
        size = self.basis.shape[1]
        root = np.linalg.inv(np.tril(solved.factor[0])).T
        split = np.zeros((len(self.basis), 2, 2, size))
        split[:, 0, 0] = split[:, 1, 1] = self.basis
        slope = split.reshape(-1, 2, 2 * size)
        smooth = ((slope @ root) ** 2).sum(axis=2)
        own = np.einsum("i,nij->nij", sizes.jitter, solved.damping)
        gain = own @ lines.information
        follows = slope - gain @ slope + gain @ solved.shared[lines.row]
        variance = ((follows @ root) ** 2).sum(axis=2) + np.einsum("nii->ni", own)
        variance += np.einsum("nij,njk,nik->ni", gain, solved.row_covariance[lines.row], gain)
        return np.sqrt(smooth), np.sqrt(variance)

    def _solve(self, lines: Lines, sizes: Sizes) -> "_Solved":
        free = _without_jitter(lines, sizes)
        size, count = self.basis.shape[1], len(free.row_z)
        normal, shared = self._normal(lines, free.information)
        solved = free.row_covariance @ shared
        matrix = normal - shared.reshape(-1, 2 * size).T @ solved.reshape(-1, 2 * size)
        prior = self.bends.T @ self.bends / sizes.bend**2 + self.means.T @ self.means / PINNED**2
        factor = cho_factor(matrix + np.kron(np.eye(2), prior), lower=True)
        right = (free.z.T @ self.basis).ravel() - np.einsum("nik,ni->k", solved, free.row_z)
        coefficients = np.asarray(cho_solve(factor, right))
        evidence = free.evidence + 0.5 * float(right @ coefficients)
        evidence -= float(np.log(np.diag(factor[0])).sum())
        evidence -= 2 * len(self.bends) * float(np.log(sizes.bend))
        rows = np.einsum("nij,nj->ni", free.row_covariance, free.row_z) - solved @ coefficients
        return _Solved(
            coefficients=coefficients.reshape(2, size),
            factor=factor,
            rows=rows.reshape(count, 2),
            shared=solved,
            row_covariance=free.row_covariance,
            damping=free.damping,
            evidence=evidence,
        )

    def _normal(self, lines: Lines, information: Array) -> tuple[Array, Array]:
        """Return ``sum B' N B`` (2 K, 2 K) and, row by row, ``sum N B`` (row, 2, 2 K)."""
        size, count = self.basis.shape[1], int(lines.row.max()) + 1
        normal = np.empty((2, size, 2, size))
        shared = np.zeros((count, 2, 2, size))
        order = np.argsort(lines.row, kind="stable")
        starts = np.flatnonzero(np.diff(lines.row[order], prepend=-1))
        present = lines.row[order][starts]
        for a, b in ((0, 0), (0, 1), (1, 1)):
            weighted = information[:, a, b, None] * self.basis
            normal[a, :, b] = normal[b, :, a] = self.basis.T @ weighted
            summed = np.add.reduceat(weighted[order], starts, axis=0)
            shared[present, a, b] = shared[present, b, a] = summed
        return normal.reshape(2 * size, 2 * size), shared.reshape(count, 2, 2 * size)


class _Free(NamedTuple):
    """Lines with jitter and rows of the template integrated out."""

    information: Array
    z: Array
    damping: Array
    row_z: Array
    row_covariance: Array
    evidence: float


def _without_jitter(lines: Lines, sizes: Sizes) -> _Free:
    # N -> (I + N J)^-1 N, and the same for z.
    stretched = np.eye(2) + lines.information * sizes.jitter
    damping = np.linalg.inv(stretched)
    information = damping @ lines.information
    z = np.einsum("nij,nj->ni", damping, lines.z)
    evidence = -0.5 * float(np.log(np.linalg.det(stretched)).sum())
    evidence += 0.5 * float(np.einsum("ni,i,ni->", lines.z, sizes.jitter, z))
    count = int(lines.row.max()) + 1
    rows = np.tile(np.eye(2) / ROW_STD**2, (count, 1, 1))
    np.add.at(rows, lines.row, information)
    row_z = np.zeros((count, 2))
    np.add.at(row_z, lines.row, z)
    inverse: Array = np.asarray(np.linalg.inv(rows), dtype=np.float64)
    evidence -= 0.5 * float(np.log(np.linalg.det(rows) * ROW_STD**4).sum())
    evidence += 0.5 * float(np.einsum("ni,nij,nj->", row_z, inverse, row_z))
    return _Free(
        information=np.asarray(information, dtype=np.float64),
        z=np.asarray(z, dtype=np.float64),
        damping=np.asarray(damping, dtype=np.float64),
        row_z=row_z,
        row_covariance=inverse,
        evidence=evidence,
    )


@dataclass(frozen=True, kw_only=True)
class _Solved:
    coefficients: Array
    factor: tuple[Array, bool]
    rows: Array
    shared: Array
    row_covariance: Array
    damping: Array
    evidence: float


def _sizes(p: Array) -> Sizes:
    x, y, bend = np.clip(np.exp(p), SMALLEST, LARGEST)
    return Sizes(jitter_x=float(x), jitter_y=float(y), bend=float(bend))


def _mean_slope(basis: Array, times: Array) -> Array:
    line = np.arange(times.shape[1]) - (times.shape[1] - 1) / 2
    weight = np.tile(line / (line**2).sum() / len(times), len(times))
    return np.asarray(weight @ basis)


def _splines(times: Array, nodes: int) -> Array:
    """Cubic B-splines on equal nodes over the times, (time, nodes + 3)."""
    step = (times[-1] - times[0]) / nodes
    knots = times[0] + step * np.arange(-3, nodes + 4)
    inside = np.clip(times, times[0], times[-1] - 1e-9 * step)
    return np.asarray(BSpline.design_matrix(inside, knots, 3).toarray())
