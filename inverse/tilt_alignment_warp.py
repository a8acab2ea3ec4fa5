"""Images resampled once by an affine map, without loss of sharpness and with noise left white.

Two passes, first along x and then along y (Catmull & Smith, SIGGRAPH 14 (1980) 279), each by a
windowed sinc of eight samples (Lanczos): the map is near the identity, so that no pass shrinks.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from echolith.processors import threads

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

TAPS = 8
STEPS = 2048
"""Of a pixel, that positions are rounded to."""

compiled = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})


def _weights() -> Array:
    """Return the weights of the samples around a position, (steps + 1, taps); sums are 1."""
    offset = np.arange(TAPS) - (TAPS / 2 - 1) - np.arange(STEPS + 1)[:, None] / STEPS
    weights = np.sinc(offset) * np.sinc(offset / (TAPS / 2)) * (np.abs(offset) < TAPS / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


WEIGHTS = _weights()


def warped(
    images: npt.ArrayLike,
    affine: Floats,
    *,
    shape: tuple[int, int],
    middle: tuple[float, float] | None = None,
    workers: int | None = None,
) -> Array:
    """Read images where an affine map says: ``out(X) = image(A X + d)``.

    Parameters
    ----------
    images : array, (images, y, x)
    affine : array, (images, 2, 3)
        A and d of (x, y), in pixels from the middles.
    shape : (int, int)
        Of the results, (y, x).
    middle : (float, float), optional
        Index of the images' middle, (y, x).
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    array of float32, (images, *shape)
        0 where nothing was measured.
    """
    stack = np.ascontiguousarray(images, dtype=np.float32)
    _, ny, nx = stack.shape
    centre = middle or ((ny - 1) / 2, (nx - 1) / 2)
    result = np.empty((len(stack), *shape), dtype=np.float32)

    def one(i: int) -> None:
        room = np.empty((ny, shape[1]), dtype=np.float32)
        _resample(stack[i], affine[i], centre[0], centre[1], WEIGHTS, room, result[i])

    with ThreadPoolExecutor(threads(workers)) as pool:
        list(pool.map(one, range(len(stack))))
    return result


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _resample(
    image: Any, affine: Any, mid_y: float, mid_x: float, weights: Any, room: Any, out: Any
) -> None:
    ny, nx = image.shape
    my, mx = out.shape
    a, b, c = affine[0, 0], affine[0, 1], affine[0, 2] + mid_x
    d, e, f = affine[1, 0], affine[1, 1], affine[1, 2]
    for v in range(ny):
        # Where on this row the point lies that ends in column x.
        start = c + b * (v - mid_y - f) / e
        slope = a - b * d / e
        for j in range(mx):
            place = start + slope * (j - (mx - 1) / 2)
            first = int(np.floor(place))
            line = weights[int(np.rint((place - first) * STEPS))]
            first -= TAPS // 2 - 1
            total = np.float32(0)
            if first >= 0 and first + TAPS <= nx:
                for k in range(TAPS):
                    total += line[k] * image[v, first + k]
            else:
                for k in range(TAPS):
                    if 0 <= first + k < nx:
                        total += line[k] * image[v, first + k]
            room[v, j] = total
    for i in range(my):
        for j in range(mx):
            place = d * (j - (mx - 1) / 2) + e * (i - (my - 1) / 2) + f + mid_y
            first = int(np.floor(place))
            line = weights[int(np.rint((place - first) * STEPS))]
            first -= TAPS // 2 - 1
            total = np.float32(0)
            for k in range(max(0, -first), min(TAPS, ny - first)):
                total += line[k] * room[first + k, j]
            out[i, j] = total
