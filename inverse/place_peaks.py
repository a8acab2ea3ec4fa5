"""Peaks of places of a specimen that drifts, from the moments of the frames that show them.

A point p of the scan shows the place r = p + d t at the angle t, counted in steps of eta from the
middle. A frame goes whole to the place it is nearest to; how far it is off is carried along: with
the gradient J of the peak's coordinates u = (eta, row, column) its photons are at u - J (r - p).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from scipy.special import erf

from echolith.inverse.frame_moments import SPANS

Array = npt.NDArray[np.float64]

WINDOW = 2.5
"""Standard deviations of the rocking curve on either side that are used: beyond, the background
counts more than the peak."""
ROUNDS = 8
"""Of looking for that window."""


class PlacePeaks(NamedTuple):
    """Peaks in (eta, row, column) from the middle eta and pixel 0.

    ``photons``, ``background`` under them (rows, columns), ``centre`` (rows, columns, 3),
    ``covariance`` (rows, columns, 3, 3), ``whole``: one frame of the peak is missing at
    most (rows, columns).
    """

    photons: Array
    background: Array
    centre: Array
    covariance: Array
    whole: npt.NDArray[np.bool_]


def turns(etas: int) -> Array:
    """Return the steps of eta from the middle, (eta,)."""
    return np.asarray(np.arange(etas) - (etas - 1) / 2)


def whole_moves(drift: Array, etas: int) -> npt.NDArray[np.int64]:
    """Return whole steps (rows, columns) that frames are moved by, (eta, 2)."""
    return np.rint(turns(etas)[:, None] * drift).astype(np.int64)


def place_peaks(moments: Array, drift: Array, slopes: Array) -> PlacePeaks:
    """Return the peaks of all places.

    Parameters
    ----------
    moments : array, (rows, columns, eta, 7)
        As from `echolith.inverse.frame_moments.frame_moments`.
    drift : array, (2,)
        Steps of the scan (rows, columns) from one eta to the next.
    slopes : array, (rows, columns, 3, 2)
        Gradient of (eta, row, column) per step of the scan.
    """
    etas = moments.shape[2]
    moves = whole_moves(drift, etas)
    remains = turns(etas)[:, None] * drift - moves
    frames = gathered(moments, moves)
    known = ~np.isnan(frames[..., 0])
    n, ni, nj, nii, njj, nij, background = np.moveaxis(np.where(known[..., None], frames, 0), -1, 0)
    t, i, j = np.moveaxis(np.einsum("yxuc,ec->yxeu", slopes, remains), -1, 0)
    t = turns(etas) - t
    used, width = _window(n, t)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (n * used).sum(axis=2)

        def mean(sums: Array) -> Array:
            return np.asarray((sums * used).sum(axis=2) / total)

        centre = np.stack([mean(n * t), mean(ni - n * i), mean(nj - n * j)], axis=-1)
        away = t - centre[..., :1]
        sweep = [mean(away * (ni - n * i)), mean(away * (nj - n * j))]
        plane = [
            mean(nii - 2 * i * ni + n * i * i) - centre[..., 1] ** 2,
            mean(nij - i * nj - j * ni + n * i * j) - centre[..., 1] * centre[..., 2],
            mean(njj - 2 * j * nj + n * j * j) - centre[..., 2] ** 2,
        ]
        covariance = _covariance(mean(n * away * away), width**2, sweep, plane)
    whole = (used & ~known).sum(axis=2) <= 1
    return PlacePeaks(total, (background * used).sum(axis=2), centre, covariance, whole)


def gathered(moments: Array, moves: npt.NDArray[np.int64]) -> Array:
    """Return the frames that show each place, NaN where none was taken."""
    rows, columns = moments.shape[:2]
    y, x = np.arange(rows)[:, None] - moves[:, 0], np.arange(columns)[:, None] - moves[:, 1]
    there = ((y >= 0) & (y < rows))[:, None] & ((x >= 0) & (x < columns))[None]
    y, x = np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)
    taken = moments[y[:, None], x[None], np.arange(len(moves))]
    return np.where(there[..., None], taken, np.nan)


def _window(photons: Array, t: Array) -> tuple[npt.NDArray[np.bool_], Array]:
    """Return the frames of the peak, and its standard deviation without what they cut off."""
    etas = photons.shape[2]
    brightest = uniform_filter1d(photons, 5, axis=2, mode="constant").argmax(axis=2)
    centre, width = turns(etas)[brightest], np.full(photons.shape[:2], 3.0)
    for _ in range(ROUNDS):
        used = np.abs(turns(etas) - centre[..., None]) <= WINDOW * width[..., None] + 0.5
        part = photons * used
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = (part * t).sum(axis=2) / part.sum(axis=2)
            seen = (part * (t - middle[..., None]) ** 2).sum(axis=2) / part.sum(axis=2)
        # A normal distribution cut at +-a standard deviations keeps this part of its variance.
        a = np.clip(used.sum(axis=2) / 2 / width, 0.1, 6.0)
        kept = 1 - 2 * a * np.exp(-a * a / 2) / np.sqrt(2 * np.pi) / erf(a / np.sqrt(2))
        centre = np.where(np.isfinite(middle), middle, 0.0)
        width = np.where(np.isfinite(seen), np.sqrt(np.maximum(seen, 0.3) / kept), 3.0)
        width = np.clip(width, 0.6, etas / 4)
    return used, width


def _covariance(cut: Array, variance: Array, sweep: list[Array], plane: list[Array]) -> Array:
    """Return what a Gaussian has whose frames beyond a window, and pixels beyond, are left out.

    The centre on the detector moves with eta by a slope, and is spread about that as in one frame;
    both are the same inside and outside of a window of eta.
    """
    half = SPANS**2 / 2
    kept = 1 - half / np.expm1(half)
    slope = np.stack(sweep, axis=-1) / cut[..., None]
    across = np.stack([plane[0], plane[1], plane[1], plane[2]], axis=-1)
    across = across.reshape(*cut.shape, 2, 2)
    moving = slope[..., :, None] * slope[..., None, :]
    covariance = np.empty((*cut.shape, 3, 3))
    covariance[..., 0, 0] = variance
    covariance[..., 0, 1:] = covariance[..., 1:, 0] = slope * variance[..., None]
    within = (across - moving * cut[..., None, None]) / kept
    covariance[..., 1:, 1:] = within + moving * variance[..., None, None]
    return covariance
