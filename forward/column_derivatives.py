"""Derivatives of the exit waves of a crystal with respect to one column in a supercell.

What a bound differentiates. The crystal's lateral cell is repeated to a supercell wide enough for
a probe; one of its columns is then moved or made stronger while its copies in the other cells
stay. Every plane wave of the aperture is propagated through the supercell together with its
derivatives, which obey the differentiated multislice equation

``d psi_(n+1) = P (t_n d psi_n + d t_n psi_n)``,  ``d t_n = i sigma d V_n t_n``

so no finite difference is taken. Reciprocal lattice points of the supercell sample the detector;
since the probe is compact against the supercell they lose nothing (the tests double it).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam
from echolith.forward.oblique_potential import (
    ObliqueGrid,
    ScatteringFactors,
    band_limited,
    occupants,
)
from echolith.forward.optics import aperture, interaction_constant, wavelength
from echolith.forward.projected_potential import slice_count, slice_of_atoms

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Waves = npt.NDArray[np.complex64]

WAVES_AT_ONCE = 4
KINDS = ("x", "y", "strength")
"""What is differentiated for each column: position (per Å) and its potential (relative)."""


@dataclass(frozen=True, kw_only=True)
class Supercell:
    """A crystal cell repeated, and the grid waves are propagated on."""

    atoms: "Atoms" = field(repr=False)
    """One crystal cell, laterally periodic."""
    groups: IntArray = field(repr=False)
    """The column of each atom, 0, 1, 2 …; its copy in the first cell is the one that moves."""
    repeats: tuple[int, int]
    """Crystal cells along the two lateral cell vectors."""
    grid: ObliqueGrid = field(repr=False)
    slices: int

    @property
    def columns(self) -> int:
        """Columns in one crystal cell."""
        return int(self.groups.max()) + 1

    @cached_property
    def fractional(self) -> FloatArray:
        """Lateral positions of the atoms of one cell in units of the supercell."""
        return np.asarray(self.atoms.positions[:, :2] @ self.grid.reciprocal.T)


def supercell(
    atoms: "Atoms", groups: IntArray, *, side: float, sampling: float, slice_thickness: float
) -> Supercell:
    """Repeat a crystal cell until both its widths reach a side.

    Parameters
    ----------
    atoms : ase.Atoms
        Laterally periodic crystal cell, possibly oblique.
    groups : array of int, (atoms,)
        Which column each atom belongs to.
    side : float
        Least width of the supercell, Å.
    sampling : float
        Pixel of the waves, Å.
    slice_thickness : float
        Largest thickness of a slice, Å.

    Raises
    ------
    BadInputError
        If the specimen is not laterally periodic.
    """
    if not atoms.pbc[:2].all():
        raise BadInputError(
            "the specimen is not laterally periodic, so it has no projected cell to take "
            "derivatives on; give one crystal cell with pbc = (True, True, False)"
        )
    cell = np.asarray(atoms.cell)[:2, :2]
    widths = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    first, second = (max(1, int(np.ceil(side / width - 1e-9))) for width in widths)
    large = cell * np.array([[first], [second]])
    n1, n2 = (int(fft.next_fast_len(int(np.ceil(w)))) for w in widths * [first, second] / sampling)
    return Supercell(
        atoms=atoms,
        groups=np.asarray(groups, dtype=np.int64),
        repeats=(first, second),
        grid=ObliqueGrid(cell=large, shape=(n1, n2), sampling=sampling),
        slices=slice_count(atoms, slice_thickness),
    )


@dataclass(frozen=True, kw_only=True)
class ExitWaves:
    """Scattering matrix of a supercell and its derivatives, at the detected points.

    ``matrix`` (1 + 3 columns, incident waves, points): first the matrix itself, then for each
    column its derivatives in the order of `KINDS`.
    """

    matrix: Waves = field(repr=False)
    incident: IntArray = field(repr=False)
    """Integers (m1, m2) of each incident wave, (waves, 2)."""
    incident_vectors: FloatArray = field(repr=False)
    """Their spatial frequency, (waves, 2) xy in 1/Å."""
    points: FloatArray = field(repr=False)
    """Detected spatial frequencies, (points, 2) xy in 1/Å."""


def exit_waves(cell: Supercell, *, beam: Beam, largest_angle: float, workers: int) -> ExitWaves:
    """Propagate every plane wave of the aperture and its derivatives.

    Parameters
    ----------
    cell : Supercell
    beam : Beam
        Energy and semiangle.
    largest_angle : float
        Points up to this angle are kept, mrad.
    workers : int
        Threads; the result does not depend on them.
    """
    vectors = cell.grid.vectors
    flat = beam.model_copy(update={"focal_spread": 0.0, "source_spread": 0.0})
    inside = np.flatnonzero(aperture(vectors[..., 0], vectors[..., 1], beam=flat))
    limit = largest_angle * 1e-3 / wavelength(beam.energy)
    kept = np.flatnonzero(np.linalg.norm(vectors, axis=-1).ravel() <= limit)
    medium = _medium(cell, beam.energy, workers)
    matrix = np.empty((1 + len(KINDS) * cell.columns, len(inside), len(kept)), dtype=np.complex64)

    def some(start: int) -> None:
        batch = slice(start, start + WAVES_AT_ONCE)
        matrix[:, batch] = _propagate(inside[batch], kept, medium)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(some, range(0, len(inside), WAVES_AT_ONCE)))
    return ExitWaves(
        matrix=matrix,
        incident=cell.grid.indices.reshape(-1, 2)[inside],
        incident_vectors=vectors.reshape(-1, 2)[inside],
        points=vectors.reshape(-1, 2)[kept],
    )


@dataclass(frozen=True, kw_only=True)
class _Medium:
    """Transmission functions, what changes them, and the propagator."""

    transmission: Waves
    """(slices, n1, n2)."""
    change: list[dict[int, Waves]]
    """For each derivative: slice -> d t, (n1, n2)."""
    propagator: Waves


def _medium(cell: Supercell, energy: float, workers: int) -> _Medium:
    grid, finer = cell.grid, cell.grid.finer()
    passed = grid.antialias(np.linalg.norm(grid.vectors, axis=-1))
    sigma = interaction_constant(energy)
    labels = slice_of_atoms(cell.atoms, cell.slices)
    dz = float(cell.atoms.cell[2, 2]) / cell.slices
    phase = -np.pi * wavelength(energy) * dz * (grid.vectors**2).sum(axis=-1)
    transmission = np.empty((cell.slices, *grid.shape), dtype=np.complex64)
    change: list[dict[int, Waves]] = [{} for _ in range(len(KINDS) * cell.columns)]
    factors = ScatteringFactors(grid=finer)
    repeated = _repeated(cell, finer)

    def fill(n: int) -> None:
        potentials = [
            _spectrum(cell, finer, factors, (labels == n) & (cell.groups == g))
            for g in range(cell.columns)
        ]
        total = _real_space(np.sum(potentials, axis=0) * repeated, finer)
        wave = np.exp(1j * sigma * total)
        transmission[n] = band_limited(wave, grid)
        for g, spectrum in enumerate(potentials):
            if not spectrum.any():
                continue
            slopes = [-2j * np.pi * finer.vectors[..., axis] * spectrum for axis in (0, 1)]
            for kind, slope in enumerate([*slopes, spectrum]):
                moved = 1j * sigma * _real_space(slope, finer) * wave
                change[len(KINDS) * g + kind][n] = band_limited(moved, grid)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(fill, range(cell.slices)))
    return _Medium(
        transmission=transmission,
        change=change,
        propagator=np.asarray(np.exp(1j * phase) * passed, dtype=np.complex64),
    )


def _repeated(cell: Supercell, grid: ObliqueGrid) -> FloatArray:
    """Lattice sum over the cells of the supercell: their number where both integers are multiples.

    Elsewhere the copies of a column cancel.
    """
    multiple = (grid.indices % np.array(cell.repeats) == 0).all(axis=-1)
    return np.asarray(multiple * float(np.prod(cell.repeats)))


def _spectrum(
    cell: Supercell,
    grid: ObliqueGrid,
    factors: ScatteringFactors,
    chosen: npt.NDArray[np.bool_],
) -> npt.NDArray[np.complex128]:
    """Projected potential of some atoms of the first cell, V Å³."""
    total = np.zeros(grid.shape, dtype=np.complex128)
    for symbol, (index, share) in occupants(cell.atoms).items():
        here = chosen[index]
        for atom, weight in zip(index[here], share[here], strict=True):
            phase = grid.indices @ cell.fractional[atom]
            total += weight * factors(symbol) * np.exp(-2j * np.pi * phase)
    return total


def _real_space(spectrum: npt.NDArray[np.complex128], grid: ObliqueGrid) -> FloatArray:
    scale = float(np.prod(grid.shape)) / grid.area
    return np.asarray(fft.ifft2(spectrum, workers=1).real * scale)


def _propagate(incident: IntArray, kept: IntArray, medium: _Medium) -> Waves:
    """Return the detected spectra of some incident waves and of their derivatives."""
    slices, n1, n2 = medium.transmission.shape
    spectra = np.zeros((len(incident), n1 * n2), dtype=np.complex64)
    spectra[np.arange(len(incident)), incident] = 1
    spectra = spectra.reshape(-1, n1, n2)
    before = []
    for n, block in enumerate(medium.transmission):
        wave = fft.ifft2(spectra, overwrite_x=True, workers=1)
        before.append(wave)
        spectra = fft.fft2(wave * block, workers=1)
        if n + 1 < slices:
            spectra *= medium.propagator
    result = np.empty((1 + len(medium.change), len(incident), len(kept)), dtype=np.complex64)
    result[0] = spectra.reshape(len(incident), -1)[:, kept]
    for p, changes in enumerate(medium.change, start=1):
        result[p] = _derivative(changes, before, medium).reshape(len(incident), -1)[:, kept]
    return result


def _derivative(changes: dict[int, Waves], before: list[Waves], medium: _Medium) -> Waves:
    """Return the derivative of the exit spectra, zero up to the first slice that changes."""
    slices = len(medium.transmission)
    spectra: Waves | None = None
    for n, block in enumerate(medium.transmission):
        if spectra is None and n not in changes:
            continue
        wave = np.zeros_like(before[n])
        if spectra is not None:
            wave = fft.ifft2(spectra, overwrite_x=True, workers=1) * block
        if n in changes:
            wave += changes[n] * before[n]
        spectra = fft.fft2(wave, overwrite_x=True, workers=1)
        if n + 1 < slices:
            spectra *= medium.propagator
    return np.zeros_like(before[0]) if spectra is None else spectra


def scan_grid(
    cell: Supercell, semiangle: float, energy: float, *, finer: float = 1.0
) -> tuple[int, int]:
    """Return positions per crystal cell along its two vectors, none further than λ/4α apart."""
    step = wavelength(energy) / (4e-3 * semiangle) / finer
    lengths = np.linalg.norm(cell.grid.cell, axis=1) / np.array(cell.repeats)
    first, second = (int(np.ceil(length / step)) for length in lengths)
    return first, second


def intensities(
    waves: ExitWaves,
    *,
    probe: npt.NDArray[np.complex128],
    shape: tuple[int, int],
    points: IntArray,
) -> npt.NDArray[np.float32]:
    """Return intensity and derivatives at every probe position of the supercell.

    Parameters
    ----------
    waves : ExitWaves
    probe : array of complex, (waves,)
        Aperture function at the incident waves; its square sums to 1.
    shape : (int, int)
        Positions along the two vectors of the supercell.
    points : array of int
        Which detected points.

    Returns
    -------
    array of float32, (1 + 3 columns, points, positions 1, positions 2)
        Fraction of the electrons at each point, then its derivatives.
    """
    m1, m2 = waves.incident.T % np.array(shape)[:, None]
    weighted = waves.matrix[:, :, points] * probe[None, :, None].astype(np.complex64)
    grid = np.zeros((len(waves.matrix), len(points), *shape), dtype=np.complex64)
    grid[:, :, m1, m2] = weighted.transpose(0, 2, 1)
    amplitude = fft.fft2(grid, overwrite_x=True, workers=1)
    wave = amplitude[0]
    result = np.empty(amplitude.shape, dtype=np.float32)
    result[0] = wave.real**2 + wave.imag**2
    for p in range(1, len(amplitude)):
        result[p] = 2 * (wave.real * amplitude[p].real + wave.imag * amplitude[p].imag)
    return result


def batches(count: int, size: int) -> Iterator[IntArray]:
    """Return the integers below a count in runs of a size."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
