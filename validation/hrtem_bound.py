"""What one frame of high-resolution TEM tells of spacing and rotation of a lattice.

The image is ``sum_g A_g(r) exp(2 pi i g r)``. Spacing and rotation move all g together; the shape
of every A_g(r), that of the particle, is given, its complex amplitude unknown: nobody knows focus,
thickness and place of the lattice well enough. So the bound is that of solvers that know the
outline of the particle and no structure factor.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.protocols import Noise
from echolith.validation.information import Information
from echolith.zone_axes import projected_reflections

Array = npt.NDArray[np.float64]

LARGEST = 1.2
"""1/Å; reflections beyond carry nothing of lithium or sodium at room temperature."""


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


def image_components(
    image: Array, g: Array, pixel: float, *, radius: float
) -> npt.NDArray[np.complex128]:
    """Return the part of an image about each reflection, (reflections, y, x)."""
    spectrum = fft.fft2(image)
    ky, kx = (fft.fftfreq(n, pixel) for n in image.shape)
    return np.stack(
        [fft.ifft2(spectrum * (np.hypot(ky[:, None] - one[1], kx - one[0]) < radius)) for one in g]
    )
