"""Where each projection of a tilt series lies: shift, rotation and scale, in pixels and radians."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FREEDOMS = ("shift_x", "shift_y", "rotation", "scale")
"""Of a projection, in the order of the columns of a step."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A point X of an ideal projection is seen at ``exp(growth) R(angle) X + shift``.

    Of every image (energy by energy, tilt by tilt); the axis's offset and tilt are in it.
    """

    shift: Array
    """(images, 2): x, y, pixels."""
    angle: Array
    """(images,), rad, from x towards y."""
    growth: Array
    """(images,): logarithm of the scale."""

    @classmethod
    def none(cls, images: int) -> "Motion":
        """Return images that lie where they should."""
        return cls(shift=np.zeros((images, 2)), angle=np.zeros(images), growth=np.zeros(images))

    @classmethod
    def of(cls, values: Array) -> "Motion":
        """Return the motion of an array (images, 4): shift x, shift y, angle, growth."""
        return cls(shift=values[:, :2], angle=values[:, 2], growth=values[:, 3])

    @property
    def values(self) -> Array:
        """As an array, (images, 4)."""
        return np.column_stack([self.shift, self.angle, self.growth])

    @property
    def linear(self) -> Array:
        """Scale times rotation, (images, 2, 2)."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[c, -s], [s, c]]) * np.exp(self.growth)
        return np.moveaxis(turn, 2, 0)

    def affine(self, width: int = 1) -> Array:
        """Return the map of (x, y), (images, 2, 3), in pixels ``width`` times as wide."""
        return np.concatenate([self.linear, self.shift[:, :, None] / width], axis=2)

    def followed(self, step: Array) -> "Motion":
        """Return the motion after a small one of the ideal images, (images, 4)."""
        moved = np.einsum("nij,nj->ni", self.linear, step[:, :2])
        return Motion(
            shift=self.shift + moved, angle=self.angle + step[:, 2], growth=self.growth + step[:, 3]
        )
