"""What a dose still tells about a specimen that the beam destroys, and what materials bear.

The intensity of diffraction fades with the dose D as exp(-D / D_c), D_c being the critical
dose; the contrast, an amplitude, as exp(-D / 2 D_c). A measurement that weighs early and late
counts alike sees the mean contrast

    f = (2 D_c / D) (1 - exp(-D / 2 D_c))

and, counts being proportional to D, as much information about the fresh specimen as the useful dose
D f² would give without damage. It is largest at D = 2.51 D_c; beyond, more dose adds noise only.

References
----------
Hayward and Glaeser, Ultramicroscopy 4 (1979) 201: the optimum of 2.5 critical doses; Grant and
Grigorieff, eLife 4 (2015) e06980: contrast exp(-D / 2 D_c).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

OPTIMUM = 2.512862417252339
"""Critical doses that tell most: twice the root of exp(x) = 1 + 2 x."""


def useful_dose(dose: float, *, critical: float) -> float:
    """Return the dose that would tell as much if it did no damage.

    Parameters
    ----------
    dose : float
        In any unit.
    critical : float
        In the same; infinite: nothing fades.

    Examples
    --------
    >>> round(useful_dose(2.5, critical=1.0), 3), useful_dose(2.5, critical=float("inf"))
    (0.815, 2.5)
    """
    return dose * share_left(dose, critical=critical)


def share_left(dose: float, *, critical: float) -> float:
    """Return the useful share of a dose (arguments as for `useful_dose`)."""
    faded = dose / (2 * critical)
    return 1.0 if faded < 1e-12 else float((np.expm1(-faded) / faded) ** 2)


def dose_for(useful: float, *, critical: float) -> float:
    """Return the smallest dose that tells as much as ``useful`` would without damage.

    The optimum where no dose does (other arguments as for `useful_dose`).
    """
    if not np.isfinite(critical):
        return useful
    most = OPTIMUM * critical
    if useful >= useful_dose(most, critical=critical):
        return most
    return float(brentq(lambda d: useful_dose(d, critical=critical) - useful, 0.0, most))


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What is published of a material under the beam.

    Attributes
    ----------
    material : str
    source : str
        What was seen, and where it was published.
    dose_rate : float, optional
        That did no harm that could be seen, e/Å²/s.
    """

    material: str
    source: str
    dose_rate: float | None = None


LITHIUM = Tolerance(
    material="lithium metal",
    dose_rate=1000.0,
    source="no damage seen at more than 1000 e/Å²/s at room temperature (Bai et al., "
    "arXiv:2412.19376); a critical dose is not given",
)
LITHIUM_RICH_OXIDE = Tolerance(
    material="Li-rich layered oxide",
    source="surfaces of Li[Li0.2Ni0.2Mn0.6]O2 change within 30 s of ordinary imaging at 200 kV "
    "(osti.gov/biblio/1184938); a critical dose is not given",
)


def tolerance_of(scenario: str) -> Tolerance | None:
    """Return what is published of the material of one of our scenarios; None: nothing is."""
    if scenario.startswith("li-rich-"):
        return LITHIUM_RICH_OXIDE
    return LITHIUM if scenario.startswith("li-") else None
