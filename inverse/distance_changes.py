"""Changes of the named distances from one state to another, with their covariance.

Lengths of two exposures carry a common error of scale where they share a reference; a change keeps
only what differs. Errors of the two exposures are taken as independent.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.distance_vectors import known_names, length_of

Array = npt.NDArray[np.float64]


def distance_changes(
    after: xr.Dataset, before: xr.Dataset, *, systematic: float = 0.0
) -> xr.Dataset:
    """Return ``after - before`` of every named distance that both hold.

    Parameters
    ----------
    after, before : xarray.Dataset
        ``<name>`` (Å) with ``<name>_std``, and ``distance_covariance`` (distance, distance_), Å²,
        where known; see `echolith.inverse.drift_calibration`.
    systematic : float
        Å; standard deviation of what is not noise in each O-O distance (multiple scattering, a
        strained scan), different in the two states. M-M distances have none: their columns are
        centres of symmetry.

    Returns
    -------
    xarray.Dataset
        ``change`` (distance) in Å; ``change_std`` and ``change_covariance`` (distance, distance_)
        where both states their errors.

    Raises
    ------
    BadInputError
        If they have no distance in common, or a length is not plausible.

    Examples
    --------
    >>> before = xr.Dataset({"o_o_li": 3.09, "o_o_li_std": 0.03})
    >>> after = xr.Dataset({"o_o_li": 3.33, "o_o_li_std": 0.04})
    >>> changes = distance_changes(after, before)
    >>> round(float(changes["change"][0]), 2), round(float(changes["change_std"][0]), 2)
    (0.24, 0.05)
    """
    known = known_names(before)
    names = [name for name in known_names(after) if name in known]
    if not names:
        raise BadInputError(
            "the two states have no distance in common; measure the same ones in both"
        )
    value = [length_of(after, n)[0] - length_of(before, n)[0] for n in names]
    coords = {"distance": names, "distance_": names}
    result = xr.Dataset({"change": ("distance", value, {"units": "Å"})}, coords=coords)
    covariance = _covariance(after, names) + _covariance(before, names)
    oxygen = [name.startswith("o_o") for name in names]
    covariance = covariance + 2 * systematic**2 * np.diag(np.asarray(oxygen, dtype=float))
    if np.isfinite(covariance).all():
        result["change_std"] = ("distance", np.sqrt(np.diag(covariance)), {"units": "Å"})
        result["change_covariance"] = (("distance", "distance_"), covariance, {"units": "Å²"})
    return result


def _covariance(distances: xr.Dataset, names: list[str]) -> Array:
    """Return the covariance of lengths: that given, else independent errors, NaN if unstated."""
    if "distance_covariance" in distances:
        given = distances["distance_covariance"].sel(distance=names, distance_=names)
        return np.asarray(given.values, dtype=float)
    return np.diag([length_of(distances, name)[1] for name in names]) ** 2
