"""Where multislice ptychography of a thick crystal starts: atoms at the sites of its lattice.

From vacuum, M columns beyond 5 nm end in minima of the misfit that are not the lowest: their phases
come out a third too small and they stand up to 6 pm beside their place. O and Li columns do not,
and the lattice is right. So the second reconstruction starts from full columns at all its sites,

    phi(Q) = sigma (h² / 2 pi m e) sum_k n f_k(Q) exp(-b Q² - 2 pi i Q r_k),    n = t / spacing,

the same n for every column: the close-packed layers of oxygen give atoms every ``2 A / sqrt(3)``
along [010]. It is a start only: the counts move and change every column.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.acquisition import rotate
from echolith.forward.optics import interaction_constant
from echolith.inverse.column_profiles import Scattering
from echolith.inverse.counts_columns import VOLT_ANGSTROM_SQUARED
from echolith.inverse.iterative_ptychography_descent import Problem, State
from echolith.inverse.site_lattice import MATCH, sites_of

Array = npt.NDArray[np.float64]

BLUR = 0.15
"""Å², b of thermal motion: a Debye-Waller factor of 0.6 Å², as in the columns' fit."""
SURROUNDINGS = 3.5
"""Å beyond the scan that are filled too: probes at the border reach there."""


def lattice_columns(found: xr.Dataset, phase: xr.DataArray) -> xr.Dataset:
    """Return a column at every site of the layered oxide's lattice, in the scan and around it.

    Parameters
    ----------
    found : xarray.Dataset
        ``x``, ``y`` (Å) of columns found blindly (`find_columns`).
    phase : xarray.DataArray
        The image they were found on.

    Returns
    -------
    xarray.Dataset
        Over ``column``: ``x``, ``y`` (Å, scan frame) and ``species``; ``spacing`` (Å), of the
        atoms along the beam. Inside the scan the lattice follows the found columns; outside it
        goes on as the affine lattice nearest to that.

    Raises
    ------
    BadInputError
        If few of the columns lie on the lattice of a layered oxide.
    """
    sites = sites_of(found, phase)
    sites = sites.isel(column=np.flatnonzero(sites["site"].values != "T"))
    a, c, o = np.reshape(sites.attrs["lattice"], (3, 2))
    offsets = {("M", 0): 0 * a, ("Li", 0): c / 2, ("O", 1): o, ("O", -1): -o}
    inside = np.stack([sites["x"].values, sites["y"].values], axis=-1)
    kinds = list(zip(sites["site"].values.tolist(), sites["sign"].values.tolist(), strict=True))
    index = np.stack([sites["lattice_i"].values, sites["lattice_j"].values], axis=-1)
    ideal = index @ np.stack([a, c]) + np.array([offsets[kind] for kind in kinds])
    affine = np.linalg.lstsq(_with_one(ideal), inside, rcond=None)[0]
    xy, species = [inside], [sites["site"].values.astype("<U2")]
    around = _nodes(index) @ np.stack([a, c])
    for (name, _), offset in offsets.items():
        placed = _with_one(around + offset) @ affine
        new = _around(placed, inside, phase)
        xy.append(placed[new])
        species.append(np.full(int(new.sum()), name, dtype="<U2"))
    points = np.concatenate(xy)
    return xr.Dataset(
        {
            "x": ("column", points[:, 0], {"units": "Å"}),
            "y": ("column", points[:, 1], {"units": "Å"}),
            "species": ("column", np.concatenate(species), {"units": "1"}),
            "spacing": ((), 2 * float(np.hypot(*(a @ affine[1:]))) / np.sqrt(3), {"units": "Å"}),
        }
    )


def _with_one(xy: Array) -> Array:
    return np.column_stack([np.ones(len(xy)), xy])


def _nodes(index: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the lattice's indices in and around a field, (n, 2)."""
    low, high = index.min(axis=0) - 3, index.max(axis=0) + 4
    return np.stack(
        np.meshgrid(*(np.arange(*ends) for ends in zip(low, high, strict=True))), axis=-1
    ).reshape(-1, 2)


def _around(xy: Array, inside: Array, phase: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Tell which points lie in the scan or not far outside, and on none of the sites inside."""
    beyond = np.zeros(len(xy))
    for at, name in zip(xy.T, ("scan_x", "scan_y"), strict=True):
        axis = phase[name].values
        beyond = np.maximum(beyond, np.maximum(axis[0] - at, at - axis[-1]))
    return np.asarray((beyond < SURROUNDINGS) & (cKDTree(inside).query(xy)[0] > MATCH))


def column_start(problem: Problem, columns: xr.Dataset) -> State:
    """Begin with full columns, alike in all slices, in place of vacuum.

    Parameters
    ----------
    problem : Problem
    columns : xarray.Dataset
        As from `lattice_columns`.

    Raises
    ------
    BadInputError
        If places, species or spacing are missing.
    """
    missing = [name for name in ("x", "y", "species", "spacing") if name not in columns]
    if missing:
        raise BadInputError(
            f"the columns to start from lack {', '.join(missing)}; give x and y in Å, species "
            "and the spacing of atoms along the beam in Å, as lattice_columns returns"
        )
    options = problem.options
    atoms = options.distance / float(columns["spacing"])
    atom = interaction_constant(problem.beam.energy) * VOLT_ANGSTROM_SQUARED
    slice_ = atoms * atom * _column_sum(problem, columns)
    phase = np.repeat(slice_[None].astype(np.float32), options.slices, axis=0)
    return replace(problem.start(), phase=phase)


def _column_sum(problem: Problem, columns: xr.Dataset) -> Array:
    """Return scattering factors at their places on the object's raster, 1/Å, (y, x)."""
    grid, scan = problem.grid, problem.frames.acquisition.scan
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1).astype(float)
    at = rotate(xy, scan.rotation) - np.array(grid.origin[::-1])
    fy, fx = (np.fft.fftfreq(n, d) for n, d in zip(grid.shape, grid.box.sampling, strict=True))
    q = np.hypot(fy[:, None], fx[None])
    species, total = columns["species"].values, np.zeros(grid.shape, dtype=complex)
    for name in np.unique(species):
        rows, along = at[species == name, 1], at[species == name, 0]
        waves = np.exp(-2j * np.pi * np.outer(fy, rows)) @ np.exp(-2j * np.pi * np.outer(along, fx))
        total += Scattering().form_factor(str(name), q) * waves
    total *= np.exp(-BLUR * q**2) * (q < 0.5 / max(grid.box.sampling))
    return np.asarray(np.fft.ifft2(total).real / np.prod(grid.box.sampling))
