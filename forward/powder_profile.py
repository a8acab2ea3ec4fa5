"""The profile of a powder line: Voigt widths against angle, and axial divergence.

Gaussian from the instrument (Caglioti), Lorentzian from instrument, crystallite size and
microstrain; convolved with the exact curve of axial divergence (Finger, Cox and Jephcoat).
Angles are 2 theta in degrees throughout, widths are full widths at half maximum.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import voigt_profile

from echolith.forward.acquisition import Settings
from echolith.units import Angstrom, Degree

Array = npt.NDArray[np.float64]

GAUSSIAN_WIDTH = float(np.sqrt(8 * np.log(2)))
"""Full width at half maximum in standard deviations."""
SCHERRER = 0.9
"""Constant of Scherrer's equation for the full width of a sphere's line, nearly."""
FAR = 10.0
"""Widths from the middle of a line beyond which axial divergence is a shift only."""
NO_HEIGHT = 1e-6
"""Heights below which axial divergence shifts by less than 1e-10 degree."""
NODES = 8
"""Of the quadrature over axial divergence, on either part."""


class LineWidths(Settings):
    """Widths from the instrument, 2 theta in degrees.

    Gaussian H² = U tan² + V tan + W; Lorentzian X tan + Y / cos, all of theta.
    """

    u: float = 0.004
    v: float = -0.004
    w: Annotated[float, Field(ge=0)] = 0.005
    x: Annotated[float, Field(ge=0)] = 0.0
    y: Annotated[float, Field(ge=0)] = 0.02


class AxialDivergence(Settings):
    """Half heights of sample and receiving slit over the radius of the goniometer."""

    sample: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    slit: Annotated[float, Field(ge=0, le=0.2)] = 0.0


def gaussian_width(two_theta: Array, widths: LineWidths) -> Array:
    """Return the Gaussian full width, degree, 0 where U, V and W make it imaginary.

    References
    ----------
    Caglioti, Paoletti and Ricci, Nucl. Instrum. 3 (1958) 223.
    """
    tangent = np.tan(np.radians(two_theta) / 2)
    return np.sqrt(np.maximum(widths.u * tangent**2 + widths.v * tangent + widths.w, 0))


def lorentzian_width(
    two_theta: Array,
    widths: LineWidths,
    *,
    wavelength: Angstrom,
    size: Angstrom | None = None,
    strain: float = 0.0,
) -> Array:
    """Return the Lorentzian full width, degree.

    X tan + Y / cos of the instrument, K lambda / (size cos) of the crystallites (K = 0.9), and
    4 strain tan of microstrain.

    Parameters
    ----------
    two_theta : array
        Degree.
    widths : LineWidths
    wavelength : float
        Å.
    size : float, optional
        Of the crystallites, Å; None: too large to widen a line.
    strain : float
        Spread of the lattice spacing, part of it.
    """
    theta = np.radians(two_theta) / 2
    of_size = 0.0 if size is None else np.degrees(SCHERRER * wavelength / size)
    return np.asarray(
        (widths.x + np.degrees(4 * strain)) * np.tan(theta) + (widths.y + of_size) / np.cos(theta)
    )


def line(
    two_theta: Array,
    centre: float,
    *,
    gaussian: Degree,
    lorentzian: Degree,
    divergence: AxialDivergence | None = None,
) -> Array:
    """Return a line of unit area at each angle, 1/degree.

    Parameters
    ----------
    two_theta : array
        Degree, increasing.
    centre : float
        Of the line without axial divergence, degree.
    gaussian, lorentzian : float
        Full widths at half maximum, degree.
    divergence : AxialDivergence, optional
    """
    shifts, weights = axial_curve(centre, divergence or AxialDivergence())
    deviation, half = max(gaussian, 1e-9) / GAUSSIAN_WIDTH, lorentzian / 2
    middle = float(shifts @ weights)
    away = np.asarray(two_theta, dtype=float) - centre - middle
    values = np.asarray(voigt_profile(away, deviation, half))
    # Far away the parts cannot be told from one line in their middle (second order in the shifts).
    reach = FAR * (gaussian + lorentzian + float(np.ptp(shifts)))
    near = slice(*np.searchsorted(away, [-reach, reach]))
    parts = away[near, None] + middle - shifts
    values[near] = voigt_profile(parts, deviation, half) @ weights
    return values


def axial_curve(centre: float, divergence: AxialDivergence) -> tuple[Array, Array]:
    """Return shifts (degree) and weights (sum 1) of the parts of a line that diverge axially.

    With heights h out of the plane, over the radius: cos 2 phi = cos 2 theta sqrt(1 + h²), weight
    W(h) / ((1 + h²) sin 2 phi) dh, W constant to |S - H| and falling to 0 at S + H.

    Parameters
    ----------
    centre : float
        2 theta, degree.
    divergence : AxialDivergence

    References
    ----------
    Finger, Cox and Jephcoat, J. Appl. Cryst. 27 (1994) 892, equations 4 to 10, with the height as
    variable, in which the integrand has no pole.
    """
    low = abs(divergence.sample - divergence.slit)
    high = divergence.sample + divergence.slit
    if high < NO_HEIGHT:
        return np.zeros(1), np.ones(1)
    nodes, parts = np.polynomial.legendre.leggauss(NODES)
    heights = np.concatenate([(nodes + 1) / 2 * low, low + (nodes + 1) / 2 * (high - low)])
    widths = np.concatenate([parts * low, parts * (high - low)])
    cosine = np.cos(np.radians(centre)) * np.sqrt(1 + heights**2)
    seen = np.arccos(np.clip(cosine, -1, 1))
    reach = np.minimum(high - low, high - heights) if high > low else np.full(len(heights), high)
    kept = (np.abs(cosine) < 1) & (widths * reach > 0)  # no ray of a cone is higher
    weights = np.zeros(len(heights))
    weights[kept] = (widths * reach / (1 + heights**2))[kept] / np.sin(seen[kept])
    return np.degrees(seen[kept]) - centre, weights[kept] / weights[kept].sum()
