"""Frames of Gaussian peaks in the space of Q, tile by tile of the detector."""

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

TILE = 8
"""Pixels along the side of a tile of the detector, which is passed over whole where it is dark."""
REACH = 50.0
"""Squared distance from a peak, in widths, from which it has no photons."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def add_peaks(
    fields: Array,
    vectors: Array,
    volumes: Array,
    places: Array,
    offsets: Array,
    weights: Array,
    frames: npt.NDArray[np.float32],
) -> None:
    """Add the peaks of what the beam sees, as parts of a whole one, to frames of one row.

    Parameters
    ----------
    fields : array, (rows, columns, 7)
        Intensity, Q and widths over the specimen, 1/Å.
    vectors, volumes : array, (eta, rows, columns, 3) and (eta, rows, columns)
        Of the voxels, 1/Å and 1/Å³.
    places : array, (points, eta, 2)
        Pixel of the specimen at every point.
    offsets, weights : array, (spots, 2) and (spots,)
        Of the beam, pixels.
    frames : array, (points, eta, rows, columns)
        Added to.
    """
    rows, columns = fields.shape[:2]
    height, width = volumes.shape[1:]
    radii = _tile_radii(vectors)
    for n in range(frames.shape[0]):
        for e in range(frames.shape[1]):
            for s in range(len(weights)):
                y = int(np.floor(places[n, e, 0] + offsets[s, 0] + 0.5))
                x = int(np.floor(places[n, e, 1] + offsets[s, 1] + 0.5))
                if y < 0 or x < 0 or y >= rows or x >= columns or fields[y, x, 0] <= 0:
                    continue
                f = fields[y, x]
                scale = weights[s] * f[0] / ((2 * np.pi) ** 1.5 * f[4] * f[5] * f[6])
                narrow = min(f[4], f[5], f[6])
                for top in range(0, height, TILE):
                    for left in range(0, width, TILE):
                        middle = vectors[e, top, left]
                        reach = np.sqrt(REACH) + radii[e, top // TILE, left // TILE] / narrow
                        if _squared(middle, f) > reach * reach:
                            continue
                        for i in range(top, min(top + TILE, height)):
                            for j in range(left, min(left + TILE, width)):
                                square = _squared(vectors[e, i, j], f)
                                if square < REACH:
                                    photons = scale * volumes[e, i, j]
                                    frames[n, e, i, j] += photons * np.exp(-0.5 * square)


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _squared(q: Array, f: Array) -> float:
    """Return the squared distance of Q from the peak of a field's pixel, in its widths."""
    a, b, c = (q[0] - f[1]) / f[4], (q[1] - f[2]) / f[5], (q[2] - f[3]) / f[6]
    return float(a * a + b * b + c * c)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _tile_radii(vectors: Array) -> Array:
    """Return how far the pixels of tiles are from their first one at most, 1/Å."""
    etas, height, width = vectors.shape[:3]
    radii = np.zeros((etas, (height - 1) // TILE + 1, (width - 1) // TILE + 1))
    for e in range(etas):
        for i in range(height):
            for j in range(width):
                far = 0.0
                for c in range(3):
                    far += (vectors[e, i, j, c] - vectors[e, i - i % TILE, j - j % TILE, c]) ** 2
                far = np.sqrt(far)
                radii[e, i // TILE, j // TILE] = max(radii[e, i // TILE, j // TILE], far)
    return radii
