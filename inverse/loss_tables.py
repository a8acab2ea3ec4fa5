"""What a slit passes of the electrons behind lithium on carbon, by t/lambda, and the inverse."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.filtered_acquisition import FilteredAcquisition
from echolith.forward.plural_scattering import LossModel, window_shares, window_weights

Array = npt.NDArray[np.float64]

LARGEST = 6.0
"""t/lambda of the tables; beyond, 0.25 % of the electrons lost nothing."""
NODES = (33, 101, 151)
"""Of film, oxide and lithium."""
TRACE = 1e-3
"""Atoms of lithium on an Å² that stand for none."""


@dataclass(frozen=True, kw_only=True)
class LossTable:
    """Shares of the electrons by total t/lambda: up to the film's carbon, then oxide, then lithium.

    Attributes
    ----------
    tau : array (n,)
        Ascending, from below 0.
    level : array (n, windows)
        Logarithm of the share without Li K, of the zero loss, two pre-edge and a post-edge window.
    edge : array (n, windows)
        Share that Li K adds, for an atom on an Å².
    """

    tau: Array
    level: Array
    edge: Array

    @classmethod
    def of(
        cls, acquisition: FilteredAcquisition, losses: LossModel, *, support: float, oxide: float
    ) -> "LossTable":
        """Compute the table for a film of some t/lambda and some oxide, Å."""
        metal, shell, _ = losses.paths
        ends = [0.0, support, support + oxide / shell, support + oxide / shell + LARGEST]
        parts = [
            np.linspace(a, b, n)[:-1]
            for a, b, n in zip(ends, ends[1:], NODES, strict=False)
            if b > a
        ]
        tau = np.concatenate([*parts, ends[-1:]])
        lengths = np.stack(
            [
                np.maximum(tau - ends[2], 0) * metal,
                np.clip(tau - support, 0, oxide / shell) * shell,
                np.minimum(tau, support) * losses.paths[2],
            ],
            axis=1,
        )
        weights = np.stack(
            [
                window_weights(w.low, w.high, resolution=acquisition.resolution)
                for w in acquisition.windows
            ]
        )
        kinds = losses.scatterings(lengths)
        bare = kinds.copy()
        bare[:, -1] = 0
        traced = kinds.copy()
        traced[:, -1] = np.maximum(kinds[:, -1], TRACE * losses.edge_section)
        faded = np.exp(-traced[:, -1:])
        level = faded * window_shares(bare, losses.singles, weights)
        edge = window_shares(traced, losses.singles, weights) - level
        return cls._from_below_zero(
            tau, np.log(np.maximum(level, 1e-30)), edge * losses.edge_section / traced[:, -1:]
        )

    @classmethod
    def _from_below_zero(cls, tau: Array, level: Array, edge: Array) -> "LossTable":
        # Noise of thin pixels falls below 0: a straight line goes on.
        slope = (level[1] - level[0]) / (tau[1] - tau[0])
        return cls(
            tau=np.concatenate([[-1.0], tau]),
            level=np.concatenate([[level[0] - slope * (tau[0] + 1)], level]),
            edge=np.concatenate([edge[:1], edge]),
        )

    def thickness(self, ratio: Array) -> tuple[Array, Array]:
        """Return t/lambda of logarithms of unfiltered by zero-loss intensity, and its slope.

        NaN beyond the table.
        """
        known = -self.level[:, 0]
        slope = np.gradient(self.tau, known)
        return (
            np.interp(ratio, known, self.tau, left=np.nan, right=np.nan),
            np.interp(ratio, known, slope),
        )

    def edge_share(self, tau: Array) -> tuple[Array, Array]:
        """Return the share of Li K in the post-edge window for an atom on an Å², and its slope."""
        slope = np.gradient(self.edge[:, 3], self.tau)
        return np.interp(tau, self.tau, self.edge[:, 3]), np.interp(tau, self.tau, slope)

    def curvature(self, tau: Array, power: float) -> Array:
        """Return the logarithm of the true background by that extrapolated with a power law."""
        first, second, third = self.level[:, 1:].T
        return np.asarray(np.interp(tau, self.tau, third - second - power * (second - first)))
