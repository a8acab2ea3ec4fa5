"""How a 4D-STEM measurement is taken: beam, scan, detectors, dose.

Frames of reference, fixed here once for the whole project:

* Specimen frame: x, y as in the atoms object, the beam along +z.
* Scan frame: scan pixel (iy, ix) is at ``origin + R(rotation) (ix step_x, iy step_y)`` in the
  specimen frame, R counter-clockwise from x towards y. Images and recovered positions are in the
  scan frame, origin at scan pixel (0, 0), x along columns, y along rows.
* Detector frame: aligned with the specimen frame. Pixel (iy, ix) of n samples the scattering
  angle ``((ix - nx // 2) pixel_x, (iy - ny // 2) pixel_y)``; with ``transpose`` the stored frame
  has its two axes exchanged.
"""

import warnings
from typing import Annotated, Any, Self

import numpy as np
import xarray as xr
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.optics import wavelength
from echolith.units import (
    Angstrom,
    Degree,
    ElectronsPerSquareAngstrom,
    Electronvolt,
    Milliradian,
    Radian,
)


class Settings(BaseModel):
    """Frozen, keyword-only, and closed: an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Aberrations(Settings):
    """Aberration coefficients to 5th order; names and signs as in abTEM (C10 = -defocus).

    Coefficients in Å, azimuths ``phi`` in radian.
    """

    C10: Angstrom = 0.0
    C12: Angstrom = 0.0
    phi12: Radian = 0.0
    C21: Angstrom = 0.0
    phi21: Radian = 0.0
    C23: Angstrom = 0.0
    phi23: Radian = 0.0
    C30: Angstrom = 0.0
    C32: Angstrom = 0.0
    phi32: Radian = 0.0
    C34: Angstrom = 0.0
    phi34: Radian = 0.0
    C41: Angstrom = 0.0
    phi41: Radian = 0.0
    C43: Angstrom = 0.0
    phi43: Radian = 0.0
    C45: Angstrom = 0.0
    phi45: Radian = 0.0
    C50: Angstrom = 0.0
    C52: Angstrom = 0.0
    phi52: Radian = 0.0
    C54: Angstrom = 0.0
    phi54: Radian = 0.0
    C56: Angstrom = 0.0
    phi56: Radian = 0.0

    def terms(self) -> list[tuple[int, int, float, float]]:
        """List (order n, symmetry m, coefficient in Å, azimuth in rad) of every aberration."""
        return [
            (int(name[1]), int(name[2]), getattr(self, name), getattr(self, f"phi{name[1:]}", 0.0))
            for name in type(self).model_fields
            if name.startswith("C")
        ]


def plausible_electron_energy(value: float) -> float:
    """Return an energy of electrons, eV; raises ValueError outside 10 keV to 3 MeV."""
    if not 1e4 <= value <= 3e6:
        hint = f"did you mean {value:g}e3 eV?" if 10 <= value <= 3000 else "give it in eV"
        raise ValueError(f"energy = {value:g} eV; expected 10e3 to 3e6 eV; {hint}")
    return value


class Beam(Settings):
    """The probe: energy, convergence, aberrations and partial coherence.

    ``focal_spread`` and ``source_spread`` are standard deviations of Gaussians (abTEM's
    ``focal_spread`` is the 1/e half-width, sqrt(2) times ours).
    """

    energy: Electronvolt = 200e3
    semiangle: Milliradian = 22.4
    aberrations: Aberrations = Aberrations()
    focal_spread: Annotated[Angstrom, Field(ge=0)] = 0.0
    source_spread: Annotated[Angstrom, Field(ge=0)] = 0.0

    @field_validator("energy")
    @classmethod
    def _plausible_energy(cls, value: float) -> float:
        return plausible_electron_energy(value)

    @field_validator("semiangle")
    @classmethod
    def _plausible_semiangle(cls, value: float) -> float:
        if not 0.1 <= value <= 150:
            hint = (
                f"did you mean {value * 1e3:g} mrad?" if 1e-4 <= value < 0.1 else "give it in mrad"
            )
            raise ValueError(f"semiangle = {value:g} mrad; expected 0.1 to 150 mrad; {hint}")
        return value

    @property
    def wavelength(self) -> float:
        """De Broglie wavelength, Å."""
        return wavelength(self.energy)


def _one_step_for_both(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _plausible_step(value: tuple[float, float]) -> tuple[float, float]:
    for step in value:
        if not 1e-3 <= step <= 100:
            raise ValueError(f"step = {step:g} Å; expected 0.001 to 100 Å; give it in Å")
    return value


ScanStep = Annotated[
    tuple[Angstrom, Angstrom], BeforeValidator(_one_step_for_both), AfterValidator(_plausible_step)
]
"""Along y and x; one number is that of both."""


class Scan(Settings):
    """The raster of probe positions. Pairs are (y, x)."""

    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (80, 80)
    step: ScanStep = (0.2, 0.2)
    rotation: Degree = 0.0

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the scanned field, Å (number of positions times step)."""
        return self.shape[0] * self.step[0], self.shape[1] * self.step[1]

    def positions(self) -> np.ndarray:
        """Return probe positions relative to the scan origin, specimen frame, (ny, nx, 2) xy, Å."""
        y, x = np.meshgrid(
            np.arange(self.shape[0]) * self.step[0],
            np.arange(self.shape[1]) * self.step[1],
            indexing="ij",
        )
        return rotate(np.stack([x, y], axis=-1), self.rotation)


def rotate(xy: np.ndarray, angle: float) -> np.ndarray:
    """Rotate vectors (..., 2) counter-clockwise (x towards y) by an angle in degrees."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.asarray(xy @ np.array([[c, s], [-s, c]]))


class PixelDetector(Settings):
    """A pixelated detector in the diffraction plane. Pairs are (y, x)."""

    shape: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (64, 64)
    pixel_size: tuple[Milliradian, Milliradian] = (1.0, 1.0)
    subpixels: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1)
    """Sample points summed over each pixel; (4, 1) for rows binned by four."""
    transpose: bool = False

    @field_validator("pixel_size", mode="before")
    @classmethod
    def _one_size_for_both(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int | float) else value

    @field_validator("pixel_size")
    @classmethod
    def _plausible_pixel(cls, value: tuple[float, float]) -> tuple[float, float]:
        for size in value:
            if not 1e-3 <= size <= 20:
                raise ValueError(
                    f"pixel_size = {size:g} mrad; expected 0.001 to 20 mrad; give it in mrad"
                )
        return value

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Shape of a frame as recorded (axes exchanged where transposed)."""
        return (self.shape[1], self.shape[0]) if self.transpose else self.shape

    def angles(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the centre angles of rows and of columns before any transpose, mrad."""
        rows, columns = (
            (np.arange(n) - n // 2) * size
            for n, size in zip(self.shape, self.pixel_size, strict=True)
        )
        return rows, columns


class AnnularDetector(Settings):
    """An annular detector, in mrad; the defaults collect high angles."""

    inner: Annotated[Milliradian, Field(ge=0)] = 72.8
    outer: Annotated[Milliradian, Field(gt=0)] = 100.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.inner >= self.outer:
            raise ValueError(
                f"inner = {self.inner:g} mrad is not below outer = {self.outer:g} mrad"
            )
        return self


class StemAcquisition(Settings):
    """One 4D-STEM measurement: all that is needed to invert it, and nothing of the specimen."""

    beam: Beam = Beam()
    scan: Scan = Scan()
    detector: PixelDetector = PixelDetector()
    haadf: AnnularDetector | None = AnnularDetector()
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 8.1e4

    @model_validator(mode="after")
    def _detector_holds_the_disc(self) -> Self:
        for angles, size, axis in zip(
            self.detector.angles(), self.detector.pixel_size, "yx", strict=True
        ):
            reach = float(angles.max()) + size / 2
            if reach < self.beam.semiangle:
                raise ValueError(
                    f"the detector reaches {reach:.4g} mrad along {axis} and cuts the bright-field "
                    f"disc of {self.beam.semiangle:g} mrad; use more or larger pixels"
                )
        return self

    @property
    def electrons_per_position(self) -> float:
        """Electrons falling on the specimen at each probe position."""
        return self.dose * self.scan.step[0] * self.scan.step[1]

    def sampling_loss(self) -> float:
        """Return the fraction of the double-overlap passband lost to the scan step, 0 to 1.

        Full transfer to ``2 alpha / lambda`` needs a step of ``lambda / (4 alpha)`` or less.
        """
        limit = 2 * self.beam.semiangle * 1e-3 / self.beam.wavelength
        axis = np.linspace(-limit, limit, 401)
        qy, qx = np.meshgrid(axis, axis, indexing="ij")
        inside = np.hypot(qx, qy) <= limit
        kept = (np.abs(qy) * 2 * self.scan.step[0] <= 1) & (np.abs(qx) * 2 * self.scan.step[1] <= 1)
        return float(1 - (inside & kept).sum() / inside.sum())

    def warn_if_undersampled(self) -> None:
        """Warn with the transfer lost where the step is beyond ``lambda / (4 alpha)``."""
        largest = self.beam.wavelength / (4e-3 * self.beam.semiangle)
        if max(self.scan.step) > largest:
            warnings.warn(
                f"scan step {max(self.scan.step):g} Å is beyond wavelength/(4 semiangle) = "
                f"{largest:.3f} Å: {self.sampling_loss():.0%} of the transfer to twice the "
                f"semiangle is lost; use a step of {largest:.3f} Å or less",
                BadInputWarning,
                stacklevel=2,
            )


def acquisition_of(measurement: xr.Dataset) -> StemAcquisition:
    """Read how a measurement was taken from its metadata.

    Parameters
    ----------
    measurement : xarray.Dataset
        With the attribute ``acquisition`` (JSON).

    Returns
    -------
    StemAcquisition

    Raises
    ------
    BadInputError
        If the metadata is missing or cannot be read.
    """
    text = measurement.attrs.get("acquisition")
    if text is None:
        raise BadInputError(
            "the measurement has no attribute 'acquisition' (beam, scan, detector, dose); "
            "without it the data cannot be inverted; "
            "set it with StemAcquisition(...).model_dump_json()"
        )
    try:
        return StemAcquisition.model_validate_json(text)
    except ValueError as error:
        raise BadInputError(f"the attribute 'acquisition' cannot be read: {error}") from error
