"""Compiled: an orientation, a thickness and a scale fitted to places and intensities of spots."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

ITERATIONS = 15
FARTHEST = 0.12
"""1/Å from the Ewald sphere, beyond which a lattice point gives no spot."""
INTENSITY_ERROR = 0.1
"""Part of the square root of an intensity that two beams miss."""
NOT_MATCHED = 25.0
"""Chi squared of a spot that the crystal does not explain."""


class Lattice(NamedTuple):
    """Points g of a lattice, (points, 3), 1/Å, lambda |F| / V of each, 1/Å, and 1 / lambda, 1/Å."""

    g: Array
    coupling: Array
    k: float


class SeenSpots(NamedTuple):
    """Spots of a pattern.

    ``vectors`` (spots, 3) and the ``vector_std`` of each component, 1/Å; ``electrons`` (spots,) and
    whether they are ``full``, more than could be counted; the ``threshold`` of a spot that would
    have been found; which lattice points are ``shown``; the ``tolerance`` of a match, 1/Å.
    """

    vectors: Array
    vector_std: Array
    electrons: Array
    full: npt.NDArray[np.bool_]
    threshold: float
    shown: npt.NDArray[np.bool_]
    tolerance: float


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def turn_matrix(values: Array) -> Array:
    """Return the matrix of a rotation vector, rad."""
    size = np.sqrt((values[:3] ** 2).sum())
    cross = np.zeros((3, 3))
    cross[0, 1], cross[0, 2], cross[1, 2] = -values[2], values[1], -values[0]
    cross[1, 0], cross[2, 0], cross[2, 1] = values[2], -values[1], values[0]
    if size < 1e-12:
        return np.eye(3) + cross
    turned: Array = (
        np.eye(3) + np.sin(size) / size * cross + (1 - np.cos(size)) / size**2 * (cross @ cross)
    )
    return turned


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def misfit(
    values: Array,
    start: Array,
    lattice: Lattice,
    seen: SeenSpots,
    rest: Array,
) -> int:
    """Fill residuals in standard deviations and return how many spots are matched.

    ``values``: rotation vector (rad), log thickness (Å), log scale of g. Residuals: x, y and
    square root of the intensity of every spot, then what is predicted and not seen of every
    lattice point, then the prior of the scale.
    """
    g, coupling, k = lattice
    vectors, vector_std, electrons, full, threshold, shown, tolerance = seen
    spots, points = len(vectors), len(g)
    turned = g @ (turn_matrix(values) @ start).T
    thickness, scale = np.exp(values[3]), np.exp(values[4])
    nearest = np.full(spots, -1)
    distance = np.full(spots, tolerance)
    strength = np.empty(points)
    for i in range(points):
        x, y, z = turned[i]
        s = np.sqrt(k * k - x * x - y * y) - k - z
        root = np.sqrt(s * s + (coupling[i] / np.pi) ** 2)
        strength[i] = abs(coupling[i] * thickness * np.sinc(thickness * root))
        if abs(s) > FARTHEST:
            continue
        for j in range(spots):
            away = np.hypot(vectors[j, 0] - scale * x, vectors[j, 1] - scale * y)
            if away < distance[j]:
                distance[j], nearest[j] = away, i
    top, bottom, matched = 0.0, 1e-30, 0
    for j in range(spots):
        if nearest[j] >= 0:
            matched += 1
            if not full[j]:
                # Weights of relative errors, floored: a few strong spots do not decide alone.
                weight = 1 / (electrons[j] + 25 * threshold)
                top += weight * np.sqrt(electrons[j]) * strength[nearest[j]]
                bottom += weight * strength[nearest[j]] ** 2
    height = top / bottom
    floor = np.sqrt(threshold)
    explained = np.zeros(points)
    for j in range(spots):
        i = nearest[j]
        if i < 0:
            rest[3 * j], rest[3 * j + 1], rest[3 * j + 2] = np.sqrt(NOT_MATCHED), 0.0, 0.0
            continue
        explained[i] = 1.0
        rest[3 * j] = (vectors[j, 0] - scale * turned[i, 0]) / vector_std[j]
        rest[3 * j + 1] = (vectors[j, 1] - scale * turned[i, 1]) / vector_std[j]
        root = np.sqrt(electrons[j])
        predicted = height * strength[i]
        error = np.sqrt((INTENSITY_ERROR * max(root, predicted)) ** 2 + 0.1 * threshold)
        rest[3 * j + 2] = 0.0 if full[j] and predicted > root else (root - predicted) / error
    for i in range(points):
        predicted = height * strength[i]
        over = max(0.0, predicted - floor) * (1 - explained[i]) if shown[i] else 0.0
        error = np.sqrt((INTENSITY_ERROR * predicted) ** 2 + 0.1 * threshold)
        rest[3 * spots + i] = over / error
    rest[3 * spots + points] = values[4] / 0.005
    return matched


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def refined(
    start: Array,
    values: Array,
    lattice: Lattice,
    seen: SeenSpots,
) -> tuple[Array, float, Array, Array, int]:
    """Refine an orientation, thickness and scale by Levenberg-Marquardt.

    Returns
    -------
    matrix, chi squared, values, information (5, 5), spots matched
    """
    count = 3 * len(seen.vectors) + len(lattice.g) + 1
    rest, moved = np.empty(count), np.empty(count)
    values = values.copy()
    steps = np.array([1e-5, 1e-5, 1e-5, 1e-3, 1e-5])
    matched = misfit(values, start, lattice, seen, rest)
    chi = (rest**2).sum()
    damping = 1e-2
    jacobian = np.empty((count, 5))
    information = np.eye(5)
    for _ in range(ITERATIONS):
        for p in range(5):
            changed = values.copy()
            changed[p] += steps[p]
            misfit(changed, start, lattice, seen, moved)
            jacobian[:, p] = (moved - rest) / steps[p]
        information = jacobian.T @ jacobian
        gradient = jacobian.T @ rest
        better = False
        for _ in range(8):
            damped = information + damping * np.diag(np.diag(information)) + 1e-9 * np.eye(5)
            changed = values - np.linalg.solve(damped, gradient)
            changed[3] = min(max(changed[3], np.log(20.0)), np.log(1500.0))
            found = misfit(changed, start, lattice, seen, moved)
            trial = (moved**2).sum()
            if trial < chi:
                better = chi - trial > 1e-3 * max(1.0, 1e-3 * chi)
                values, chi, matched = changed, trial, found
                rest[:] = moved
                damping *= 0.1
                break
            damping *= 8
        if not better:
            break
    return turn_matrix(values) @ start, chi, values, information, matched
