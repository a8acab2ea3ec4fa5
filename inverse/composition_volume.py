"""From projections at two energies to the composition of every voxel and the state of charge."""

from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.composition_bootstrap import bootstrap_std, near_particles
from echolith.inverse.joint_composition import JointComposition, joint_absorption
from echolith.inverse.tomography import reconstruct
from echolith.inverse.tomography_options import TomographyOptions
from echolith.inverse.two_energy import TwoEnergy, response_matrix, two_energy_composition


class Method(Enum):
    """In which order volumes and chemistry are found."""

    SEQUENTIAL = "sequential"
    """Reconstruct each energy, then solve every voxel for the two species."""
    JOINT = "joint"
    """Both energies and both species at once; needs the noise."""


class CompositionSolver(Settings):
    """How composition is recovered."""

    method: Method = Method.SEQUENTIAL
    tomography: TomographyOptions = TomographyOptions()
    """Of the sequential method; its draws are not used."""
    joint: JointComposition = JointComposition()
    """Of the joint method."""
    chemistry: TwoEnergy = TwoEnergy()
    draws: Annotated[int, Field(ge=0, le=100)] = 2
    """Of the bootstrap, for the uncertainties; each costs a solution. 0: none are given."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draws."""


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
        ``density``, ``composition`` (fraction of FePO4) and ``reacted`` (their product, also where
        a voxel is too empty for a composition), (z, y, x); ``state_of_charge``, the part of all
        phosphate that is FePO4. Where the noise is known and draws are asked for, all but
        ``reacted`` have their ``_std`` from `bootstrap_std`.

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
    pure = response_matrix(measurement, response)
    solve = partial(_solved, response=response, options=options)
    found = solve(measurement)
    noisy = "counts" in measurement or "optical_density_std" in measurement
    if not (options.draws and noisy):
        return found
    std = bootstrap_std(
        found, measurement, response=pure, again=solve, draws=options.draws, seed=options.seed
    )
    return found.assign(std.data_vars)


def _solved(
    measurement: xr.Dataset, *, response: xr.DataArray, options: CompositionSolver
) -> xr.Dataset:
    """Return density, composition and state of charge without uncertainties."""
    if options.method is Method.JOINT:
        pure = response_matrix(measurement, response)
        volumes = joint_absorption(measurement, response=pure, options=options.joint)
    else:
        without = options.tomography.model_copy(update={"draws": 0})
        volumes = reconstruct(measurement, options=without)
    found = two_energy_composition(volumes, response=response, options=options.chemistry)
    return found.assign(state_of_charge=((), state_of_charge(found), {"units": "1"}))


def state_of_charge(found: xr.Dataset) -> float:
    """Return the part of the phosphate that has reacted; NaN without any particle.

    ``reacted`` over ``density``, each summed over the voxels of a composition and those next to
    them: faces and what blurs out of them count, the noise of empty voxels does not.
    """
    near = near_particles(found["composition"].values)
    density = float(found["density"].values[near].sum(dtype=np.float64))
    if not density > 0:
        return float("nan")
    return float(found["reacted"].values[near].sum(dtype=np.float64)) / density
