"""What the settings of every scenario of 4D-STEM share: the measurement they describe."""

from typing import Protocol

from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)


class StemSettings(Protocol):
    """Settings that hold the parts of a measurement."""

    @property
    def beam(self) -> Beam:
        """The beam."""

    @property
    def scan(self) -> Scan:
        """The raster."""

    @property
    def detector(self) -> PixelDetector:
        """The pixelated detector."""

    @property
    def haadf(self) -> AnnularDetector | None:
        """The annular detector, if there is one."""

    @property
    def dose(self) -> float:
        """Electrons per Å²."""


def meant_acquisition(settings: StemSettings) -> StemAcquisition:
    """Return the measurement that settings describe.

    Raises
    ------
    BadInputError
        If the parts do not fit together, e.g. a detector that cuts the disc.
    """
    try:
        return StemAcquisition(
            beam=settings.beam,
            scan=settings.scan,
            detector=settings.detector,
            haadf=settings.haadf,
            dose=settings.dose,
        )
    except ValidationError as error:
        reasons = (d["msg"].removeprefix("Value error, ") for d in error.errors())
        raise BadInputError("; ".join(reasons)) from error


def probe_width(settings: StemSettings) -> float:
    """Return the side of the box that the finest detector pixel asks for around a probe, Å."""
    return settings.beam.wavelength / (min(settings.detector.pixel_size) * 1e-3)
