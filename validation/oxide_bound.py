"""What exposures of a shell of oxide tell of its mean thickness and of the rotation of a grain.

A thicker shell shows more fringes at its rim: the slope of the mean image with thickness is taken
between shells of one ångström more and less than in the middle exposure, so that it does not hang
on single layers of atoms. A rotation turns the fringes inside a grain whose outline is known and
whose complex amplitudes and lattice are not, as in `echolith.validation.hrtem_bound`.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.oxide_movie import exposure, oxide_mean
from echolith.protocols import Noise
from echolith.structures.oxide_truth import excited_reflections, shell_truth
from echolith.validation.hrtem_bound import image_components
from echolith.validation.information import Information

if TYPE_CHECKING:
    from echolith.validation.scenarios.li_oxide import OxideCase

Array = npt.NDArray[np.float64]

CHANGE = 1.0
"""Å, of the thickness to each side."""
RADIUS = 0.1
"""1/Å about a reflection that is taken for its fringes."""


def oxide_information(case: "OxideCase", *, noise: Noise) -> Information:
    """Return the information of all exposures on ``mean_thickness`` and ``first_rotation``.

    Parameters
    ----------
    case : OxideCase
    noise : Noise

    Raises
    ------
    BadInputError
        If the largest grain shows no reflection.
    """
    frames = oxide_mean(case.grains, taken=case.movie)["counts"].values.astype(float)
    middle = float(np.median(case.movie.thicknesses(case.grains)))
    thicker, thinner = (
        exposure(case.grains, max(middle + change, 0.0), taken=case.movie).astype(float)
        for change in (CHANGE, -CHANGE)
    )
    slope = (thicker - thinner) / (CHANGE + min(CHANGE, middle))
    turned = _fringe_slopes(case, frames.mean(axis=0), middle)
    count = len(frames)
    jacobian = np.concatenate(
        [
            np.concatenate([np.outer(slope.ravel(), np.eye(count)[n]), turned], axis=1)
            for n in range(count)
        ]
    )
    names = [f"thickness of {n}" for n in range(count)]
    names += ["first_rotation", "strain", *(f"amplitude {n}" for n in range(turned.shape[1] - 2))]
    unit = np.eye(len(names))
    return Information(
        names=tuple(names),
        matrix=noise.information(frames.ravel(), jacobian),
        gradients={
            "mean_thickness": unit[:count].mean(axis=0, keepdims=True),
            "first_rotation": unit[count : count + 1],
        },
        units={"mean_thickness": "Å", "first_rotation": "°"},
        notes=(
            "Of electrons alone: where a face lies between two layers of atoms, 0.35 Å on six "
            "faces, no number of electrons tells.",
            "Outlines of metal and grains are known.",
        ),
    )


def _fringe_slopes(case: "OxideCase", image: Array, thickness: float) -> Array:
    """Return slopes of the largest grain's fringes with rotation (°), strain and amplitudes."""
    acquisition = case.movie.acquisition
    pixel = acquisition.pixel
    truth = shell_truth(case.grains, thickness, shape=acquisition.shape, pixel=pixel)
    first = int(truth["grain_area"].values.argmax())
    inside = truth["grain"].values == first + 1
    g = excited_reflections(case.grains, first, thickness=float(truth["grain_depth"][first]))
    if not len(g):
        raise BadInputError(
            "the largest grain shows no strong reflection, so its rotation is not told; expected "
            "shell.zone_axis = [1,1,0], or another seed"
        )
    y, x = (pixel * (np.arange(n) - n / 2) for n in image.shape)
    parts = inside * image_components(image, g, pixel, radius=RADIUS)
    across = 2j * np.pi * (g[:, 0, None, None] * y[:, None] - g[:, 1, None, None] * x)
    away = 2j * np.pi * (g[:, 0, None, None] * x + g[:, 1, None, None] * y[:, None])
    slopes = [
        (parts * across).sum(axis=0) * np.pi / 180,
        -(parts * away).sum(axis=0),
        *parts,
        *(1j * parts),
    ]
    return np.stack([2 * one.real.ravel() for one in slopes], axis=1)
