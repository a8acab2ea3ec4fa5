"""From projections at two energies to the composition of every voxel and the state of charge."""

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.tomography import reconstruct
from echolith.inverse.tomography_options import TomographyOptions
from echolith.inverse.two_energy import TwoEnergy, two_energy_composition


class CompositionSolver(Settings):
    """How composition is recovered."""

    tomography: TomographyOptions = TomographyOptions()
    chemistry: TwoEnergy = TwoEnergy()


def recover_composition(
    measurement: xr.Dataset, *, response: xr.DataArray, options: CompositionSolver | None = None
) -> xr.Dataset:
    """Reconstruct both energies and solve for the two phases.

    Parameters
    ----------
    measurement : xarray.Dataset
        Projections at two energies, see `echolith.inverse.tomography.reconstruct`.
    response : xarray.DataArray
        Absorption of the pure phases, (species, energy), 1/Å: LiFePO4, then FePO4.
    options : CompositionSolver, optional

    Returns
    -------
    xarray.Dataset
        ``density``, ``composition`` (fraction of FePO4) with their ``_std`` from counting, both
        (z, y, x); ``state_of_charge``, the mean composition weighted by the density.

    Raises
    ------
    BadInputError
        If there are not two energies, or the projections cannot be used.
    """
    options = options or CompositionSolver()
    if measurement.sizes.get("energy", 1) != 2:
        raise BadInputError(
            f"{measurement.sizes.get('energy', 1)} energies; expected 2, one on each white line "
            "(e.g. 708.2 and 710.2 eV): one alone tells no composition"
        )
    volumes = reconstruct(measurement, options=options.tomography)
    found = two_energy_composition(volumes, response=response, options=options.chemistry)
    return found.assign(state_of_charge=((), state_of_charge(found), {"units": "1"}))


def state_of_charge(found: xr.Dataset) -> float:
    """Return the mean composition weighted by the density; NaN without any particle."""
    inside = np.isfinite(found["composition"].values)
    density = found["density"].values[inside]
    if not density.sum() > 0:
        return float("nan")
    return float(np.average(found["composition"].values[inside], weights=density))
