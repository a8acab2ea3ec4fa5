"""How a movie of high-resolution TEM is taken: optics, frames, dose, detector."""

from typing import Annotated

import xarray as xr
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Settings, plausible_electron_energy
from echolith.forward.detector_response import DetectorResponse
from echolith.units import Angstrom, Electronvolt, Milliradian, Second, Unit


class HrtemAcquisition(Settings):
    """How a movie is taken. Pairs are (y, x), spreads are standard deviations.

    The default is negative-Cs imaging at 300 kV: Cs = -13 µm with a defocus of -60 Å (over-focus,
    ``C10 = -defocus``) shows columns of lithium bright.
    """

    energy: Electronvolt = 300e3
    aberrations: Aberrations = Aberrations(C10=60.0, C30=-13e4)
    semiangle: Annotated[Milliradian, Field(gt=0, le=200)] = 40.0
    """Of the objective aperture."""
    focal_spread: Annotated[Angstrom, Field(ge=0, le=500)] = 30.0
    image_spread: Annotated[Angstrom, Field(ge=0, le=10)] = 0.3
    """Vibration and image spread along one axis."""
    shape: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (256, 256)
    """Pixels of a frame."""
    pixel: Annotated[Angstrom, Field(gt=0.01, le=20)] = 0.35
    dose_rate: Annotated[float, Unit("e/Å²/s"), Field(gt=0, le=1e6)] = 1000.0
    frame_time: Annotated[Second, Field(gt=0, le=100)] = 0.04
    frames: Annotated[int, Field(ge=1)] = 1
    response: DetectorResponse = DetectorResponse()

    @field_validator("energy")
    @classmethod
    def _plausible_energy(cls, value: float) -> float:
        return plausible_electron_energy(value)

    @property
    def field(self) -> tuple[float, float]:
        """Height and width of a frame, Å."""
        return self.shape[0] * self.pixel, self.shape[1] * self.pixel

    @property
    def dose(self) -> float:
        """Electrons on an Å² in one frame."""
        return self.dose_rate * self.frame_time


def hrtem_acquisition_of(measurement: xr.Dataset) -> HrtemAcquisition:
    """Read how a movie was taken from its metadata.

    Raises
    ------
    BadInputError
        If the attribute ``hrtem`` (JSON) is missing or cannot be read.
    """
    text = measurement.attrs.get("hrtem")
    if text is None:
        raise BadInputError(
            "the measurement has no attribute 'hrtem' (pixel, dose, optics), so lengths in it are "
            "not known; set it with HrtemAcquisition(...).model_dump_json()"
        )
    try:
        return HrtemAcquisition.model_validate_json(text)
    except ValueError as error:
        raise BadInputError(f"the attribute 'hrtem' cannot be read: {error}") from error
