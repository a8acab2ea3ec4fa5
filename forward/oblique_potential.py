"""Slices of a laterally periodic specimen on a grid over its own, possibly oblique, cell.

The scattering factors are abTEM's (Lobato & Van Dyck, Acta Cryst. A70 (2014) 636), the projection
is infinite (an atom belongs to one slice), and every atom enters with the phase of its true
position: ``V(g) = sum_j f_j(|g|) exp(-2 pi i g.r_j) / area``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.diffraction_box import ANTIALIAS_CUTOFF, ANTIALIAS_TAPER, UNATTENUATED
from echolith.forward.optics import interaction_constant
from echolith.forward.projected_potential import slice_of_atoms

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ComplexArray = npt.NDArray[np.complex64]

COMMENSURATE = 1e-6
"""Pixels. A cell this near a whole number of them is taken to be it."""
FINER = 2
"""The potential is on a grid finer by this, as in `echolith.forward.projected_potential`."""


@dataclass(frozen=True, kw_only=True)
class ObliqueGrid:
    """Points ``i1/n1 a1 + i2/n2 a2`` of a lateral cell, and the reciprocal lattice as its spectrum.

    The antialias aperture is abTEM's circle for a square pixel of side ``sampling``; the grid is
    fine enough that products of two waves inside it do not fold back into it.
    """

    cell: FloatArray
    """Rows a1 and a2, xy in Å, reduced: no shorter pair spans the same lattice."""
    shape: tuple[int, int]
    sampling: float

    @cached_property
    def reciprocal(self) -> FloatArray:
        """Rows b1 and b2 with ``a_i . b_j = delta_ij``, 1/Å."""
        return np.asarray(np.linalg.inv(self.cell).T)

    @property
    def area(self) -> float:
        """Area of the cell, Å²."""
        return abs(float(np.linalg.det(self.cell)))

    @cached_property
    def indices(self) -> IntArray:
        """Integers (m1, m2) of each point of the spectrum, (n1, n2, 2), FFT order.

        Of all vectors that the grid cannot tell apart, the shortest.
        """
        n1, n2 = self.shape
        first = np.stack(
            np.meshgrid(np.fft.fftfreq(n1, 1 / n1), np.fft.fftfreq(n2, 1 / n2), indexing="ij"),
            axis=-1,
        )
        step = np.arange(-1, 2)
        aliases = np.stack(np.meshgrid(step * n1, step * n2, indexing="ij"), axis=-1)
        candidates = np.rint(first)[..., None, :] + aliases.reshape(-1, 2)
        lengths = np.linalg.norm(candidates @ self.reciprocal, axis=-1)
        chosen = lengths.argmin(axis=-1)[..., None, None]
        return np.take_along_axis(candidates, chosen, axis=-2)[..., 0, :].astype(np.int64)

    @cached_property
    def vectors(self) -> FloatArray:
        """Reciprocal lattice vectors g of the spectrum, (n1, n2, 2) xy in 1/Å, FFT order."""
        return np.asarray(self.indices @ self.reciprocal)

    def antialias(self, k: FloatArray) -> FloatArray:
        """Return abTEM's antialias aperture at lengths k in 1/Å."""
        cycles = k * self.sampling
        edge = 0.5 * (1 + np.cos(np.pi * (cycles - UNATTENUATED) / ANTIALIAS_TAPER))
        passed = np.where(cycles > UNATTENUATED, edge, 1.0)
        return np.where(cycles > ANTIALIAS_CUTOFF / 2, 0.0, passed)

    def finer(self) -> "ObliqueGrid":
        """Return the grid on which potentials are exponentiated.

        ``exp(i sigma V)`` holds twice and more of the frequencies of V, which would fold back.
        """
        n1, n2 = self.shape
        return ObliqueGrid(
            cell=self.cell, shape=(FINER * n1, FINER * n2), sampling=self.sampling / FINER
        )


def band_limited(waves: npt.NDArray[np.complex128], grid: ObliqueGrid) -> ComplexArray:
    """Return waves (..., n1, n2) from a finer grid on `grid`, cut off by its antialias aperture."""
    spectrum = fft.fft2(waves, workers=1)
    kept = grid.indices % np.array(waves.shape[-2:])
    passed = grid.antialias(np.linalg.norm(grid.vectors, axis=-1))
    scale = np.prod(grid.shape) / np.prod(waves.shape[-2:])
    cut = spectrum[..., kept[..., 0], kept[..., 1]] * (passed * scale)
    return np.asarray(fft.ifft2(cut, workers=1), dtype=np.complex64)


def oblique_grid(cell: FloatArray, sampling: float) -> ObliqueGrid:
    """Choose the grid over a lateral cell.

    Parameters
    ----------
    cell : array, (2, 2)
        Rows are the cell vectors, xy in Å.
    sampling : float
        Side of the square pixel that sets the antialias aperture, Å.

    Examples
    --------
    >>> import numpy as np
    >>> grid = oblique_grid(np.array([[4.0, 0.0], [4.0, 5.0]]), 0.1)
    >>> grid.shape, grid.cell.tolist()
    ((40, 50), [[4.0, 0.0], [0.0, 5.0]])
    """
    reduced = reduce_cell(np.asarray(cell, dtype=np.float64))
    spacings = 1 / np.linalg.norm(np.linalg.inv(reduced), axis=0)
    n1, n2 = (_points(d / sampling) for d in spacings)
    return ObliqueGrid(cell=reduced, shape=(n1, n2), sampling=sampling)


def _points(least: float) -> int:
    # A whole number is kept: transmission functions then equal those on a box with that pixel.
    if abs(least - np.rint(least)) < COMMENSURATE:
        return int(np.rint(least))
    return int(fft.next_fast_len(int(np.ceil(least))))


def reduce_cell(cell: FloatArray) -> FloatArray:
    """Return the shortest pair of vectors that spans the same lattice (Lagrange and Gauss)."""
    a, b = np.array(cell, dtype=np.float64)
    while True:
        if np.linalg.norm(a) > np.linalg.norm(b) * (1 + 1e-9):
            a, b = b, a
        # The slack leaves a vector alone that projects on exactly one half of the other.
        shift = np.ceil(a @ b / (a @ a) - 0.5 - 1e-9)
        if shift == 0:
            return np.array([a, b])
        b = b - shift * a


def slice_transmissions(
    atoms: "Atoms", *, grid: ObliqueGrid, slices: int, energy: float
) -> ComplexArray:
    """Return ``exp(i sigma V)`` of every slice, cut off by the antialias aperture.

    Parameters
    ----------
    atoms : ase.Atoms
        Laterally periodic with the lattice of the grid. ``info["occupancy"]``, as ASE reads it
        from CIF, may share sites between elements.
    grid : ObliqueGrid
    slices : int
        Equal slices.
    energy : float
        eV.

    Returns
    -------
    array of complex64, (slices, n1, n2)
    """
    finer = grid.finer()
    fractional = atoms.positions[:, :2] @ grid.reciprocal.T
    labels = slice_of_atoms(atoms, slices)
    factors = ScatteringFactors(grid=finer)
    shares = occupants(atoms)
    sigma = interaction_constant(energy)
    slabs = np.empty((slices, *grid.shape), dtype=np.complex64)
    for n in range(slices):
        spectrum = np.zeros(finer.shape, dtype=np.complex128)
        for symbol, (index, weight) in shares.items():
            here = labels[index] == n
            if here.any():
                waves = _structure_factor(fractional[index[here]], weight[here], finer)
                spectrum += factors(symbol) * waves
        potential = fft.ifft2(spectrum, workers=1).real * (np.prod(finer.shape) / grid.area)
        slabs[n] = band_limited(np.exp(1j * sigma * potential), grid)
    return slabs


class ScatteringFactors:
    """abTEM's projected scattering factors on a grid, V Å³, each calculated once."""

    def __init__(self, *, grid: ObliqueGrid) -> None:
        from abtem.parametrizations import LobatoParametrization

        self._lobato: Any = LobatoParametrization()
        self._k2 = (grid.vectors**2).sum(axis=-1)
        self._known: dict[str, FloatArray] = {}

    def __call__(self, symbol: str) -> FloatArray:
        """Return the projected scattering factor of an element on the grid."""
        if symbol not in self._known:
            factor = self._lobato.projected_scattering_factor(symbol)(self._k2)
            self._known[symbol] = np.asarray(factor, dtype=np.float64)
        return self._known[symbol]


def _structure_factor(
    fractional: FloatArray, weight: FloatArray, grid: ObliqueGrid
) -> npt.NDArray[np.complex128]:
    """Return ``sum_j w_j exp(-2 pi i m.u_j)`` on the grid's spectrum.

    The phase is separable over the integers; einsum, because the bits of a matrix product by
    BLAS depend on its threads.
    """
    m1, m2 = grid.indices[..., 0], grid.indices[..., 1]
    ranges = (np.arange(m.min(), m.max() + 1) for m in (m1, m2))
    along1, along2 = (
        np.exp(-2j * np.pi * np.outer(m, u)) for m, u in zip(ranges, fractional.T, strict=True)
    )
    table = np.einsum("ia,ja->ij", along1 * weight, along2)
    return np.asarray(table[m1 - m1.min(), m2 - m2.min()])


def occupants(atoms: "Atoms") -> dict[str, tuple[IntArray, FloatArray]]:
    """Return for every element which atoms' sites it occupies, and to what share.

    ``info["occupancy"]`` maps the kind of a site (``arrays["spacegroup_kinds"]``) to the shares of
    the elements on it: the average crystal, not one drawing of it.

    Raises
    ------
    BadInputError
        If shares are given but not the kinds of the sites.
    """
    symbols = np.asarray(atoms.symbols)
    table = atoms.info.get("occupancy")
    if not table:
        everyone = {s: np.flatnonzero(symbols == s) for s in sorted(set(symbols.tolist()))}
        return {s: (index, np.ones(len(index))) for s, index in everyone.items()}
    kinds = atoms.arrays.get("spacegroup_kinds")
    if kinds is None:
        raise BadInputError(
            "the specimen has info['occupancy'] but no array 'spacegroup_kinds' that says which "
            "site each atom is on; read the structure with ase.io.read, or drop the occupancies"
        )
    found: dict[str, list[tuple[int, float]]] = {}
    for n, kind in enumerate(kinds):
        shares = table.get(str(kind), table.get(int(kind), {symbols[n]: 1.0}))
        for symbol, share in shares.items():
            found.setdefault(str(symbol), []).append((n, float(share)))
    return {
        symbol: (np.array([n for n, _ in pairs]), np.array([share for _, share in pairs]))
        for symbol, pairs in sorted(found.items())
    }
