"""Electron optics: wavelength, interaction constant, aberration phase and the probe's aperture.

Signs are abTEM's: transmission ``exp(+i sigma V)``, transform ``exp(-2 pi i k r)``, aperture
function ``exp(-i chi)``, and ``C10 = -defocus``.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import constants

if TYPE_CHECKING:
    from echolith.forward.acquisition import Aberrations, Beam

FloatArray = npt.NDArray[np.floating]
ComplexArray = npt.NDArray[np.complexfloating]


def wavelength(energy: float) -> float:
    """Return the relativistic de Broglie wavelength in Å.

    Parameters
    ----------
    energy : float
        Kinetic energy, eV.

    Returns
    -------
    float
        ``h c / sqrt(E (E + 2 m c²))`` in Å (Kirkland, *Advanced Computing in Electron
        Microscopy*, 2nd ed., eq. 2.5).

    Examples
    --------
    >>> round(wavelength(200e3), 6)
    0.025079
    """
    rest = constants.m_e * constants.c**2 / constants.e
    hc = constants.h * constants.c / constants.e * 1e10
    return float(hc / np.sqrt(energy * (energy + 2 * rest)))


def interaction_constant(energy: float) -> float:
    """Return sigma in rad / (V Å): phase shift per projected potential.

    ``sigma = 2 pi m e lambda / h²`` with the relativistic mass (Kirkland, eq. 5.6).

    Parameters
    ----------
    energy : float
        Kinetic energy, eV.

    Examples
    --------
    >>> round(interaction_constant(200e3), 8)
    0.00072884
    """
    mass = constants.m_e + energy * constants.e / constants.c**2
    per_metre = 2 * np.pi * mass * constants.e * wavelength(energy) * 1e-10 / constants.h**2
    return float(per_metre * 1e-10)


def aberration_phase(
    kx: FloatArray, ky: FloatArray, *, aberrations: "Aberrations", energy: float
) -> FloatArray:
    """Return chi(k) in radians.

    ``chi = 2 pi / lambda * sum_nm alpha^(n+1) / (n+1) * C_nm cos(m (phi - phi_nm))``
    (Krivanek's coefficients as in abTEM).

    Parameters
    ----------
    kx, ky : array, broadcastable
        Spatial frequency, 1/Å.
    aberrations : Aberrations
        Coefficients in Å, azimuths in radian.
    energy : float
        Kinetic energy, eV.

    Returns
    -------
    array
        Phase in rad, of the broadcast shape.
    """
    lam = wavelength(energy)
    alpha = lam * np.hypot(kx, ky)
    phi = np.arctan2(ky, kx)
    chi = np.zeros(np.broadcast(kx, ky).shape)
    for order, symmetry, coefficient, azimuth in aberrations.terms():
        if coefficient:
            angular = np.cos(symmetry * (phi - azimuth))
            chi = chi + alpha ** (order + 1) / (order + 1) * coefficient * angular
    return np.asarray(2 * np.pi / lam * chi)


ROUNDING = 1e-9
"""Relative. Round numbers (20 mrad, pixels of 1 mrad) put samples on the rim itself; they are
inside, whichever way the last digit of their angle was rounded."""


def aperture_radius(beam: "Beam") -> float:
    """Return the radius of the probe-forming aperture, 1/Å, rounded up: its rim is inside."""
    return beam.semiangle * 1e-3 / wavelength(beam.energy) * (1 + ROUNDING)


def aperture(kx: FloatArray, ky: FloatArray, *, beam: "Beam") -> ComplexArray:
    """Return the probe-forming aperture function A(k) exp(-i chi(k)), hard-edged, unit height.

    Parameters
    ----------
    kx, ky : array, broadcastable
        Spatial frequency, 1/Å.
    beam : Beam
        Energy, semiangle and aberrations.

    Returns
    -------
    array of complex
        Zero outside the semiangle.
    """
    inside = np.hypot(kx, ky) <= aperture_radius(beam)
    chi = aberration_phase(kx, ky, aberrations=beam.aberrations, energy=beam.energy)
    return np.asarray(inside * np.exp(-1j * chi))
