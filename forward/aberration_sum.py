"""The sum of two sets of aberrations: known ones and what is left unknown."""

import numpy as np

from echolith.forward.acquisition import Aberrations


def added(one: Aberrations, other: Aberrations) -> Aberrations:
    """Return the aberrations whose phase is the sum of two phases.

    A coefficient of symmetry m is the complex number ``C exp(i m phi)``; these add.

    Parameters
    ----------
    one, other : Aberrations

    Returns
    -------
    Aberrations
        Coefficients of m > 0 positive, azimuths in (-pi/m, pi/m]; terms to which one set adds
        nothing are left as they are in the other.

    Examples
    --------
    >>> total = added(Aberrations(C10=-40, C12=30), Aberrations(C10=10, C12=40, phi12=np.pi / 4))
    >>> round(total.C10), round(total.C12), round(total.phi12, 3)
    (-30, 50, 0.464)
    """
    values: dict[str, float] = {}
    for (n, m, first, azimuth), (_, _, second, other_azimuth) in zip(
        one.terms(), other.terms(), strict=True
    ):
        if m == 0:
            values[f"C{n}{m}"] = first + second
        elif first == 0 or second == 0:
            values[f"C{n}{m}"] = first + second
            values[f"phi{n}{m}"] = azimuth if second == 0 else other_azimuth
        else:
            total = first * np.exp(1j * m * azimuth) + second * np.exp(1j * m * other_azimuth)
            values[f"C{n}{m}"] = float(abs(total))
            values[f"phi{n}{m}"] = float(np.angle(total)) / m
    return Aberrations(**values)
