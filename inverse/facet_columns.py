"""How strongly each column of a known lattice shows in a frame: a matched filter at its place.

A thin crystal of light atoms is the sum of its columns, ``1 + sum_c a_c t(r - r_c)``, with t the
inverse transform of the transfer T (`echolith.inverse.lattice_transfer`) and noise of power P. With

    k(r) = F^-1[T / P],    G(R) = F^-1[T² / P],

the signals ``z_c = sum_pixels k(r - r_c) (counts - mean)`` are sufficient: their means are
``sum_c' a_c' G(r_c - r_c')`` and their covariances G over the area of a pixel. Inside a crystal of
columns alike the mean is a times the sum of G over the lattice, ``sum_g T(g)² / P(g)`` over the
area of a cell.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import j0

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_transfer import transfer

Array = npt.NDArray[np.float64]
Frames = npt.NDArray[np.float32]

REACH = 5.0
"""Å; the filter ends here, smoothly from ..."""
INNER = 4.0
"""... here on."""
ENTRIES = 2048
"""Of the table of the filter, at equal steps of the square of the radius."""
WAVES = 600
"""Frequencies of a Hankel transform."""
RANGE = 12.0
"""Å; farther columns share nothing."""


@dataclass(frozen=True, kw_only=True)
class ColumnFilter:
    """The filter of one column.

    Attributes
    ----------
    table : array of float32
        k(r), at equal steps of r² from 0 to `REACH`².
    frequencies, power : array
        1/Å; T² / P at them, for G.
    pixel : float
        Å.
    """

    table: Frames
    frequencies: Array
    power: Array
    pixel: float

    def shared(self, distances: Array) -> Array:
        """Return G at some distances, Å."""
        return _hankel(self.power, self.frequencies, distances)


def column_filter(acquisition: HrtemAcquisition, *, level: tuple[Array, Array]) -> ColumnFilter:
    """Return the filter for an acquisition and the noise of its frames.

    Parameters
    ----------
    acquisition : HrtemAcquisition
    level : (array, array)
        As from `echolith.inverse.lattice_detection.noise_power`.
    """
    q = (np.arange(WAVES) + 0.5) * 0.5 / acquisition.pixel / WAVES
    seen = transfer(acquisition, np.zeros(1), q)
    noise = np.interp(q, *level)
    r = REACH * np.sqrt(np.arange(ENTRIES) / (ENTRIES - 1))
    fade = np.clip((REACH - r) / (REACH - INNER), 0, 1)
    table = _hankel(seen / noise, q, r) * np.sin(0.5 * np.pi * fade) ** 2
    return ColumnFilter(
        table=table.astype(np.float32),
        frequencies=q,
        power=seen**2 / noise,
        pixel=acquisition.pixel,
    )


def _hankel(values: Array, q: Array, r: Array) -> Array:
    """Return ``2 pi integral of values J0(2 pi q r) q dq``."""
    return np.asarray(j0(2 * np.pi * np.outer(r, q)) @ (values * q) * 2 * np.pi * (q[1] - q[0]))


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def column_signals(
    frames: Frames, places: Array, shifts: Array, table: Frames, pixel: float
) -> Frames:
    """Return the signals of columns, (frames, columns); NaN where a column is not in the field.

    Parameters
    ----------
    frames : array of float32, (frames, y, x)
        Without their means.
    places : array, (columns, 2)
        x, y, Å.
    shifts : array, (frames, 2)
        Of all columns, x, y, Å.
    table : array of float32
        From `column_filter`.
    pixel : float
        Å.
    """
    ny, nx = frames.shape[1:]
    found = np.full((len(frames), len(places)), np.nan, dtype=np.float32)
    scale = (len(table) - 1) / REACH**2
    reach = REACH / pixel
    for f in range(len(frames)):
        for c in range(len(places)):
            x = (places[c, 0] + shifts[f, 0]) / pixel
            y = (places[c, 1] + shifts[f, 1]) / pixel
            if not (0 <= x <= nx - 1 and 0 <= y <= ny - 1):
                continue
            total = 0.0
            for i in range(max(int(np.ceil(y - reach)), 0), min(int(y + reach), ny - 1) + 1):
                across = (i - y) ** 2
                half = np.sqrt(max(reach**2 - across, 0.0))
                for j in range(max(int(np.ceil(x - half)), 0), min(int(x + half), nx - 1) + 1):
                    at = ((j - x) ** 2 + across) * pixel**2 * scale
                    n = min(int(at), len(table) - 2)
                    total += frames[f, i, j] * (table[n] + (at - n) * (table[n + 1] - table[n]))
            found[f, c] = total
    return found
