"""Structure factors for electrons: what fast electrons are scattered by is the potential.

F(h) = gamma sum over atoms of occupancy f_e(s) exp(-B s²) exp(2 pi i h·x), s = 1 / (2 d), with
gamma the ratio of an electron's mass to its rest mass.
"""

import numpy as np
import numpy.typing as npt
from scipy import constants

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.structure_factors import geometric_sums, spacing
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]


def electron_form_factor(element: str, s_squared: Array) -> Array:
    """Return f_e of a neutral atom at rest mass and ``s² = 1 / (2 d)²``, Å.

    References
    ----------
    International Tables for Crystallography C (2004), table 4.3.2.2 (s up to 2 1/Å), as gemmi has
    it.
    """
    import gemmi

    coefficients = gemmi.Element(element).c4322
    height, width = np.array(coefficients.a), np.array(coefficients.b)
    squares = np.asarray(s_squared, dtype=float)[..., None]
    return np.asarray((height * np.exp(-width * squares)).sum(axis=-1))


def electron_structure_factors(
    phase: CrystalPhase, hkl: Integers, *, energy: Electronvolt
) -> Complex:
    """Return the structure factor of each reflection, Å per conventional cell, (reflections,).

    Parameters
    ----------
    phase : CrystalPhase
    hkl : array, (reflections, 3)
    energy : float
        Of the electrons, eV; it decides their mass.
    """
    squares = 0.25 / spacing(phase.cell, hkl) ** 2
    sums = geometric_sums(phase, hkl)
    factors: Complex = np.zeros(len(hkl), dtype=np.complex128)
    for site, images in zip(phase.sites, sums, strict=True):
        amplitude = electron_form_factor(site.element, squares) * np.exp(-site.b_iso * squares)
        factors = factors + site.occupancy * amplitude * images
    return np.asarray(mass_ratio(energy) * factors, dtype=np.complex128)


def mass_ratio(energy: Electronvolt) -> float:
    """Return the mass of an electron of this kinetic energy over its rest mass.

    Examples
    --------
    >>> round(mass_ratio(200e3), 4)
    1.3914
    """
    return float(1 + energy * constants.e / (constants.m_e * constants.c**2))
