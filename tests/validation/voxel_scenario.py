"""A cheap scenario with many errors in each case: a counting rate in every voxel.

Its solvers are known in closed form: `counts` has the spread √rate in every voxel.
"""

import numpy as np
import xarray as xr

from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.validation.metrics import absolute_error
from echolith.validation.scenario import Scenario


class VoxelSettings(Settings):
    rate: float = 400.0
    side: int = 20
    solver: int = 0


def voxels(rate: float = 400.0, side: int = 20, solver: int = 0) -> Scenario:
    """A square of voxels with one rate; the scalar quantity is its mean."""

    def truth(specimen: xr.DataArray) -> xr.Dataset:
        return xr.Dataset({"rate": specimen, "total": ((), float(specimen.mean()))})

    return Scenario(
        name="voxels",
        settings=VoxelSettings(rate=rate, side=side, solver=solver),
        build=lambda seed: xr.DataArray(np.full((side, side), rate), dims=("y", "x")),
        truth=truth,
        forward=lambda specimen: xr.Dataset({"counts": specimen}),
        noise=PoissonCounting(),
        solver=counts,
        gauge=lambda estimate, truth: estimate,
        metrics=(absolute_error("total", unit="1", scale=1.0),),
        quantities=("total",),
    )


def counts(measurement: xr.Dataset) -> xr.Dataset:
    """The maximum-likelihood estimate."""
    rate = measurement["counts"].astype(float)
    return xr.Dataset({"rate": rate, "total": rate.mean()})


def spread_out(measurement: xr.Dataset, by: float = 1.1) -> xr.Dataset:
    """Each voxel's deviation from the mean multiplied."""
    estimate = counts(measurement)
    return estimate.assign(rate=estimate["total"] + by * (estimate["rate"] - estimate["total"]))


def crashes(measurement: xr.Dataset) -> xr.Dataset:
    raise RuntimeError("broken on purpose")
