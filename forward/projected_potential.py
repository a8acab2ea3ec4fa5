"""Slices of the specimen: projected potential and transmission function over a region.

Scattering factors are abTEM's (Lobato & Van Dyck, Acta Cryst. A70 (2014) 636), the projection
is infinite: an atom belongs to one slice.
"""

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.diffraction_box import antialias, fast_length
from echolith.forward.fixed_product import fixed_real_product
from echolith.forward.optics import interaction_constant
from echolith.forward.simulation import ProjectedPotential

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
Transmission = npt.NDArray[np.complex64]

MARGIN = 5.0
"""Å around the region that is computed and thrown away, so that nothing wraps around."""
ON_EDGE = 1e-6
"""Å. An atom this close below a slice's edge lies in the next slice."""

_FINER = {ProjectedPotential.EXACT: 2, ProjectedPotential.ABTEM: 1}
# exp(i sigma V) holds twice and more of the frequencies of V; on the wave's own grid they fold
# back into the aperture, which doubles the error of a frame (2 nm of Li-rich oxide, 0.06 Å).

_ONE_AT_A_TIME = Lock()  # abTEM's settings belong to the whole process


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of pixels in the specimen plane; pairs are (y, x)."""

    origin: tuple[float, float]
    """Position of pixel (0, 0), Å."""
    shape: tuple[int, int]
    sampling: tuple[float, float]
    wraps: bool
    """True: one period of the specimen, to be continued by wrapping."""

    def pixel_of(self, xy: FloatArray) -> FloatArray:
        """Return positions (..., 2) xy in Å as fractional pixels (..., 2) yx."""
        return np.asarray((xy[..., ::-1] - np.array(self.origin)) / np.array(self.sampling))


def check_specimen(atoms: "Atoms", slice_thickness: float) -> None:
    """Refuse a specimen that cannot be simulated.

    Raises
    ------
    BadInputError
        If it is empty, has no cell, a tilted cell, atoms outside or no full slice.
    """
    if len(atoms) == 0:
        raise BadInputError("the specimen holds no atoms; expected at least one")
    if not np.isfinite(atoms.positions).all():
        raise BadInputError("the specimen has positions that are not finite numbers (NaN or inf)")
    cell = np.asarray(atoms.cell)
    area = abs(float(np.linalg.det(cell[:2, :2])))
    if area < 1e-6 or not np.isfinite(cell).all() or cell[2, 2] <= 0:
        raise BadInputError(
            f"the specimen has no cell (lateral area {area:g} Å², thickness {cell[2, 2]:g} Å); "
            "set atoms.cell to its width, height and thickness"
        )
    if max(np.abs(cell[:2, 2]).max(), np.abs(cell[2, :2]).max()) > 1e-6:
        raise BadInputError(
            "the specimen's third cell vector is not along the beam or its first two are not "
            f"across it: cell = {cell.tolist()}; expected (0, 0, thickness) and vectors in x, y"
        )
    if cell[2, 2] < slice_thickness * (1 - 1e-6):
        raise BadInputError(
            f"the specimen is {cell[2, 2]:g} Å thick, thinner than one slice of "
            f"{slice_thickness:g} Å; use a thicker specimen or a smaller simulation.slice_thickness"
        )
    _check_atoms_inside(atoms, cell)


def _check_atoms_inside(atoms: "Atoms", cell: FloatArray) -> None:
    fractional = atoms.positions[:, :2] @ np.linalg.inv(cell[:2, :2])
    depth = atoms.positions[:, 2]
    outside = (depth < -ON_EDGE) | (depth > cell[2, 2] + ON_EDGE)
    if not atoms.pbc[:2].all():
        outside |= ((fractional < -1e-6) | (fractional > 1 + 1e-6)).any(axis=1)
    if outside.any():
        first = int(np.argmax(outside))
        where = ", ".join(f"{value:.3f}" for value in atoms.positions[first])
        raise BadInputError(
            f"{int(outside.sum())} atoms lie outside the specimen's cell, the first is number "
            f"{first} at ({where}) Å; expected all inside, 0 <= z <= {cell[2, 2]:g} Å; wrap or "
            "centre them, or enlarge the cell"
        )


def is_periodic(atoms: "Atoms") -> bool:
    """Say whether the specimen repeats laterally."""
    return bool(atoms.pbc[:2].all())


def slice_count(atoms: "Atoms", slice_thickness: float) -> int:
    """Return the number of equal slices, none thicker than asked."""
    return int(np.ceil(float(atoms.cell[2, 2]) / slice_thickness - 1e-6))


def slice_of_atoms(atoms: "Atoms", slices: int) -> npt.NDArray[np.int64]:
    """Return the slice each atom lies in, counted along the beam."""
    thickness = float(atoms.cell[2, 2]) / slices
    index = np.floor((atoms.positions[:, 2] + ON_EDGE) / thickness).astype(np.int64)
    return np.asarray(np.clip(index, 0, slices - 1))


def region_around(
    atoms: "Atoms", positions: FloatArray, side: tuple[float, float], sampling: tuple[float, float]
) -> Region:
    """Return the region that holds a box around every position.

    For an orthogonal periodic cell of a whole number of pixels that is the cell itself.

    Parameters
    ----------
    atoms : ase.Atoms
    positions : array, (..., 2)
        Centres of boxes, xy in Å.
    side, sampling : pair of float
        Of the box, (y, x), Å.
    """
    cell = np.asarray(atoms.cell)[:2, :2]
    if is_periodic(atoms) and abs(cell[0, 1]) + abs(cell[1, 0]) < 1e-6:
        periods = np.diag(cell)[::-1]
        pixels = np.abs(periods) / np.array(sampling)
        if np.all(np.abs(pixels - np.rint(pixels)) < 1e-6) and (periods > 0).all():
            shape = np.rint(pixels).astype(int)
            return Region(
                origin=(0.0, 0.0),
                shape=(int(shape[0]), int(shape[1])),
                sampling=sampling,
                wraps=True,
            )
    yx = positions.reshape(-1, 2)[:, ::-1]
    half, pixel = np.array(side) / 2 + MARGIN, np.array(sampling)
    low = np.floor((yx.min(axis=0) - half) / pixel).astype(int)
    high = np.ceil((yx.max(axis=0) + half) / pixel).astype(int)
    shape = [fast_length(int(n) + 2) for n in high - low]
    return Region(
        origin=(float(low[0] * pixel[0]), float(low[1] * pixel[1])),
        shape=(shape[0], shape[1]),
        sampling=sampling,
        wraps=False,
    )


def atoms_in(atoms: "Atoms", region: Region) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return positions (m, 2) xy of the atoms and images inside a region, and whose they are."""
    xy, index = atoms.positions[:, :2], np.arange(len(atoms))
    if region.wraps or not is_periodic(atoms):
        if region.wraps:
            return xy, index
        return _inside(xy, index, region)
    cell = np.asarray(atoms.cell)[:2, :2]
    fractional = xy @ np.linalg.inv(cell)
    wrapped = (fractional - np.floor(fractional)) @ cell
    corner = np.array(region.origin)[::-1]
    extent = (np.array(region.shape) * np.array(region.sampling))[::-1]
    corners = corner + extent * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    reach = corners @ np.linalg.inv(cell)
    first, last = np.floor(reach.min(axis=0)) - 1, np.ceil(reach.max(axis=0)) + 1
    i, j = (np.arange(a, b + 1) for a, b in zip(first, last, strict=True))
    shifts = np.stack(np.meshgrid(i, j, indexing="ij"), axis=-1).reshape(-1, 2) @ cell
    images = (wrapped[None] + shifts[:, None]).reshape(-1, 2)
    return _inside(images, np.tile(index, len(shifts)), region)


def _inside(
    xy: FloatArray, index: npt.NDArray[np.int64], region: Region
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    pixel = region.pixel_of(xy)
    kept = ((pixel >= 0) & (pixel < np.array(region.shape))).all(axis=1)
    return xy[kept], index[kept]


def transmission(
    atoms: "Atoms", *, region: Region, slices: int, energy: float, method: ProjectedPotential
) -> Transmission:
    """Return ``exp(i sigma V)`` of every slice, cut off by the antialias aperture.

    Parameters
    ----------
    atoms : ase.Atoms
    region : Region
    slices : int
    energy : float
        eV.
    method : ProjectedPotential

    Returns
    -------
    array of complex64, (slices, ny, nx)
    """
    finer = _FINER[method]
    grid = Region(
        origin=region.origin,
        shape=(region.shape[0] * finer, region.shape[1] * finer),
        sampling=(region.sampling[0] / finer, region.sampling[1] / finer),
        wraps=region.wraps,
    )
    xy, index = atoms_in(atoms, region)
    yx, labels = grid.pixel_of(xy), slice_of_atoms(atoms, slices)[index]
    shares = {z: weight[index] for z, weight in _shares(atoms).items()}
    project: _Projection = (
        _Exact(region=grid, numbers=list(shares))
        if method is ProjectedPotential.EXACT
        else _Abtem(region=grid)
    )
    ky, kx = (
        np.asarray(np.fft.fftfreq(n, d), dtype=np.float64)
        for n, d in zip(region.shape, region.sampling, strict=True)
    )
    passed = (antialias(ky, kx, max(region.sampling)) / finer**2).astype(np.float32)
    rows, columns = (np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in region.shape)
    sigma = interaction_constant(energy)
    slabs = np.empty((slices, *region.shape), dtype=np.complex64)
    for n in range(slices):
        sites = {z: (labels == n) & (weight > 0) for z, weight in shares.items()}
        potential = project(
            {z: (yx[here], shares[z][here]) for z, here in sites.items() if here.any()}
        )
        along_x = fft.fft(_phase_factor(sigma * potential), axis=1, overwrite_x=True)[:, columns]
        spectrum = fft.fft(along_x, axis=0, overwrite_x=True)[rows]
        slabs[n] = fft.ifft2(spectrum * passed, overwrite_x=True)
    return slabs


def _phase_factor(phase: npt.NDArray[np.floating]) -> Transmission:
    """Return ``exp(i phase)``; four times faster than NumPy's complex exponential."""
    factor = np.empty(phase.shape, dtype=np.complex64)
    np.cos(phase, out=factor.real)
    np.sin(phase, out=factor.imag)
    return factor


def _shares(atoms: "Atoms") -> dict[int, FloatArray]:
    """Return the share of each element on every atom's site, (n,), by atomic number."""
    from ase.data import atomic_numbers

    from echolith.forward.oblique_potential import occupants

    shares = {}
    for symbol, (index, weight) in occupants(atoms).items():
        shares[int(atomic_numbers[symbol])] = np.zeros(len(atoms))
        np.add.at(shares[int(atomic_numbers[symbol])], index, weight)
    return shares


Sites = dict[int, tuple[FloatArray, FloatArray]]
"""By atomic number: fractional pixels (m, 2) yx, and the element's share of each site."""


class _Projection(Protocol):
    def __call__(self, sites: Sites) -> npt.NDArray[np.floating]: ...


class _Exact:
    """The inverse transform of f(k) exp(-2 pi i k r), summed over atoms at fractional pixels.

    The phases are separable, so the sum over atoms is a product of two matrices.
    """

    def __init__(self, *, region: Region, numbers: list[int]) -> None:
        from abtem.parametrizations import LobatoParametrization
        from ase.data import chemical_symbols

        self.shape = region.shape
        ky = np.fft.fftfreq(region.shape[0], region.sampling[0])
        kx = np.fft.rfftfreq(region.shape[1], region.sampling[1])
        k2 = ky[:, None] ** 2 + kx[None] ** 2
        pixel_area = region.sampling[0] * region.sampling[1]
        lobato: Any = LobatoParametrization()
        self.factors = {
            z: np.asarray(
                lobato.projected_scattering_factor(chemical_symbols[z])(k2) / pixel_area,
                dtype=np.float32,
            )
            for z in numbers
        }

    def __call__(self, sites: Sites) -> npt.NDArray[np.floating]:
        ny, nx = self.shape
        spectrum = np.zeros((ny, nx // 2 + 1), dtype=np.complex64)
        for number, (yx, share) in sites.items():
            spectrum += self.factors[number] * self._waves(yx, share)
        return np.asarray(fft.irfft2(spectrum, s=self.shape, overwrite_x=True))

    def _waves(self, yx: FloatArray, share: FloatArray) -> npt.NDArray[np.complex64]:
        ny, nx = self.shape
        along_y = share * _harmonics(yx[:, 0] / ny, ny // 2 + 1)
        along_x = _harmonics(yx[:, 1] / nx, nx // 2 + 1).T
        # exp(-i p) = c + i s: rows of k and of -k are sums and differences of the same products.
        parts = np.concatenate([along_y.real, along_y.imag]).astype(np.float32)
        cosines, sines = np.split(fixed_real_product(parts, along_x.astype(np.complex64)), 2)
        sines *= np.complex64(1j)
        return np.concatenate(
            [(cosines + sines)[: (ny + 1) // 2], (cosines - sines)[ny // 2 : 0 : -1]]
        )


def _harmonics(turns: FloatArray, count: int) -> npt.NDArray[np.complex128]:
    """Return ``exp(-2 pi i k t)`` for k below a count, (count, n), from few exponentials."""
    few = int(np.ceil(np.sqrt(count)))
    fine, coarse = (
        np.exp(-2j * np.pi * step * np.outer(np.arange(few), turns)) for step in (1, few)
    )
    return np.asarray((coarse[:, None] * fine).reshape(-1, len(turns))[:count])


class _Abtem:
    """abTEM's own projection of one slice."""

    def __init__(self, *, region: Region) -> None:
        self.region = region

    def __call__(self, sites: Sites) -> npt.NDArray[np.floating]:
        import abtem

        total = np.zeros(self.region.shape, dtype=np.float32)
        settings = {"fft": "numpy", "device": "cpu", "precision": "float32"}
        with _ONE_AT_A_TIME, abtem.config.set(settings):
            for number, (yx, share) in sites.items():
                for weight in np.unique(share):
                    slab = self._slab(number, yx[share == weight])
                    potential = abtem.Potential(
                        slab,
                        gpts=self.region.shape[::-1],
                        slice_thickness=1.0,
                        projection="infinite",
                        parametrization="lobato",
                    ).build(lazy=False)
                    total += np.float32(weight) * np.asarray(potential.array)[0].T
        return total

    def _slab(self, number: int, yx: FloatArray) -> "Atoms":
        from ase import Atoms

        extent = np.array(self.region.shape) * np.array(self.region.sampling)
        xy = (yx * np.array(self.region.sampling))[:, ::-1]
        positions = np.column_stack([xy, np.full(len(xy), 0.5)])
        cell = [*extent[::-1], 1.0]
        return Atoms(numbers=[number] * len(xy), positions=positions, cell=cell, pbc=True)
