"""Parallel projection of a volume by one sparse matrix for all slices.

The tilt axis is y, so every slice (z, x) of the volume gives the same row of every projection by
the same weights: one two-dimensional matrix, times a block of all slices. Weights are Joseph's: a
ray is cut into one step per row of voxels it crosses most squarely, with linear interpolation
between the two voxels beside it.

References
----------
Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from echolith.errors import BadInputError
from echolith.forward.projection_kernels import joseph, multiply
from echolith.forward.tilts import Tilts
from echolith.processors import threads

Array = npt.NDArray[np.float32]

SLAB_BYTES = 16 << 20
"""Of the voxels of a slab of slices: what stays in a processor's cache (measured)."""


@dataclass(frozen=True, kw_only=True)
class SystemMatrix:
    """Path lengths of every ray of every tilt through every voxel of a slice, Å.

    ``forward`` is (tilt x') × (z x), ``backward`` its transpose, made when first asked for; both
    CSR of float32.
    """

    forward: csr_matrix
    tilts: int
    shape: tuple[int, int]
    """Voxels along z and x."""
    pixels: int
    """Of a projection along x."""

    @cached_property
    def backward(self) -> csr_matrix:
        """The transpose, (z x) × (tilt x')."""
        return self.forward.T.tocsr()

    def of_tilts(self, index: npt.NDArray[np.intp]) -> "SystemMatrix":
        """Return the matrix of some tilts, in the order given."""
        rows = (index[:, None] * self.pixels + np.arange(self.pixels)).ravel()
        return replace(self, forward=self.forward[rows], tilts=len(index))


def system_matrix(
    tilts: Tilts,
    *,
    shape: tuple[int, int],
    pixels: int | None = None,
    shift_x: npt.ArrayLike | None = None,
) -> SystemMatrix:
    """Return the path lengths of a tilt series.

    Parameters
    ----------
    tilts : Tilts
    shape : tuple of int
        Voxels along z and x.
    pixels : int, optional
        Of a projection along x; as many as voxels by default.
    shift_x : array, (tilts,), optional
        How far each image is displaced along x, Å: a feature at x' is seen at
        ``x' + axis_offset + shift_x``. It moves the rays; the data stay as they are.

    Returns
    -------
    SystemMatrix

    Raises
    ------
    BadInputError
        If the shifts do not fit the tilts.
    """
    nz, nx = shape
    ns = nx if pixels is None else pixels
    shift = np.zeros(len(tilts.angles)) if shift_x is None else np.asarray(shift_x, dtype=float)
    if shift.shape != (len(tilts.angles),) or not np.isfinite(shift).all():
        raise BadInputError(
            f"shift_x of shape {shift.shape} for {len(tilts.angles)} tilts; expected one finite "
            "number in Å for each tilt"
        )
    origins = (tilts.axis_offset + shift) / tilts.voxel_size
    angle = tilts.radians
    room = 2 * len(angle) * ns * max(nz, nx)
    starts = np.zeros(len(angle) * ns + 1, dtype=np.int64)
    at, w = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.float32)
    count = joseph(np.cos(angle), np.sin(angle), origins, nz, nx, ns, starts, at, w)
    index = np.int32 if count < 2**31 else np.int64
    content = (w[:count] * np.float32(tilts.voxel_size), at[:count], starts.astype(index))
    forward = csr_matrix(content, shape=(len(angle) * ns, nz * nx))
    return SystemMatrix(forward=forward, tilts=len(angle), shape=(nz, nx), pixels=ns)


def slabs(slices: int, voxels: int) -> list[slice]:
    """Cut the slices into runs that are worked on one by one."""
    width = max(16, SLAB_BYTES // (4 * voxels) // 16 * 16)
    parts = -(-slices // width)
    width = -(-slices // max(parts, 1))
    return [slice(start, min(start + width, slices)) for start in range(0, slices, width)]


def as_block(images: npt.ArrayLike, part: slice = slice(None)) -> Array:
    """Return slices of images (k, y, x) as a contiguous block (k x, slices)."""
    chosen = np.asarray(images)[:, part]
    block = np.ascontiguousarray(np.moveaxis(chosen, 1, 2), dtype=np.float32)
    return block.reshape(-1, chosen.shape[1])


def as_images(block: npt.ArrayLike, width: int) -> Array:
    """Return a block (k x, slices) as images (k, y, x) of a width; a view."""
    rows = np.asarray(block, dtype=np.float32)
    return np.moveaxis(rows.reshape(-1, width, rows.shape[1]), 2, 1)


def project(volume: npt.ArrayLike, matrix: SystemMatrix, *, workers: int | None = None) -> Array:
    """Project a volume: absorption in 1/Å to optical density.

    Parameters
    ----------
    volume : array, (z, y, x)
    matrix : SystemMatrix
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    array of float32, (tilts, y, pixels)
    """
    field = np.asarray(volume)
    if field.ndim != 3 or (field.shape[0], field.shape[2]) != matrix.shape:
        raise BadInputError(
            f"volume of shape {field.shape} (z, y, x); expected {matrix.shape[0]} × any × "
            f"{matrix.shape[1]} voxels, as the matrix was made for"
        )
    return _applied(matrix.forward, field, (matrix.tilts, matrix.pixels), workers)


def backproject(
    projections: npt.ArrayLike, matrix: SystemMatrix, *, workers: int | None = None
) -> Array:
    """Apply the transpose of `project`: (tilts, y, pixels) to (z, y, x)."""
    images = np.asarray(projections)
    if images.ndim != 3 or (images.shape[0], images.shape[2]) != (matrix.tilts, matrix.pixels):
        raise BadInputError(
            f"projections of shape {images.shape} (tilt, y, x); expected {matrix.tilts} × any × "
            f"{matrix.pixels}, as the matrix was made for"
        )
    return _applied(matrix.backward, images, matrix.shape, workers)


def _applied(
    matrix: csr_matrix, images: npt.NDArray[np.generic], shape: tuple[int, int], workers: int | None
) -> Array:
    result = np.empty((shape[0], images.shape[1], shape[1]), dtype=np.float32)

    def one(part: slice) -> None:
        block = as_block(images, part)
        out = np.empty((matrix.shape[0], block.shape[1]), dtype=np.float32)
        multiply(matrix.indptr, matrix.indices, matrix.data, block, out)
        result[:, part] = as_images(out, shape[1])

    with ThreadPoolExecutor(threads(workers)) as pool:
        list(pool.map(one, slabs(images.shape[1], matrix.shape[1])))
    return result
