"""What a bright-field movie tells of how fast a whisker grows.

In each frame tip and specimen as a whole may lie anywhere along the axis, so a length is known as
well as the tip against the base; optics, thickness and contrast count as known. Fluctuations of
the growth add to the errors of the lengths. Of the lengths the law's numbers are asked for, start
and offset unknown.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import cho_factor, cho_solve

from echolith.protocols import Noise
from echolith.structures.whiskers import Whisker, WhiskerGrowth
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]

STEP = 1.0
"""Å, of edges, for slopes."""
PARAMETERS = {
    WhiskerGrowth.ACCELERATED: ("acceleration", "start_length", "delay"),
    WhiskerGrowth.STEADY: ("velocity", "start_length"),
    WhiskerGrowth.SWITCHED: ("velocity", "change_time", "start_length", "first_velocity"),
}
"""Numbers of each law; the first is the rate."""
UNITS = {
    "acceleration": "Å/s²",
    "velocity": "Å/s",
    "first_velocity": "Å/s",
    "start_length": "Å",
    "delay": "s",
    "change_time": "s",
}


def growth_information(
    whisker: Whisker, movie: Callable[[Whisker, float], xr.Dataset], *, noise: Noise
) -> Information:
    """Return the information on ``rate`` and, of a switched whisker, ``switch_time``.

    Parameters
    ----------
    whisker : Whisker
    movie : callable
        ``movie(whisker, shift)``: expected counts with the specimen shifted along its axis, Å.
    noise : Noise
    """
    longer, shorter = (
        whisker.model_copy(update={"start_length": whisker.start_length + step})
        for step in (STEP, -STEP)
    )
    movies = [movie(longer, 0.0), movie(shorter, 0.0), movie(whisker, STEP), movie(whisker, -STEP)]
    times = movies[0]["frame"].values
    variance = np.array(
        [_variance([one["counts"][n].values for one in movies], noise) for n in range(len(times))]
    )
    apart = np.abs(times[:, None] - times) / whisker.fluctuation_time
    covariance = np.diag(variance) + whisker.fluctuation**2 * np.exp(-apart)
    names = PARAMETERS[whisker.growth]
    slopes = np.stack([_slope(whisker, name, times) for name in names], axis=1)
    matrix = slopes.T @ cho_solve(cho_factor(covariance), slopes)
    unit = np.eye(len(names))
    gradients, units = {"rate": unit[:1]}, dict(UNITS) | {"rate": UNITS[names[0]]}
    if whisker.growth is WhiskerGrowth.SWITCHED:
        gradients["switch_time"], units["switch_time"] = unit[1:2], "s"
    return Information(
        names=names,
        matrix=np.asarray((matrix + matrix.T) / 2),
        gradients=gradients,
        units=units,
        notes=("Optics and contrast are known; the specimen may lie anywhere in each frame.",),
    )


def _variance(images: list[Array], noise: Noise) -> float:
    """Return the smallest variance of the length in one frame, Å²."""
    images = [np.asarray(image, dtype=float).ravel() for image in images]
    pairs = (images[:2], images[2:])
    jacobian = np.stack([(high - low) / (2 * STEP) for high, low in pairs], axis=1)
    matrix = noise.information(np.mean(images, axis=0), jacobian)
    return float(matrix[1, 1] / (matrix[0, 0] * matrix[1, 1] - matrix[0, 1] ** 2))


def _slope(whisker: Whisker, name: str, times: Array) -> Array:
    value = getattr(whisker, name)
    step = 1e-4 * max(abs(value), 1.0)
    high, low = (
        whisker.model_copy(update={name: value + away}).law_length(times) for away in (step, -step)
    )
    return np.asarray((high - low) / (2 * step))
