"""Edges of a facet from all frames of a movie together: rows of atoms come and go whole.

Between two frames a facet ends with a whole row. While a frame is taken it rests or goes on by k
rows, of which each more is half as likely; then its mean is anywhere between. With the likelihood
of every frame (`echolith.inverse.facet_outline`) this is a chain of hidden states, whose posterior
is exact; how often the facet rests is learnt from it (Baum-Welch; Rabiner, Proc. IEEE 77 (1989)
257).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from echolith.inverse.facet_outline import FINE

Array = npt.NDArray[np.float64]

AT_REST = 0.5
"""Probability that a facet rests in a frame, to begin with."""
LEARNT = 4
"""Times that it is learnt."""
UNLIKELY = 1e-30
BEYOND = 2
"""Rows beyond the corner; farther out no edge is looked for, lest what is no facet outweighs it."""


def stepped(
    logs: Array, lows: npt.NDArray[np.int64], corners: Array, gaps: npt.NDArray[np.int64]
) -> tuple[Array, Array]:
    """Return means and standard deviations of the edge of one facet in all frames, in rows.

    Parameters
    ----------
    logs : array, (frames, points)
        Logarithm of the likelihood at `FINE` places in each row.
    lows : array of int, (frames,)
        Row of the first of them.
    corners : array, (frames,)
        Where the other facets meet: beyond it likelihoods are equal, and no edge is.
    gaps : array of int, (frames,)
        Frames since the one before; the first is not used.
    """
    first = int(lows.min())
    rows = int(lows.max()) - first + (logs.shape[1] - 1) // FINE + 1
    places = first + np.arange((rows - 1) * FINE + 1) / FINE
    frames = [
        _Frame(_placed(log, low - first, places < corner + BEYOND), np.minimum(places, corner))
        for log, low, corner in zip(logs, lows, corners, strict=True)
    ]
    rests = AT_REST
    for _ in range(LEARNT - 1):
        rested = sum(np.trace(pairs) for _, pairs in _passed(frames, gaps, _prior(rows, rests)))
        # Beforehand any probability is as likely.
        rests = (1 + float(rested)) / (2 + len(frames))
    told = _passed(frames, gaps, _prior(rows, rests))
    # Of an edge that moves a step of the grid is known to its width at best.
    found = [(*frame.moments(pairs), (1 - np.trace(pairs)) / 12 / FINE**2) for frame, pairs in told]
    mean, square, step = np.array(found)[::-1].T
    return mean, np.sqrt(np.maximum(square - mean**2, 0) + np.maximum(step, 0))


class _Frame:
    """What one frame says of an edge that goes from one whole row to another."""

    def __init__(self, likelihood: Array, places: Array) -> None:
        self.values, self.places = likelihood, places

    @property
    def likelihood(self) -> Array:
        """(before, after), of a place anywhere between."""
        low, high = self._ends()
        return np.asarray(self._between(0) / (high - low))

    def moments(self, pairs: Array) -> tuple[float, float]:
        """Return mean and mean square of the place, with probabilities (before, after)."""
        whole = self._between(0)
        share = np.divide(pairs, whole, out=np.zeros_like(pairs), where=whole > 0)
        return float((share * self._between(1)).sum()), float((share * self._between(2)).sum())

    def _between(self, power: int) -> Array:
        low, high = self._ends()
        sums = np.append(0.0, np.cumsum(self.values * self.places**power))
        return np.asarray(sums[high] - sums[low])

    def _ends(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rows = np.arange(0, len(self.values), FINE)
        return np.minimum(rows[:, None], rows), np.maximum(rows[:, None], rows) + 1


def _passed(
    frames: list[_Frame], gaps: npt.NDArray[np.int64], prior: Array
) -> Iterator[tuple[_Frame, Array]]:
    """Yield frames, the last first, and the probabilities of rows (before, after)."""
    waits = {int(gap): np.linalg.matrix_power(prior, max(int(gap) - 1, 0)) for gap in set(gaps)}
    before = [np.full(len(prior), 1.0 / len(prior))]
    for frame, gap in zip(frames[:-1], gaps[1:], strict=True):
        before.append(_whole(before[-1] @ (prior * frame.likelihood) @ waits[int(gap)]))
    after = np.ones(len(prior))
    for frame, known, gap in reversed(list(zip(frames, before, gaps, strict=True))):
        step = prior * frame.likelihood
        pairs = known[:, None] * step * after
        yield frame, pairs / pairs.sum()
        after = _whole(waits[int(gap)] @ (step @ after))


def _placed(log: Array, low: int, within: npt.NDArray[np.bool_]) -> Array:
    """Return a frame's likelihood at all places, tiny where none is looked for."""
    found = np.full(len(within), UNLIKELY)
    start = FINE * low
    found[start : start + len(log)] += np.exp(log - log.max())
    return np.where(within, found, UNLIKELY)


def _prior(rows: int, rests: float) -> Array:
    away = np.abs(np.arange(rows)[:, None] - np.arange(rows))
    return np.where(away == 0, rests, (1 - rests) / 2 * 0.5**away)


def _whole(values: Array) -> Array:
    return np.asarray(values / values.sum())
