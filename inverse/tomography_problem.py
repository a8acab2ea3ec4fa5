"""One reconstruction to be done: path lengths, data of some slices, their noise, a start."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echolith.forward.projection import SystemMatrix, as_block

Array = npt.NDArray[np.float32]
Iterates = Iterator[Array]
"""The volume (voxels, slices) after each iteration, changed in place."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data of slices as blocks with the slices last."""

    matrix: SystemMatrix
    data: Array
    """Optical densities, (rays, slices)."""
    std: Array | None
    """Their standard deviations; None where unknown."""
    start: Array
    """Volume to begin with, (voxels, slices), 1/Å."""

    @property
    def slices(self) -> int:
        """How many there are."""
        return int(self.data.shape[1])

    def of_slices(self, chosen: "slice | npt.NDArray[np.intp]") -> "Problem":
        """Return a contiguous copy of some slices."""
        return replace(
            self,
            data=np.ascontiguousarray(self.data[:, chosen]),
            std=None if self.std is None else np.ascontiguousarray(self.std[:, chosen]),
            start=np.ascontiguousarray(self.start[:, chosen]),
        )


def problem(
    matrix: SystemMatrix, density: Array, std: Array | None, start: Array | None
) -> Problem:
    """Return the problem of images (tilt, y, x) and a volume to start with, (z, y, x) or None."""
    data = as_block(density)
    voxels = matrix.shape[0] * matrix.shape[1]
    begin = np.zeros((voxels, data.shape[1]), dtype=np.float32)
    return Problem(
        matrix=matrix,
        data=data,
        std=None if std is None else as_block(std),
        start=begin if start is None else as_block(start),
    )
