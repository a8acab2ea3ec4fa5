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
MOST = 60
"""Spots kept, the strongest."""


def visible_at(places: Array, fitted: FittedGeometry) -> Mask:
    """Return whether spots at places (n, 2) from the centre would be seen whole."""
    x, y = np.rint(fitted.geometry.distorted(places)).astype(int).T
    rows, columns = fitted.seen.shape
    inside = (x >= WINDOW) & (y >= WINDOW) & (x < columns - WINDOW) & (y < rows - WINDOW)
    return np.asarray(inside & fitted.seen[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)])


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
    threshold : float
        Electrons from which a spot at the middle radius would have been found.
    """

    places: Array
    place_std: Array
    electrons: Array
    electrons_std: Array
    full: Mask
    threshold: float


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
    table = np.array(found).reshape(-1, 6)
    return FoundSpots(
        places=fitted.geometry.undistorted(table[:, :2]),
        place_std=table[:, 2],
        electrons=table[:, 3],
        electrons_std=table[:, 4],
        full=table[:, 5] > 0,
        threshold=float(SIGNIFICANT * np.sqrt(np.median(expected) * area)),
    )


def _measured(rest: Array, counts: Array, seen: Mask, row: int, column: int) -> list[float]:
    """Return x, y, std of them, electrons, std of them, and whether the spot is not whole."""
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
    place_std = 2 * BLUR * std / max(electrons, std) + 0.05
    return [*centre.tolist(), place_std, max(electrons, 0.0), std, float(not whole)]
