"""Synthetic frames of a drifting lattice: Gaussians where the probe really was, Poisson counts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]

WIDTH = 0.42
"""Å, standard deviation of a column's image."""
CELL = np.array([[2.4685, 0.0], [-1.6753, 4.7428], [0.8198, 1.0654]])
"""A, C and o in Å."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is drawn; lengths in Å, times in s."""

    frames: int = 6
    shape: tuple[int, int] = (128, 144)
    step: float = 0.15
    counts: float = 150.0
    """Of an M column in one frame."""
    drift: tuple[float, float] = (0.3, -0.5)
    wander: float = 0.1
    """Amplitude of slow sines."""
    jitter: float = 0.02
    rotation: float = 7.0
    unevenness: float = 0.1
    """Standard deviation of the columns' brightness."""
    line_time: float = 1e-3

    @property
    def times(self) -> Array:
        """Of lines, (frame, ny)."""
        ny = self.shape[0]
        return np.arange(self.frames * ny, dtype=float).reshape(self.frames, ny) * self.line_time

    def vectors(self) -> tuple[Array, Array, Array]:
        turn = np.deg2rad(self.rotation)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        a, c, o = CELL @ matrix
        return a, c, o


def drift_of(series: Series, rng: np.random.Generator) -> Array:
    """Smooth displacement of every line, (frame, ny, 2), of mean zero."""
    t = series.times
    phase = rng.uniform(0, 2 * np.pi, (2, 2))
    path = [
        series.drift[k] * t
        + series.wander * (np.sin(5 * t + phase[k, 0]) + np.sin(11 * t + phase[k, 1]))
        for k in range(2)
    ]
    smooth = np.stack(path, axis=-1)
    return np.asarray(smooth - smooth.mean(axis=(0, 1)))


def columns_of(series: Series, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions (n, 2) and relative heights, beyond the field too."""
    a, c, o = series.vectors()
    height, width = (n * series.step for n in series.shape)
    reach = int(height + width)
    n, m = np.meshgrid(np.arange(-reach, reach), np.arange(-reach, reach))
    nodes = n.reshape(-1, 1) * a + m.reshape(-1, 1) * c + [0.37, 0.21]
    nodes = nodes[((nodes > -6) & (nodes < [width + 6, height + 6])).all(axis=1)]
    metal = 1 + series.unevenness * rng.normal(size=len(nodes))
    points = np.concatenate([nodes, nodes + o, nodes - o])
    return points, np.concatenate([metal, np.full(2 * len(nodes), 0.13)])


def simulate(series: Series, seed: int) -> tuple[xr.Dataset, Array, Array]:
    """Return counts, true displacements (frame, ny, 2) and their smooth part."""
    rng = np.random.default_rng(seed)
    smooth = drift_of(series, rng)
    moved = smooth + series.jitter * rng.normal(size=smooth.shape)
    moved = moved - moved.mean(axis=(0, 1))
    mean = expected(series, moved, rng)
    return measurement(series, rng.poisson(mean)), moved, smooth


def expected(series: Series, moved: Array, rng: np.random.Generator) -> Array:
    points, heights = columns_of(series, rng)
    y, x = (np.arange(n) * series.step for n in series.shape)
    mean = np.empty((series.frames, *series.shape))
    for f in range(series.frames):
        # Separable: a column's Gaussian along each line, times one across the lines.
        across = np.exp(-((y[:, None] + moved[f, :, 1:] - points[:, 1]) ** 2) / (2 * WIDTH**2))
        for n in range(series.shape[0]):
            near = across[n] > 1e-6
            along = x + moved[f, n, 0] - points[near, :1]
            weight = heights[near] * across[n, near]
            mean[f, n] = weight @ np.exp(-(along**2) / (2 * WIDTH**2))
    peak = series.counts * series.step**2 / (2 * np.pi * WIDTH**2)
    return np.asarray(peak * (mean + 0.02))


def measurement(series: Series, counts: npt.NDArray[np.integer]) -> xr.Dataset:
    y, x = (np.arange(n) * series.step for n in series.shape)
    return xr.Dataset(
        {
            "haadf": (("frame", "scan_y", "scan_x"), counts.astype(np.uint16)),
            "line_time": (("frame", "scan_y"), series.times, {"units": "s"}),
        },
        coords={"scan_y": y, "scan_x": x},
    )
