"""Reconstruct the absorption of every voxel from a tilt series of projections."""

from functools import partial

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.projection import as_images, system_matrix
from echolith.forward.tilts import centres
from echolith.inverse.tomography_input import Projections, read_projections
from echolith.inverse.tomography_iterates import Report, method_of, run
from echolith.inverse.tomography_options import Algorithm, Stopping, TomographyOptions
from echolith.inverse.tomography_problem import Array, Problem, problem
from echolith.inverse.tomography_stopping import Stop, stop
from echolith.inverse.tomography_uncertainty import noise_of_voxels
from echolith.processors import threads


def reconstruct(
    projections: xr.Dataset,
    *,
    options: TomographyOptions | None = None,
    start: xr.DataArray | None = None,
    progress: Report | None = None,
    workers: int | None = None,
) -> xr.Dataset:
    """Reconstruct a volume from projections.

    Parameters
    ----------
    projections : xarray.Dataset
        See `read_projections`; with a dimension ``energy`` each energy is reconstructed by itself.
    options : TomographyOptions, optional
    start : xarray.DataArray, (z, y, x), optional
        Absorption to begin with, 1/Å; zero by default.
    progress : callable, optional
        Called with the iterations done (of every slab of slices), and of how many.
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    xarray.Dataset
        ``absorption`` (z, y, x), 1/Å; where the noise is known and draws are asked for,
        ``absorption_std``: the standard deviation from counting alone. ``iterations`` done and
        ``predicted_error``, the root-mean-square error of a voxel in 1/Å, with its
        ``predicted_error_std``, NaN where no rule predicted it. Slices without specimen are zero.

    Raises
    ------
    BadInputError
        If the projections cannot be used, or an option needs their noise and it is not known.
    """
    chosen = options or TomographyOptions()
    if "energy" in projections.dims:
        each = [
            reconstruct(
                projections.isel(energy=i),
                options=chosen,
                start=start.isel(energy=i)
                if start is not None and "energy" in start.dims
                else start,
                progress=progress,
                workers=workers,
            )
            for i in range(projections.sizes["energy"])
        ]
        return xr.concat(each, "energy", combine_attrs="override")
    measured = read_projections(projections)
    _check_noise(measured, chosen)
    task = _task(measured, chosen, start)
    method = method_of(chosen, task.matrix, threads(workers))
    until = stop(task, method, options=chosen)
    solve = partial(
        run, method=method, options=chosen, iterations=until.iterations, workers=threads(workers)
    )
    volume = solve(task, progress=progress)
    result = _described(as_images(volume, task.matrix.shape[1]), projections, until)
    if chosen.draws and task.std is not None:
        std = noise_of_voxels(
            task, volume, partial(solve, progress=None), draws=chosen.draws, seed=chosen.seed
        )
        result["absorption_std"] = (("z", "y", "x"), std, {"units": "1/Å"})
    return result


def _check_noise(measured: Projections, options: TomographyOptions) -> None:
    ruled = options.stopping not in (None, Stopping.LAST)
    if measured.std is None and (ruled or options.algorithm is Algorithm.TV):
        what = f"stopping by '{options.stopping.value}'" if options.stopping and ruled else "TV"
        raise BadInputError(
            f"{what} needs the noise of the projections, which is unknown; give counts with "
            "incident, or optical_density_std"
        )


def _task(measured: Projections, options: TomographyOptions, start: xr.DataArray | None) -> Problem:
    _, ny, nx = measured.density.shape
    shape = (options.depth or nx, nx)
    begin = None
    if start is not None:
        begin = start.transpose("z", "y", "x").values
        if begin.shape != (shape[0], ny, nx) or not np.isfinite(begin).all():
            raise BadInputError(
                f"start has shape {begin.shape} (z, y, x); expected {(shape[0], ny, nx)} finite "
                "values in 1/Å"
            )
    matrix = system_matrix(measured.tilts, shape=shape, shift_x=measured.shift_x)
    return problem(matrix, measured.density, measured.std, begin)


def _described(volume: Array, projections: xr.Dataset, until: Stop) -> xr.Dataset:
    x, y = projections["x"].values, projections["y"].values
    z = centres(volume.shape[0], float((y[-1] - y[0]) / (len(y) - 1)))
    result = xr.Dataset(
        {
            "absorption": (("z", "y", "x"), volume, {"units": "1/Å"}),
            "iterations": ((), until.iterations, {"units": "1"}),
            "predicted_error": ((), until.error, {"units": "1/Å"}),
            "predicted_error_std": ((), until.error_std, {"units": "1/Å"}),
        },
        coords={name: (name, at, {"units": "Å"}) for name, at in (("z", z), ("y", y), ("x", x))},
        attrs={"stopping": until.rule.value},
    )
    if "energy" in projections.coords:
        result = result.assign_coords(energy=projections["energy"])
    return result
