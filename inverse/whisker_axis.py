"""Where a whisker lies in a movie, from what grew between its first and its last frames.

The frames are summed in blocks; the drift between blocks is that of what does not grow. The
difference of the last and the first block is a bright or dark strip: its long axis is that of the
whisker, its middle line where the length is read.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.special import ndtr

Array = npt.NDArray[np.float64]

BLOCKS = 16
SMOOTHING = 2.0
"""Pixels, so that fringes of the tip do not outshine the strip."""
ROUNDS = 6
RIM = 4
"""Pixels at the border that shifted images do not share."""
SEEN = 8.0
"""Standard deviations of the strip's contrast; less is no growth."""
SHORTEST = 0.05
"""Of the longer side of a frame; a strip shorter than this has no axis."""


@dataclass(frozen=True, kw_only=True)
class WhiskerAxis:
    """The line along which a whisker grows, in pixels.

    Attributes
    ----------
    place : array (2,)
        A point on it, row and column, when the movie starts.
    direction : float
        From columns (x) towards rows (y), rad; the way it grows.
    width, length : float
        Of the strip that has grown about the place.
    velocity : array (2,)
        Drift of the specimen, rows and columns per frame.
    """

    place: Array
    direction: float
    width: float
    length: float
    velocity: Array

    @property
    def speed(self) -> float:
        """Drift along the axis, pixels per frame."""
        c, s = np.cos(self.direction), np.sin(self.direction)
        return float(c * self.velocity[1] + s * self.velocity[0])

    def coordinates(self, shape: tuple[int, int], frame: float) -> tuple[Array, Array]:
        """Return where pixels lie along the axis (drift left in) and across it (taken out)."""
        rows, columns = np.indices(shape, dtype=float)
        c, s = np.cos(self.direction), np.sin(self.direction)
        moved = self.velocity * frame
        along = c * (columns - self.place[1]) + s * (rows - self.place[0])
        y, x = rows - self.place[0] - moved[0], columns - self.place[1] - moved[1]
        return along, c * y - s * x


class NoGrowthError(Exception):
    """Nothing in a movie grows, or not enough to tell along which line."""


def whisker_axis(counts: xr.DataArray, kept: npt.NDArray[np.int64]) -> WhiskerAxis:
    """Return the axis of what grows.

    Parameters
    ----------
    counts : xarray.DataArray (frame, y, x)
    kept : array of int
        Frames that are no dropped ones.

    Raises
    ------
    NoGrowthError
    """
    groups = np.array_split(kept, min(BLOCKS, len(kept)))
    blocks = np.stack([_mean(counts, group) for group in groups])
    times = np.array([group.mean() for group in groups])
    velocity = _drift(blocks, times)
    moved = [
        ndimage.shift(block, -velocity * time, order=1, mode="nearest")
        for block, time in zip(blocks, times, strict=True)
    ]
    early, middle, late = moved[0], moved[len(moved) // 2], moved[-1]
    level = float(np.mean(late))
    noise = np.sqrt(level / len(groups[0]) + level / len(groups[-1]))
    strip = ndimage.gaussian_filter(late - early, SMOOTHING)
    start = _first_strip(strip, noise / (2 * SMOOTHING * np.pi**0.5))
    grown = ndimage.gaussian_filter(late - middle, SMOOTHING)
    return _fitted(strip, grown, start, noise, velocity)


def _mean(counts: xr.DataArray, group: npt.NDArray[np.int64]) -> Array:
    return np.asarray(counts[group].mean("frame").values, dtype=float)


def _drift(blocks: Array, times: Array) -> Array:
    """Return the steady drift that explains the changes between blocks, pixels per frame."""
    smooth = [ndimage.gaussian_filter(block, SMOOTHING) for block in blocks]
    velocity = np.zeros(2)
    for _ in range(ROUNDS):
        moved = [
            ndimage.shift(block, -velocity * time, order=1, mode="nearest")
            for block, time in zip(smooth, times, strict=True)
        ]
        pairs = zip(moved[:-1], moved[1:], np.diff(times), strict=True)
        total = np.stack([_flow(*pair) for pair in pairs]).sum(axis=0)
        velocity = velocity + np.linalg.lstsq(total[:, :2], total[:, 2], rcond=None)[0]
    return velocity


def _flow(first: Array, second: Array, frames: float) -> Array:
    """Return the normal equations (2, 3) of the drift between two images.

    What is common to both has moved; where they differ by more (the tip) counts little.
    """
    inner = (slice(RIM, -RIM),) * 2
    both = (first + second) / 2
    slopes = np.stack([np.gradient(both, axis=n)[inner].ravel() for n in (0, 1)], axis=1)
    change = (first - second)[inner].ravel()
    scale = 1.4826 * np.median(np.abs(change - np.median(change))) + 1e-12
    weight = 1 / (1 + (change / (3 * scale)) ** 2)
    slopes = slopes * frames
    equations = (slopes * weight[:, None]).T @ np.column_stack([slopes, change])
    return np.asarray(equations)


def _first_strip(strip: Array, noise: float) -> Array:
    """Return row, column, direction, length and width of a strip by its moments."""
    sign = 1.0 if abs(strip.max()) > abs(strip.min()) else -1.0
    mean = float(np.sum(strip[np.abs(strip) > 4 * noise]))
    sign = np.sign(mean) if mean else sign
    height = float(np.percentile(sign * strip, 99))
    labels, count = ndimage.label(sign * strip > max(height / 2, 3 * noise))
    if not count:
        raise NoGrowthError
    sizes = ndimage.sum_labels(np.ones_like(strip), labels, np.arange(1, count + 1))
    rows, columns = np.nonzero(labels == 1 + int(np.argmax(sizes)))
    if len(rows) < 16:
        raise NoGrowthError
    spread = np.cov(rows, columns)
    values, vectors = np.linalg.eigh(spread)
    size = np.sqrt(12 * np.maximum(values, 0.1))
    angle = np.arctan2(vectors[0, 1], vectors[1, 1])
    return np.array([rows.mean(), columns.mean(), angle, size[1], size[0], sign * height])


def _fitted(strip: Array, grown: Array, start: Array, noise: float, velocity: Array) -> WhiskerAxis:
    """Fit a strip with soft edges; it grows towards what came last."""
    rows, columns = np.indices(strip.shape, dtype=float)

    def model(p: Array) -> Array:
        c, s = np.cos(p[2]), np.sin(p[2])
        along = c * (columns - p[1]) + s * (rows - p[0])
        across = c * (rows - p[0]) - s * (columns - p[1])
        parts = [
            ndtr((size / 2 - place) / SMOOTHING) - ndtr((-size / 2 - place) / SMOOTHING)
            for place, size in ((along, p[3]), (across, p[4]))
        ]
        return np.asarray(p[5] * parts[0] * parts[1])

    def residuals(p: Array) -> Array:
        return (model(p) - strip).ravel()

    found = least_squares(residuals, start, loss="soft_l1", f_scale=noise)
    y, x, angle, length, width, contrast = found.x
    if length < width:
        angle, length, width = angle + np.pi / 2, width, length
    pixels = max(length * width, 1.0)
    if abs(contrast) * np.sqrt(pixels) < SEEN * noise or length < SHORTEST * max(strip.shape):
        raise NoGrowthError
    shape = np.abs(model(np.array([y, x, angle, length, width, 1.0])))
    c, s = np.cos(angle), np.sin(angle)
    along = c * (columns - x) + s * (rows - y)
    if np.sum(shape * along * grown) * np.sign(contrast) < 0:
        angle += np.pi
    return WhiskerAxis(
        place=np.array([y, x]),
        direction=float(angle),
        width=float(width),
        length=float(length),
        velocity=velocity,
    )
