"""A faceted body of lithium under a shell of oxide on a carbon film: how far rays go through each.

Rays are parallel to z. The shell has the same thickness on every face, so that core and whole are
two convex bodies, and a ray's lengths are exact chords.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, chords

Array = npt.NDArray[np.float64]

LAYERS = ("core", "shell", "support")
"""Order of the lengths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoatedBody:
    """What lies in the beam.

    Attributes
    ----------
    core : ConvexBody
        In the specimen's frame, the beam along z.
    shell : float
        Thickness of the oxide on every face, Å.
    support : float
        Thickness of the carbon film, Å.
    centre : (float, float)
        Of the body from the middle of the field along y and x, Å.
    """

    core: ConvexBody
    shell: float = 0.0
    support: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse negative lengths."""
        if not (self.shell >= 0 and self.support >= 0):
            raise BadInputError(
                f"shell = {self.shell:g} Å and support = {self.support:g} Å; expected 0 or more"
            )

    @property
    def whole(self) -> ConvexBody:
        """Core and shell."""
        return ConvexBody(normals=self.core.normals, offsets=self.core.offsets + self.shell)


def turned(body: ConvexBody, turn: Array, *, scale: float = 1.0) -> ConvexBody:
    """Return a body turned by a rotation (3, 3) and enlarged."""
    return ConvexBody(normals=body.normals @ turn.T, offsets=scale * body.offsets)


def hexagonal_prism(width: float, length: float) -> ConvexBody:
    """Return a whisker that lies along x: a hexagon of a given distance of sides, Å.

    Examples
    --------
    >>> round(hexagonal_prism(2.0, 10.0).volume / 10, 6)  # 2 sqrt(3) for a hexagon 2 wide
    3.464102
    """
    angles = np.pi / 3 * np.arange(6)
    sides = np.stack([np.zeros(6), np.cos(angles), np.sin(angles)], axis=1)
    ends = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    return ConvexBody(
        normals=np.concatenate([sides, ends]),
        offsets=np.array([width / 2] * 6 + [length / 2] * 2),
    )


def ray_lengths(
    specimen: CoatedBody, *, shape: tuple[int, int], pixel: float, points: int = 1
) -> Array:
    """Return how far rays go through core, shell and support.

    Parameters
    ----------
    specimen : CoatedBody
    shape : (int, int)
        Pixels along y and x.
    pixel : float
        Å.
    points : int
        Rays of a pixel along each axis, evenly.

    Returns
    -------
    array (3, points², ny, nx)
        Å, in the order of `LAYERS`.
    """
    # No two rays of a pixel share a row or a column: a face along one would move in jumps.
    i, j = np.divmod(np.arange(points**2), points)
    down = (i + (j + 0.5) / points) / points
    right = (j + (points - 1 - i + 0.5) / points) / points
    rows, columns = (pixel * (np.arange(n) - n / 2) for n in shape)
    y, x = np.broadcast_arrays(
        rows[:, None] + pixel * down[:, None, None] - specimen.centre[0],
        columns + pixel * right[:, None, None] - specimen.centre[1],
    )
    place = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    core, whole = (
        np.maximum(np.subtract(*chords(body, place, axis=2)[::-1]), 0)
        for body in (specimen.core, specimen.whole)
    )
    lengths = np.stack([core, whole - core, np.full(len(core), specimen.support)])
    return lengths.reshape(3, points**2, *shape)
