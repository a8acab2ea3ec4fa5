"""Spheres, whose projections are known in closed form, with counting noise: tomography's data."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.tilts import Tilts, centres

Array = npt.NDArray[np.float64]

SIZE = 67.0
"""Of a voxel, Å."""
ABSORPTION = 0.1 / SIZE
SPHERES = ((0.15, -0.1, 0.2, 0.2), (-0.45, 0.3, -0.2, 0.13), (0.1, 0.35, -0.5, 0.17))
"""z, y, x and radius, in units of half the field."""
FINE = 3
"""Sub-rays and sub-voxels along each axis."""


def series(step: float) -> Tilts:
    return Tilts(angles=tuple(np.arange(-80, 77.1, step)), voxel_size=SIZE)


def truth_of(n: int, slices: int) -> Array:
    """Return the mean absorption of every voxel, (z, y, x), 1/Å."""
    half = n * SIZE / 2
    fine = centres(n * FINE, SIZE / FINE)
    rows = centres(slices * FINE, SIZE / FINE)
    inside = np.zeros((n * FINE, slices * FINE, n * FINE), dtype=bool)
    for z, y, x, radius in np.multiply(SPHERES, half):
        squared = (fine[:, None, None] - z) ** 2 + (rows[:, None] - y) ** 2 + (fine - x) ** 2
        inside |= squared < radius**2
    parts = inside.reshape(n, FINE, slices, FINE, n, FINE)
    return np.asarray(parts.mean(axis=(1, 3, 5)) * ABSORPTION)


def densities(tilts: Tilts, n: int, slices: int, shift: Array | float = 0.0) -> xr.DataArray:
    """Return exact optical densities, means over sub-rays of each pixel."""
    half = n * SIZE / 2
    shifts = np.broadcast_to(shift, len(tilts.angles))
    seen = np.zeros((len(tilts.angles), slices * FINE, n * FINE))
    rows = centres(slices * FINE, SIZE / FINE)[:, None]
    for z, y, x, radius in np.multiply(SPHERES, half):
        for t, angle in enumerate(tilts.radians):
            place = x * np.cos(angle) + z * np.sin(angle) + shifts[t] + tilts.axis_offset
            squared = (centres(n * FINE, SIZE / FINE) - place) ** 2 + (rows - y) ** 2
            seen[t] += 2 * np.sqrt(np.maximum(radius**2 - squared, 0)) * ABSORPTION
    means = seen.reshape(len(shifts), slices, FINE, n, FINE).mean(axis=(2, 4))
    at = {"tilt": list(tilts.angles), "y": centres(slices, SIZE), "x": centres(n, SIZE)}
    return xr.DataArray(means, dims=("tilt", "y", "x"), coords=at)


def counted(density: xr.DataArray, *, photons: float, seed: int) -> xr.Dataset:
    """Return Poisson counts behind the specimen, and the counts without it."""
    counts = np.random.default_rng(seed).poisson(photons * np.exp(-density.values))
    return xr.Dataset({"counts": density.copy(data=counts.astype(float)), "incident": photons})


def error_of(estimate: npt.ArrayLike, truth: npt.NDArray[np.floating]) -> float:
    return float(np.linalg.norm(np.asarray(estimate) - truth) / np.linalg.norm(truth))
