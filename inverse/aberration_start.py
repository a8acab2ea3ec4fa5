"""A start for the aberration fit from phase differences of nearby pixels: nothing to unwrap.

Inside one sideband ``arg G(K, Q) = c_Q ± [chi(K ± Q) - chi(K)]``, so the phase of
``G(K + d, Q) G*(K, Q)`` is a difference of four values of chi: linear in the coefficients, free of
c_Q, and small for a small distance d even where chi itself winds many times. Least squares by SVD
over all pairs, weighed with their expected modulus; then pairs twice as far apart, whose phases are
known well enough by then, and so on.
"""

import numpy as np
import numpy.typing as npt

from echolith.inverse.aberration_basis import exponents
from echolith.inverse.aberration_kernels import add_pairs
from echolith.inverse.aberration_overlaps import FloatArray, IntArray, Overlap, Overlaps

TURNS = 3
"""Repetitions per distance; the first one from zero is within a few per cent already."""
WEAKEST = 1e-3
"""Singular values below, relative to the largest, are left out: what they say is noise."""


def starting_phases(
    overlaps: Overlaps, order: int, *, guess: FloatArray | None = None, most: int | None = None
) -> FloatArray:
    """Return the components up to an order in rad at the rim.

    Parameters
    ----------
    overlaps : Overlaps
    order : int
    guess : array, (components,), optional
        Where to begin; zero by default.
    most : int, optional
        Use the strongest Q only.

    References
    ----------
    Lupini, Chi & Jesse, J. Microsc. 263 (2016) 43, for the linear system of unwrapped phases.
    """
    powers = exponents(order)
    phases = np.zeros(len(powers)) if guess is None else guess
    chosen = overlaps.chosen[:most]
    x, y = (_centres(values, overlaps.samples) for values in (overlaps.x, overlaps.y))
    for distance in _distances(overlaps):
        pairs = [_pairs(overlap, overlaps, x, y, distance) for overlap in chosen]
        for _ in range(TURNS):
            gradient, matrix = np.zeros(len(powers)), np.zeros((len(powers),) * 2)
            for overlap, (first, second, sign) in zip(chosen, pairs, strict=True):
                if not first.size:
                    continue
                add_pairs(
                    x[overlap.pixels], y[overlap.pixels], first, second, sign,
                    overlap.q[0], overlap.q[1],
                    overlap.signal[second] * overlap.signal[first].conj(),
                    overlap.strength(overlaps.floor), powers, phases, gradient, matrix,
                )  # fmt: skip
            matrix = matrix + np.tril(matrix, -1).T
            phases = phases + np.linalg.pinv(matrix, rcond=WEAKEST, hermitian=True) @ gradient
    return phases


def _distances(overlaps: Overlaps) -> list[int]:
    """List 1, 2, 4 … pixels up to a quarter of the disc's width."""
    rows, columns = overlaps.places
    width = min(np.ptp(rows), np.ptp(columns)) + 1
    return [2**i for i in range(int(np.log2(max(width / 4, 1))) + 1)]


def _centres(values: FloatArray, samples: IntArray) -> FloatArray:
    kept = np.arange(values.shape[1]) < samples[:, None]
    return np.asarray((values * kept).sum(axis=1) / samples)


def _pairs(
    overlap: Overlap, overlaps: Overlaps, x: FloatArray, y: FloatArray, distance: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return first and second pixel of every pair in one sideband alone, and which sideband."""
    band = _sideband(overlap, x, y, overlaps.square)
    place = np.full(len(x) + 1, -1, dtype=np.int64)  # the last one answers for "no pixel"
    place[overlap.pixels] = np.arange(overlap.pixels.size)
    rows, columns = overlaps.places[:, overlap.pixels]
    frame = np.pad(overlaps.frame, ((0, distance), (0, distance)), constant_values=-1)
    own = np.arange(overlap.pixels.size)
    found: list[npt.NDArray[np.int64]] = []
    for down, right in ((distance, 0), (0, distance)):
        other = place[frame[rows + down, columns + right]]
        kept = (other >= 0) & (band != 0) & (band == band[other])
        found.append(np.stack([own[kept], other[kept]]))
    first, second = np.concatenate(found, axis=1)
    return first, second, band[first].astype(float)


def _sideband(overlap: Overlap, x: FloatArray, y: FloatArray, square: float) -> IntArray:
    """Return -1 where K - Q alone is inside the aperture, +1 for K + Q alone, else 0."""
    x, y = x[overlap.pixels], y[overlap.pixels]
    minus, plus = (
        (x + sign * overlap.q[0]) ** 2 + (y + sign * overlap.q[1]) ** 2 <= square
        for sign in (-1, 1)
    )
    return np.asarray(plus.astype(np.int64) - minus.astype(np.int64))
