"""Where lattices put their rings and spots in electron diffraction, and how strong rings are."""

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.electron_factors import electron_structure_factors
from echolith.forward.optics import wavelength
from echolith.forward.structure_factors import Integers, allowed_reflections, spacing
from echolith.units import Angstrom, Electronvolt

Array = npt.NDArray[np.float64]

INSTRUMENT = ("energy", "camera_length", "pixel_size")
"""What a pattern is recorded with."""
FAINT = 1e-5
"""Of the strongest ring of a phase; fainter ones are left out."""


def told_distance(camera_length: float, pixel_size: float) -> float:
    """Return the distance from specimen to detector in pixels, from mm and µm."""
    return 1e3 * camera_length / pixel_size


def ring_lines(
    phase: CrystalPhase, *, energy: Electronvolt, d_min: Angstrom
) -> tuple[Array, Array]:
    """Return spacings (Å) and intensities (part of the beam per Å of thickness) of the rings.

    m (lambda |F| / V)² d / 2; rings fainter than 1e-5 of the strongest are left out.
    """
    families = allowed_reflections(phase, d_min=d_min)
    factors = np.abs(electron_structure_factors(phase, families.hkl, energy=energy))
    spacings = spacing(phase.cell, families.hkl)
    strength = families.multiplicity * spacings / 2
    strength *= (wavelength(energy) * factors / phase.volume) ** 2
    keep = strength > FAINT * strength.max(initial=0.0)
    return spacings[keep], strength[keep]


def ring_radius(spacings: Array, *, energy: Electronvolt, distance: float) -> Array:
    """Return the radii of rings: distance times tan(2 theta), sin(theta) = lambda / (2 d)."""
    sine = wavelength(energy) / (2 * np.asarray(spacings))
    return np.asarray(distance * np.tan(2 * np.arcsin(sine)))


def spacing_at(radii: Array, *, energy: Electronvolt, distance: float) -> Array:
    """Return the lattice spacings of rings of these radii, Å; the inverse of `ring_radius`."""
    two_theta = np.arctan(np.asarray(radii) / distance)
    return np.asarray(wavelength(energy) / (2 * np.sin(two_theta / 2)))


def reciprocal_basis(phase: CrystalPhase) -> Array:
    """Return a*, b*, c* as columns, 1/Å: x along a, z along c*."""
    return np.linalg.inv(np.array(phase.unit_cell.orth.mat.tolist())).T


def lattice_points(phase: CrystalPhase, *, longest: float) -> tuple[Integers, Array]:
    """Return every (hkl) with |g| up to ``longest`` (1/Å) but 000, and its g, (points, 3)."""
    limit = np.ceil(longest * np.array(phase.cell[:3])).astype(int)
    axes = [np.arange(-n, n + 1) for n in limit]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    g = hkl @ reciprocal_basis(phase).T
    length = np.linalg.norm(g, axis=1)
    keep = (length <= longest) & (length > 0)
    return hkl[keep].astype(np.int64), g[keep]
