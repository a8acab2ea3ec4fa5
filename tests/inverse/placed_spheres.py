"""Spheres seen from anywhere, in closed form: a tilt series with known placement."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.tilts import centres

Array = npt.NDArray[np.float64]

SIZE = 67.0
ABSORPTION = 0.1 / SIZE
FINE = 2
"""Sub-rays along each side of a pixel."""


def spheres(n: int, count: int, seed: int) -> Array:
    """Return (count, 4): x, y, z and radius, Å, inside a field of n pixels at every tilt."""
    rng = np.random.default_rng(seed)
    found: list[list[float]] = []
    while len(found) < count:
        x, y, z = rng.uniform(-0.32, 0.32, 3) * n * SIZE
        if np.hypot(x, z) < 0.32 * n * SIZE:
            found.append([x, y, z, rng.uniform(0.04, 0.09) * n * SIZE])
    return np.array(found)


def placement(
    tilts: Array, energies: int, seed: int, *, shift: float = 4.0, turned: bool = True
) -> xr.Dataset:
    """Return a placement: shifts up to so many pixels, rotations of 0.3°, scales of 0.2 %."""
    rng = np.random.default_rng(seed)
    over, shape = ("energy", "tilt"), (energies, len(tilts))
    part = float(turned)
    return xr.Dataset(
        {
            "shift_x": (over, rng.uniform(-shift, shift, shape) * SIZE),
            "shift_y": (over, rng.uniform(-shift, shift, shape) * SIZE),
            "rotation": (over, part * rng.uniform(-0.3, 0.3, shape)),
            "scale": (over, 1 + part * rng.uniform(-2e-3, 2e-3, shape)),
            "axis_offset": 1.7 * SIZE,
            "axis_tilt": 0.4 * part,
        },
        coords={"energy": 700.0 + np.arange(energies), "tilt": tilts},
    )


def seen(bodies: Array, strengths: Array, where: xr.Dataset, n: int) -> xr.DataArray:
    """Return optical densities (energy, tilt, y, x): chords, averaged over each pixel.

    ``strengths`` (energy, sphere) is in units of `ABSORPTION`.
    """
    at = centres(n * FINE, SIZE / FINE)
    images = np.zeros((*where["shift_x"].shape, n * FINE, n * FINE))
    for e, t in np.ndindex(where["shift_x"].shape):
        one = where.isel(energy=e, tilt=t)
        tilt, turn, lean = np.deg2rad(
            [float(one[name]) for name in ("tilt", "rotation", "axis_tilt")]
        )
        for (x, y, z, radius), strength in zip(bodies, strengths[e], strict=True):
            across = x * np.cos(tilt) + z * np.sin(tilt)
            # As complex numbers, x + i y: turned by the axis's tilt, moved, turned, scaled, moved.
            point = (across + 1j * y) * np.exp(1j * lean) + float(one["axis_offset"])
            point *= float(one["scale"]) * np.exp(1j * turn)
            point += float(one["shift_x"]) + 1j * float(one["shift_y"])
            off = np.abs(at[None, :] + 1j * at[:, None] - point) / float(one["scale"])
            chord = 2 * np.sqrt(np.maximum(radius**2 - off**2, 0))
            images[e, t] += strength * ABSORPTION * chord
    means = images.reshape(*where["shift_x"].shape, n, FINE, n, FINE).mean(axis=(3, 5))
    return xr.DataArray(
        means,
        dims=("energy", "tilt", "y", "x"),
        coords={
            "energy": where["energy"],
            "tilt": where["tilt"],
            "y": centres(n, SIZE),
            "x": centres(n, SIZE),
        },
    )


def counted(density: xr.DataArray, *, photons: float, seed: int) -> xr.Dataset:
    """Return Poisson counts, and the counts without specimen."""
    counts = np.random.default_rng(seed).poisson(photons * np.exp(-density.values))
    return xr.Dataset({"counts": density.copy(data=counts.astype(float)), "incident": photons})
