"""What frames of high-resolution TEM tell of spacing and rotation of a lattice, and of columns.

The image is ``sum_g A_g(r) exp(2 pi i g r)``. Spacing and rotation move all g together; the shape
of every A_g(r), that of the particle, is given, its complex amplitude unknown: nobody knows focus,
thickness and place of the lattice well enough. So the bound is that of solvers that know the
outline of the particle and no structure factor.

Of columns each by itself, places and amplitudes all unknown, the bound is that of a weak phase
object: the image of a column is that of one of its atoms, times their number. All frames of a movie
count, as if the way of the particle were known.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft, linalg

from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.protocols import Noise
from echolith.validation.information import Information
from echolith.zone_axes import projected_reflections

Array = npt.NDArray[np.float64]

LARGEST = 1.2
"""1/Å; reflections beyond carry nothing of lithium or sodium at room temperature."""

NOTHING = 1e-3
"""Of the largest power of a column's image; frequencies with less are left out."""


def frame_information(mean: xr.Dataset, truth: xr.Dataset, *, noise: Noise) -> Information:
    """Return the information of the first frame on ``spacing`` (Å) and ``rotation`` (°).

    Parameters
    ----------
    mean : xarray.Dataset
        Expected counts as from `echolith.forward.hrtem.hrtem_mean`.
    truth : xarray.Dataset
        With ``spacing``, ``rotation`` and ``zone_axis``.
    noise : Noise
    """
    pixel = hrtem_acquisition_of(mean).pixel
    image = np.asarray(mean["counts"].isel(frame=0).values, dtype=float)
    u, v, w = (int(n) for n in truth["zone_axis"].values)
    spacing, rotation = float(truth["spacing"]), float(truth["rotation"])
    g = projected_reflections((u, v, w), spacing=spacing, rotation=rotation)
    g = g[(np.abs(g) < 0.5 / pixel).all(axis=1) & (np.hypot(*g.T) < LARGEST)]
    y, x = (pixel * (np.arange(n) - n / 2) for n in image.shape)
    parts = image_components(image, g, pixel, radius=0.5 * float(np.hypot(*g.T).min()))
    away = 2j * np.pi * (g[:, 0, None, None] * x + g[:, 1, None, None] * y[:, None])
    across = 2j * np.pi * (g[:, 0, None, None] * y[:, None] - g[:, 1, None, None] * x)
    slopes = [
        (-parts * away).sum(axis=0) / spacing,
        (parts * across).sum(axis=0) * np.pi / 180,
        *parts,
        *(1j * parts),
    ]
    jacobian = np.stack([2 * slope.real.ravel() for slope in slopes], axis=1)
    names = [f"{part} of {n}" for part in ("real", "imaginary") for n in range(len(g))]
    unit = np.eye(len(slopes))
    return Information(
        names=("spacing", "rotation", *names),
        matrix=noise.information(image.ravel(), jacobian),
        gradients={"spacing": unit[:1], "rotation": unit[1:2]},
        units={"spacing": "Å", "rotation": "°"},
        notes=("Of one frame; the outline of the particle is known, no structure factor is.",),
    )


def movie_information(
    mean: xr.Dataset, truth: xr.Dataset, *, column: Array, noise: Noise
) -> Information:
    """Return the information of all frames on ``spacing``, ``rotation`` and ``columns`` (Å).

    Parameters
    ----------
    mean : xarray.Dataset
        Expected counts as from `echolith.forward.hrtem.hrtem_mean`.
    truth : xarray.Dataset
        As for `frame_information`, with ``x``, ``y`` (Å) and ``column_atoms``.
    column : array, (ny, nx)
        From `column_image`.
    noise : Noise
    """
    lattice, frames = frame_information(mean, truth, noise=noise), mean.sizes["frame"]
    own = frames * _column_information(mean, truth, column, noise)
    n, m = len(lattice.names), len(own)
    kinds = ("amplitude", "y", "x")
    names = [f"{kind} of column {k}" for kind in kinds for k in range(m // 3)]
    places = np.eye(n + m)[n + m // 3 :]
    gradients = {name: np.pad(row, ((0, 0), (0, m))) for name, row in lattice.gradients.items()}
    return Information(
        names=(*lattice.names, *names),
        matrix=linalg.block_diag(frames * lattice.matrix, own),
        gradients={**gradients, "columns": places},
        units={**lattice.units, "columns": "Å"},
        notes=(
            "Of all frames; the outline of the particle and its way are known, no structure factor "
            "is.",
            "Columns: root mean square over all, each with a place and an amplitude of its own.",
        ),
    )


def column_image(mean: xr.Dataset) -> Array:
    """Return the image of one atom in the middle of the field, over the mean count, less 1."""
    image = np.asarray(mean["counts"].isel(frame=0).values, dtype=float)
    return np.asarray(image / image.mean() - 1)


def _column_information(mean: xr.Dataset, truth: xr.Dataset, column: Array, noise: Noise) -> Array:
    """Return the information of a frame on amplitudes, y and x of all columns."""
    pixel = hrtem_acquisition_of(mean).pixel
    image = np.asarray(mean["counts"].isel(frame=0).values, dtype=float)
    # Of an even image: the noise of what a particle adds is left out.
    weight = float(noise.information(np.array([image.mean()]), np.ones((1, 1)))[0, 0])
    ky, kx = (2 * np.pi * fft.fftfreq(n, pixel) for n in image.shape)
    atoms = truth["column_atoms"].values.astype(float)
    places = np.stack([truth["y"].values, truth["x"].values], axis=1)
    # One of each two opposite frequencies, for both.
    power = 2 * np.abs(fft.fft2(image.mean() * column)) ** 2 * weight / image.size
    half = (kx > 0) | ((kx == 0) & (ky[:, None] > 0))
    k = np.argwhere(half & (power > NOTHING * power.max()))
    ky, kx, power = ky[k[:, 0]], kx[k[:, 1]], power[k[:, 0], k[:, 1]]
    waves = np.exp(-1j * (np.outer(ky, places[:, 0]) + np.outer(kx, places[:, 1])))
    waves *= np.sqrt(power)[:, None]
    scaled = waves * atoms
    parts = np.hstack([waves, -1j * ky[:, None] * scaled, -1j * kx[:, None] * scaled])
    return np.asarray((parts.conj().T @ parts).real)


def image_components(
    image: Array, g: Array, pixel: float, *, radius: float
) -> npt.NDArray[np.complex128]:
    """Return the part of an image about each reflection, (reflections, y, x)."""
    spectrum = fft.fft2(image)
    ky, kx = (fft.fftfreq(n, pixel) for n in image.shape)
    return np.stack(
        [fft.ifft2(spectrum * (np.hypot(ky[:, None] - one[1], kx - one[0]) < radius)) for one in g]
    )
