"""Spots of single crystals in a diffraction pattern: places, electrons and their uncertainties."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter

from echolith.inverse.saed_centre import FittedGeometry, expected_counts

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BLUR = 1.2
"""Pixels; the width of a spot or less."""
SIGNIFICANT = 7.0
"""Standard deviations from which a maximum is a spot; there are some 1e5 places."""
WINDOW = 5
"""Pixels on either side in which the electrons of a spot are counted."""
GEOMETRY_STD = 0.015
"""Pixels, of places by errors of centre and ellipse."""
CUT_STD = 1.0
"""The same of a spot that is saturated, or cut by the beam stop or the edge."""
MOST = 60
"""Spots kept, the strongest."""
WIDTHS = 5
"""Spots of which the width is the median."""


def visible_at(places: Array, fitted: FittedGeometry) -> Mask:
    """Return whether spots at places (n, 2) from the centre would be seen whole."""
    x, y = np.rint(fitted.geometry.distorted(places)).astype(int).T
    rows, columns = fitted.seen.shape
    inside = (x >= WINDOW) & (y >= WINDOW) & (x < columns - WINDOW) & (y < rows - WINDOW)
    return np.asarray(inside & fitted.seen[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)])


@dataclass(frozen=True, kw_only=True)
class SpotCounts:
    """Counts above rings and background, from which spots are measured anywhere.

    Attributes
    ----------
    rest, variance : array, (rows, columns)
        Counts beyond those expected; variance without any spot.
    fitted : FittedGeometry
    width : float
        Standard deviation of a spot, pixels.
    """

    rest: Array
    variance: Array
    fitted: FittedGeometry
    width: float

    def electrons_at(self, places: Array) -> tuple[Array, Array]:
        """Return electrons of spots of this width at places (n, 2) from the centre, and std.

        By least squares; of places that are not seen whole the standard deviation is infinite.
        """
        seen = visible_at(places, self.fitted)
        electrons, std = np.zeros(len(places)), np.full(len(places), np.inf)
        at = self.fitted.geometry.distorted(places[seen])
        corner = np.rint(at).astype(int) - WINDOW
        side = np.arange(2 * WINDOW + 1)
        columns, rows = corner[:, :1] + side, corner[:, 1:] + side
        shape = np.exp(-0.5 * ((rows - at[:, 1:]) / self.width) ** 2)[:, :, None]
        shape = shape * np.exp(-0.5 * ((columns - at[:, :1]) / self.width) ** 2)[:, None, :]
        shape /= 2 * np.pi * self.width**2
        patch = (slice(None), rows[:, :, None], columns[:, None, :])[1:]
        weight = (shape**2).sum(axis=(1, 2))
        found = (shape * self.rest[patch]).sum(axis=(1, 2)) / weight
        variance = self.variance[patch] + np.maximum(found, 0)[:, None, None] * shape
        electrons[seen] = found
        whole = self.fitted.seen[patch].all(axis=(1, 2))
        std[seen] = np.where(
            whole, np.sqrt((shape**2 * variance).sum(axis=(1, 2))) / weight, np.inf
        )
        return electrons, std


@dataclass(frozen=True, kw_only=True)
class FoundSpots:
    """Spots by falling strength.

    Attributes
    ----------
    places : array, (spots, 2)
        Pixels (x, y) from the centre, circles being circles.
    place_std : array, (spots,)
        Of each coordinate, pixels.
    electrons, electrons_std : array, (spots,)
        Of full ones, less than there were.
    full : array of bool, (spots,)
        Saturated, or cut by the beam stop or the edge.
    counts : SpotCounts
    """

    places: Array
    place_std: Array
    electrons: Array
    electrons_std: Array
    full: Mask
    counts: SpotCounts


def find_spots(counts: Array, fitted: FittedGeometry) -> FoundSpots:
    """Find the spots of a pattern.

    Parameters
    ----------
    counts : array, (rows, columns)
    fitted : FittedGeometry
        Behind its beam stop no spots are looked for.
    """
    hidden = fitted.stop
    expected = np.maximum(expected_counts(counts, fitted), 0.05)
    rest = np.where(hidden, 0.0, counts - expected)
    area = 4 * np.pi * BLUR**2
    smooth = gaussian_filter(rest, BLUR)
    significance = smooth / np.sqrt(fitted.excess * expected / area)
    peak = (smooth == maximum_filter(smooth, size=2 * WINDOW + 1)) & (significance > SIGNIFICANT)
    # Inelastic scattering cut off by the beam stop rises towards its rim.
    peak &= ~binary_dilation(hidden, iterations=WINDOW)
    rows, columns = np.nonzero(peak)
    order = np.argsort(-smooth[rows, columns])[:MOST]
    found = [_measured(rest, counts, fitted.seen, int(rows[k]), int(columns[k])) for k in order]
    table = np.array(found).reshape(-1, 7)
    return FoundSpots(
        places=fitted.geometry.undistorted(table[:, :2]),
        place_std=table[:, 2],
        electrons=table[:, 3],
        electrons_std=table[:, 4],
        full=table[:, 5] > 0,
        counts=SpotCounts(
            rest=rest,
            variance=fitted.excess * expected,
            fitted=fitted,
            width=_width(table[table[:, 5] == 0]),
        ),
    )


def _width(whole: Array) -> float:
    """Return the standard deviation of spots from those that are whole, strong ones first."""
    sharp = whole[np.isfinite(whole[:, 6]) & (whole[:, 3] > 30 * whole[:, 4])]
    return float(np.median(sharp[:WIDTHS, 6])) if len(sharp) else BLUR


def _measured(rest: Array, counts: Array, seen: Mask, row: int, column: int) -> list[float]:
    """Return x, y, std of them, electrons, std of them, whether the spot is not whole, width."""
    rows = slice(max(row - WINDOW, 0), row + WINDOW + 1)
    columns = slice(max(column - WINDOW, 0), column + WINDOW + 1)
    cut, all_counts = rest[rows, columns], counts[rows, columns]
    y, x = np.meshgrid(
        np.arange(rest.shape[0])[rows], np.arange(rest.shape[1])[columns], indexing="ij"
    )
    centre = np.array([float(column), float(row)])
    # A Gaussian window that moves with its centre of mass: half the width of what is seen.
    for _ in range(12):
        window = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * BLUR**2))
        mass = float((window * cut).sum())
        if mass <= 0:
            break
        shift = np.array(
            [((x - centre[0]) * window * cut).sum(), ((y - centre[1]) * window * cut).sum()]
        )
        step = 1.5 * shift / mass
        centre = centre + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-3:
            break
    electrons = float(cut.sum())
    std = float(np.sqrt(np.maximum(all_counts, 0).sum() + 1))
    side = 2 * WINDOW + 1
    whole = cut.shape == (side, side) and bool(seen[rows, columns].all())
    # The product of two Gaussians: 1 / m = 1 / w² + 1 / (2 BLUR²).
    square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    moment = float((square * window * cut).sum()) / (2 * mass) if mass > 0 else np.inf
    noise = float(np.sqrt((square * window**2 * (np.maximum(all_counts, 0) + 1)).sum() / 2))
    # How fast the moment about the middle of the window changes as this moves.
    slope = max(mass * (1 - moment / (2 * BLUR**2)), 0.3 * mass) if mass > 0 else 0.0
    systematic = GEOMETRY_STD if whole else CUT_STD
    place_std = float(np.hypot(noise / slope, systematic)) if slope else float(WINDOW)
    inverse = 1 / moment - 0.5 / BLUR**2 if moment > 0 else 0.0
    width = 1 / np.sqrt(inverse) if inverse > 0 else np.inf
    return [*centre.tolist(), place_std, max(electrons, 0.0), std, float(not whole), width]
