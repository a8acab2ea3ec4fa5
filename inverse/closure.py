"""Whether measured distances close: what no drift, scale or orientation can spoil.

As vectors D + E = F and B + G = C exactly, and O-O(MLi) = M-M. Any affine distortion keeps that,
so a residual beyond its error means that lengths were read on different places, along different
lines, or wrongly.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from echolith.errors import BadInputError
from echolith.inverse.distance_vectors import (
    DistanceVectors,
    distance_vectors,
    fit_lattice,
    known_names,
    length_of,
)

Array = npt.NDArray[np.float64]

SUMS: dict[str, dict[str, int]] = {
    "m_m_olio": {"o_o_m": 1, "o_o_li": 1, "m_m_olio": -1},
    "m_m_li": {"o_o_2m": 1, "o_o_2li": 1, "m_m_li": -1},
    "m_m": {"o_o_mli": 1, "m_m": -1},
}
"""Sums that are zero: D + E - F, B + G - C, O-O(MLi) - M-M."""


def closure_residuals(distances: xr.Dataset) -> xr.Dataset:
    """Return how far the distances are from closing.

    Parameters
    ----------
    distances : xarray.Dataset
        Lengths with ``<name>_std`` and, where known, vectors; see `distance_vectors`. Measured or
        calibrated; ``distance_covariance`` is used where there is one.

    Returns
    -------
    xarray.Dataset
        Of every sum whose distances are there, in Å: ``closure_<name>``, of lengths, with
        ``closure_<name>_std``; ``closure_<name>_vector`` (axis) with its ``_std``, where vectors
        were measured. In the plane O lies 7 pm off the line of M columns, so that D + E - F is
        about 0.7 pm and B + G - C 0.2 pm for columns in place; never negative. Of all lengths
        together: ``closure_chi_squared``, ``closure_freedom`` and ``closure_probability``, that
        exact lengths with errors of this size look worse (needs more than five lengths with
        errors).

    Raises
    ------
    BadInputError
        If no sum can be formed.
    """
    names = known_names(distances)
    sums = {key: parts for key, parts in SUMS.items() if set(parts) <= set(names)}
    if not sums:
        raise BadInputError(
            "no closure can be formed: expected O-O(M), O-O(Li) and M-M(OLiO); O-O(2M), O-O(2Li) "
            f"and M-M(Li); or O-O(MLi) and M-M; given {', '.join(names)}"
        )
    length, std = np.array([length_of(distances, name) for name in names]).T
    covariance = np.diag(std**2)
    if "distance_covariance" in distances:
        given = distances["distance_covariance"]
        covariance = given.sel(distance=list(names), distance_=list(names)).values
    result = xr.Dataset()
    for key, parts in sums.items():
        row = np.array([float(parts.get(name, 0)) for name in names])
        used = row != 0
        error = np.sqrt(row[used] @ covariance[np.ix_(used, used)] @ row[used])
        result[f"closure_{key}"] = ((), float(row @ length), {"units": "Å"})
        result[f"closure_{key}_std"] = ((), float(error), {"units": "Å"})
    if {"vector", "pair_name"} & set(distances):
        result = result.assign(_vector_residuals(distance_vectors(distances), sums))
    return result.assign(_lattice_misfit(distances, names, std))


def _vector_residuals(
    known: DistanceVectors, sums: dict[str, dict[str, int]]
) -> dict[str, tuple[str, Array, dict[str, str]]]:
    found = {}
    for key, parts in sums.items():
        row = np.array([float(parts.get(name, 0)) for name in known.names])
        variance = np.einsum("k,kili,l->i", row, known.covariance, row)
        found[f"closure_{key}_vector"] = ("axis", row @ known.vectors, {"units": "Å"})
        found[f"closure_{key}_vector_std"] = ("axis", np.sqrt(variance), {"units": "Å"})
    return found


def _lattice_misfit(
    distances: xr.Dataset, names: tuple[str, ...], std: Array
) -> dict[str, tuple[tuple[()], float, dict[str, str]]]:
    if len(names) <= 5 or not (std > 0).all() or distances.attrs.get("mode") == "line":
        return {}
    fit = fit_lattice(distances)
    values = {
        "chi_squared": fit.chi_squared,
        "freedom": float(fit.freedom),
        "probability": float(chi2.sf(fit.chi_squared, fit.freedom)),
    }
    return {f"closure_{name}": ((), value, {"units": "1"}) for name, value in values.items()}
