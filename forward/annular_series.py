"""The annular signal of a crystal at any number of probe positions.

It is a Fourier series over the crystal's reciprocal lattice, band limited to ``2 alpha / lambda``
(`echolith.forward.bloch_harmonics`). One transform gives it on a raster over one cell, four times
finer than its Nyquist frequency; from there every position is interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.forward.bloch import check_crystal, ring_terms
from echolith.forward.bloch_harmonics import Harmonics, harmonics_of
from echolith.forward.bloch_waves import crystal_slices
from echolith.forward.position_interpolation import Interpolation, Values, band_kernel

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]

OVERSAMPLED = 4
TOLERANCE = 1e-7
LEAST_POINTS = 16


@dataclass(frozen=True, kw_only=True)
class AnnularSeries:
    """The annular signal over one cell, electrons."""

    cell: FloatArray
    """Lateral, rows a1 and a2, xy in Å."""
    raster: FloatArray = field(repr=False)
    """(n1, n2), at ``i1/n1 a1 + i2/n2 a2``."""
    interpolation: Interpolation = field(repr=False)

    def at(self, positions: FloatArray) -> Values:
        """Return the expected counts at positions (..., 2) xy in Å, specimen frame, float32."""
        pixels = positions @ np.linalg.inv(self.cell) * np.array(self.raster.shape)
        values = self.interpolation.image(self.raster, pixels, wraps=True)
        return np.maximum(values, np.float32(0))


def annular_series(
    configurations: "Sequence[Atoms]",
    *,
    acquisition: StemAcquisition,
    sampling: float,
    slice_thickness: float,
) -> AnnularSeries:
    """Propagate the waves of the aperture through a crystal, once.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        Of one lateral cell, periodic; their signals are averaged.
    acquisition : StemAcquisition
        Of the pixelated detector only the lattice of its samples matters
        (`echolith.forward.bloch_haadf.incident_groups`). Focal and source spread are exact.
    sampling, slice_thickness : float
        As for `echolith.forward.bloch.prepare`.

    Raises
    ------
    BadInputError
        As `prepare`, and without an annular detector.
    """
    if acquisition.haadf is None:
        raise BadInputError("the acquisition has no annular detector; set haadf")
    beam, total = acquisition.beam, np.zeros(1)
    focal = (np.pi * beam.wavelength * beam.focal_spread) ** 2 / 2
    for atoms in configurations:
        check_crystal(atoms, acquisition, sampling, slice_thickness)
        slices = crystal_slices(
            atoms, energy=beam.energy, sampling=sampling, slice_thickness=slice_thickness
        )
        harmonics = harmonics_of(slices, beam)
        terms = ring_terms(acquisition.haadf, acquisition, slices, harmonics, focal)
        total = total + terms * harmonics.source_response(beam.source_spread)
    cell = np.asarray(configurations[0].cell, dtype=np.float64)[:2, :2]
    return _over_the_cell(harmonics, total / len(configurations), cell)


def _over_the_cell(harmonics: Harmonics, terms: FloatArray, cell: FloatArray) -> AnnularSeries:
    index = np.rint(harmonics.vectors @ cell.T).astype(int)
    reach = np.abs(index).max(axis=0)
    shape = tuple(fft.next_fast_len(max(LEAST_POINTS, 2 * OVERSAMPLED * int(r))) for r in reach)
    spectrum = np.zeros(shape, dtype=np.complex128)
    spectrum[0, 0] = terms[0]
    spectrum[tuple(index[1:].T)] = terms[1::2] - 1j * terms[2::2]
    raster = fft.ifft2(spectrum, norm="forward", workers=1).real
    kernels = [
        band_kernel(max(1, int(r)) / n, 0.0, TOLERANCE) for r, n in zip(reach, shape, strict=True)
    ]
    return AnnularSeries(
        cell=cell,
        raster=np.ascontiguousarray(raster),
        interpolation=Interpolation(y=kernels[0], x=kernels[1]),
    )
