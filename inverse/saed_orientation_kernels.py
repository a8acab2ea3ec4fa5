"""Compiled: orientations that pairs of spots propose, and how well each explains the spots."""

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _frame(a: Array, b: Array) -> Array:
    """Return three orthonormal columns: along a, in the plane of a and b, across both."""
    frame = np.empty((3, 3))
    first = a / np.sqrt((a * a).sum())
    third = np.cross(a, b)
    third /= np.sqrt((third * third).sum())
    frame[:, 0], frame[:, 1], frame[:, 2] = first, np.cross(third, first), third
    return frame


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def proposals(g: Array, vectors: Array, length: float, angle: float) -> Array:
    """Return orientations that bring a pair of lattice points onto a pair of spots, (n, 3, 3).

    Lengths agree within a part ``length``, angles within ``angle`` rad. Of the points for the
    first spot one in each family by length is tried: those of a family differ by symmetry.
    """
    size = np.sqrt((g * g).sum(axis=1))
    found = np.empty((4000, 3, 3))
    count = 0
    for m in range(len(vectors)):
        for n in range(m + 1, len(vectors)):
            u, v = vectors[m], vectors[n]
            lu, lv = np.sqrt((u * u).sum()), np.sqrt((v * v).sum())
            cosine = (u * v).sum() / (lu * lv)
            if abs(cosine) > 0.97:
                continue
            target = _frame(u, v)
            tried = np.empty(16)
            families = 0
            for i in range(len(g)):
                if abs(size[i] - lu) > length * lu:
                    continue
                known = False
                for f in range(families):
                    known = known or abs(size[i] - tried[f]) < 1e-6
                if known or families == 16:
                    continue
                tried[families] = size[i]
                families += 1
                for j in range(len(g)):
                    if abs(size[j] - lv) > length * lv or count == len(found):
                        continue
                    other = (g[i] * g[j]).sum() / (size[i] * size[j])
                    if abs(np.arccos(min(1.0, max(-1.0, other))) - np.arccos(cosine)) > angle:
                        continue
                    found[count] = target @ _frame(g[i], g[j]).T
                    count += 1
    return found[:count]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def scores(
    proposed: Array,
    g: Array,
    coupling: Array,
    k: float,
    vectors: Array,
    amplitude: Array,
    tolerance: float,
) -> Array:
    """Return how well each orientation explains the spots and what is not seen, (n,)."""
    marks = np.zeros(len(proposed))
    for n in range(len(proposed)):
        turned = g @ proposed[n].T
        for i in range(len(g)):
            x, y, z = turned[i]
            s = np.sqrt(k * k - x * x - y * y) - k - z
            strength = coupling[i] / (1 + (s / 0.004) ** 2)
            best, which = tolerance, -1
            for j in range(len(vectors)):
                away = np.hypot(vectors[j, 0] - x, vectors[j, 1] - y)
                if away < best:
                    best, which = away, j
            if which >= 0:
                marks[n] += strength * amplitude[which] * (1 - (best / tolerance) ** 2)
    return marks
