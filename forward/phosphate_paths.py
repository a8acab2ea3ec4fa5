"""Path lengths through LiFePO4, FePO4 and binder at a tilt, by rays finer than the pixels.

No voxels: chords through faceted plates are exact, the composition is summed along them, and each
detector pixel is the mean of a grid of rays. So it shares no error with a solver's projector.
"""

from dataclasses import dataclass
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

from echolith.structures.body_rays import (
    MOST_PIECES,
    PackedBodies,
    owned_pieces,
    reacted_length,
)

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Pixel = TypeVar("Pixel", np.float32, np.complex128)

PHASES = ("LiFePO4", "FePO4", "carbon")
"""Along the first axis of path lengths."""
CELL = 24.0
"""Å along a ray; the composition is read at two points in each."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How one projection is seen.

    A point (x, y, z) of the specimen turns about y by the tilt t, right-handed:
    ``x' = x cos t + z sin t``, ``z' = -x sin t + z cos t``. On the detector it appears at

        scale R(rotation) [R(axis_tilt) (x', y') + (axis_offset, 0)] + (shift_x, shift_y),

    R from x towards y, about the middle of the field. Lengths along the beam do not scale.

    Attributes
    ----------
    tilt, axis_tilt, rotation : float
        Degree.
    axis_offset, shift_x, shift_y : float
        Å on the detector.
    scale : float
    """

    tilt: float
    axis_tilt: float = 0.0
    axis_offset: float = 0.0
    rotation: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def matrix(self) -> Floats:
        """Return the affine map from (x', y') to the detector, (2, 3), Å."""
        about = self.scale * _turn(self.rotation)
        moved = about @ [self.axis_offset, 0.0] + [self.shift_x, self.shift_y]
        return np.column_stack([about @ _turn(self.axis_tilt), moved])

    def axes(self) -> Floats:
        """Return x', y' and z' (rows) in the specimen frame."""
        t = np.deg2rad(self.tilt)
        return np.array(
            [[np.cos(t), 0.0, np.sin(t)], [0.0, 1.0, 0.0], [-np.sin(t), 0.0, np.cos(t)]]
        )


def _turn(angle: float) -> Floats:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[c, -s], [s, c]])


def ray_paths(
    bodies: PackedBodies,
    view: View,
    *,
    shape: tuple[int, int],
    pixel_size: float,
    rays: int = 3,
    cell: float = CELL,
) -> Singles:
    """Return the path lengths of every ray of a projection.

    Parameters
    ----------
    bodies : PackedBodies
    view : View
    shape : (int, int)
        Detector pixels (y, x).
    pixel_size : float
        Å.
    rays : int
        Along each side of a pixel.
    cell : float
        Along a ray, Å; the composition is read at two points in each.

    Returns
    -------
    array of float32 (3, shape[0] * rays, shape[1] * rays)
        Å in each of `PHASES`.
    """
    whole = np.array([-np.inf, np.inf])
    (paths,) = slab_paths(
        bodies, view, edges=whole, shape=shape, pixel_size=pixel_size, rays=rays, cell=cell
    )
    return np.asarray(paths)


def slab_paths(
    bodies: PackedBodies,
    view: View,
    *,
    edges: Floats,
    shape: tuple[int, int],
    pixel_size: float,
    rays: int,
    cell: float = CELL,
) -> Singles:
    """Return path lengths between planes across the beam, (slabs, phases, rays y, rays x), Å.

    Parameters
    ----------
    bodies : PackedBodies
    view : View
    edges : array (slabs + 1,)
        Along z' from the tilt axis, Å, ascending.
    shape, pixel_size, rays, cell
        As for `ray_paths`.
    """
    ny, nx = shape[0] * rays, shape[1] * rays
    spacing = pixel_size / rays
    paths = np.zeros((len(edges) - 1, len(PHASES), ny, nx), dtype=np.float32)
    starts = bodies.vertex_start[:-1]
    if not len(starts):
        return paths
    to_detector, axes = view.matrix(), view.axes()
    # Corners in units of rays give the box of rays that can hit a body.
    corners = bodies.vertices @ axes[:2].T @ to_detector[:, :2].T + to_detector[:, 2]
    indices = corners / spacing + [(nx - 1) / 2, (ny - 1) / 2]
    low = np.clip(np.ceil(np.minimum.reduceat(indices, starts, axis=0)), 0, [nx, ny])
    high = np.clip(np.floor(np.maximum.reduceat(indices, starts, axis=0)) + 1, 0, [nx, ny])
    boxes = np.column_stack([low, high]).astype(np.int64)
    # A ray (j, i): its point of z' = 0 in the specimen frame is origin + j along x + i along y.
    lateral = np.linalg.inv(to_detector[:, :2]).T @ axes[:2]
    first = (np.array([-(nx - 1) / 2, -(ny - 1) / 2]) * spacing - to_detector[:, 2]) @ lateral
    frame = np.stack([first, spacing * lateral[0], spacing * lateral[1], axes[2]])
    _trace(bodies, boxes, frame, edges, cell, paths)
    return paths


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _trace(
    bodies: PackedBodies,
    boxes: npt.NDArray[np.int64],
    frame: Floats,
    edges: Floats,
    cell: float,
    paths: Singles,
) -> None:
    """Add the lengths of every ray in every slab; ``frame``: origin, along x, along y, beam."""
    pieces, ray, point = np.empty((MOST_PIECES, 2)), np.empty((2, 3)), np.empty(3)
    for index in range(len(boxes)):
        for i in range(boxes[index, 1], boxes[index, 3]):
            for j in range(boxes[index, 0], boxes[index, 2]):
                for k in range(3):
                    point[k] = frame[0, k] + j * frame[1, k] + i * frame[2, k]
                count = owned_pieces(bodies, index, point, frame[3], pieces, ray)
                for p in range(count):
                    first = max(np.searchsorted(edges, pieces[p, 0], side="right") - 1, 0)
                    for s in range(first, len(edges) - 1):
                        start, end = max(pieces[p, 0], edges[s]), min(pieces[p, 1], edges[s + 1])
                        if end <= start:
                            break
                        if index >= bodies.plates:
                            paths[s, 2, i, j] += end - start
                            continue
                        reacted = reacted_length(bodies, index, ray, start, end, cell)
                        paths[s, 0, i, j] += end - start - reacted
                        paths[s, 1, i, j] += reacted


def pixel_means(fine: npt.NDArray[Pixel], rays: int) -> npt.NDArray[Pixel]:
    """Return means over ``rays`` x ``rays`` of the last two axes."""
    *lead, ny, nx = fine.shape
    blocks = fine.reshape(*lead, ny // rays, rays, nx // rays, rays)
    return np.asarray(blocks.mean(axis=(-3, -1), dtype=fine.dtype))
