"""How an image passes on the frequencies of a thin crystal of light atoms.

The amplitude of a column's image falls with frequency. So the broad peak of a small particle leans
towards low frequencies, by about 0.1 % of the spacing for 6 nm: its shape times the slope of

    T(k) = |sin chi(k)| E_f(k) exp(-2 pi² s² k²) MTF(k) sinc(k p) exp(-c k²),

with ``E_f = exp(-(pi lambda D k²)² / 2)`` of the focal spread D (Frank, Optik 38 (1973) 519), the
image spread s, the pixel p, and c for scattering factor and thermal motion.
"""

import numpy as np
import numpy.typing as npt

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.optics import aberration_phase, wavelength

Array = npt.NDArray[np.float64]

FALL = 6.0
"""Å². At {110} of lithium: 4.9 of the scattering factor (Lobato and Van Dyck, 2014), 1.2 of thermal
motion of 0.25 Å. Noise-free spacings are then right to 0.01 %."""
LEAST = 0.5
"""Of the transfer at the reflection: about a zero of sin chi nothing is divided by nearly 0."""


def relative_transfer(
    acquisition: HrtemAcquisition, *, reflection: Array, ky: Array, kx: Array
) -> Array:
    """Return T(k) / T(g) about a reflection, between 1/2 and 2.

    Parameters
    ----------
    acquisition : HrtemAcquisition
    reflection : array, (2,)
        g, xy, 1/Å.
    ky, kx : array, (rows,) and (columns,)
        1/Å.
    """
    here = transfer(acquisition, ky[:, None], kx[None])
    there = float(transfer(acquisition, reflection[1:, None], reflection[None, :1])[0, 0])
    return np.asarray(np.clip(here / max(there, 1e-9), LEAST, 1 / LEAST))


def transfer(acquisition: HrtemAcquisition, ky: Array, kx: Array) -> Array:
    """Return T(k), at places (ky, kx), 1/Å, that broadcast."""
    return np.abs(signed_transfer(acquisition, ky, kx))


def signed_transfer(acquisition: HrtemAcquisition, ky: Array, kx: Array) -> Array:
    """Return T(k) with the sign of sin chi: where it is positive, columns are bright."""
    k2 = ky**2 + kx**2
    chi = aberration_phase(kx, ky, aberrations=acquisition.aberrations, energy=acquisition.energy)
    focus = np.pi * wavelength(acquisition.energy) * acquisition.focal_spread * k2
    spread = 2 * (np.pi * acquisition.image_spread) ** 2 * k2
    camera = [
        acquisition.response.mtf(k.ravel() * acquisition.pixel, axis).reshape(k.shape)
        * np.sinc(k * acquisition.pixel)
        for axis, k in enumerate((ky, kx))
    ]
    seen = np.exp(-0.5 * focus**2 - spread - FALL * k2)
    return np.asarray(np.sin(chi) * seen * camera[0] * camera[1])
