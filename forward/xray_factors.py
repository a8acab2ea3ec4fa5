"""Imaginary parts of the atomic scattering factors of Li, C, O, P and Fe, 10 eV to 100 keV.

Of the tables of Chantler (NIST FFAST), thinned to what power laws between the points give back to
2 %. They are of free atoms: white lines, and what oxidation does to them, are in no such table.

References
----------
Chantler, J. Phys. Chem. Ref. Data 24 (1995) 71; 29 (2000) 597; NIST FFAST database, version 2.1.
"""

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError, near_match

Floats = npt.NDArray[np.float64]

ELECTRON_RADIUS = 2.8179403e-5
"""Classical, Å."""
PLANCK_TIMES_LIGHT = 12398.41984
"""eV Å."""
ATOMIC_NUMBERS = {"Li": 3, "C": 6, "O": 8, "P": 15, "Fe": 26}


def _table(text: str) -> Floats:
    return np.array([pair.split() for pair in text.split(",")], dtype=float).T


F2 = {
    "Li": _table(
        """
        10.05907 0.1766, 11.913 0.1765, 14.2497 0.1688, 21.0058 0.1363, 32.22241 0.09428,
        54.59975 0.05333, 54.74972 0.06397, 54.75027 2.574, 64.66271 2.678, 75.8221 2.552,
        90.6944 2.216, 111.771 1.736, 164.7641 0.9713, 284.7987 0.3791, 533.0701 0.1183,
        1028.004 0.03248, 3010.944 0.003186, 8907.009 0.0002642, 99959.65 8.99e-07
        """
    ),
    "C": _table(
        """
        10.05907 1.761, 13.96893 1.617, 19.01628 1.405, 19.3985 1.414, 19.59249 1.482,
        19.9863 1.508, 32.54463 1.392, 41.73627 1.27, 53.52392 1.102, 76.58032 0.832,
        111.771 0.5722, 276.4228 0.1885, 279.187 0.1892, 281.752 0.1974, 282.776 0.2154,
        283.288 0.2525, 283.544 0.3268, 283.672 0.472, 283.7982 2, 283.8018 2.136, 283.928
        3.663, 284.312 3.877, 340.6612 3.245, 507.1979 1.851, 894.3253 0.7203, 1135.556
        0.4703, 3010.944 0.07187, 5309.097 0.02215, 8907.009 0.007253, 26612.31 0.0006183,
        99959.65 2.915e-05
        """
    ),
    "O": _table(
        """
        10.05907 2.799, 14.10861 3.07, 32.87008 3.475, 45.64634 3.304, 63.3886 2.827,
        89.79644 2.175, 133.6946 1.481, 497.2041 0.2454, 522.5665 0.2347, 527.7921 0.2432,
        529.68 0.2594, 530.84 0.2975, 531.42 0.3743, 531.71 0.5243, 531.9923 2.043, 532.0077
        2.307, 532.29 3.823, 533.0701 4.037, 534.32 4.071, 543.7848 4.018, 683.6259 3.01,
        997.7703 1.686, 2125.469 0.4508, 3010.944 0.2341, 10036.64 0.02019, 26612.31
        0.00238, 99959.65 0.0001169
        """
    ),
    "P": _table(
        """
        10.05907 3.991, 11.22258 2.447, 14.8283 0.6111, 17.04474 0.3346, 18.27427 0.2624,
        19.59249 0.2183, 20.79782 0.1979, 22.29807 0.1902, 24.87725 0.2046, 34.54678 0.3216,
        42.15363 0.3784, 82.92551 0.5014, 129.7627 0.5616, 131.0603 0.5873, 131.608 0.6341,
        131.904 0.7327, 132.052 0.9292, 132.126 1.312, 132.2005 5.606, 132.274 9.733,
        132.496 10.32, 133.384 10.48, 156.7674 10.79, 185.6603 10.31, 191.286 10.99,
        197.0822 10.93, 245.3112 9.274, 320.9183 6.935, 473.0727 4.148, 755.1483 2.064,
        997.7703 1.333, 1624.717 0.5647, 2104.424 0.3732, 2129.372 0.3775, 2137.436 0.3939,
        2141.468 0.43, 2143.484 0.5033, 2144.492 0.6469, 2145.392 1.744, 2145.608 2.711,
        2146.508 3.807, 2149.532 4.018, 2168.19 4.04, 2467.603 3.38, 4265.31 1.367, 9268.669
        0.3313, 26878.43 0.0389, 99959.65 0.002284
        """
    ),
    "Fe": _table(
        """
        10.05907 1.354, 18.09333 2.635, 25.12603 3.67, 33.86608 4.707, 50.92617 6.06,
        52.99398 6.469, 54.59975 7.275, 56.25417 7.505, 67.96116 7.212, 88.0271 6.33,
        183.8221 5.267, 252.7444 4.646, 368.8872 3.555, 656.9511 2.01, 697.3668 1.94,
        704.3405 2.034, 706.532 2.259, 707.316 2.639, 708.0723 6.38, 708.1278 7.267, 708.884
        10.99, 711.236 11.52, 720.222 11.79, 721.1316 14.07, 721.978 15.89, 724.612 16.09,
        834.1534 13.29, 842.4949 13.38, 850.9199 14.18, 885.4706 13.73, 1427.578 6.918,
        2981.132 2.154, 5204.487 0.7817, 7014.86 0.471, 7085.009 0.4802, 7093.6 0.4903,
        7102.8 0.5238, 7107.4 0.592, 7109.7 0.7255, 7111.182 1.133, 7112.818 3.257, 7114.3
        3.663, 7121.2 3.858, 7155.859 3.875, 14217.93 1.223, 26612.31 0.3856, 99959.65
        0.02678
        """
    ),
}
"""Energy, eV, and f2, electrons per atom, of each element."""


def tabulated_f2(element: str, energies: Floats) -> Floats:
    """Return f2 of a free atom, by power laws between the points of the table.

    Parameters
    ----------
    element : str
        Li, C, O, P or Fe.
    energies : array
        eV, 10 to 1e5.

    Returns
    -------
    array
        Electrons per atom.

    Raises
    ------
    BadInputError
        If the element is not in the table or an energy outside it.
    """
    if element not in F2:
        raise BadInputError(f"no table of the element '{element}'; {near_match(element, F2)}")
    at, values = F2[element]
    if not ((energies >= 10) & (energies <= 1e5)).all():
        wrong = energies[~((energies >= 10) & (energies <= 1e5))].flat[0]
        raise BadInputError(f"energy = {wrong:g} eV; expected 10 to 1e5 eV; give it in eV")
    return np.asarray(np.exp(np.interp(np.log(energies), np.log(at), np.log(values))))


def f1_at_high_energy(element: str) -> float:
    """Return the limit of f1 far above all edges: ``Z - (Z / 82.5)^2.37``.

    References
    ----------
    Henke, Gullikson and Davis, At. Data Nucl. Data Tables 54 (1993) 181, equation 5.
    """
    number = ATOMIC_NUMBERS[element]
    return number - float((number / 82.5) ** 2.37)
