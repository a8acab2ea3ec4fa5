"""The annular detector behind a crystal: every incident wave of the aperture forwards, once.

The detector adds many exit waves K of few incident waves k, so the scattering matrix is had by
columns. Incident waves that differ by a reciprocal lattice vector interfere; those of different
remainder q do not meet at any K, their intensities add.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.bloch_harmonics import Harmonics, aperture_at
from echolith.forward.bloch_kernels import add_pairs
from echolith.forward.bloch_waves import CrystalSlices
from echolith.forward.diffraction_box import sample_angles

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COMMENSURATE = 1e-6
"""Of a cell. The detector's lattice of samples repeats with the crystal's where it is this near."""
FINEST_PITCH = 1.0
"""mrad. Where the lattices do not fit, the mesh over the Brillouin zone is no finer than this."""


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
    m, q = slices.split(k)
    fraction = q @ slices.grid.cell.T
    keys = np.rint(fraction / COMMENSURATE / 4).astype(np.int64)
    # A remainder on the zone boundary may come out on either side of it.
    keys[keys == np.rint(-0.5 / COMMENSURATE / 4)] *= -1
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    groups = []
    for n, leader in enumerate(first):
        remainder = q[leader]
        members = np.rint((k[group == n] - remainder) @ slices.grid.cell.T).astype(np.int64)
        groups.append(IncidentGroup(q=remainder, m=members))
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
    detector, beam = acquisition.detector, acquisition.beam
    finest = min(
        size / s for size, s in zip(detector.pixel_size, detector.subpixels, strict=True)
    )
    pitch = max(finest, FINEST_PITCH) * 1e-3 / beam.wavelength
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
    acquisition: StemAcquisition,
    slices: CrystalSlices,
    harmonics: Harmonics,
    focal: float,
) -> tuple[FloatArray, float]:
    """Return the real terms of the annular signal of some groups, and their incident intensity.

    Parameters
    ----------
    groups : list of IncidentGroup
    acquisition : StemAcquisition
        With an annular detector.
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
        probe = aperture_at(k, acquisition.beam)
        incident += float((np.abs(probe) ** 2).sum())
        remainders = np.broadcast_to(group.q, group.m.shape)
        exits = slices.columns(group.m, remainders)
        collected = exits[:, _in_annulus(group.q, acquisition, slices)] * probe[:, None]
        where = harmonics.positions_of(group.m)
        waves = np.ascontiguousarray(collected.T, dtype=np.complex128)
        k2 = np.broadcast_to((k**2).sum(axis=1), waves.shape)
        index = np.ascontiguousarray(harmonics.index[np.ix_(where, where)])
        add_pairs(waves, np.ascontiguousarray(k2), index, focal, terms)
    return terms, incident


def _in_annulus(
    q: FloatArray, acquisition: StemAcquisition, slices: CrystalSlices
) -> npt.NDArray[np.bool_]:
    haadf = acquisition.haadf
    assert haadf is not None  # noqa: S101
    lengths = np.linalg.norm(q + slices.grid.vectors, axis=-1)
    angle = lengths * acquisition.beam.wavelength * 1e3
    return np.asarray((angle >= haadf.inner) & (angle < haadf.outer))
