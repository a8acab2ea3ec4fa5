"""From absorption to refraction: the Kramers-Kronig relation, exact where spectra are linear."""

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError

Floats = npt.NDArray[np.float64]


def kramers_kronig(knots: Floats, f2: Floats, energies: Floats) -> Floats:
    """Return the dispersive part that belongs to an absorption.

    ``f1(E) = (2/pi) P∫ e f2(e) / (E² - e²) de``. Where f2 is linear between knots the integral is
    a sum over the changes d of its slope,

        f1(E) = (1/pi) sum_k d_k [(E - e_k) ln|E - e_k| - (E + e_k) ln(E + e_k)],

    regular at the knots too. The constant, f1 far above all edges, is to be added.

    Parameters
    ----------
    knots : array (n,)
        Energies, eV, increasing, above 0. f2 goes to 0 linearly from the first to 0 eV, and from
        the last to twice its energy.
    f2 : array (n,)
        Electrons.
    energies : array
        Where f1 is wanted, eV.

    Returns
    -------
    array
        Electrons.

    Raises
    ------
    BadInputError
        If the knots do not increase from above 0.

    References
    ----------
    Watts, Opt. Express 22 (2014) 23628 (piecewise polynomials).
    """
    if not (knots[0] > 0 and (np.diff(knots) > 0).all()):
        raise BadInputError(
            f"knots from {knots[0]:g} to {knots[-1]:g} eV; expected energies above 0 eV that "
            "increase; sort them and leave out those that come twice"
        )
    at = np.concatenate([[0.0], knots, [2 * knots[-1]]])
    slopes = np.diff(np.concatenate([[0.0], f2, [0.0]])) / np.diff(at)
    changes = np.diff(slopes, prepend=0.0, append=0.0)
    e = np.asarray(energies, dtype=float)[..., None]
    return np.asarray((_x_log_x(e - at) - _x_log_x(e + at)) @ changes / np.pi)


def _x_log_x(x: Floats) -> Floats:
    size = np.abs(x)
    return np.asarray(x * np.log(np.where(size > 0, size, 1.0)))
