"""What the settings of every scenario of 4D-STEM share: the measurement they describe, its cost."""

import math
from typing import Protocol

import numpy as np
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.validation.exposure import OXIDE_DOSE, OXIDE_SOURCE, Exposure, SameField


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


def map_exposure(
    settings: StemSettings,
    *,
    dose: float,
    maps: int = 1,
    seconds: float = math.nan,
    proportional: tuple[str, ...] = (),
) -> Exposure:
    """Return what maps of 4D-STEM of Li-rich oxide take.

    Parameters
    ----------
    settings : StemSettings
    dose : float
        That the specimen receives, e/Å².
    maps : int
        Taken.
    seconds : float
        Of all of them, s.
    proportional : tuple of str
        See `Exposure`.
    """
    scan = settings.scan
    return Exposure(
        dose=dose,
        dose_unit="e/Å²",
        published=OXIDE_DOSE,
        source=OXIDE_SOURCE,
        seconds=seconds,
        values=maps * int(np.prod(scan.shape)) * int(np.prod(settings.detector.shape)),
        proportional=proportional,
        follows={"scan.step": SameField("scan.shape", scan.extent)},
        limits=aliasing(settings.beam, scan.step),
    )


def aliasing(beam: Beam, step: tuple[float, float]) -> tuple[str, ...]:
    """Return in words whether a scan is too coarse for what a beam transfers; empty: it is not.

    Images hold frequencies up to twice the semiangle over the wavelength.
    """
    finest = beam.wavelength / (4e-3 * beam.semiangle)
    if max(step) <= finest * (1 + 1e-9):
        return ()
    return (
        f"scan step {max(step):.3g} Å, more than wavelength / (4 semiangle) = {finest:.3g} Å: "
        "spatial frequencies alias",
    )
