"""Energy loss of fast electrons in lithium, its oxide and carbon: mean free paths and spectra.

Angles in the formulas are in radian, E0 the electrons' energy. ``T = m v²/2``.

References
----------
Egerton, *Electron Energy-Loss Spectroscopy in the Electron Microscope*, 3rd ed. (2011);
Iakoubovskii, Mitsuishi, Nakayama and Furuya, Microsc. Res. Tech. 71 (2008) 626.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import constants

Array = npt.NDArray[np.float64]

REST = constants.m_e * constants.c**2 / constants.e
BOHR = constants.physical_constants["Bohr radius"][0] * 1e10
RYDBERG = constants.physical_constants["Rydberg constant times hc in eV"][0]
AVOGADRO = constants.N_A * 1e-24
"""Atoms of a mole, times Å³ in cm³."""

LITHIUM_EDGE = 55.0
"""eV, Li K."""
OSCILLATORS = {
    55.0: 0.0299, 60.0: 0.0281, 65.0: 0.0262, 70.0: 0.0240, 80.0: 0.0196, 100.0: 0.0127,
    150.0: 0.00479, 200.0: 0.00224,
}  # fmt: skip
"""Density of oscillator strength df/dE, 1/eV, of the K shell of lithium by energy, eV: ``2 f2 /
(pi E)`` of f2 of Chantler, J. Phys. Chem. Ref. Data 24 (1995) 71."""


@dataclass(frozen=True, kw_only=True)
class LossMaterial:
    """What electrons meet in one material.

    Attributes
    ----------
    density : float
        g/cm³.
    plasmon, width : float
        Energy and full width of the volume plasmon, eV.
    mass : float
        Of a formula unit, g/mol.
    atoms : mapping of int to int
        Atoms of a formula unit by atomic number.
    """

    density: float
    plasmon: float
    width: float
    mass: float
    atoms: Mapping[int, int] = field(hash=False)

    def number_density(self, number: int) -> float:
        """Return atoms of an atomic number, 1/Å³."""
        return float(self.density * AVOGADRO / self.mass * self.atoms.get(number, 0))


# Lithium and carbon: measured (Egerton, appendix C; Raether, *Excitation of Plasmons*, 1980).
# Oxide: free electrons, 28.8 eV sqrt(8 density / mass) (Egerton, eq. 3.41); its width a guess.
LITHIUM = LossMaterial(density=0.534, plasmon=7.1, width=2.2, mass=6.941, atoms={3: 1})
LITHIUM_OXIDE = LossMaterial(density=2.013, plasmon=21.1, width=12, mass=29.88, atoms={3: 2, 8: 1})
CARBON = LossMaterial(density=2.0, plasmon=24.0, width=20.0, mass=12.011, atoms={6: 1})
MATERIALS = (LITHIUM, LITHIUM_OXIDE, CARBON)
"""Of core, shell and support."""


def half_square_velocity(energy: float) -> float:
    """Return ``T = m v²/2 = E0 (1 + E0/2mc²) / (1 + E0/mc²)²``, eV (Egerton, eq. 5.2)."""
    return float(energy * (1 + energy / (2 * REST)) / (1 + energy / REST) ** 2)


def characteristic_angle(loss: npt.ArrayLike, energy: float) -> Array:
    """Return ``theta_E = E / (2 gamma T)``, mrad (Egerton, eq. 3.28)."""
    gamma = 1 + energy / REST
    return np.asarray(1e3 * np.asarray(loss) / (2 * gamma * half_square_velocity(energy)))


def inelastic_mean_free_path(density: float, *, energy: float, semiangle: float) -> float:
    """Return the mean free path of inelastic scattering into an aperture, Å.

    ``lambda = 200 F E0 / (11 rho^0.3 ln((b² + th_E²) / (b² + th_C²) th_C² / th_E²))`` nm, in which
    F E0 = T in keV, th_E = 5.5 rho^0.3 / (F E0) mrad, th_C = 20 mrad, b the semiangle (Iakoubovskii
    et al. 2008, for parallel illumination). Good to some 10 % over the elements; of metals of low
    density none as light as lithium was measured.

    Parameters
    ----------
    density : float
        g/cm³.
    energy : float
        eV.
    semiangle : float
        Of the objective aperture, mrad.

    Examples
    --------
    >>> round(inelastic_mean_free_path(2.0, energy=200e3, semiangle=20.0) / 10)  # carbon, nm
    164
    """
    t = half_square_velocity(energy) / 1e3
    excited, cut = 5.5 * density**0.3 / t, 20.0
    ratio = (semiangle**2 + excited**2) / (semiangle**2 + cut**2) * (cut / excited) ** 2
    return float(10 * 200 * t / (11 * density**0.3 * np.log(ratio)))


def elastic_rate(material: LossMaterial, *, energy: float, semiangle: float) -> float:
    """Return which part of the electrons an Å of material scatters elastically past an aperture.

    ``sum n 4 pi a0² alpha² Z^(4/3) / (v/c)² / (1 + (b/th_0)²)``, th_0 = Z^(1/3) / (k a0), 1/Å: the
    atomic model of Lenz (Egerton, eqs. 3.5, 3.15). Diffraction by crystals is left out.
    """
    beta2 = 1 - 1 / (1 + energy / REST) ** 2
    gamma = 1 + energy / REST
    # hbar / (m v), reduced length of the electron wave.
    reduced = BOHR * constants.alpha / (gamma * np.sqrt(beta2))
    rate = 0.0
    for number in material.atoms:
        total = 4 * np.pi * (BOHR * constants.alpha) ** 2 * number ** (4 / 3) / beta2
        screening = 1e3 * number ** (1 / 3) * reduced / BOHR
        outside = 1 / (1 + (semiangle / screening) ** 2)
        rate += material.number_density(number) * total * outside
    return rate


def plasmon_losses(
    energies: Array, material: LossMaterial, *, energy: float, semiangle: float
) -> Array:
    """Return how likely a single loss is at each of evenly spaced energies; the sum is 1.

    ``E w Ep² / ((E² - Ep²)² + E² w²) ln(1 + b²/th_E²)``: free electrons (Egerton, eqs. 3.32, 3.43).
    """
    e, peak, width = energies, material.plasmon, material.width
    loss = e * width * peak**2 / ((e**2 - peak**2) ** 2 + (e * width) ** 2)
    angles = np.log1p((semiangle / characteristic_angle(np.maximum(e, 0.1), energy)) ** 2)
    return np.asarray(loss * angles / (loss * angles).sum())


def edge_cross_section(energies: npt.ArrayLike, *, energy: float, semiangle: float) -> Array:
    """Return d sigma/dE of the K shell of a lithium atom, Å²/eV, to 200 eV.

    ``4 pi a0² R² / (E T) df/dE ln(1 + b²/th_E²)``: small angles (Egerton, eq. 4.19).
    """
    e = np.maximum(np.asarray(energies, dtype=float), 1.0)
    known = np.array(list(OSCILLATORS))
    inside = (e >= LITHIUM_EDGE) & (e <= known[-1])
    strength = np.exp(np.interp(np.log(e), np.log(known), np.log(list(OSCILLATORS.values()))))
    angles = np.log1p((semiangle / characteristic_angle(e, energy)) ** 2)
    scale = 4 * np.pi * (BOHR * RYDBERG) ** 2 / half_square_velocity(energy)
    return np.asarray(np.where(inside, scale * strength * angles / e, 0.0))
