"""The probe of a zone plate: an annular pupil, focused or not, as a wave at the specimen."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.xray_factors import PLANCK_TIMES_LIGHT
from echolith.units import Angstrom, Electronvolt


class ZonePlate(Settings):
    """A Fresnel zone plate with a central stop."""

    outer_zone_width: Annotated[Angstrom, Field(gt=0)] = 1000.0
    central_stop: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Radius of the stop as a share of the radius of the plate."""
    defocus: Angstrom = 0.0
    """Distance of the specimen behind the focus."""

    @field_validator("outer_zone_width")
    @classmethod
    def _plausible(cls, value: float) -> float:
        if not 50 <= value <= 1e4:
            raise ValueError(
                f"outer_zone_width = {value:g} Å; expected 50 to 10000 Å; did you give it in nm?"
            )
        return value


def photon_wavelength(energy: Electronvolt) -> float:
    """Return the wavelength of photons, Å.

    Examples
    --------
    >>> round(photon_wavelength(708.2), 3)
    17.507
    """
    if not 50 <= energy <= 2e5:
        raise BadInputError(
            f"energy = {energy:g} eV; expected 50 to 2e5 eV; did you give it in keV?"
        )
    return PLANCK_TIMES_LIGHT / energy


def zone_plate_probe(
    plate: ZonePlate, *, energy: Electronvolt, shape: tuple[int, int], pixel_size: Angstrom
) -> npt.NDArray[np.complex128]:
    """Return the probe in the specimen's plane.

    P(r) = F⁻¹[A(k) exp(-i pi lambda z k²)], A = 1 where stop / (2 w) <= |k| <= 1 / (2 w) with the
    width w of the outermost zone. Edges of the pupil are smoothed over one frequency pixel.

    Parameters
    ----------
    plate : ZonePlate
    energy : float
        eV.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Å.

    Returns
    -------
    array, shape ``shape``
        Centred on pixel n // 2, sum of |P|² is 1.

    Raises
    ------
    BadInputError
        If the pupil does not fit the frequencies of the pixels, is smaller than one of them, or
        the defocus spreads the probe beyond the window.

    References
    ----------
    Attwood, Soft X-rays and Extreme Ultraviolet Radiation (1999), chapter 9.
    """
    edge = 1 / (2 * plate.outer_zone_width)
    length = photon_wavelength(energy)
    _check(plate, edge=edge, length=length, shape=shape, pixel_size=pixel_size)
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n, pixel_size) for n in shape), indexing="ij")
    k = np.hypot(ky, kx)
    step = 1 / (min(shape) * pixel_size)
    pupil = np.clip((edge - k) / step + 0.5, 0, 1)
    if plate.central_stop:
        pupil = pupil * np.clip((k - plate.central_stop * edge) / step + 0.5, 0, 1)
    wave = np.fft.ifft2(pupil * np.exp(-1j * np.pi * length * plate.defocus * k**2))
    return np.asarray(np.fft.fftshift(wave / np.linalg.norm(wave)))


def _check(
    plate: ZonePlate, *, edge: float, length: float, shape: tuple[int, int], pixel_size: float
) -> None:
    if edge > 0.5 / pixel_size:
        raise BadInputError(
            f"outer_zone_width = {plate.outer_zone_width:g} Å needs pixels of at most as much; "
            f"pixel_size = {pixel_size:g} Å"
        )
    field = min(shape) * pixel_size
    if edge * field < 2:
        raise BadInputError(
            f"the window of {field:g} Å resolves no pupil of outer_zone_width = "
            f"{plate.outer_zone_width:g} Å; expected more than {2 / edge:g} Å; take more pixels"
        )
    spread = 2 * length * abs(plate.defocus) * edge
    if spread > 0.7 * field:
        raise BadInputError(
            f"defocus = {plate.defocus:g} Å spreads the probe over {spread:g} Å; expected less "
            f"than 0.7 of the window of {field:g} Å; take more pixels or less defocus"
        )
