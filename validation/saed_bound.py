"""What the rings and the background of a diffraction pattern tell of its geometry."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from echolith.forward.noise import PoissonCounting
from echolith.forward.saed import (
    SaedAcquisition,
    SaedSpecimen,
    background,
    rings,
    saed_mean,
    transmission,
    undistorted_radius,
)
from echolith.inverse.saed_geometry import (
    NAMES,
    UNITS,
    Geometry,
    pixel_places,
    radius_and_slopes,
)
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]

SPOT = 0.02
"""Of rings and background, from which a pixel belongs to a spot and is left out."""
DEGREE = 7
"""Of the polynomial that multiplies the background."""
STEP = 0.02
"""Pixels, for slopes by radius."""


@dataclass(frozen=True, kw_only=True)
class SaedCase:
    """What is in the beam and how its pattern is taken."""

    specimen: SaedSpecimen
    acquisition: SaedAcquisition


def saed_information(case: SaedCase) -> Information:
    """Return the information on centre, stretch and camera constant.

    Unknown beside them are the electrons in the rings of each phase and a polynomial that
    multiplies the background.
    """
    acquisition = case.acquisition
    radius = undistorted_radius(acquisition)
    seen = transmission(acquisition)
    parts = [
        np.stack([rings(one, radius + shift, acquisition) for shift in (-STEP, 0, STEP)])
        for one in case.specimen.polycrystals
    ]
    level = np.stack([background(radius + shift, acquisition) for shift in (-STEP, 0, STEP)])
    bragg = sum(parts, start=np.zeros_like(level))
    smooth = bragg[1] + level[1]
    mean = smooth * seen + acquisition.dark
    whole = saed_mean(case.specimen, acquisition=acquisition)["counts"].values
    used = ~binary_dilation(whole - mean > SPOT * smooth, iterations=1) & (seen > 0.999)
    slope = ((bragg + level)[2] - (bragg + level)[0])[used] / (2 * STEP)
    ring_slope = (bragg[2] - bragg[0])[used] / (2 * STEP)
    geometry = Geometry(values=np.array([*acquisition.middle, *acquisition.stretch]))
    _, by_value = radius_and_slopes(pixel_places(acquisition.shape)[used], geometry)
    place = 2 * radius[used] / radius[used].max() - 1
    columns = [
        slope[:, None] * by_value,
        (-ring_slope * radius[used])[:, None],
        *(one[1][used][:, None] for one in parts),
        level[1][used][:, None] * np.polynomial.legendre.legvander(place, DEGREE),
    ]
    jacobian = np.hstack(columns)
    names = (
        *NAMES,
        "camera_scale",
        *(f"electrons_{one.phase.name}" for one in case.specimen.polycrystals),
        *(f"background_{n}" for n in range(DEGREE + 1)),
    )
    asked = (*NAMES, "camera_scale")
    rows = np.eye(len(names))
    return Information(
        names=names,
        matrix=PoissonCounting().information(mean[used], jacobian),
        gradients={name: rows[names.index(name)][None] for name in asked},
        units=dict(zip(asked, (*UNITS, "1"), strict=True)),
        notes=("Of rings and background; spots and the pixels under them are not counted.",),
    )
