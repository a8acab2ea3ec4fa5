"""From the pixels of a detector and the angles of a goniometer to the scattering vector Q.

The incident beam goes along +x, z points up, wave vectors are in 1/Å with 2 pi. A detector pixel
(row i, column j, from the one the direct beam meets at nu = delta = 0) is seen along
``v = (D, j p, -i p)``, D the distance and p the pitch; then

    k_f = k R_z(-nu) R_y(-delta) v / |v|,    Q = R_z(phi) R_y(eta) [k_f - (k, 0, 0)]

is the scattering vector in the frame of the specimen at eta = phi = 0.

Tilts are measured from the nominal direction n of a reflection's Q, towards e1 and e2: the axes
z, x, y of the specimen, turned so that z becomes n by the shortest way (`Reflection`).

References
----------
Colalongo et al., Microstructures 4 (2024) 2024044, whose geometry this is.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.xray_factors import PLANCK_TIMES_LIGHT
from echolith.units import Degree, Electronvolt

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.floating] | npt.NDArray[np.integer]


def checked_energy(value: float) -> float:
    """Return an energy of the beam in eV.

    Raises
    ------
    ValueError
        If it is none of hard X-rays.
    """
    if not 1000 <= value <= 200_000:
        raise ValueError(
            f"beam_energy = {value:g} eV; expected 1000 to 200000 eV; did you give it in keV?"
        )
    return value


class Goniometer(Settings):
    """Angles and detector of a diffraction measurement; eta is scanned and not in here."""

    beam_energy: Electronvolt = 9000.0
    phi: Degree = 0.0
    """Of the specimen about z."""
    nu: Degree = 0.0
    """Of the detector about z."""
    delta: Degree = 30.0
    """Of the detector about y, up."""
    distance: Annotated[float, Field(gt=0)] = 9000.0
    """From specimen to detector, in pixels."""
    centre: tuple[float, float] = (0.0, 0.0)
    """Row and column that the direct beam meets at nu = delta = 0."""

    @field_validator("beam_energy")
    @classmethod
    def _plausible(cls, value: float) -> float:
        return checked_energy(value)

    @field_validator("phi", "nu", "delta")
    @classmethod
    def _turn(cls, value: float) -> float:
        if not -360 <= value <= 360:
            raise ValueError(f"angle = {value:g}°; expected -360° to 360°; give it in degrees")
        return value

    @property
    def wavenumber(self) -> float:
        """k, 1/Å."""
        return 2 * np.pi * self.beam_energy / PLANCK_TIMES_LIGHT


class Reflection(Settings):
    """Nominal direction of the Q of lattice planes, in the frame of the specimen."""

    inclination: Annotated[Degree, Field(ge=0, lt=90)] = 0.0
    """Of the normal n of the planes from z; 0: of the specimen's surface (specular)."""
    azimuth: Annotated[Degree, Field(ge=-360, le=360)] = 0.0
    """Of n about z, from x towards y."""

    @property
    def axes(self) -> Array:
        """e1, e2 and n as columns, (3, 3): ``Q @ axes`` is Q along them."""
        about = _about_z(np.radians(self.azimuth))
        return np.asarray(about @ _about_y(np.radians(self.inclination)) @ about.T)


def scattering_vectors(
    goniometer: Goniometer, *, eta: Array, rows: Pixels, columns: Pixels
) -> Array:
    """Return Q of every angle and pixel.

    Parameters
    ----------
    goniometer : Goniometer
    eta : array, (angles,)
        Degree.
    rows, columns : array, (pixels,)
        Of the detector; broadcast against each other.

    Returns
    -------
    array, (angles, ..., 3)
        1/Å, float64.

    Raises
    ------
    BadInputError
        If angles or pixels are not finite.

    Examples
    --------
    >>> specular = Goniometer(delta=30.0)
    >>> middle = np.zeros(1)
    >>> q = scattering_vectors(specular, eta=np.array([15.0]), rows=middle, columns=middle)
    >>> [round(float(value), 9) for value in q.ravel() / (2 * specular.wavenumber)]
    [0.0, 0.0, 0.258819045]
    """
    eta = np.atleast_1d(np.asarray(eta, dtype=float))
    i, j = np.broadcast_arrays(np.asarray(rows, dtype=float), np.asarray(columns, dtype=float))
    if not (np.isfinite(eta).all() and np.isfinite(i).all() and np.isfinite(j).all()):
        raise BadInputError("eta or pixels are not finite; expected degrees and pixel numbers")
    seen = _seen(goniometer, i, j)
    turned = np.einsum("eij,...j->e...i", _about_y(np.radians(eta)), seen)
    return np.asarray(turned @ _about_z(np.radians(goniometer.phi)).T)


def _seen(goniometer: Goniometer, rows: Array, columns: Array) -> Array:
    """Return k_f - k_i in the laboratory, (..., 3)."""
    i, j = rows - goniometer.centre[0], columns - goniometer.centre[1]
    direction = np.stack([np.full(i.shape, goniometer.distance), j, -i], axis=-1)
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    turn = _about_z(-np.radians(goniometer.nu)) @ _about_y(-np.radians(goniometer.delta))
    scattered = direction @ turn.T
    return np.asarray(goniometer.wavenumber * (scattered - np.array([1.0, 0.0, 0.0])))


def bragg_angle(goniometer: Goniometer, spacing: float) -> float:
    """Return theta of a lattice spacing, degree.

    Raises
    ------
    BadInputError
        If the wavelength is too long to be diffracted by it.
    """
    sine = np.pi / (spacing * goniometer.wavenumber)
    if not 0 < sine < 1:
        raise BadInputError(
            f"d = {spacing:g} Å cannot diffract at {goniometer.beam_energy:g} eV; expected more "
            f"than {np.pi / goniometer.wavenumber:g} Å"
        )
    return float(np.degrees(np.arcsin(sine)))


def bragg_setting(
    goniometer: Goniometer, spacing: float, reflection: Reflection
) -> tuple[Goniometer, float]:
    """Return the goniometer whose detector faces a reflection at its phi, and eta in degrees.

    ``k_f - k_i = R_y(-eta) R_z(-phi) Q`` is elastic where its x is ``-Q² / 2k``.

    Raises
    ------
    BadInputError
        If no eta brings the planes to diffract.
    """
    theta = np.radians(bragg_angle(goniometer, spacing))
    q = _about_z(-np.radians(goniometer.phi)) @ reflection.axes[:, 2]
    across, lift = np.hypot(q[0], q[2]), np.arctan2(q[0], q[2])
    if across <= np.sin(theta):
        raise BadInputError(
            f"planes inclined by {reflection.inclination:g}° towards {reflection.azimuth:g}° do "
            f"not diffract at phi = {goniometer.phi:g}°; turn phi towards that azimuth"
        )
    eta = lift + np.arcsin(np.sin(theta) / across)
    seen = 2 * np.sin(theta) * _about_y(-eta) @ q + np.array([1.0, 0.0, 0.0])
    angles = {
        "nu": float(np.degrees(-np.arctan2(seen[1], seen[0]))),
        "delta": float(np.degrees(np.arcsin(seen[2]))),
    }
    return goniometer.model_copy(update=angles), float(np.degrees(eta))


def voxel_volumes(vectors: Array) -> Array:
    """Return the volumes in Q of the voxels of a rocking curve, 1/Å³.

    Parameters
    ----------
    vectors : array, (eta, rows, columns, 3)
        As from `scattering_vectors`.
    """
    steps = [np.gradient(vectors, axis=axis) for axis in range(3)]
    return np.asarray(np.abs(np.einsum("...i,...i", steps[0], np.cross(steps[1], steps[2]))))


def lean(vectors: Array) -> Array:
    """Return by how much vectors lean from z towards x and y, (..., 2), degree.

    The angle is atan2(|Q x n|, Q n), n = z, which keeps small ones in single precision.
    """
    across = np.hypot(vectors[..., 0], vectors[..., 1])
    angle = np.degrees(np.arctan2(across, vectors[..., 2]))
    turn = np.arctan2(vectors[..., 1], vectors[..., 0])
    return np.stack([angle * np.cos(turn), angle * np.sin(turn)], axis=-1)


def lean_slopes(vectors: Array) -> Array:
    """Return the derivative of `lean` by the vector, (..., 2, 3), degree Å.

    An error along the lean changes it by ``1 / |Q|``, one across it by ``lean / |Q| sin(lean)``.
    """
    length = np.linalg.norm(vectors, axis=-1)[..., None]
    angle = np.arctan2(np.hypot(vectors[..., 0], vectors[..., 1]), vectors[..., 2])[..., None]
    turn = np.arctan2(vectors[..., 1], vectors[..., 0])[..., None]
    zero = np.zeros_like(turn)
    towards = np.concatenate([np.cos(turn), np.sin(turn)], axis=-1)
    beside = np.concatenate([-np.sin(turn), np.cos(turn)], axis=-1)
    along = np.concatenate([np.cos(angle) * towards, -np.sin(angle)], axis=-1)
    across = np.concatenate([beside, zero], axis=-1) / np.sinc(angle / np.pi)
    slopes = (
        towards[..., :, None] * along[..., None, :] + beside[..., :, None] * across[..., None, :]
    )
    return np.asarray(np.degrees(slopes / length[..., None]))


def _about_y(angle: Array) -> Array:
    """Rotate about y, (..., 3, 3): x towards -z for a positive angle."""
    c, s = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(c), np.ones_like(c)
    return np.stack(
        [
            np.stack([c, zero, s], axis=-1),
            np.stack([zero, one, zero], axis=-1),
            np.stack([-s, zero, c], axis=-1),
        ],
        axis=-2,
    )


def _about_z(angle: float | Array) -> Array:
    """Rotate about z: x towards y for a positive angle."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
