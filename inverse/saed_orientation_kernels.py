"""Compiled: orientations that pairs of spots propose, and tilts that intensities ask for."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from echolith.inverse.saed_orientation_fit import FARTHEST, INTENSITY_ERROR, turn_matrix

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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def near_points(
    start: Array, g: Array, k: float, vectors: Array, shown: Any, tolerance: float
) -> tuple[Any, Any]:
    """Return the lattice points that may give a spot, and the spot of each (-1: none is seen)."""
    turned = g @ start.T
    near = np.empty(len(g), dtype=np.int64)
    owner = np.empty(len(g), dtype=np.int64)
    count = 0
    for i in range(len(g)):
        x, y, z = turned[i]
        if abs(np.sqrt(k * k - x * x - y * y) - k - z) > FARTHEST:
            continue
        best, which = 2 * tolerance, -1
        for j in range(len(vectors)):
            away = np.hypot(vectors[j, 0] - x, vectors[j, 1] - y)
            if away < best:
                best, which = away, j
        if which >= 0 or shown[i]:
            near[count], owner[count] = i, which
            count += 1
    return near[:count], owner[:count]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _intensity_rest(
    values: Array,
    turned: Array,
    coupling: Array,
    k: float,
    amplitude: Array,
    threshold: float,
    strength: Array,
    rest: Array,
) -> float:
    """Fill residuals of square roots of intensities for tilts (rad) and log thickness.

    ``amplitude``: of the spot of each point; negative where none is seen.
    """
    turn = turn_matrix(np.array([values[0], values[1], 0.0]))
    t = np.exp(values[2])
    top, bottom = 0.0, 1e-30
    for c in range(len(turned)):
        v = turned[c]
        x = turn[0, 0] * v[0] + turn[0, 1] * v[1] + turn[0, 2] * v[2]
        y = turn[1, 0] * v[0] + turn[1, 1] * v[1] + turn[1, 2] * v[2]
        z = turn[2, 0] * v[0] + turn[2, 1] * v[1] + turn[2, 2] * v[2]
        s = np.sqrt(k * k - x * x - y * y) - k - z
        phase = np.pi * t * np.sqrt(s * s + (coupling[c] / np.pi) ** 2)
        strength[c] = coupling[c] * t * abs(np.sin(phase)) / phase
        if amplitude[c] >= 0:
            weight = 1 / (amplitude[c] ** 2 + 25 * threshold)
            top += weight * amplitude[c] * strength[c]
            bottom += weight * strength[c] ** 2
    height, total = top / bottom, 0.0
    floor = np.sqrt(threshold)
    for c in range(len(turned)):
        predicted = height * strength[c]
        seen = amplitude[c]
        away = seen - predicted if seen >= 0 else -max(0.0, predicted - floor)
        square = (INTENSITY_ERROR * max(seen, predicted)) ** 2 + 0.1 * threshold
        # Robust: one spot far off tells little of the others.
        rest[c] = away / np.sqrt(square + away**2 / 30)
        total += rest[c] ** 2
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def likely_tilts(
    turned: Array,
    coupling: Array,
    k: float,
    amplitude: Array,
    threshold: float,
    tilts: Array,
    thicknesses: Array,
    starts: int,
) -> tuple[Array, Array]:
    """Return tilts about x and y (rad) and log thicknesses that explain intensities, best first.

    The best ``starts`` of a grid are refined by Levenberg-Marquardt.

    Returns
    -------
    array, (starts, 3), array, (starts,)
        And their chi squared.
    """
    count = len(turned)
    strength, rest, moved = np.empty(count), np.empty(count), np.empty(count)
    grid = np.empty(len(tilts) * len(thicknesses))
    values = np.empty(3)
    for n in range(len(tilts)):
        for m in range(len(thicknesses)):
            values[0], values[1], values[2] = tilts[n, 0], tilts[n, 1], np.log(thicknesses[m])
            grid[n * len(thicknesses) + m] = _intensity_rest(
                values, turned, coupling, k, amplitude, threshold, strength, rest
            )
    order = np.argsort(grid)[:starts]
    found, chis = np.empty((len(order), 3)), np.empty(len(order))
    steps = np.array([1e-5, 1e-5, 1e-4])
    jacobian = np.empty((count, 3))
    for one in range(len(order)):
        n, m = order[one] // len(thicknesses), order[one] % len(thicknesses)
        values = np.array([tilts[n, 0], tilts[n, 1], np.log(thicknesses[m])])
        chi = _intensity_rest(values, turned, coupling, k, amplitude, threshold, strength, rest)
        damping = 1e-2
        for _ in range(12):
            for p in range(3):
                changed = values.copy()
                changed[p] += steps[p]
                _intensity_rest(changed, turned, coupling, k, amplitude, threshold, strength, moved)
                jacobian[:, p] = (moved - rest) / steps[p]
            information = jacobian.T @ jacobian
            gradient = jacobian.T @ rest
            better = False
            for _ in range(5):
                damped = information + damping * np.diag(np.diag(information)) + 1e-9 * np.eye(3)
                changed = values - np.linalg.solve(damped, gradient)
                changed[2] = min(max(changed[2], np.log(20.0)), np.log(1500.0))
                trial = _intensity_rest(
                    changed, turned, coupling, k, amplitude, threshold, strength, moved
                )
                if trial < chi:
                    better = chi - trial > 1e-2
                    values, chi = changed, trial
                    rest[:] = moved
                    damping *= 0.1
                    break
                damping *= 8
            if not better:
                break
        found[one], chis[one] = values, chi
    best = np.argsort(chis)
    return found[best], chis[best]
