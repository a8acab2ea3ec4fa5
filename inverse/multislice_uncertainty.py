"""What the standard errors of thick specimens' distances hold beyond the scatter of their pairs."""

import numpy as np
import xarray as xr

from echolith.distance_names import LONG_NAMES
from echolith.units import Angstrom

SYSTEMATIC_STD = 0.0025
"""Å, standard deviation of a mean distance in a thin specimen beyond the scatter of its pairs: what
slices of pure phase and columns of one shape leave, alike in all pairs."""
SYSTEMATIC_SLOPE = 3.5e-5
"""More of it for each Å of thickness, added in quadrature. Both were set on eight specimens of 2 to
15 nm that no reported figure comes from."""
TRANSLATIONS = ("m_m", "o_o_mli")
"""Shortest vectors of the lattice: their ends are alike and near, and a third of it remains."""
THICKNESS_STD = 3.0
"""Å, about one layer of atoms; from the same specimens, all found 1 to 3 Å too thick."""


def systematic_std(name: str, thickness: Angstrom) -> float:
    """Return the error common to all pairs of a named distance, Å.

    Parameters
    ----------
    name : str
        Of `echolith.distance_names.LONG_NAMES`.
    thickness : float
        Å.
    """
    whole = float(np.hypot(SYSTEMATIC_STD, SYSTEMATIC_SLOPE * thickness))
    return whole / 3 if name in TRANSLATIONS else whole


def with_systematic_error(distances: xr.Dataset, *, thickness: Angstrom) -> xr.Dataset:
    """Add `systematic_std` to the standard errors of mean distances, in quadrature."""
    return distances.assign(
        {
            f"{name}{suffix}": distances[f"{name}{suffix}"].copy(
                data=np.hypot(distances[f"{name}{suffix}"].values, systematic_std(name, thickness))
            )
            for name in LONG_NAMES
            for suffix in ("_std", "_fit_std")
            if f"{name}{suffix}" in distances
        }
    )
