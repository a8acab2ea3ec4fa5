"""Evidence and posterior of one law of growth, errors and unknown times integrated out.

Factors of the shapes are Gaussian beforehand (standard deviation: the range of the lengths), so
given the unknown times and the memory of the errors all is in closed form. Those few are integrated
by cubature on cells that are split until none holds much of the evidence.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from echolith.inverse.growth_law_kernels import normal_equations
from echolith.inverse.growth_law_shapes import GrowthShape

Array = npt.NDArray[np.float64]

LARGEST_SHARE = 1 / 400
"""Of the evidence, in one cell."""
ROUNDS = 14
FIRST_TIMES = {0: 0, 1: 48, 2: 20, 3: 12}
"""First cells along each unknown time, by the number of those."""
FIRST_ERRORS = 3
SHORTEST_MEMORY = 0.25
"""Of errors, frames: a correlation of 2 %."""
ALWAYS = 16
"""Cells split in every round, lest a narrow peak hide in one that is not the best."""
MOST = 160
"""Cells split in one round."""
AT_ONCE = 1 << 21
"""Values of the designs held at one time."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Lengths against time, and what is believed of their errors beforehand.

    Attributes
    ----------
    places : array (n,)
        Times from 0 (first) to 1 (last).
    lengths, std : array (n,)
        From the middle of their range, Å.
    gaps : array (n,)
        Frames since the length before.
    span : float
        From the first to the last length, s.
    spread : float
        Standard deviation of every factor beforehand, Å.
    scale_std : float
        Of the logarithm of the factor by which stated errors are off.
    largest_correlation : float
        Of errors in neighbouring frames; 0: errors are white.
    """

    places: Array
    lengths: Array
    std: Array
    gaps: Array
    span: float
    spread: float
    scale_std: float
    largest_correlation: float


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """A law's evidence, and its posterior as points with weights.

    Attributes
    ----------
    log_evidence : float
    weight : array (points,)
    times, width : array (points, times)
        Unknown times as parts of the movie, sorted, and half the width of their cells.
    factors : array (points, terms)
    covariance : array (points, terms, terms)
    scale, share, correlation : array (points,)
        Of the errors: factor on the stated ones, share that remembers, correlation per frame.
    """

    log_evidence: float
    weight: Array
    times: Array
    width: Array
    factors: Array
    covariance: Array
    scale: Array
    share: Array
    correlation: Array


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Boxes in the unit cube of unknown times, share and correlation."""

    centre: Array
    half: Array
    value: Array
    """Logarithm of the evidence density at the centre."""

    @property
    def mass(self) -> Array:
        return np.asarray(self.value + np.log(2 * self.half).sum(axis=1))

    def chosen(self, which: npt.NDArray[np.bool_]) -> "_Cells":
        return _Cells(centre=self.centre[which], half=self.half[which], value=self.value[which])


def law_posterior(shape: GrowthShape, series: Series) -> Posterior:
    """Return evidence and posterior of one law."""
    cells = _valued(*_first_cells(shape, series), shape, series)
    for _ in range(ROUNDS):
        part = softmax(cells.mass)
        order = np.argsort(-part, kind="stable")
        split = np.zeros(len(part), dtype=bool)
        split[order[: min(int((part > LARGEST_SHARE).sum()), MOST)]] = True
        if not split.any() or not cells.centre.shape[1]:
            break
        split[order[:ALWAYS]] = True
        children = _valued(*_halved(cells.chosen(split)), shape, series)
        kept = cells.chosen(~split)
        cells = _Cells(
            centre=np.concatenate([kept.centre, children.centre]),
            half=np.concatenate([kept.half, children.half]),
            value=np.concatenate([kept.value, children.value]),
        )
    weight = softmax(cells.mass)
    seen = weight > 1e-9
    posterior = _solved(cells.centre[seen], shape, series)
    return replace(
        posterior,
        log_evidence=float(logsumexp(cells.mass)),
        weight=weight[seen] / weight[seen].sum(),
        width=cells.half[seen, : shape.times] * (1 - shape.earliest),
    )


def _first_cells(shape: GrowthShape, series: Series) -> tuple[Array, Array]:
    errors = [FIRST_ERRORS] * (2 if series.largest_correlation > 0 else 0)
    counts = [FIRST_TIMES[shape.times]] * shape.times + errors
    axes = [(np.arange(n) + 0.5) / n for n in counts]
    centre = np.array(list(product(*axes)), dtype=float).reshape(-1 if counts else 1, len(counts))
    half = np.array([0.5 / n for n in counts], dtype=float)
    return centre, np.broadcast_to(half, centre.shape)


def _halved(cells: _Cells) -> tuple[Array, Array]:
    """Return the 2^d halves of every cell along every axis."""
    dimensions = cells.centre.shape[1]
    signs = np.array(list(product((-0.5, 0.5), repeat=dimensions)))
    centre = cells.centre[:, None] + signs * cells.half[:, None]
    half = np.broadcast_to(cells.half[:, None] / 2, centre.shape)
    return centre.reshape(-1, dimensions), half.reshape(-1, dimensions)


def _valued(centre: Array, half: Array, shape: GrowthShape, series: Series) -> _Cells:
    size = len(series.places) * (shape.times + 3)
    pieces = np.array_split(centre, max(1, len(centre) * size // AT_ONCE))
    values = [_solved(piece, shape, series).weight for piece in pieces]
    return _Cells(centre=centre, half=half, value=np.concatenate(values))


def _solved(centre: Array, shape: GrowthShape, series: Series) -> Posterior:
    """Return the posterior at points of the unit cube; weights are logarithms of evidence."""
    times = np.sort(shape.earliest + (1 - shape.earliest) * centre[:, : shape.times], axis=1)
    errors = centre[:, shape.times :] if series.largest_correlation > 0 else np.zeros((1, 2))
    share, part = np.broadcast_to(errors, (len(centre), 2)).T.copy()
    correlation = _correlation(part, series.largest_correlation)
    columns = np.ascontiguousarray(shape.columns(series.places, times))
    normal, projected, square, log_determinant = normal_equations(
        columns, series.lengths, series.std, series.gaps, share, correlation
    )
    value, turn = np.linalg.eigh(normal * series.spread**2)
    value = np.maximum(value, 0)
    moved = series.spread * np.einsum("mij,mi->mj", turn, projected)
    scale = _Scale(value=value, moved=moved, square=square, n=len(series.lengths), series=series)
    x = scale.most_probable()
    q = np.exp(2 * x)[:, None]
    factors = series.spread * np.einsum("mij,mj->mi", turn, moved / (value + q))
    spread = series.spread**2 * q / (value + q)
    return Posterior(
        log_evidence=0.0,
        weight=scale.log_evidence(x) - log_determinant / 2,
        times=times,
        width=times,
        factors=factors,
        covariance=np.einsum("mij,mj,mkj->mik", turn, spread, turn),
        scale=np.exp(x),
        share=share,
        correlation=correlation,
    )


def _correlation(part: Array, largest: float) -> Array:
    """Return the correlation per frame; beforehand any scale of memory in frames is as likely."""
    if largest == 0:
        return np.zeros_like(part)
    longest = max(-1 / np.log(largest), SHORTEST_MEMORY)
    memory = SHORTEST_MEMORY * (longest / SHORTEST_MEMORY) ** part
    return np.asarray(np.exp(-1 / memory))


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The factor exp(x) by which stated errors are off, Gaussian in x beforehand."""

    value: Array
    """Eigenvalues (m, terms) of the information by that of the prior."""
    moved: Array
    """What the lengths say of each direction, (m, terms)."""
    square: Array
    n: int
    series: Series

    def most_probable(self) -> Array:
        """Return x of the largest posterior, by Fisher scoring."""
        if self.series.scale_std == 0:
            return np.zeros(len(self.square))
        believed = self.series.scale_std**-2
        left = self.square - (self.moved**2 / (self.value + 1)).sum(axis=1)
        x = np.log(np.maximum(left, 1e-12) / self.n) * self.n / (2 * self.n + believed)
        for _ in range(8):
            x = x + np.clip(self._slope(x) / (2 * self.n + believed), -1, 1)
        return np.asarray(x)

    def log_evidence(self, x: Array) -> Array:
        """Return the logarithm of the evidence, x integrated by Laplace's method."""
        q = np.exp(2 * x)[:, None]
        fit = self.square / q[:, 0] - (self.moved**2 / (q * (q + self.value))).sum(axis=1)
        volume = np.log1p(self.value / q).sum(axis=1)
        likelihood = -(self.n * (np.log(2 * np.pi) + 2 * x) + volume + fit) / 2
        if self.series.scale_std == 0:
            return np.asarray(likelihood)
        curvature = (self._slope(x - 1e-3) - self._slope(x + 1e-3)) / 2e-3
        width = np.log(np.maximum(curvature, 1e-3)) / 2 + np.log(self.series.scale_std)
        return np.asarray(likelihood - (x / self.series.scale_std) ** 2 / 2 - width)

    def _slope(self, x: Array) -> Array:
        """Return the derivative of the log posterior of x."""
        q = np.exp(2 * x)[:, None]
        fit = self.square / q[:, 0]
        fit -= (self.moved**2 * (2 * q + self.value) / (q * (q + self.value) ** 2)).sum(axis=1)
        volume = (self.value / (q + self.value)).sum(axis=1)
        return np.asarray(fit + volume - self.n - x / self.series.scale_std**2)
