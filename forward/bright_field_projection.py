"""Means over small boxes of what a prism lays in the way of the beam."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def mean_chord(across: Array, corners: Array, size: float) -> Array:
    """Return the chord of a convex cross-section, averaged over boxes, Å.

    A chord is linear between corners, its integral a parabola: the mean is exact, also where a
    side lies along the beam and the chord jumps.

    Parameters
    ----------
    across : array
        Middles of the boxes, Å.
    corners : array (n, 2)
        Of the cross-section, across the axis and along the beam, Å.
    size : float
        Of a box, Å.

    Examples
    --------
    >>> square = np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    >>> mean_chord(np.array([0.0, 1.0, 3.0]), square, 1.0)
    array([2., 1., 0.])
    """
    knots, chords = _chords(corners)
    done = np.concatenate([[0.0], np.cumsum((chords[1:] + chords[:-1]) / 2 * np.diff(knots))])

    def integral(place: Array) -> Array:
        inside = np.clip(place, knots[0], knots[-1])
        last = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
        beyond = inside - knots[last]
        slope = (chords[last + 1] - chords[last]) / (knots[last + 1] - knots[last])
        return np.asarray(done[last] + beyond * (chords[last] + slope * beyond / 2))

    return (integral(across + size / 2) - integral(across - size / 2)) / size


def mean_presence(along: Array, start: float, end: float, size: float) -> Array:
    """Return which part of boxes lies between two places along an axis, 0 to 1."""
    below = np.clip((end - along) / size + 0.5, 0, 1)
    if np.isinf(start):
        return below
    return np.asarray(below - np.clip((start - along) / size + 0.5, 0, 1))


def _chords(corners: Array) -> tuple[Array, Array]:
    """Return places of the corners, ascending, and the chord at each (inside of a jump)."""
    places = np.unique(np.round(corners[:, 0], 9))
    start, end = corners, np.roll(corners, -1, axis=0)
    chords = []
    for place in places:
        # A side across the place meets it once, a corner on it twice at one height.
        low, high = (np.minimum(start, end)[:, 0] - 1e-8, np.maximum(start, end)[:, 0] + 1e-8)
        met = (low <= place) & (place <= high)
        run = end[met] - start[met]
        upright = np.abs(run[:, 0]) < 1e-7
        part = (place - start[met, 0]) / np.where(upright, 1.0, run[:, 0])
        heights = start[met, 1] + np.where(upright, 0.0, part) * run[:, 1]
        heights = np.concatenate([heights, end[met][upright, 1]])
        chords.append(np.ptp(heights))
    return places, np.array(chords)
