"""Frames of a lattice under a dome, drawn without the house's simulator."""

from typing import Any

import numpy as np
import xarray as xr
from scipy import fft

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_transfer import relative_transfer
from echolith.zone_axes import Zone, projected_reflections

PIXEL = 0.4
SHAPE = (128, 144)
ELECTRONS = 6.4
"""In a pixel."""
ACQUISITION = HrtemAcquisition(shape=SHAPE, pixel=PIXEL)
LI110 = 3.51 / np.sqrt(2)
CENTRE = (25.0, 29.0)
RADIUS = 22.0
"""Of the dome, Å."""


def lattice(
    zone: Zone, spacing: float, rotation: float, *, shift: tuple[float, float] = (0.0, 0.0)
) -> Any:
    """Fringes of a zone's reflections under a dome, of falling amplitude, each with its slope."""
    y, x = (PIXEL * np.arange(n) - s for n, s in zip(SHAPE, shift, strict=True))
    dome = np.maximum(1 - ((y[:, None] - CENTRE[0]) ** 2 + (x - CENTRE[1]) ** 2) / RADIUS**2, 0)
    ky, kx = (fft.fftfreq(n, PIXEL) for n in SHAPE)
    g = projected_reflections(zone, spacing=spacing, rotation=rotation)
    total = np.zeros(SHAPE)
    for a, b in g[np.hypot(*g.T) < 0.85]:
        wave = np.exp(2j * np.pi * (a * x + b * y[:, None]) + 0.7j - 8 * (a * a + b * b))
        slope = relative_transfer(ACQUISITION, reflection=np.array([a, b]), ky=ky, kx=kx)
        total += fft.ifft2(fft.fft2(wave * dome) * slope).real
    return total


def movie(*relative: Any, seed: int, electrons: float = ELECTRONS) -> xr.Dataset:
    """Frames of counts, 1 + ``relative`` times as many as ``electrons``."""
    mean = electrons * np.maximum(1 + np.stack(relative), 0)
    counts = np.random.default_rng(seed).poisson(mean)
    attributes = {"hrtem": ACQUISITION.model_dump_json()}
    return xr.Dataset({"counts": (("frame", "y", "x"), counts)}, attrs=attributes)
