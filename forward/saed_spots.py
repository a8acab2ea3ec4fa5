"""Spots of single crystals in electron diffraction: places and intensities on the Ewald sphere."""

from enum import Enum
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.spatial.transform import Rotation

from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.many_beam import couplings, many_beam_intensities
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import lattice_points
from echolith.forward.structure_factors import Integers
from echolith.units import Angstrom, Degree, Electronvolt

Array = npt.NDArray[np.float64]

PATCH = 6
"""Standard deviations of a spot to which it is drawn."""
FARTHEST = 0.12
"""1/Å from the Ewald sphere, beyond which a beam takes no part."""
BEAMS = 300
"""That interact, the strongest by two beams; the others are as two beams say."""


class Theory(Enum):
    """How strong a spot is."""

    KINEMATIC = "kinematic"
    """(t / xi)² sinc²(t s): right where weak."""
    TWO_BEAM = "two-beam"
    """The same with s² + 1 / xi² in place of s²: never more than the beam."""
    MANY_BEAM = "many-beam"
    """All beams feed each other: right for a plate."""


class SingleCrystal(Settings):
    """A plate-like crystal in the beam."""

    phase: CrystalPhase
    orientation: tuple[Degree, Degree, Degree] = (0.0, 0.0, 0.0)
    """Rotation vector from the crystal's Cartesian axes (x along a, z along c*) to x (columns), y
    (rows) and z (along the beam)."""
    thickness: Annotated[Angstrom, Field(gt=5, le=2000)] = 150.0
    """Along the beam; a spot is as long as its inverse."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the selected area."""
    theory: Theory = Theory.MANY_BEAM

    @property
    def rotation(self) -> Array:
        """The orientation as a matrix, (3, 3)."""
        return np.asarray(Rotation.from_rotvec(self.orientation, degrees=True).as_matrix())


class Spots(NamedTuple):
    """Spots of a crystal: indices, tangent of the scattering angle along x and y, intensity."""

    hkl: Integers
    tangent: Array
    share: Array


def crystal_spots(crystal: SingleCrystal, *, energy: Electronvolt, reach: float) -> Spots:
    """Return the spots up to a scattering angle ``reach`` (rad), intensities as parts of the beam.

    A lattice point g has a spike along the beam, which meets the Ewald sphere at the excitation
    error s: k + g + s z is as long as k.
    """
    k = 1 / wavelength(energy)
    hkl, g = lattice_points(crystal.phase, longest=2 * k * np.sin(reach / 2))
    g = g @ crystal.rotation.T
    across = (g[:, :2] ** 2).sum(axis=1)
    along = np.sqrt(k**2 - across)
    s = along - k - g[:, 2]
    share = crystal.share * _intensities(crystal, hkl, s, energy)
    keep = share > 1e-9
    return Spots(hkl[keep], g[keep, :2] / along[keep, None], share[keep])


def _intensities(crystal: SingleCrystal, hkl: Integers, s: Array, energy: Electronvolt) -> Array:
    coupling = np.abs(couplings(crystal.phase, hkl, energy=energy))
    many = crystal.theory is Theory.MANY_BEAM
    simple = Theory.TWO_BEAM if many else crystal.theory
    found = spot_intensity(s, coupling, crystal.thickness, simple)
    if many:
        envelope = coupling / np.hypot(s, coupling / np.pi)
        strongest = np.argsort(-envelope, kind="stable")[:BEAMS]
        near = strongest[(np.abs(s[strongest]) < FARTHEST) & (coupling[strongest] > 0)]
        found[near] = many_beam_intensities(
            crystal.phase, hkl[near], s[near], thickness=crystal.thickness, energy=energy
        )
    return found


def spot_intensity(s: Array, coupling: Array, thickness: Angstrom, theory: Theory) -> Array:
    """Return intensities over that of the beam, each spot by itself.

    The coupling is lambda |F| / V, 1/Å.

    References
    ----------
    Reimer and Kohl, *Transmission Electron Microscopy*, 5th ed. (2008), section 7.3 (two beams).
    """
    root = np.abs(s)
    if theory is Theory.TWO_BEAM:
        # The extinction distance is pi V / (lambda F), F in Å: pi / coupling.
        root = np.hypot(s, coupling / np.pi)
    return np.asarray((coupling * thickness * np.sinc(thickness * root)) ** 2)


def add_spots(counts: Array, places: Array, electrons: Array, *, width: float) -> Array:
    """Return counts with Gaussian spots of so many electrons at places (x, y) in pixels."""
    total = counts.copy()
    reach = int(np.ceil(PATCH * width))
    for (x, y), amount in zip(places, electrons, strict=True):
        left, top = int(np.rint(x)) - reach, int(np.rint(y)) - reach
        columns = np.arange(max(left, 0), min(left + 2 * reach + 1, counts.shape[1]))
        rows = np.arange(max(top, 0), min(top + 2 * reach + 1, counts.shape[0]))
        along_x = np.exp(-0.5 * ((columns - x) / width) ** 2)
        along_y = np.exp(-0.5 * ((rows - y) / width) ** 2)
        patch = np.outer(along_y, along_x) * (amount / (2 * np.pi * width**2))
        total[np.ix_(rows, columns)] += patch
    return total
