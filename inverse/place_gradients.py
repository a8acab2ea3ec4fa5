"""Gradients of maps from the scan points about each one: a quadratic that stops at jumps."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Kind = TypeVar("Kind", bound=np.generic)
Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

REACH = 2
"""Scan points on each side that take part."""
JUMP = 3.0
"""Typical differences of neighbours, times their distance, from which a crystal ends."""
ENOUGH = 18
"""Points of the square of 25 that must take part."""


def place_gradients(values: Array, known: Mask, *, beside: Array | None = None) -> Array:
    """Fit a quadratic to the points about each one, of the same crystal.

    A point that is next to a jump has no gradient: the beam may see both sides.

    Parameters
    ----------
    values : array, (rows, columns, values)
        Finite where known.
    known : array, (rows, columns)
        Points that take part.
    beside : array, (rows, columns, others), optional
        Of which a jump ends a crystal as well.

    Returns
    -------
    array, (rows, columns, values, 2)
        Per step of the scan, NaN where unknown.
    """
    values = np.where(known[..., None], values, 0.0)
    signs = values
    if beside is not None:
        signs = np.concatenate([values, np.where(known[..., None], beside, 0.0)], axis=-1)
    limit = JUMP * _typical(signs, known)
    count = values.shape[-1]
    normal = np.zeros((*known.shape, 6, 6))
    right = np.zeros((*known.shape, 6, count))
    taken, beyond = np.zeros(known.shape, dtype=int), np.zeros(known.shape, dtype=bool)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            there = _moved(known, dy, dx) & known
            away = _moved(signs, dy, dx) - signs
            alike = there & (np.abs(away) < limit * max(np.hypot(dy, dx), 1)).all(axis=-1)
            terms = np.array([1, dy, dx, dy * dy, dy * dx, dx * dx], dtype=float)
            normal += alike[..., None, None] * np.outer(terms, terms)
            right += (alike[..., None] * away[..., :count])[..., None, :] * terms[:, None]
            taken += alike
            if max(abs(dy), abs(dx)) == 1:
                beyond |= there & ~alike
    return _solved(values, normal, right, known & (taken >= ENOUGH) & ~beyond)


def _moved(values: npt.NDArray[Kind], dy: int, dx: int) -> npt.NDArray[Kind]:
    """Return at every point what is (dy, dx) from it; 0 beyond the rim."""
    sides = [(REACH, REACH)] * 2 + [(0, 0)] * (values.ndim - 2)
    padded = np.pad(values, sides)
    rows, columns = values.shape[:2]
    return padded[REACH + dy :, REACH + dx :][:rows, :columns]


def _typical(values: Array, known: Mask) -> Array:
    """Return the typical difference of neighbours: of the median as of a normal distribution."""
    differences = [
        np.abs(np.diff(values, axis=axis))[
            known.take(range(1, size), axis=axis) & known.take(range(size - 1), axis=axis)
        ]
        for axis, size in enumerate(known.shape)
    ]
    together = np.concatenate(differences)
    if not len(together):
        return np.ones(values.shape[-1])
    return np.asarray(np.median(together, axis=0) / 0.6745)


def _solved(values: Array, normal: Array, right: Array, good: Mask) -> Array:
    slopes = np.full((*values.shape, 2), np.nan)
    spread = np.linalg.eigvalsh(normal[good])
    good[good] = spread[:, 0] > 1e-3 * spread[:, -1]
    found = np.linalg.solve(normal[good], right[good])
    slopes[good] = found[:, 1:3].transpose(0, 2, 1)
    return slopes
