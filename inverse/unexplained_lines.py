"""Lines of a powder pattern that no phase explains."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.signal import find_peaks

Array = npt.NDArray[np.float64]

LEAST = 6.0
"""Standard deviations from which a line is one: 1e-9 by chance, times 1e4 points of a pattern."""


def unexplained_lines(
    angles: Array, left: Array, spread: Array, *, width: float, wavelength: float
) -> xr.Dataset:
    """Return the lines that stand out of a mean, found by a matched filter.

    z = sum g r / s / sqrt(sum g² / s²) for a line g, r what is left in standard deviations s.

    Parameters
    ----------
    angles, left, spread : array, (points,)
        2 theta in degrees; what is left in standard deviations; these, in photons.
    width : float
        Full width of a line at half maximum, degree.
    wavelength : float
        Å, of the strongest line of the source.

    Returns
    -------
    xarray.Dataset
        Over ``unexplained``: ``unexplained_two_theta`` (degree), ``unexplained_d`` (Å),
        ``unexplained_photons`` and ``unexplained_significance`` in standard deviations.
    """
    step = float(angles[1] - angles[0])
    reach = int(np.ceil(2 * width / step))
    shape = np.exp(-4 * np.log(2) * (np.arange(-reach, reach + 1) * step / width) ** 2)
    shape /= shape.sum()
    met = np.convolve(left / spread, shape, mode="same")
    norm = np.convolve(1 / spread**2, shape**2, mode="same")
    significance = met / np.sqrt(norm)
    places, _ = find_peaks(significance, height=LEAST, distance=max(1, reach // 2))
    unit = ("unexplained",)
    return xr.Dataset(
        {
            "unexplained_two_theta": (unit, angles[places], {"units": "°"}),
            "unexplained_d": (
                unit,
                wavelength / 2 / np.sin(np.radians(angles[places] / 2)),
                {"units": "Å"},
            ),
            "unexplained_photons": (unit, (met / norm)[places], {"units": "photons"}),
            "unexplained_significance": (unit, significance[places], {"units": "1"}),
        }
    )
