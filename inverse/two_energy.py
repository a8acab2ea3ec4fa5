"""Composition from the absorption at two energies, voxel by voxel."""

from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class CompositionRule(Enum):
    """How two absorptions become one composition."""

    LINEAR = "linear"
    """Solve for the two species; exact where absorptions add."""
    POLAR_ANGLE = "polar-angle"
    """Linear in the angle between the species' rays, as published; bent between the ends."""


class TwoEnergy(Settings):
    """How composition is read from two energies."""

    rule: CompositionRule = CompositionRule.LINEAR
    minimum_density: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of a voxel filled below which its composition is not determined."""


def two_energy_composition(
    absorption: xr.Dataset, *, response: xr.DataArray, options: TwoEnergy | None = None
) -> xr.Dataset:
    """Solve absorption at two energies for two species.

    mu(E_i) = sum_k M_ik c_k with M the absorption of the pure species; density = c_1 + c_2,
    composition = c_2 / (c_1 + c_2), uncertainties to first order.

    Parameters
    ----------
    absorption : xarray.Dataset
        ``absorption`` and, where known, ``absorption_std`` in 1/Å; dim ``energy`` (eV) with two
        energies and any others.
    response : xarray.DataArray
        Dims (species, energy), 1/Å: the absorption of each pure species; the second species is
        the one whose share is returned.
    options : TwoEnergy, optional

    Returns
    -------
    xarray.Dataset
        ``density``, ``composition`` (NaN where the voxel is less than half filled), ``reacted``,
        the part of the voxel that the second species fills, and, where the absorption has
        uncertainties, ``density_std`` and ``composition_std`` (infinite there).

    Raises
    ------
    BadInputError
        If there are not two energies, they are not those of ``response``, or both species absorb
        alike there.

    References
    ----------
    Yu et al., Nat. Commun. 9, 921 (2018).
    """
    options = options or TwoEnergy()
    matrix = response_matrix(absorption, response)
    others = [dim for dim in absorption["absorption"].dims if dim != "energy"]
    ordered = absorption.transpose("energy", *others)
    measured = ordered["absorption"].values.astype(np.float64)
    inverse = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    amounts = np.asarray(np.tensordot(inverse, measured, axes=1), dtype=np.float64)
    density = amounts.sum(axis=0)
    inside = density >= options.minimum_density
    with np.errstate(divide="ignore", invalid="ignore"):
        if options.rule is CompositionRule.POLAR_ANGLE:
            composition, gradient = _by_angle(measured, matrix, inside)
        else:
            composition, gradient = _by_amounts(amounts, inverse, inside)
    values = {"density": density, "composition": composition, "reacted": amounts[1]}
    if "absorption_std" in absorption:
        variance = ordered["absorption_std"].values.astype(np.float64) ** 2
        values["density_std"] = np.sqrt(np.tensordot(inverse.sum(axis=0) ** 2, variance, axes=1))
        spread = np.sqrt((gradient**2 * variance).sum(axis=0))
        values["composition_std"] = np.where(inside, spread, np.inf)
    coordinates = {name: absorption[name] for name in others if name in absorption.coords}
    return xr.Dataset(
        {name: (tuple(others), value, {"units": "1"}) for name, value in values.items()},
        coords=coordinates,
    )


def response_matrix(absorption: xr.Dataset, response: xr.DataArray) -> Array:
    """Return the absorption of the pure species at the measured energies, (energy, species), 1/Å.

    Raises
    ------
    BadInputError
        As `two_energy_composition`.
    """
    energies = absorption["energy"].values if "energy" in absorption.dims else np.empty(0)
    if len(energies) != 2:
        raise BadInputError(
            f"{len(energies)} energies; expected 2, one on each white line (e.g. 708.2 and "
            "710.2 eV); one energy alone tells no composition"
        )
    known = response["energy"].values
    missing = [float(e) for e in energies if not np.isclose(known, e, atol=1e-3).any()]
    if missing:
        raise BadInputError(
            f"energy = {missing[0]:g} eV has no response; known are "
            + ", ".join(f"{e:g} eV" for e in known)
        )
    picked = response.sel(energy=energies, method="nearest").transpose("energy", "species")
    matrix = picked.values.astype(np.float64)
    if matrix.shape != (2, 2) or np.linalg.cond(matrix) > 100:
        raise BadInputError(
            f"the species absorb alike at {energies[0]:g} and {energies[1]:g} eV (condition "
            f"{np.linalg.cond(matrix):.3g}, expected below 100); take energies on the white lines"
        )
    return matrix


def _by_amounts(amounts: Array, inverse: Array, inside: Mask) -> tuple[Array, Array]:
    density = amounts.sum(axis=0)
    composition = np.where(inside, amounts[1] / density, np.nan)
    gradient = inverse[1][:, None] - composition.ravel() * inverse.sum(axis=0)[:, None]
    return composition, gradient.reshape(amounts.shape) / density


def _by_angle(measured: Array, matrix: Array, inside: Mask) -> tuple[Array, Array]:
    ends = np.arctan2(matrix[1], matrix[0])
    angle = np.arctan2(measured[1], measured[0])
    composition = np.where(inside, (angle - ends[0]) / (ends[1] - ends[0]), np.nan)
    square = (measured**2).sum(axis=0) * (ends[1] - ends[0])
    return composition, np.stack([-measured[1], measured[0]]) / square
