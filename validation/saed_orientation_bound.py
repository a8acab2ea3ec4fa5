"""How well the electrons in the spots of a crystal tell where the beam goes through it."""

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from echolith.forward.saed import detector_places, saed_mean, transmission
from echolith.forward.saed_spots import SingleCrystal, crystal_spots
from echolith.units import Degree
from echolith.validation.saed_bound import SaedCase

Array = npt.NDArray[np.float64]

TURN, PART = 1e-3, 1e-3
"""Degree, and part of the thickness, for slopes."""


def tilt_bound(case: SaedCase) -> Degree:
    """Return the least standard deviation of the beam's direction in the first crystal, degree.

    Cramér-Rao for counting alone, near the truth: thickness and scale are unknown too, rings and
    background known. Infinite where the spots do not tell it.
    """
    crystal, acquisition = case.specimen.crystals[0], case.acquisition
    reach = float(np.arctan(acquisition.reach / acquisition.distance))
    spots = crystal_spots(crystal, energy=acquisition.energy, reach=reach)
    hkl, electrons = spots.hkl, acquisition.electrons * spots.share
    smooth = case.specimen.model_copy(update={"crystals": ()})
    level = saed_mean(smooth, acquisition=acquisition)["counts"].values
    x, y = np.rint(detector_places(spots.tangent * acquisition.distance, acquisition)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < level.shape[1]) & (y < level.shape[0])
    at = (np.clip(y, 0, level.shape[0] - 1), np.clip(x, 0, level.shape[1] - 1))
    seen = inside & (transmission(acquisition)[at] > 0.99)
    variance = electrons + 4 * np.pi * acquisition.width**2 * level[at]
    columns = [electrons]
    for sides in _neighbours(crystal):
        strength = []
        for one in sides:
            near = crystal_spots(one, energy=acquisition.energy, reach=1.01 * reach)
            known = {tuple(h): s for h, s in zip(near.hkl.tolist(), near.share, strict=True)}
            strength.append(np.array([known.get(tuple(h), 0.0) for h in hkl.tolist()]))
        columns.append(acquisition.electrons * (strength[1] - strength[0]) / 2)
    jacobian = np.stack(columns, axis=1)[seen] / np.sqrt(variance[seen, None])
    information = jacobian.T @ jacobian
    if np.linalg.matrix_rank(jacobian) < len(columns):
        return float("inf")
    covariance = np.linalg.inv(information)
    return TURN * float(np.sqrt(covariance[1, 1] + covariance[2, 2]))


def _neighbours(crystal: SingleCrystal) -> list[tuple[SingleCrystal, SingleCrystal]]:
    """Return the crystal tilted about x, about y, thinner and thicker, either way."""
    pairs = []
    for axis in (0, 1):
        sides = []
        for sign in (-1, 1):
            vector = np.zeros(3)
            vector[axis] = sign * TURN
            turned = Rotation.from_rotvec(vector, degrees=True) * Rotation.from_matrix(
                crystal.rotation
            )
            orientation = tuple(turned.as_rotvec(degrees=True).tolist())
            sides.append(crystal.model_copy(update={"orientation": orientation}))
        pairs.append((sides[0], sides[1]))
    thin, thick = (
        crystal.model_copy(update={"thickness": crystal.thickness * (1 + sign * PART)})
        for sign in (-1, 1)
    )
    return [*pairs, (thin, thick)]
