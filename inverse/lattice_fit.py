"""Spacing and rotation of a detected lattice by maximum likelihood, all reflections together.

The model is that of `echolith.inverse.lattice_maps`: one outline of the particle, reflections tied
to one lattice, an amplitude of its own for each.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_detection import Detection
from echolith.inverse.lattice_maps import (
    Complex,
    Cutter,
    Level,
    Maps,
    Reflections,
    expected_strengths,
    peak_std,
    posterior,
)

Array = npt.NDArray[np.float64]

SMALLEST_OUTLINE = 8.0
"""Å."""
ROUNDS = 2
"""The distribution is summed with the width at its peak, then with the width found."""


@dataclass(frozen=True, kw_only=True)
class LatticeFit:
    """A lattice with standard deviations.

    Attributes
    ----------
    spacing, spacing_std : float
        Of the shortest reflection, Å.
    rotation, rotation_std : float
        Degree from x towards y.
    reflections : array, (n, 2)
        xy, 1/Å, one of each Friedel pair.
    strengths : array, (n,)
        Expected power of the reflections over noise.
    amplitudes : array of complex, (n,)
        With the phases at the centre.
    centre : array, (2,)
        Of the outline (y, x), Å.
    radius : float
        Where the outline ends, Å.
    width : float
        1/Å; farther from a reflection there is less of it than of noise.
    """

    spacing: float
    spacing_std: float
    rotation: float
    rotation_std: float
    reflections: Array
    strengths: Array
    amplitudes: Complex
    centre: Array
    radius: float
    width: float


def fit_lattice(
    image: Array, *, acquisition: HrtemAcquisition, level: Level, start: Detection
) -> LatticeFit:
    """Refine a detected lattice.

    Spacing and rotation are the mean, and their uncertainty the standard deviation, of the
    distribution ``exp(sum_g w_g Q_g)`` about its peak: with few electrons it is wider than the
    curvature at the peak tells.

    Parameters
    ----------
    image : array, (ny, nx)
    acquisition : HrtemAcquisition
    level : (array, array)
        From `echolith.inverse.lattice_detection.noise_power`.
    start : Detection
    """
    kept = Reflections.of(
        start.zone_axis, spacing=start.spacing, rotation=start.rotation, pixel=acquisition.pixel
    )
    maps = Cutter(kept.g, acquisition=acquisition, shape=image.shape)(image, level)
    peak, centre, radius, height = _peak(maps, kept, start)
    outline = maps.outline(centre, radius)
    g = kept.at(*peak)
    heights = maps.likelihood(g[None], outline)[0]
    strengths = expected_strengths(heights, g)
    mean, std = peak, peak_std(maps, g, outline, heights)
    for _ in range(ROUNDS):
        found = posterior(maps, kept, outline, strength=strengths, mean=mean, std=std)
        mean, std = found.mean, found.std
    spacing = start.spacing * (1 + float(mean[0]))
    turn, turn_std = np.degrees([mean[1], std[1]]).tolist()
    reflections = kept.at(*mean)
    return LatticeFit(
        spacing=spacing,
        spacing_std=spacing * float(std[0]),
        rotation=start.rotation + turn,
        rotation_std=turn_std,
        reflections=reflections,
        strengths=strengths,
        amplitudes=maps.amplitudes(reflections, outline, centre)[0],
        centre=centre,
        radius=radius,
        # Peaks of an outline that ends with a bend fall off as (pi R q)^-5.
        width=2 / (np.pi * radius) * max(1.0, height) ** 0.2,
    )


def _peak(maps: Maps, kept: Reflections, start: Detection) -> tuple[Array, Array, float, float]:
    """Return strain and turn, centre and radius of the outline where Q is greatest, and Q."""
    width = 0.5 * start.window.radius
    # Steps that are felt alike: part of the width of a peak, part of the outline.
    scale = np.array([0.2 / width, 0.2 / width, 0.3 * width, 0.3 * width, 0.3])

    def place(p: Array) -> tuple[Array, float]:
        radius = max(1.2 * width * float(np.exp(p[4])), SMALLEST_OUTLINE)
        return np.array(start.window.centre) + p[2:4], radius

    def loss(steps: Array) -> float:
        p = steps * scale
        return -float(maps.likelihood(kept.at(p[0], p[1])[None], maps.outline(*place(p))).sum())

    options = {
        "initial_simplex": np.vstack([np.zeros(5), np.eye(5)]),
        "xatol": 1e-2,
        "fatol": 1e-3,
        "maxfev": 600,
    }
    found = minimize(loss, np.zeros(5), method="Nelder-Mead", options=options)
    p = scale * np.asarray(found.x)
    return p[:2], *place(p), -float(found.fun)
