"""The annular detector behind a crystal: every incident wave of the aperture forwards, once.

The detector adds many exit waves K of few incident waves k, so the scattering matrix is had by
columns. Incident waves that differ by a reciprocal lattice vector interfere; those of different
remainder q do not meet at any K, their intensities add.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import AnnularDetector, Beam, StemAcquisition
from echolith.forward.bloch_harmonics import Harmonics, aperture_at
from echolith.forward.bloch_kernels import add_pairs
from echolith.forward.bloch_waves import CrystalSlices
from echolith.forward.diffraction_box import sample_angles

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COMMENSURATE = 1e-6
"""Of a cell. The detector's lattice of samples repeats with the crystal's where it is this near."""
SAME_REMAINDER = 1e-4
"""Of a reciprocal lattice vector. Incident waves this near to differing by a whole one interfere;
different points of a mesh are at least ten times as far apart."""
MESH_PITCH = 0.5
"""mrad. Where the lattices do not fit, points of the mesh over the Brillouin zone are at most this
far apart: within 2e-3 of the largest signal of a mesh five times finer, and 2e-5 in the mean
(Li2MnO3 along [010], 20 Å, 22.4 mrad, in focus and 60 Å off; 1 mrad: 4e-3, 2 mrad: 8e-3)."""


@dataclass(frozen=True, kw_only=True)
class IncidentGroup:
    """Incident waves ``m.b + q`` of the aperture that interfere."""

    q: FloatArray
    """(2,) xy in 1/Å."""
    m: IntArray
    """(n, 2)"""


def incident_groups(acquisition: StemAcquisition, slices: CrystalSlices) -> list[IncidentGroup]:
    """Choose the incident waves.

    Where the detector's lattice of samples repeats with the crystal's reciprocal lattice, its
    points inside the aperture: exactly those of brute-force multislice on the box whose reciprocal
    grid the lattice is. Otherwise a uniform mesh over the Brillouin zone.

    Parameters
    ----------
    acquisition : StemAcquisition
    slices : CrystalSlices
    """
    beam = acquisition.beam
    k = _detector_lattice(acquisition, slices)
    if k is None:
        k = _zone_mesh(acquisition, slices)
    k = k[np.abs(aperture_at(k, beam)) > 0]
    groups = []
    while len(k):
        apart = (k - k[0]) @ slices.grid.cell.T
        together = (np.abs(apart - np.rint(apart)) < SAME_REMAINDER).all(axis=1)
        m, q = slices.split(k[:1])
        members = m + np.rint(apart[together]).astype(np.int64)
        groups.append(IncidentGroup(q=q[0], m=members))
        k = k[~together]
    return groups


def _detector_lattice(acquisition: StemAcquisition, slices: CrystalSlices) -> FloatArray | None:
    """Return the detector's samples (n, 2), which hold the aperture, if they fit the crystal."""
    detector, lam = acquisition.detector, acquisition.beam.wavelength
    pitch = np.array(detector.pixel_size) / np.array(detector.subpixels) * 1e-3 / lam
    box = np.diag(1 / pitch[::-1])
    cells = box @ slices.grid.reciprocal.T
    if np.abs(cells - np.rint(cells)).max() > COMMENSURATE:
        return None
    ky, kx = (angles * 1e-3 / lam for angles in sample_angles(acquisition))
    return np.stack(np.meshgrid(kx, ky), axis=-1).reshape(-1, 2)


def _zone_mesh(acquisition: StemAcquisition, slices: CrystalSlices) -> FloatArray:
    """Return waves (n, 2) that hold the aperture, ``1/N`` of a reciprocal lattice vector apart."""
    beam = acquisition.beam
    pitch = MESH_PITCH * 1e-3 / beam.wavelength
    reciprocal = slices.grid.reciprocal
    divisions = np.ceil(np.linalg.norm(reciprocal, axis=1) / pitch)
    step = reciprocal / divisions[:, None]
    radius = beam.semiangle * 1e-3 / beam.wavelength
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(step), axis=0)).astype(int)
    i, j = (np.arange(-r, r + 1) for r in reach)
    return np.asarray(np.stack(np.meshgrid(i, j, indexing="ij"), axis=-1).reshape(-1, 2) @ step)


def annular_terms(
    groups: list[IncidentGroup],
    *,
    detector: AnnularDetector,
    beam: Beam,
    slices: CrystalSlices,
    harmonics: Harmonics,
    focal: float,
) -> tuple[FloatArray, float]:
    """Return the real terms of the annular signal of some groups, and their incident intensity.

    Parameters
    ----------
    groups : list of IncidentGroup
    detector : AnnularDetector
    beam : Beam
    slices : CrystalSlices
    harmonics : Harmonics
    focal : float
        See `add_pairs`.

    Returns
    -------
    terms : array, (2 harmonics - 1,)
        Not normalised.
    incident : float
        ``sum |A|²`` of the groups.
    """
    terms = np.zeros(2 * len(harmonics.vectors) - 1)
    incident = 0.0
    for group in groups:
        k = group.m @ slices.grid.reciprocal + group.q
        probe = aperture_at(k, beam)
        incident += float((np.abs(probe) ** 2).sum())
        remainders = np.broadcast_to(group.q, group.m.shape)
        angle = np.linalg.norm(group.q + slices.grid.vectors, axis=-1) * beam.wavelength * 1e3
        inside = (angle >= detector.inner) & (angle < detector.outer)
        collected = slices.columns(group.m, remainders)[:, inside] * probe[:, None]
        where = harmonics.positions_of(group.m)
        waves = np.ascontiguousarray(collected.T, dtype=np.complex128)
        k2 = np.broadcast_to((k**2).sum(axis=1), waves.shape)
        index = np.ascontiguousarray(harmonics.index[np.ix_(where, where)])
        add_pairs(waves, np.ascontiguousarray(k2), index, focal, terms)
    return terms, incident
