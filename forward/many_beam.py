"""Many beams at once: how a plane wave leaves a crystal plate, by the waves that travel in it.

With the excitation error s of each beam and its coupling lambda F / V to every other, amplitudes
at the depth t are psi = exp(i t M) psi(0); M holds 2 pi s on its diagonal and lambda F(g - h) / V
beside it. Two beams are the case of a 2 x 2 matrix.
"""

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.electron_factors import electron_structure_factors
from echolith.forward.optics import wavelength
from echolith.forward.structure_factors import Integers
from echolith.units import Angstrom, Electronvolt

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


def couplings(phase: CrystalPhase, hkl: Integers, *, energy: Electronvolt) -> Complex:
    """Return lambda F / V of reflections (..., 3), 1/Å, that of 000 being nothing."""
    flat = hkl.reshape(-1, 3)
    found = np.zeros(len(flat), dtype=np.complex128)
    some = flat.any(axis=1)
    factors = electron_structure_factors(phase, flat[some], energy=energy)
    found[some] = wavelength(energy) * factors / phase.volume
    return found.reshape(hkl.shape[:-1])


def many_beam_intensities(
    phase: CrystalPhase,
    hkl: Integers,
    s: Array,
    *,
    thickness: Angstrom,
    energy: Electronvolt,
) -> Array:
    """Return the intensities of beams (n,) over that of the incident one.

    Parameters
    ----------
    phase : CrystalPhase
    hkl : array of int, (n, 3)
        Without 000.
    s : array, (n,)
        Excitation errors, 1/Å.
    thickness : float
    energy : float
        eV.

    References
    ----------
    Reimer and Kohl, *Transmission Electron Microscopy*, 5th ed. (2008), section 7.3 (many beams);
    high energies, nothing scattered back.
    """
    beams = np.vstack([np.zeros((1, 3), dtype=hkl.dtype), hkl])
    steps = beams[:, None] - beams[None]
    lowest = steps.min(axis=(0, 1))
    span = tuple(int(n) for n in 1 - 2 * lowest)
    # Few of the differences of indices are different ones.
    single, place = np.unique(
        np.ravel_multi_index(tuple(np.moveaxis(steps - lowest, -1, 0)), span), return_inverse=True
    )
    differences = np.stack(np.unravel_index(single, span), axis=-1) + lowest
    matrix = couplings(phase, differences, energy=energy)[place.reshape(steps.shape[:2])]
    matrix = matrix + np.diag(2 * np.pi * np.append(0.0, s))
    values, waves = np.linalg.eigh(matrix)
    psi = waves @ (np.exp(1j * thickness * values) * waves[0].conj())
    return np.asarray(np.abs(psi[1:]) ** 2)
