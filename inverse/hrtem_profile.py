"""The image of one column of light atoms, from the optics: a weak phase object.

``I(r) = 1 + sum_j a_j p(r - r_j)`` with the transform of p

    P(k) = sin chi(k) E_f(k) exp(-2 pi² s² k²) MTF(k) sinc(k p) exp(-c k²)

as in `echolith.inverse.lattice_transfer`; only the amplitude a_j is free.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import map_coordinates, spline_filter

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_transfer import signed_transfer

Array = npt.NDArray[np.float64]

REACH = 4.5
"""Å to each side over which a column's image is taken into account."""
FINER = 4
"""Points of the profile along each pixel."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A column's image and its slopes; splines on a fine grid about the column.

    Attributes
    ----------
    values, by_y, by_x : array
        Of the image and its derivatives by the column's place (1/Å).
    step : float
        Of the grid, Å.
    pixel : float
        Å.
    """

    values: Array
    by_y: Array
    by_x: Array
    step: float
    pixel: float

    @classmethod
    def of(cls, acquisition: HrtemAcquisition) -> "Profile":
        """Take the profile of an acquisition; its root mean square over 1 Å² is 1."""
        step = acquisition.pixel / FINER
        size = 2 * int(np.ceil(2 * REACH / step))
        k = fft.fftfreq(size, step)
        transform = signed_transfer(acquisition, k[:, None], k[None])
        slopes = (1, -2j * np.pi * k[:, None], -2j * np.pi * k[None])
        grids = [fft.fftshift(fft.ifft2(transform * slope).real) for slope in slopes]
        norm = np.sqrt((grids[0] ** 2).sum() * step**2)
        values, by_y, by_x = (spline_filter(grid / norm) for grid in grids)
        return cls(values=values, by_y=by_y, by_x=by_x, step=step, pixel=acquisition.pixel)

    def stamps(self, places: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
        """Return columns as pixels.

        Parameters
        ----------
        places : array, (n, 2)
            (y, x), Å.
        shape : (int, int)
            Of the image.

        Returns
        -------
        index : array of int, (n, m)
            Flat places of pixels, outside of the image -1.
        values, by_y, by_x : array, (n, m)
        """
        half = int(REACH / self.pixel)
        near = np.rint(places / self.pixel).astype(int)
        y, x = (near[:, n, None] + np.arange(-half, half + 1) for n in range(2))
        inside = ((y >= 0) & (y < shape[0]))[:, :, None] & ((x >= 0) & (x < shape[1]))[:, None]
        index = np.where(inside, y[:, :, None] * shape[1] + x[:, None], -1)
        away_y, away_x = (
            (line * self.pixel - places[:, n, None]) / self.step + self.values.shape[n] // 2
            for n, line in enumerate((y, x))
        )
        at = np.stack(np.broadcast_arrays(away_y[:, :, None], away_x[:, None]))
        parts = [
            map_coordinates(grid, at, order=3, prefilter=False).reshape(len(places), -1)
            for grid in (self.values, self.by_y, self.by_x)
        ]
        return index.reshape(len(places), -1), parts[0], parts[1], parts[2]
