"""4D-STEM of a laterally periodic specimen from plane waves on its own cell.

Each sample of the detector is one exit wave K. Its row of the scattering matrix, propagated on
the crystal's cell (`echolith.forward.bloch_waves`), gives the Fourier series of its intensity over
the probe positions (`echolith.forward.bloch_harmonics`). The samples of a pixel are added as
series, and focal and source spread damp its terms, all before any probe position is looked at; a
frame is then one sum of about a hundred terms for each pixel. Exact for any, also oblique, cell:
no box, so no error from its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from dask.base import compute
from dask.delayed import delayed

from echolith.errors import BadInputError
from echolith.forward.acquisition import AnnularDetector, StemAcquisition
from echolith.forward.bloch_haadf import annular_terms, incident_groups
from echolith.forward.bloch_harmonics import Harmonics, aperture_at, harmonics_of
from echolith.forward.bloch_kernels import add_pairs, synthesise
from echolith.forward.bloch_waves import CrystalSlices, crystal_slices
from echolith.forward.diffraction_box import sample_angles, wave_sampling
from echolith.forward.placement import scan_positions
from echolith.forward.projected_potential import check_specimen, is_periodic
from echolith.forward.simulation import Simulation

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float32]

POINTS_AT_ONCE = 2**16
"""Grid points propagated together, at least one wave: they stay in the cache."""
GROUPS_AT_ONCE = 4

ALL_ROWS = slice(None)


@dataclass(frozen=True, kw_only=True)
class BlochOperator:
    """A crystal seen by an acquisition: the Fourier series over probe positions of every pixel."""

    acquisition: StemAcquisition
    cell: FloatArray = field(repr=False)
    """Of the specimen, (3, 3), Å."""
    harmonics: Harmonics = field(repr=False)
    coefficients: Counts = field(repr=False)
    """Electrons, (terms, pixels of a stored frame)."""
    haadf: FloatArray | None = field(repr=False)
    """Electrons, (terms,)."""

    def rows(self, rows: slice = ALL_ROWS) -> tuple[Counts, Counts | None]:
        """Return the expected counts of some scan rows.

        The bits of a frame do not depend on which rows are asked for together.

        Parameters
        ----------
        rows : slice
            Of the scan.

        Returns
        -------
        counts : array of float32, (rows, nx, dy, dx)
            Electrons, stored order.
        haadf : array of float32, (rows, nx), or None
            Electrons; None without an annular detector.
        """
        return self.at(np.asarray(scan_positions(self.acquisition.scan, self.cell)[rows]))

    def at(self, positions: FloatArray) -> tuple[Counts, Counts | None]:
        """Return the expected counts at any probe positions.

        The bits of a frame depend on its own position only.

        Parameters
        ----------
        positions : array, (rows, nx, 2)
            xy in the specimen frame, Å.

        Returns
        -------
        As `rows`.
        """
        shape = positions.shape[:-1]
        counts = np.empty((*shape, self.coefficients.shape[1]), dtype=np.float32)
        haadf = None if self.haadf is None else np.empty(shape, dtype=np.float32)
        for n, line in enumerate(positions):
            basis = self.harmonics.basis(line)
            synthesise(basis.astype(np.float32), self.coefficients, counts[n])
            if haadf is not None and self.haadf is not None:
                haadf[n] = np.maximum((basis * self.haadf).sum(axis=1), 0)
        return counts.reshape(*shape, *self.acquisition.detector.stored_shape), haadf


def bloch_mean(
    atoms: "Atoms",
    *,
    acquisition: StemAcquisition,
    sampling: float,
    slice_thickness: float,
    rows: slice = ALL_ROWS,
) -> tuple[Counts, Counts | None]:
    """Return the expected counts of some scan rows; see `prepare` and `BlochOperator.rows`.

    For more than one set of rows keep the operator: nearly all time is spent preparing it.
    """
    operator = prepare(
        atoms, acquisition=acquisition, sampling=sampling, slice_thickness=slice_thickness
    )
    return operator.rows(rows)


def prepare(
    atoms: "Atoms",
    *,
    acquisition: StemAcquisition,
    sampling: float,
    slice_thickness: float,
    aperture_samples: float | None = None,
) -> BlochOperator:
    """Propagate every wave the detectors see through a crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        Laterally periodic; the cell may be oblique.
    acquisition : StemAcquisition
        Focal and source spread are taken from its beam.
    sampling : float
        Side of the square pixel that sets the antialias aperture, Å.
    slice_thickness : float
        Largest thickness of a slice, Å.
    aperture_samples : float, optional
        Samples of the detector's lattice inside the aperture, by which the intensities are
        divided. None: counted, so that a frame that holds everything sums to the electrons
        per position.

    Returns
    -------
    BlochOperator

    Raises
    ------
    BadInputError
        If the specimen is not laterally periodic or cannot be simulated, the sampling does not
        hold the largest angle detected, or no sample of the detector lies inside the aperture.

    References
    ----------
    Reciprocity (transposed multislice): J. M. Cowley, Appl. Phys. Lett. 15 (1969) 58.
    """
    check_crystal(atoms, acquisition, sampling, slice_thickness)
    beam = acquisition.beam
    slices = crystal_slices(
        atoms, energy=beam.energy, sampling=sampling, slice_thickness=slice_thickness
    )
    harmonics = harmonics_of(slices, beam)
    focal = (np.pi * beam.wavelength * beam.focal_spread) ** 2 / 2
    response = harmonics.source_response(beam.source_spread)
    samples = _detector_samples(acquisition)
    if aperture_samples is None:
        aperture_samples = _samples_in_aperture(samples, acquisition)
    scale = acquisition.electrons_per_position / aperture_samples
    pixels = _pixel_terms(samples, acquisition, slices, harmonics, focal)
    ring = None
    if acquisition.haadf is not None:
        terms = ring_terms(acquisition.haadf, acquisition, slices, harmonics, focal)
        ring = _padded(terms * response)
    return BlochOperator(
        acquisition=acquisition,
        cell=np.array(atoms.cell),
        harmonics=harmonics,
        coefficients=_padded((pixels * (response * scale)).T).astype(np.float32),
        haadf=ring,
    )


def check_crystal(
    atoms: "Atoms", acquisition: StemAcquisition, sampling: float, slice_thickness: float
) -> None:
    """Refuse a specimen that does not repeat or a grid that does not hold what is detected."""
    if not is_periodic(atoms):
        raise BadInputError(
            f"the specimen is not laterally periodic (pbc = {atoms.pbc.tolist()}); expected True "
            "along x and y; set pbc where the cell really repeats, or use engine = multislice"
        )
    settings = Simulation(sampling=sampling, slice_thickness=slice_thickness)
    check_specimen(atoms, slice_thickness)
    wave_sampling(acquisition, settings)


def _detector_samples(acquisition: StemAcquisition) -> FloatArray:
    """Return the wave vectors of every pixel's samples, (pixels, samples, 2) xy, stored order."""
    detector, lam = acquisition.detector, acquisition.beam.wavelength
    ky, kx = (angles * 1e-3 / lam for angles in sample_angles(acquisition))
    (ny, nx), (sy, sx) = detector.shape, detector.subpixels
    k = np.stack(np.meshgrid(kx, ky), axis=-1).reshape(ny, sy, nx, sx, 2)
    k = k.transpose((2, 0, 1, 3, 4) if detector.transpose else (0, 2, 1, 3, 4))
    return k.reshape(ny * nx, sy * sx, 2)


def _samples_in_aperture(samples: FloatArray, acquisition: StemAcquisition) -> float:
    inside = float((np.abs(aperture_at(samples, acquisition.beam)) ** 2).sum())
    if inside == 0:
        raise BadInputError(
            f"no sample of the detector lies inside the aperture of "
            f"{acquisition.beam.semiangle:g} mrad (pixel_size = {acquisition.detector.pixel_size} "
            "mrad); use smaller pixels or more subpixels"
        )
    return inside


def _pixel_terms(
    samples: FloatArray,
    acquisition: StemAcquisition,
    slices: CrystalSlices,
    harmonics: Harmonics,
    focal: float,
) -> FloatArray:
    """Return the real terms of every pixel, (pixels, 2 harmonics - 1), in fixed pieces."""
    waves = int(np.prod(slices.grid.shape)) * samples.shape[1]
    task = delayed(_some_pixel_terms, pure=False)
    pieces = [
        task(samples[part], acquisition, slices, harmonics, focal)
        for part in _pieces(len(samples), max(1, POINTS_AT_ONCE // waves))
    ]
    return np.concatenate(_computed(pieces))


def _computed(pieces: list[Any]) -> list[Any]:
    """Run tasks in threads, as many as dask is set to."""
    return list(compute(*pieces, scheduler="threads"))


def _pieces(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))


def _some_pixel_terms(
    samples: FloatArray,
    acquisition: StemAcquisition,
    slices: CrystalSlices,
    harmonics: Harmonics,
    focal: float,
) -> FloatArray:
    beam = acquisition.beam
    m, q = slices.split(samples.reshape(-1, 2))
    rows = slices.rows(m, q)
    one, two = harmonics.waves[:, 0], harmonics.waves[:, 1]
    # From the sample's own wave vector, so that the direct wave is inside the aperture exactly
    # where the sample is.
    k = samples.reshape(-1, 1, 2) + (harmonics.waves - m[:, None]) @ slices.grid.reciprocal
    waves = rows[:, one, two] * aperture_at(k, beam)
    k2 = (k**2).sum(axis=-1)
    terms = np.zeros((len(samples), 2 * len(harmonics.vectors) - 1))
    per_pixel = samples.shape[1]
    for pixel, total in enumerate(terms):
        here = slice(pixel * per_pixel, (pixel + 1) * per_pixel)
        add_pairs(waves[here], k2[here], harmonics.index, focal, total)
    return terms


def ring_terms(
    detector: AnnularDetector,
    acquisition: StemAcquisition,
    slices: CrystalSlices,
    harmonics: Harmonics,
    focal: float,
) -> FloatArray:
    """Return the real terms of the annular signal in electrons, (2 harmonics - 1,)."""
    groups = incident_groups(acquisition, slices)
    task = delayed(annular_terms, pure=False)
    pieces = [
        task(
            groups[part],
            detector=detector,
            beam=acquisition.beam,
            slices=slices,
            harmonics=harmonics,
            focal=focal,
        )
        for part in _pieces(len(groups), GROUPS_AT_ONCE)
    ]
    terms, incident = zip(*_computed(pieces), strict=True)
    share = acquisition.electrons_per_position / float(np.sum(incident))
    return np.asarray(np.sum(terms, axis=0) * share)


def _padded(terms: FloatArray) -> FloatArray:
    """Append zero terms up to a multiple of 8."""
    missing = -len(terms) % 8
    return np.concatenate([terms, np.zeros((missing, *terms.shape[1:]))])
