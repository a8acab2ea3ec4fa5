"""How a length grows: laws as sums of known shapes of time, and the rates they stand for.

Time runs from 0 to 1 over the movie. The factors of the shapes are lengths (at the start, at every
change, at the end, or the rise up to the end), so that one prior serves them all.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SMALLEST = 1e-9
"""Of a piece, as a part of the movie."""
LEAST_LINE = 0.1
"""Of a line before an acceleration, as a part of the movie."""


class GrowthLaw(Enum):
    """Laws that a length may follow."""

    CONSTANT = "constant"
    LINEAR = "linear"
    """L0 + v t."""
    ACCELERATED = "accelerated"
    """L0 + a (t - t0)² / 2 after a start t0, L0 before it."""
    PIECEWISE_LINEAR = "piecewise linear"
    """Straight pieces that meet at changes."""
    LINEAR_ACCELERATED = "linear then accelerated"
    """L0 + v t, and a (t - t1)² / 2 more after a change t1."""


@dataclass(frozen=True, kw_only=True)
class GrowthShape:
    """A law with a number of times (start, changes) that are unknown.

    Attributes
    ----------
    law : GrowthLaw
    times : int
        Unknown ones.
    """

    law: GrowthLaw
    times: int

    @property
    def earliest(self) -> float:
        """From when an unknown time may be.

        Growth may have started one movie before the first length. A line that at once turns into
        an acceleration is no law of its own.
        """
        return {GrowthLaw.ACCELERATED: -1.0, GrowthLaw.LINEAR_ACCELERATED: LEAST_LINE}.get(
            self.law, 0.0
        )

    def columns(self, places: Array, times: Array) -> Array:
        """Return the shapes, (m, n, terms), at places (n,) for unknown times (m, times)."""
        ones = np.ones((len(times), len(places), 1))
        if self.law is GrowthLaw.CONSTANT:
            return ones
        if self.law is GrowthLaw.PIECEWISE_LINEAR or self.law is GrowthLaw.LINEAR:
            knots = self._knots(times)
            done = (places[:, None] - knots[:, None, :-1]) / np.diff(knots)[:, None]
            risen = np.concatenate([ones, np.clip(done, 0, 1), 0 * ones], axis=2)
            return np.asarray(-np.diff(risen, axis=2))
        late = np.maximum(places - times, 0) / (1 - times)
        line = np.broadcast_to(places[:, None], ones.shape)
        parts = [ones] if self.law is GrowthLaw.ACCELERATED else [1 - line, line]
        return np.concatenate([*parts, late[..., None] ** 2], axis=2)

    def rates(self, times: Array, span: float) -> Array:
        """Return what turns factors into velocities, then the acceleration, (m, rates, terms).

        Parameters
        ----------
        times : array (m, times)
        span : float
            Of the movie, s.
        """
        rows: list[Array] = []
        terms = self.columns(np.zeros(1), times).shape[2]
        unit = np.eye(terms)
        if self.law is GrowthLaw.PIECEWISE_LINEAR or self.law is GrowthLaw.LINEAR:
            pieces = np.diff(self._knots(times)) * span
            rows += [(unit[k + 1] - unit[k]) / pieces[:, k, None] for k in range(terms - 1)]
        if self.law is GrowthLaw.LINEAR_ACCELERATED:
            rows.append(np.tile((unit[1] - unit[0]) / span, (len(times), 1)))
        if self.law in (GrowthLaw.ACCELERATED, GrowthLaw.LINEAR_ACCELERATED):
            rows.append(2 * unit[-1] / (span * (1 - times)) ** 2)
        return np.stack(rows, axis=1) if rows else np.empty((len(times), 0, terms))

    def _knots(self, times: Array) -> Array:
        ends = np.zeros((len(times), 1))
        knots = np.concatenate([ends, np.sort(times, axis=1), ends + 1], axis=1)
        return np.asarray(knots + SMALLEST * np.arange(knots.shape[1]))
