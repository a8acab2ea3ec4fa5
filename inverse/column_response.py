"""What a column shows of what it holds: the phase saturates, the dark field grows with metals.

A site scatters ``w = 2.09 tm + 0.333 li`` (electron scattering factors at 0.7 1/Å, Å). A column's
phase follows ``s = K sin(theta w)`` up to its maximum K: linear for little, saturated for a full
column of metals, as exp(i phi) is. The dark field is linear in tm. Both are scaled by what is known
to be there: oxygen columns are full and alike; M columns of the bulk hold the nominal share in the
mean, less what is found in the alkali layer, since metals are conserved.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]

METAL, LITHIUM, OXYGEN = 2.09, 0.333, 0.90
"""Å at 0.7 1/Å; International Tables C, 4.3.2.2; the metals Mn, Ni, Co agree to 2 %. Lithium (0.315
there) is what a fit with the metals' profile makes of it, oxygen (0.882) as metals of equal phase
in multislice data."""

DARK_LITHIUM, DARK_OXYGEN = 0.005, 0.112
"""In the dark field, relative to Mn13 Ni3 Co3: squared scattering factors over 50 to 100 mrad at
200 kV. That is 0.019 for lithium that scatters atom by atom; a straight full column of it scatters
in phase, and next to nothing between the Laue zones: from 0.001 (full) to 0.009 (half full) in
multislice data."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a column's content turns into its signals.

    ``height`` K (rad Å²) and ``theta`` (1/Å) of the phase; ``zero`` and ``full``: brightness
    (counts) of nothing and of a column full of metals beyond that.
    """

    height: float
    theta: float
    zero: float
    full: float

    def phase(self, w: Array) -> tuple[Array, Array]:
        """Return s and ds/dw; beyond its maximum the phase tells nothing."""
        argument = np.minimum(self.theta * np.maximum(w, -0.5), np.pi / 2)
        slope = self.height * self.theta * np.cos(argument)
        return self.height * np.sin(argument), slope

    def inverted(self, signal: Array, std: Array) -> tuple[Array, Array]:
        """Return w and its std from the phase alone; the std is w itself where saturated."""
        below = signal < 0.9 * self.height
        argument = np.arcsin(np.clip(signal / self.height, -0.9, 0.9))
        w = argument / self.theta
        return w, np.where(below, std / (self.height * self.theta * np.cos(argument)), np.abs(w))


def response(oxygen: float, metal: float, nominal: float, *, sites: int = 7) -> tuple[float, float]:
    """Return K and theta (1/Å) of ``s = K sin(theta w)`` through oxygen and the mean of M.

    M columns are drawn: the mean of the sine of a normal distribution of variance v is its sine at
    the mean times ``exp(-theta² v / 2)``. Where M is not below the proportional value the response
    is taken as linear.

    Parameters
    ----------
    oxygen, metal : float
        Phases of an oxygen and, in the mean, of an M column, rad Å².
    nominal : float
        Mean share of metals on M.
    sites : int
        Along a column, drawn one by one.
    """
    w = METAL * nominal + LITHIUM * (1 - nominal)
    variance = (METAL - LITHIUM) ** 2 * nominal * (1 - nominal) / sites
    ratio = metal / oxygen

    def excess(theta: float) -> float:
        mean = np.sin(theta * w) * np.exp(-(theta**2) * variance / 2)
        return float(mean / np.sin(theta * OXYGEN) - ratio)

    low, high = 1e-3, 1.2 * np.pi / (2 * w)
    theta = low if excess(low) <= 0 else high if excess(high) >= 0 else brentq(excess, low, high)
    return oxygen / float(np.sin(theta * OXYGEN)), float(theta)
