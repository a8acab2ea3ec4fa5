"""What stands before the detector of far-field frames, and what it adds: attenuator, background."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from echolith.forward.acquisition import Settings

Singles = npt.NDArray[np.float32]


class CentralAttenuator(Settings):
    """A semi-transparent disc over the centre of the frames; transmission 0 is a beam stop."""

    radius: Annotated[float, Field(gt=0, le=1)] = 0.2
    """As a share of half a frame."""
    transmission: Annotated[float, Field(ge=0, le=1)] = 0.1


def detector_transmission(attenuator: CentralAttenuator | None, pixels: int) -> Singles:
    """Return the share of photons that reaches every pixel, (pixels, pixels), its edge 1 px soft.

    Examples
    --------
    >>> float(detector_transmission(CentralAttenuator(), 64)[32, 32])
    0.10000000149011612
    """
    if attenuator is None:
        return np.ones((pixels, pixels), dtype=np.float32)
    axis = np.arange(pixels) - pixels // 2
    distance = np.hypot(axis[:, None], axis)
    inside = np.clip(attenuator.radius * pixels / 2 - distance + 0.5, 0, 1)
    return np.asarray(1 - (1 - attenuator.transmission) * inside, dtype=np.float32)


def background_shape(pixels: int) -> npt.NDArray[np.float64]:
    """Return an incoherent background of sum 1, (pixels, pixels).

    Half of it is flat, half a Gaussian a quarter of the frame wide: scatter of windows and air.
    """
    distance = (np.arange(pixels) - pixels // 2) / (pixels / 4)
    hill = np.exp(-0.5 * (distance[:, None] ** 2 + distance**2))
    return np.asarray(0.5 / pixels**2 + 0.5 * hill / hill.sum())
