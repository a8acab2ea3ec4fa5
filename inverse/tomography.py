"""Reconstruct the absorption of every voxel from a tilt series of projections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.projection import as_block, slabs, system_matrix
from echolith.forward.tilts import centres
from echolith.inverse.tomography_input import Projections, read_projections
from echolith.inverse.tomography_options import Algorithm, TomographyOptions
from echolith.inverse.tomography_sweeps import subsets, sweeps
from echolith.processors import threads

Array = npt.NDArray[np.float32]
Report = Callable[[int, int], None]


def reconstruct(
    projections: xr.Dataset,
    *,
    options: TomographyOptions | None = None,
    progress: Report | None = None,
    workers: int | None = None,
) -> xr.Dataset:
    """Reconstruct a volume from projections.

    Parameters
    ----------
    projections : xarray.Dataset
        See `read_projections`; with a dimension ``energy`` each energy is reconstructed by itself.
    options : TomographyOptions, optional
    progress : callable, optional
        Called with how many slabs are done, and of how many.
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    xarray.Dataset
        ``absorption`` (z, y, x), 1/Å.

    Raises
    ------
    BadInputError
        If the projections cannot be used.
    """
    chosen = options or TomographyOptions()
    if "energy" in projections.dims:
        each = [
            reconstruct(
                projections.isel(energy=i), options=chosen, progress=progress, workers=workers
            )
            for i in range(projections.sizes["energy"])
        ]
        return xr.concat(each, "energy", combine_attrs="override")
    measured = read_projections(projections)
    volume = _volume(measured, chosen, progress, workers)
    return _described(volume, projections, measured)


def _volume(
    measured: Projections, options: TomographyOptions, progress: Report | None, workers: int | None
) -> Array:
    _, ny, nx = measured.density.shape
    nz = options.depth or nx
    matrix = system_matrix(measured.tilts, shape=(nz, nx), shift_x=measured.shift_x)
    counts = {Algorithm.SIRT: 1, Algorithm.SART: matrix.tilts}
    parts = subsets(matrix, counts.get(options.algorithm, options.subsets))
    volume = np.zeros((nz, ny, nx), dtype=np.float32)
    pieces = slabs(ny, nz * nx)

    def one(piece: slice) -> None:
        block = np.zeros((nz * nx, piece.stop - piece.start), dtype=np.float32)
        runs = sweeps(
            parts,
            as_block(measured.density, piece),
            block,
            relaxation=options.relaxation,
            lowest=0.0 if options.non_negative else -np.inf,
        )
        for _ in islice(runs, options.iterations):
            pass
        volume[:, piece] = np.moveaxis(block.reshape(nz, nx, -1), 2, 1)

    with ThreadPoolExecutor(threads(workers)) as pool:
        for done, _ in enumerate(pool.map(one, pieces), 1):
            if progress is not None:
                progress(done, len(pieces))
    return volume


def _described(volume: Array, projections: xr.Dataset, measured: Projections) -> xr.Dataset:
    z = centres(volume.shape[0], measured.tilts.voxel_size)
    result = xr.Dataset(
        {"absorption": (("z", "y", "x"), volume, {"units": "1/Å"})},
        coords={"z": ("z", z), "y": projections["y"].values, "x": projections["x"].values},
    )
    if "energy" in projections.coords:
        result = result.assign_coords(energy=projections["energy"])
    for axis in "zyx":
        result[axis].attrs["units"] = "Å"
    return result
