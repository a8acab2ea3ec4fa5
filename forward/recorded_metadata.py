"""What is told about recorded images besides their values; nothing a solver uses is left open."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from echolith.forward.acquisition import Aberrations, Settings, plausible_electron_energy
from echolith.forward.detector_response import DetectorResponse
from echolith.forward.filtered_acquisition import Dose, EnergyWindow
from echolith.units import Angstrom, Electronvolt, Milliradian, Second, Unit


class Recorded(Settings):
    """What every recorded image needs: ``electrons = (value - offset) / gain``."""

    gain: Annotated[
        float, Unit("values per electron or photon; 1 where they are counted"), Field(gt=0)
    ]
    offset: float = 0.0
    """Value without any beam."""


class _Exposed(Recorded):
    readout: Annotated[float, Unit("electrons"), Field(ge=0)] = 0.0
    """Standard deviation of a pixel's read-out noise."""
    pixel_size: Angstrom


class _Focused(Aberrations):
    C10: Annotated[float, Unit("Å")]
    C30: Annotated[float, Unit("Å")]


class Movie(_Exposed):
    """Of frames of high-resolution TEM."""

    energy: Electronvolt
    aberrations: Annotated[_Focused, Unit("Å: aberrations.C10, that is -defocus, .C30")]
    semiangle: Milliradian
    focal_spread: Angstrom
    image_spread: Angstrom
    frame_time: Second
    frame_interval: Second | None = None
    """From frame to frame; by default they follow each other."""
    dose_rate: Annotated[float, Unit("e/Å²/s")] | None = None
    """By default that of the first frame's mean."""
    response: DetectorResponse = DetectorResponse()


class Diffraction(Recorded):
    """Of a diffraction pattern of a selected area."""

    energy: Annotated[Electronvolt, AfterValidator(plausible_electron_energy)]
    camera_length: Annotated[float, Unit("mm"), Field(gt=0)]
    pixel_size: Annotated[float, Unit("µm, of the detector"), Field(gt=0)]
    saturation: Annotated[float, Unit("electrons"), Field(gt=0)] | None = None


class Filtered(_Exposed):
    """Of energy-filtered images."""

    energy: Electronvolt
    semiangle: Milliradian
    unfiltered_dose: Dose
    zero_loss: Annotated[EnergyWindow, Unit("zero_loss.low, .high in eV, .dose in e/Å²")]
    pre_edge: Annotated[tuple[EnergyWindow, EnergyWindow], Unit("two of low, high, dose")]
    post_edge: Annotated[EnergyWindow, Unit("low, high, dose")]
    resolution: Electronvolt
    chromatic: Angstrom = 0.0
    response: DetectorResponse = DetectorResponse()


class Scanned(Recorded):
    """Of fast annular dark-field frames."""

    pixel_size: Annotated[Angstrom, Field(gt=0)]
    dwell: Annotated[Second, Field(gt=0)]
    flyback: Annotated[Second, Field(ge=0)]
    pause: Annotated[Second, Field(ge=0)] = 0.0
    """From the end of a frame to the start of the next."""


def _column(index: int) -> BeforeValidator:
    """Read numbers from a column of a text file where its name is given."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return np.loadtxt(Path(value), ndmin=2)[:, index].tolist()
        except (OSError, IndexError) as error:
            raise ValueError(f"no numbers can be read from '{value}': {error}") from error

    return BeforeValidator(read)


class Absorption(Recorded):
    """Of images at many energies."""

    pixel_size: Annotated[Angstrom, Field(gt=0)]
    energies: Annotated[
        tuple[float, ...], _column(0), Unit("eV: a list, or a text file's first column")
    ]
    incident: Annotated[
        float | tuple[float, ...],
        _column(-1),
        Unit("photons a pixel without specimen: a number, a list, or a text file's last column"),
    ]
