"""Compiled: tilts and a thickness fitted to the electrons of spots, by many beams."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

ITERATIONS = 12
THINNEST, THICKEST = 20.0, 1500.0
"""Å."""


class Beams(NamedTuple):
    """Beams that may be strong near an orientation, and what was measured at their places.

    ``turned`` (beams, 3), g in the frame of the pattern, 1/Å; ``matrix`` (beams + 1, beams + 1),
    lambda F / V between them, the incident one first, 1/Å; ``owner`` (beams,), the place of each,
    -1 where nothing is known; ``electrons``, ``std`` (places,), and whether they are ``full``,
    more than could be counted; ``k``, 1 / lambda.
    """

    turned: Array
    matrix: Any
    owner: npt.NDArray[np.int64]
    electrons: Array
    std: Array
    full: npt.NDArray[np.bool_]
    k: float


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
def excitation_errors(turned: Array, tilt_x: float, tilt_y: float, k: float) -> Array:
    """Return the distances of points from the Ewald sphere along the beam after a tilt, 1/Å."""
    turn = turn_matrix(np.array([tilt_x, tilt_y, 0.0]))
    s = np.empty(len(turned))
    for c in range(len(turned)):
        x = (turn[0] * turned[c]).sum()
        y = (turn[1] * turned[c]).sum()
        s[c] = np.sqrt(k * k - x * x - y * y) - k - (turn[2] * turned[c]).sum()
    return s


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def waves(beams: Beams, tilt_x: float, tilt_y: float) -> tuple[Any, Any]:
    """Return eigenvalues and eigenvectors of the waves in the crystal."""
    s = excitation_errors(beams.turned, tilt_x, tilt_y, beams.k)
    matrix = beams.matrix.copy()
    for c in range(len(s)):
        matrix[c + 1, c + 1] = 2 * np.pi * s[c]
    return np.linalg.eigh(matrix)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def intensities(values: Any, vectors: Any, thickness: float) -> Array:
    """Return the intensity of each beam but the incident one."""
    count = len(values)
    psi = np.zeros(count, dtype=np.complex128)
    for j in range(count):
        phase = values[j] * thickness
        factor = complex(np.cos(phase), np.sin(phase)) * np.conj(vectors[0, j])
        for c in range(1, count):
            psi[c] += vectors[c, j] * factor
    return psi[1:].real ** 2 + psi[1:].imag ** 2


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def misfit(strength: Array, beams: Beams, error: float, rest: Array) -> float:
    """Fill residuals of the electrons at all places, in standard deviations; return chi squared.

    The scale between intensities and electrons is the best one; ``error`` is the part of the
    electrons that theory misses.
    """
    places = len(beams.electrons)
    predicted = np.zeros(places)
    for c in range(len(strength)):
        if beams.owner[c] >= 0:
            predicted[beams.owner[c]] += strength[c]
    top, bottom = 0.0, 1e-300
    for p in range(places):
        rest[p] = np.sqrt(beams.std[p] ** 2 + (error * beams.electrons[p]) ** 2)
        if not beams.full[p]:
            top += beams.electrons[p] * predicted[p] / rest[p] ** 2
            bottom += predicted[p] ** 2 / rest[p] ** 2
    height, total = max(top / bottom, 0.0), 0.0
    for p in range(places):
        away = beams.electrons[p] - height * predicted[p]
        if beams.full[p]:
            away = max(away, 0.0)
        rest[p] = away / rest[p]
        total += rest[p] ** 2
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def soft_misfit(amplitude: Array, beams: Beams, error: float, rest: Array) -> float:
    """Do as `misfit` with the amplitude at each place, and errors of what is predicted too.

    No place counts more than 1 / error: minima are wide.
    """
    top, bottom = 0.0, 1e-300
    for p in range(len(amplitude)):
        counted, std = beams.electrons[p], beams.std[p]
        if not beams.full[p] and counted > 4 * std:
            weight = 1 / (counted + 100 * std)
            top += weight * np.sqrt(counted) * amplitude[p]
            bottom += weight * amplitude[p] ** 2
    height, total = top / bottom, 0.0
    for p in range(len(amplitude)):
        counted, expected = max(beams.electrons[p], 0.0), height * amplitude[p]
        most, std = max(counted, expected**2), beams.std[p]
        away = np.sqrt(counted) - expected
        if beams.full[p]:
            away = max(away, 0.0)
        rest[p] = away / np.sqrt(error**2 * most + std**2 / (4 * max(most, std)))
        total += rest[p] ** 2
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _rest(
    energies: Any,
    vectors: Any,
    beams: Beams,
    thickness: float,
    error: float,
    soft: bool,
    rest: Array,
) -> float:
    strength = intensities(energies, vectors, thickness)
    if not soft:
        return misfit(strength, beams, error, rest)
    square = np.zeros(len(beams.electrons))
    for c in range(len(strength)):
        if beams.owner[c] >= 0:
            square[beams.owner[c]] += strength[c]
    return soft_misfit(np.sqrt(square), beams, error, rest)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def fitted(values: Array, beams: Beams, error: float, soft: bool) -> tuple[Array, float, Array]:
    """Fit tilts about x and y (rad) and log thickness by Levenberg-Marquardt.

    Returns
    -------
    values, chi squared, information (3, 3)
    """
    places = len(beams.electrons)
    rest, moved, jacobian = np.empty(places), np.empty(places), np.empty((places, 3))
    steps = np.array([1e-5, 1e-5, 1e-4])
    values = values.copy()
    energies, vectors = waves(beams, values[0], values[1])
    chi = _rest(energies, vectors, beams, np.exp(values[2]), error, soft, rest)
    information, damping = np.eye(3), 1e-2
    for _ in range(ITERATIONS):
        for p in range(3):
            changed = values.copy()
            changed[p] += steps[p]
            shifted, turned = energies, vectors
            if p < 2:
                shifted, turned = waves(beams, changed[0], changed[1])
            _rest(shifted, turned, beams, np.exp(changed[2]), error, soft, moved)
            jacobian[:, p] = (moved - rest) / steps[p]
        information = jacobian.T @ jacobian
        gradient = jacobian.T @ rest
        better = False
        for _ in range(6):
            damped = information + damping * np.diag(np.diag(information)) + 1e-9 * np.eye(3)
            changed = values - np.linalg.solve(damped, gradient)
            changed[2] = min(max(changed[2], np.log(THINNEST)), np.log(THICKEST))
            shifted, turned = waves(beams, changed[0], changed[1])
            trial = _rest(shifted, turned, beams, np.exp(changed[2]), error, soft, moved)
            if trial < chi:
                better = chi - trial > (0.2 if soft else 1e-2)
                values, chi, energies, vectors = changed, trial, shifted, turned
                rest[:] = moved
                damping *= 0.1
                break
            damping *= 8
        if not better:
            break
    return values, chi, information
