"""A particle in a movie of HRTEM: lattice, its way from frame to frame, and columns."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.hrtem_columns import UNSURE, ParticleColumns, fit_columns
from echolith.inverse.lattice import (
    LatticeSearch,
    find_lattice,
    frame_image,
    lattice_dataset,
)
from echolith.inverse.lattice_tracking import track_lattice

Array = npt.NDArray[np.float64]


def recover_particle(
    measurement: xr.Dataset, *, options: LatticeSearch | None = None
) -> xr.Dataset:
    """Find lattice and columns of a particle in one frame, or in all frames from one on.

    Frames are moved back by the way the lattice goes, and added up.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, drawn; may be lazy.
    options : LatticeSearch, optional
        ``frame`` is the first that is used.

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.lattice.recover_lattice`, of all frames together. Of columns that
        stand out ``x``, ``y`` (Å, the mean of the frames), ``xy_covariance`` and ``amplitude``,
        each with ``_std``. Of a movie also what `echolith.inverse.lattice_tracking.track_lattice`
        tells of every frame, with the reasons of those of which nothing is told.

    Raises
    ------
    BadInputError
        If there is no such frame, or the only one holds what is no count.
    """
    options = options or LatticeSearch()
    acquisition = hrtem_acquisition_of(measurement)
    table, offset = xr.Dataset(), np.zeros(2)
    if measurement.sizes.get("frame", 0) - options.frame > 1:
        movie = track_lattice(measurement, options=options)
        table, found, frames = movie.table, movie.start, 0
        if movie.counts is not None:
            counts, exposure = movie.counts.counts, movie.counts.exposure
            offset, frames = movie.counts.offset, movie.counts.frames
            found = find_lattice(movie.counts.even(), acquisition=acquisition, options=options)
    else:
        counts, frames = frame_image(measurement, options.frame), 1
        exposure = np.ones_like(counts)
        found = find_lattice(counts, acquisition=acquisition, options=options)
    result = lattice_dataset(found, options).merge(table)
    if "spacing" not in result or found.fit is None or not frames:
        return result
    columns = fit_columns(counts, exposure, fit=found.fit, acquisition=acquisition)
    told = result.assign(_column_variables(columns, offset))
    return told.assign_attrs(_undetermined(columns, frames))


def _column_variables(columns: ParticleColumns, offset: Array) -> dict[str, xr.Variable]:
    places, length = columns.places + offset, {"units": "Å"}
    # From (y, x) to (x, y).
    covariance = columns.covariance[:, ::-1, ::-1]
    axes = ("column", "axis", "axis_")
    return {
        "x": xr.Variable("column", places[:, 1], length),
        "y": xr.Variable("column", places[:, 0], length),
        "x_std": xr.Variable("column", np.sqrt(covariance[:, 0, 0]), length),
        "y_std": xr.Variable("column", np.sqrt(covariance[:, 1, 1]), length),
        "xy_covariance": xr.Variable(axes, covariance, {"units": "Å²"}),
        "amplitude": xr.Variable("column", columns.amplitude, {"units": "Å"}),
        "amplitude_std": xr.Variable("column", columns.amplitude_std, {"units": "Å"}),
    }


def _undetermined(columns: ParticleColumns, frames: int) -> dict[str, str]:
    """Say how many columns are not told, and what it takes."""
    if columns.typical_std < UNSURE / 2:
        return {}
    needed = int(np.ceil(frames * (2 * columns.typical_std / UNSURE) ** 2))
    return {
        "undetermined": f"columns: {len(columns.places)} of up to {columns.candidates} stand out, "
        f"a typical one would be known to {columns.typical_std:.2f} Å; about {needed} frames like "
        f"{'these' if frames > 1 else 'this'} would tell them"
    }
