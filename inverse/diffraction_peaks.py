"""One Bragg peak for every point of a map: Poisson maximum likelihood in the space of Q.

A Gaussian of free height, position and widths on a flat background, by expectation maximisation:
every photon belongs to the peak with the probability r = G / (G + b), and moments weighted by r are
the next estimate. Only voxels that counted something take part, so the cost goes with the photons.

References
----------
Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]


class PeakFit(Settings):
    """How peaks are fitted."""

    steps: Annotated[int, Field(ge=1, le=200)] = 15
    """Of expectation maximisation."""
    least_counts: Annotated[float, Field(ge=3)] = 30.0
    """In the peak; below, a point has no data."""


class Peaks(NamedTuple):
    """Peaks of all points, in the order of the points.

    ``centre``, ``width`` (points, 3), ``covariance`` (points, 3, 3) of the centre, ``counts``,
    ``background`` (per voxel), ``misfit`` (kurtosis of the worst axis in standard deviations) and
    ``inside``, the part of the peak that the region holds, (points,); NaN without a peak.
    """

    centre: Array
    width: Array
    covariance: Array
    counts: Array
    background: Array
    misfit: Array
    inside: Array


def fit_peaks(
    counts: npt.NDArray[np.integer],
    vectors: Array,
    volumes: Array,
    sensitivity: Array,
    *,
    options: PeakFit | None = None,
) -> Peaks:
    """Fit a peak to every point.

    Parameters
    ----------
    counts : array, (points, eta, rows, columns)
        Photons.
    vectors : array, (eta, rows, columns, 3)
        Q of the voxels, 1/Å.
    volumes : array, (eta, rows, columns)
        Of the voxels in Q, 1/Å³.
    sensitivity : array, (eta, rows, columns)
        Relative: the monitor, 0 for voxels to leave out.
    options : PeakFit, optional

    Returns
    -------
    Peaks
    """
    options = options or PeakFit()
    found = np.full((len(counts), 19), np.nan)
    flat = counts.reshape(len(counts), -1)
    _fit(
        flat,
        vectors.reshape(-1, 3),
        volumes.ravel(),
        sensitivity.ravel(),
        options.steps,
        options.least_counts,
        found,
    )
    return Peaks(
        centre=found[:, :3],
        width=found[:, 3:6],
        covariance=found[:, 6:15].reshape(-1, 3, 3),
        counts=found[:, 15],
        background=found[:, 16],
        misfit=found[:, 17],
        inside=found[:, 18],
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fit(
    counts: npt.NDArray[np.integer],
    vectors: Array,
    volumes: Array,
    sensitivity: Array,
    steps: int,
    least: float,
    found: Array,
) -> None:
    total_sensitivity = sensitivity.sum()
    for n in range(len(counts)):
        events = np.empty(counts.shape[1], dtype=np.int64)
        used = 0
        photons = 0.0
        for v in range(counts.shape[1]):
            if counts[n, v] > 0 and sensitivity[v] > 0:
                events[used] = v
                used += 1
                photons += counts[n, v]
        if used:
            _fit_one(
                counts[n], vectors, volumes, events[:used], photons, total_sensitivity, steps,
                least, found[n],
            )  # fmt: skip


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fit_one(
    counts: npt.NDArray[np.integer],
    vectors: Array,
    volumes: Array,
    events: npt.NDArray[np.int64],
    photons: float,
    total: float,
    steps: int,
    least: float,
    found: Array,
) -> None:
    # Start: the densest voxel's surroundings, and the whole region's width.
    centre, width = np.zeros(3), np.zeros(3)
    _start(counts, vectors, events, centre, width)
    background = 0.3 * photons / total
    peak = 0.7 * photons
    for _ in range(steps):
        sums, squares, weight, flat = np.zeros(3), np.zeros(3), 0.0, 0.0
        scale = peak / ((2 * np.pi) ** 1.5 * width[0] * width[1] * width[2])
        for v in events:
            part = _belongs(vectors[v], centre, width, scale * volumes[v], background)
            share = counts[v] * part
            weight += share
            flat += counts[v] - share
            for c in range(3):
                sums[c] += share * vectors[v, c]
                squares[c] += share * (vectors[v, c] - centre[c]) ** 2
        if weight < least:
            return
        for c in range(3):
            moved = sums[c] / weight - centre[c]
            width[c] = np.sqrt(max(squares[c] / weight - moved * moved, 1e-16))
            centre[c] += moved
        peak, background = weight, max(flat / total, 1e-9)
    _describe(counts, vectors, volumes, events, centre, width, peak, background, found)


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _belongs(q: Array, centre: Array, width: Array, height: float, background: float) -> float:
    """Return the probability that a photon belongs to the peak; both scale with sensitivity."""
    square = 0.0
    for c in range(3):
        square += ((q[c] - centre[c]) / width[c]) ** 2
    bright = height * np.exp(-0.5 * square)
    return float(bright / (bright + background))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _start(
    counts: npt.NDArray[np.integer],
    vectors: Array,
    events: npt.NDArray[np.int64],
    centre: Array,
    width: Array,
) -> None:
    """Find the median of the photons along each axis, and their spread by quartiles."""
    for c in range(3):
        order = np.argsort(vectors[events, c])
        running, total = 0.0, 0.0
        for v in events:
            total += counts[v]
        marks = (0.3 * total, 0.5 * total, 0.7 * total)
        places = np.zeros(3)
        mark = 0
        for k in order:
            running += counts[events[k]]
            while mark < 3 and running >= marks[mark]:
                places[mark] = vectors[events[k], c]
                mark += 1
        centre[c] = places[1]
        # 30 to 70 percent of a normal distribution is 1.05 standard deviations.
        width[c] = max((places[2] - places[0]) / 1.05, 1e-6)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _describe(
    counts: npt.NDArray[np.integer],
    vectors: Array,
    volumes: Array,
    events: npt.NDArray[np.int64],
    centre: Array,
    width: Array,
    peak: float,
    background: float,
    found: Array,
) -> None:
    """Write the peak, the inverse information on its centre, and how far it is from a Gaussian."""
    scale = peak / ((2 * np.pi) ** 1.5 * width[0] * width[1] * width[2])
    information = np.zeros((3, 3))
    slope = np.zeros(3)
    fourth = np.zeros(3)
    for v in events:
        part = _belongs(vectors[v], centre, width, scale * volumes[v], background)
        for c in range(3):
            away = (vectors[v, c] - centre[c]) / width[c]
            slope[c] = part * away / width[c]
            fourth[c] += counts[v] * part * away**4
        for c in range(3):
            for d in range(3):
                information[c, d] += counts[v] * slope[c] * slope[d]
    covariance = np.linalg.inv(information)
    found[:3] = centre
    found[3:6] = width
    found[6:15] = covariance.ravel()
    found[15] = peak
    found[16] = background
    # Kurtosis of the worst axis, in its standard deviations for a Gaussian: several peaks show.
    worst = 0.0
    for c in range(3):
        worst = max(worst, abs(fourth[c] / peak - 3) / np.sqrt(24 / peak))
    found[17] = worst
    held = 0.0
    for v in range(len(volumes)):
        square = 0.0
        for c in range(3):
            square += ((vectors[v, c] - centre[c]) / width[c]) ** 2
        if square < 50:
            held += volumes[v] * np.exp(-0.5 * square)
    found[18] = held / ((2 * np.pi) ** 1.5 * width[0] * width[1] * width[2])
