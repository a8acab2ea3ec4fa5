"""A candidate crystal of a spot pattern, set up once, and what is asked of its orientations."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase, symmetry_operations
from echolith.forward.electron_factors import electron_structure_factors
from echolith.forward.optics import wavelength
from echolith.forward.saed_lattice import lattice_points, reciprocal_basis
from echolith.forward.structure_factors import Integers
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SpotCrystal:
    """A candidate crystal, set up once.

    Attributes
    ----------
    phase : CrystalPhase
    hkl : array of int, (points, 3)
    g : array, (points, 3)
        1/Å, crystal frame.
    coupling : array, (points,)
        lambda |F| / V, 1/Å.
    table : array, (n, n, n)
        lambda F / V of every difference of two hkl, from the most negative indices on.
    k : float
        1 / lambda, 1/Å.
    rotations : array, (n, 3, 3)
        Of the crystal's point group, proper ones, Cartesian.
    """

    phase: CrystalPhase
    hkl: Integers
    g: Array
    coupling: Array
    table: npt.NDArray[np.complex128] | Array
    k: float
    rotations: Array

    def matrix(self, chosen: Integers) -> npt.NDArray[np.complex128] | Array:
        """Return lambda F / V between the incident beam and those of chosen points, 1/Å."""
        beams = np.vstack([np.zeros((1, 3), dtype=np.int64), self.hkl[chosen]])
        steps = beams[:, None] - beams[None] + np.array(self.table.shape) // 2
        return np.ascontiguousarray(self.table[tuple(np.moveaxis(steps, -1, 0))])


def spot_crystal(phase: CrystalPhase, *, energy: Electronvolt, reach: float) -> SpotCrystal:
    """Set up a candidate: lattice points with |g| up to ``reach`` (1/Å) and their strengths."""
    hkl, g = lattice_points(phase, longest=reach)
    k = 1 / wavelength(energy)
    limit = 2 * np.abs(hkl).max(axis=0)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in limit], indexing="ij"), axis=-1)
    flat = steps.reshape(-1, 3)
    factors = np.zeros(len(flat), dtype=np.complex128)
    some = flat.any(axis=1)
    factors[some] = electron_structure_factors(phase, flat[some], energy=energy)
    every = factors.reshape(steps.shape[:-1]) / (k * phase.volume)
    table: npt.NDArray[np.complex128] | Array = every
    if np.abs(every.imag).max() < 1e-9 * np.abs(every).max():
        table = every.real  # the crystal is its own inverse: twice as fast
    coupling = np.abs(table[tuple((hkl + limit).T)])
    there = coupling > 1e-3 * coupling.max()
    basis = reciprocal_basis(phase)
    operations = np.unique(symmetry_operations(phase.spacegroup)[0], axis=0)
    cell = np.linalg.inv(basis.T)
    turned = np.array([cell @ op @ np.linalg.inv(cell) for op in operations])
    return SpotCrystal(
        phase=phase,
        hkl=hkl[there],
        g=np.ascontiguousarray(g[there]),
        coupling=coupling[there],
        table=table,
        k=k,
        rotations=turned[np.linalg.det(turned) > 0],
    )


def excitation(turned: Array, k: float) -> Array:
    """Return how far points (n, 3) are from the Ewald sphere of radius k along the beam, 1/Å."""
    return np.asarray(np.sqrt(k**2 - (turned[:, :2] ** 2).sum(axis=1)) - k - turned[:, 2])


def half_turned(matrix: Array, axis: Array) -> Array:
    """Return an orientation half a turn about an axis (3,), of the pattern's frame, away."""
    return np.asarray((2 * np.outer(axis, axis) - np.eye(3)) @ matrix)


def misorientation(one: Array, other: Array, rotations: Array) -> float:
    """Return the smallest angle between orientations of a crystal of this symmetry, degree."""
    turns = np.einsum("ij,njk,lk->nil", one, rotations, other)
    traces = np.trace(turns, axis1=1, axis2=2)
    best = turns[int(traces.argmax())]
    # By sine and cosine: the arc cosine alone loses angles below 1e-6 degree.
    sine = np.linalg.norm(best - best.T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (traces.max() - 1) / 2)))


def zone_axis(
    matrix: Array, phase: CrystalPhase, *, largest: int = 4
) -> tuple[tuple[int, ...], float]:
    """Return the zone axis [uvw] nearest to the source, and its angle from it in degrees.

    Of those with indices up to ``largest`` the simplest within reach: a degree more counts as
    much as one more of the sum of the indices' sizes.
    """
    n = np.arange(-largest, largest + 1)
    uvw = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)
    uvw = uvw[(np.gcd.reduce(uvw, axis=1) == 1)]
    cell = np.linalg.inv(reciprocal_basis(phase).T)
    directions = uvw @ cell.T @ matrix.T
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    angle = np.degrees(np.arctan2(np.hypot(*directions[:, :2].T), -directions[:, 2]))
    k = int((angle + np.abs(uvw).sum(axis=1)).argmin())
    return tuple(int(i) for i in uvw[k]), float(angle[k])
