"""Where segmented particles touch each other."""

import numpy as np
import numpy.typing as npt


def border_faces(labels: npt.NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Return how many faces of voxels every two touching particles have in common.

    Parameters
    ----------
    labels : array, (z, y, x)
        Numbers from 1, 0 where there is none.

    Returns
    -------
    dict
        By the two numbers, the smaller one first.
    """
    count = int(labels.max(initial=0)) + 1
    found = np.zeros(0, dtype=np.int64)
    for axis in range(labels.ndim):
        low = np.moveaxis(labels, axis, 0)[:-1].astype(np.int64)
        high = np.moveaxis(labels, axis, 0)[1:].astype(np.int64)
        touch = (low != high) & (low > 0) & (high > 0)
        first, second = np.minimum(low, high)[touch], np.maximum(low, high)[touch]
        found = np.concatenate([found, first * count + second])
    pairs, faces = np.unique(found, return_counts=True)
    return {
        (int(pair) // count, int(pair) % count): int(number)
        for pair, number in zip(pairs, faces, strict=True)
    }
