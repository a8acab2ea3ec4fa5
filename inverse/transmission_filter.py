"""Images at a stated resolution: a low pass with a soft edge, the same for estimate and truth."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]
SOFT = 0.75
"""Share of the cut-off frequency up to which everything passes."""


def low_pass(frequencies: Sequence[npt.NDArray[np.floating]], half_period: float) -> Array:
    """Return the share of each frequency that passes, (y, x): 1, then a cosine down to 0.

    Parameters
    ----------
    frequencies : two arrays
        Along y and along x, 1/Å.
    half_period : float
        Å; nothing passes beyond 1 / (2 half_period).

    Examples
    --------
    >>> low_pass([np.zeros(1), np.array([0.0, 0.004, 0.005])], 100.0).round(2)
    array([[1. , 0.9, 0. ]])
    """
    along_y, along_x = frequencies
    part = np.hypot(along_y[:, None], along_x) * 2 * half_period
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip((part - SOFT) / (1 - SOFT), 0, 1)))


def smoothed(values: Array, pixel_size: float, half_period: float) -> Array:
    """Return an image at a resolution, periodic beyond its border.

    Parameters
    ----------
    values : array (y, x)
        Real or complex.
    pixel_size, half_period : float
        Å.

    Raises
    ------
    BadInputError
        If the half period is less than a pixel.
    """
    if half_period < pixel_size:
        raise BadInputError(
            f"half_period = {half_period:g} Å; expected {pixel_size:g} Å (a pixel) or more"
        )
    passed = low_pass([np.fft.fftfreq(n, pixel_size) for n in values.shape], half_period)
    return np.asarray(np.fft.ifft2(np.fft.fft2(values) * passed), dtype=np.complex128)
