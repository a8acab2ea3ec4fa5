"""Sharp steps in images of counts: the camera's spread undone, and what moving them leaves open."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, maximum_filter

from echolith.forward.detector_response import DetectorResponse

Array = npt.NDArray[np.float64]

SURE = 3.0
"""Standard deviations from which something stands out of the noise."""


def sharpened(counts: Array, variance: Array, camera: DetectorResponse) -> tuple[Array, Array]:
    """Undo a camera's spread where it shows, which is at steps; elsewhere it would add noise.

    Parameters
    ----------
    counts, variance : array (ny, nx)
        The variance of independent pixels.
    camera : DetectorResponse
        Of these pixels.

    Returns
    -------
    array, array (ny, nx)
        Counts and their variance.
    """
    rows, columns = (
        np.linalg.inv(_spread(camera.kernel(axis), n)) for axis, n in enumerate(counts.shape)
    )
    sharp = rows @ counts @ columns.T
    own = rows**2 @ variance @ (columns**2).T
    stands_out = np.abs(sharp - counts) > SURE * np.sqrt(own)
    near = binary_dilation(stands_out, np.ones((3, 3)))
    return np.where(near, sharp, counts), np.where(near, own, variance)


def _spread(kernel: Array, count: int) -> Array:
    """Return the matrix (count, count) of a kernel; beyond a line its last pixel goes on."""
    reach = len(kernel) // 2
    at = np.clip(np.arange(count)[:, None] + np.arange(-reach, reach + 1), 0, count - 1)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (np.arange(count)[:, None], at), kernel)
    return matrix


def between_pixels(counts: Array, variance: Array, shift: Array) -> Array:
    """Return the variance that moving an image by parts of a pixel adds at steps.

    Where in a pixel a step is, its mean does not tell. Moved by the part f of a pixel, a step of 1
    at any place is off by ``f (1 - f) / 2`` in the root mean square (0.12 halfway), and shows as a
    second difference near by.
    """
    total = np.zeros(counts.shape)
    for axis, part in enumerate(np.mod(shift, 1.0)):
        bend = np.diff(np.pad(counts, 1, mode="edge"), 2, axis=axis)
        bend = bend[:, 1:-1] if axis == 0 else bend[1:-1]
        # The variance of a second difference is six times that of a pixel.
        steep = np.where(np.abs(bend) > SURE * np.sqrt(6 * variance), bend, 0.0)
        size = (3, 1) if axis == 0 else (1, 3)
        total += (part * (1 - part) / 2 * maximum_filter(np.abs(steep), size)) ** 2
    return total
