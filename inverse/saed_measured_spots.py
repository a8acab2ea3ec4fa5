"""The spots of a pattern as reciprocal vectors with their electrons."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MeasuredSpots:
    """Spots of a pattern, the strongest first.

    Attributes
    ----------
    vectors : array, (spots, 3)
        As from `spot_vectors`.
    vector_std : array, (spots,)
        Of each component, 1/Å.
    electrons, electrons_std : array, (spots,)
    full : array of bool, (spots,)
        Spots that hold more electrons than these.
    taken : array, (n, 3)
        Of spots of other crystals.
    scale_std : float
        Of the lengths of all vectors, part of them.
    measure : callable
        From g (points, 3) in the frame of the pattern to electrons there and their standard
        deviation, infinite where nothing is seen.
    """

    vectors: Array
    vector_std: Array
    electrons: Array
    electrons_std: Array
    full: Mask
    taken: Array
    scale_std: float
    measure: Callable[[Array], tuple[Array, Array]]

    def without(self, matched: Mask) -> "MeasuredSpots":
        """Return the other spots."""
        return MeasuredSpots(
            vectors=self.vectors[~matched],
            vector_std=self.vector_std[~matched],
            electrons=self.electrons[~matched],
            electrons_std=self.electrons_std[~matched],
            full=self.full[~matched],
            taken=np.vstack([self.taken, self.vectors[matched]]),
            scale_std=self.scale_std,
            measure=self.measure,
        )


def spot_vectors(places: Array, *, k: float, distance: float) -> Array:
    """Return g of spots on the Ewald sphere, (spots, 3), 1/Å, from places in pixels."""
    tangent = places / distance
    across = k * tangent / np.sqrt(1 + (tangent**2).sum(axis=1))[:, None]
    along = np.sqrt(k**2 - (across**2).sum(axis=1)) - k
    return np.ascontiguousarray(np.column_stack([across, along]))
