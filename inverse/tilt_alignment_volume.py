"""The volumes that images are compared with: reconstructed and projected again, pixel by pixel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.projection import Array, SystemMatrix, as_images, project, system_matrix
from echolith.forward.tilts import Tilts
from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tilt_alignment_warp import warped
from echolith.inverse.tomography_iterates import Method, method_of, run
from echolith.inverse.tomography_options import TomographyOptions
from echolith.inverse.tomography_problem import problem
from echolith.processors import threads

Floats = npt.NDArray[np.float64]

LEAST = 4
"""Tilts of a subset."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The projections with ``width`` by ``width`` pixels averaged."""

    images: Array
    """Optical densities, (energy tilt, y, x)."""
    variance: Floats
    """Of a pixel without specimen, (energy tilt,)."""
    energies: int
    width: int
    middle: tuple[float, float]
    """Index of the images' middle, (y, x)."""
    matrix: SystemMatrix
    method: Method
    options: TomographyOptions
    workers: int

    @property
    def tilts(self) -> int:
        """How many there are."""
        return len(self.images) // self.energies

    @property
    def reach(self) -> float:
        """How far from the middle the specimen typically is, pixels of the detector."""
        return float(self.images.shape[2] * self.width / 4)

    def aligned(self, motion: Motion) -> Array:
        """Return the images as they would lie without their motion."""
        return warped(
            self.images,
            motion.affine(self.width),
            shape=self.images.shape[1:],
            middle=self.middle,
            workers=self.workers,
        )

    def volumes(self, images: Array) -> Array:
        """Reconstruct every energy, (energy, z, y, x)."""
        stack = images.reshape(self.energies, self.tilts, *images.shape[1:])
        rows = stack.transpose(1, 0, 2, 3).reshape(self.tilts, -1, images.shape[2])
        task = problem(self.matrix, rows, None, None)
        block = run(
            task,
            self.method,
            options=self.options,
            iterations=self.options.most,
            progress=None,
            workers=self.workers,
        )
        found = as_images(block, self.matrix.shape[1])
        return np.moveaxis(found.reshape(len(found), self.energies, -1, found.shape[2]), 1, 0)

    def reprojected(self, volumes: Array) -> Array:
        """Project every energy, (energy tilt, y, x)."""
        rows = np.moveaxis(volumes, 0, 1).reshape(volumes.shape[1], -1, volumes.shape[3])
        seen = project(rows, self.matrix, workers=self.workers)
        parts = seen.reshape(self.tilts, self.energies, -1, seen.shape[2])
        return np.ascontiguousarray(np.moveaxis(parts, 1, 0)).reshape(self.images.shape)


def level(
    density: Array,
    variance: Floats,
    tilts: Tilts,
    *,
    width: int,
    sweeps: int,
    workers: int | None,
) -> Level:
    """Average pixels and prepare their reconstruction.

    Parameters
    ----------
    density : array, (energy, tilt, y, x)
    variance : array, (energy, tilt)
        Of a pixel without specimen.
    tilts : Tilts
    width : int
        Of the averaged pixels.
    sweeps : int
        Of OS-SART: few, so that the volume does not take up where single images lie, but enough
        that it takes up what all of them say.
    workers : int, optional
        Threads.
    """
    images = density.reshape(-1, *density.shape[2:])
    middle = tuple(((n - 1) / 2 - (width - 1) / 2) / width for n in images.shape[1:])
    coarse = binned(images, width)
    nx = coarse.shape[2]
    wide = tilts.model_copy(update={"voxel_size": tilts.voxel_size * width, "axis_offset": 0.0})
    matrix = system_matrix(wide, shape=(nx, nx))
    subsets = max(1, min(32, len(tilts.angles) // LEAST))
    options = TomographyOptions(iterations=sweeps, subsets=subsets)
    return Level(
        images=coarse,
        variance=variance.ravel() / width**2,
        energies=len(density),
        width=width,
        middle=(middle[0], middle[1]),
        matrix=matrix,
        method=method_of(options, matrix, threads(workers)),
        options=options,
        workers=threads(workers),
    )


def binned(images: Array, width: int) -> Array:
    """Average squares of pixels; what is beyond the border is empty."""
    if width == 1:
        return np.ascontiguousarray(images, dtype=np.float32)
    ny, nx = images.shape[1:]
    room = np.pad(images, ((0, 0), (0, -ny % width), (0, -nx % width)))
    parts = room.reshape(len(images), room.shape[1] // width, width, -1, width)
    return np.ascontiguousarray(parts.mean(axis=(2, 4)), dtype=np.float32)
