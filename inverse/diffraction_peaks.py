"""One Bragg peak for every point of a map, by Poisson maximum likelihood or by moments.

A Gaussian of free height, position and widths on a flat background. The likelihood is climbed by
expectation maximisation: every photon belongs to the peak with the probability r = G / (G + b), and
moments weighted by r are the next estimate. Moments alone take the photons in a box about the peak
less the background, which is faster and knows less. Only voxels that counted something take part,
so the cost goes with the photons. What bad pixels and missing frames would have counted is put in
as expected; a saturated voxel counts what it did or more.

References
----------
Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1.
"""

from enum import Enum
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.inverse import diffraction_likelihood as likelihood
from echolith.inverse import diffraction_moments as moments
from echolith.inverse.diffraction_shape import describe, excess, sensitivity_of_lines
from echolith.inverse.diffraction_voxels import FITTED, Counts, Events, Voxels, collect, room_for

Array = npt.NDArray[np.float64]
SCALARS = (
    "counts",
    "counts_std",
    "background",
    "misfit",
    "inside",
    "chi_square",
    "chi_square_std",
    "beyond",
)
"""Names of the columns that follow centre, width, covariance and their standard deviations."""


class PeakMethod(Enum):
    """How a peak is found."""

    LIKELIHOOD = "likelihood"
    MOMENTS = "moments"


class PeakFit(Settings):
    """How peaks are fitted."""

    steps: Annotated[int, Field(ge=1, le=200)] = 40
    """At most; a peak that stays where it is takes fewer."""
    least_counts: Annotated[float, Field(ge=3)] = 30.0
    """In the peak; below, a point has no data."""


class Peaks(NamedTuple):
    """Peaks of all points, in the order of the points; NaN without a peak.

    ``centre``, ``width``, ``width_std`` (points, 3), ``covariance`` (points, 3, 3) of the centre,
    ``counts`` of the peak with ``counts_std``, ``background`` (per voxel), ``misfit`` (kurtosis of
    the worst axis in standard deviations), ``inside``, the part of the peak that the region holds,
    ``chi_square`` of the three projections over its expectation with ``chi_square_std``, the spread
    that is expected of it, and ``beyond``, standard deviations by which the photons outside the
    region are more than the background: (points,).
    """

    centre: Array
    width: Array
    width_std: Array
    covariance: Array
    counts: Array
    counts_std: Array
    background: Array
    misfit: Array
    inside: Array
    chi_square: Array
    chi_square_std: Array
    beyond: Array

    @classmethod
    def of(cls, table: Array) -> "Peaks":
        """Name the columns of a table of `fit_peaks`."""
        return cls(
            centre=table[:, :3],
            width=table[:, 3:6],
            covariance=table[:, 6:15].reshape(-1, 3, 3),
            width_std=table[:, 15:18],
            **{name: table[:, 18 + n] for n, name in enumerate(SCALARS)},
        )


def fit_peaks(
    counts: Counts,
    voxels: Voxels,
    *,
    rows: range,
    moves: npt.NDArray[np.int64],
    method: PeakMethod = PeakMethod.LIKELIHOOD,
    options: PeakFit | None = None,
) -> Array:
    """Fit a peak to every point of some rows.

    Parameters
    ----------
    counts : array, (rows, columns, eta, detector rows, detector columns)
        Photons.
    voxels : Voxels
    rows : range
        Rows of the points to fit; the others are there for the frames that have moved.
    moves : array, (eta, 2)
        Whole steps: a point's frame at eta e is at the point ``moves[e]`` before it.
    method : PeakMethod
    options : PeakFit, optional

    Returns
    -------
    array, (points, values)
        A row a point, for `Peaks.of`.
    """
    options = options or PeakFit()
    found = np.full((len(rows) * counts.shape[1], 18 + len(SCALARS)), np.nan)
    _fit(
        counts,
        rows.start,
        moves,
        voxels,
        method is PeakMethod.MOMENTS,
        options.steps,
        options.least_counts,
        found,
    )
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fit(
    counts: Counts,
    first: int,
    moves: npt.NDArray[np.int64],
    voxels: Voxels,
    by_moments: bool,
    steps: int,
    least: float,
    found: Array,
) -> None:
    etas = len(moves)
    fitted = np.zeros(etas)
    for e in range(etas):
        fitted[e] = (voxels.mark[e] == FITTED).sum()
    lines = sensitivity_of_lines(voxels)
    room, there = room_for(voxels), np.empty(etas, np.bool_)
    for n in range(len(found)):
        row, column = first + n // counts.shape[1], n % counts.shape[1]
        used, beyond = collect(counts, row, column, moves, voxels, room, there)
        if used == 0:
            continue
        events = Events(
            room.place[:used], room.vectors[:used], room.volumes[:used], room.sensitivity[:used],
            room.photons[:used],
        )  # fmt: skip
        total = (fitted * there).sum()
        if by_moments:
            ok = moments.climb(events, voxels, total, steps, least, found[n])
        else:
            ok = likelihood.climb(events, voxels, total, steps, least, found[n])
            if ok:
                likelihood.inform(events, voxels, found[n])
        if ok:
            describe(events, voxels, lines, there, beyond, found[n])
        else:
            found[n] = np.nan
            # Without a peak all photons are taken as background.
            found[n, 25] = excess(voxels, lines, there, beyond, events.photons.sum() / total)
