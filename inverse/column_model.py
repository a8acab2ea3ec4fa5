"""Sum of column profiles and its derivatives, exact on the periodic scan grid.

A column adds to phi(Q), over the scanned area,

``a f(Q) exp(-sum_n b_n (p_n(Q) - p_n(Q0)) + i (2 pi)³ k(Q, Q, Q) / 6 - 2 pi i Q r)``

with f the scattering factor, p_n even powers of Q and k the third cumulant of the atoms'
projected positions about their mean r (a column of atoms displaced unequally is skewed, and
without k its apparent position would shift with Q). Sums over columns are separable in Q_x and
Q_y and thus two matrix products, with no cut-off of tails and no interpolation.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, spline_filter

from echolith.inverse.whitening import Whitening

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Indices = npt.NDArray[np.intp]

REFERENCE_FREQUENCY = 0.7
"""1/Å; amplitudes are stated at this frequency, where they hardly depend on the shape terms."""

EVEN = ("xx", "xy", "yy", "quartic")
"""Shape terms of Q_x², 2 Q_x Q_y, Q_y² and Q⁴."""
ODD = ("xxx", "xxy", "xyy", "yyy")
"""Third cumulants, Å³."""

OVERSAMPLING = 5
"""Fine points per scan step in the profile tables of the normal matrix."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Columns of one profile: their indices, the profile, and the waves exp(-2 pi i Q r)."""

    mine: Indices
    profile: ComplexArray
    rows: ComplexArray
    columns: ComplexArray


@dataclass(frozen=True, kw_only=True)
class ColumnSum:
    """Columns at positions (x, y) with amplitudes, grouped by species.

    ``group[k]`` is the index of column k's species in ``form``, the scattering factors on the
    support, and ``parity[k]`` is +1 or -1 where the column's profile is that of its species or its
    mirror image through the column, 0 where it has a centre of inversion.

    ``shape_terms[s]`` holds the coefficients of `EVEN` in the exponent (thermal motion,
    anisotropic, and its quartic correction), then those of `ODD`: third cumulants.
    """

    whitening: Whitening
    form: Array
    group: Indices
    parity: Indices
    x: Array
    y: Array
    amplitude: Array
    shape_terms: Array
    _parts: dict[tuple[int, int], "_Part"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        w = self.whitening
        parts = {}
        for species, parity in self.classes:
            mine = self.members(species, parity)
            parts[species, parity] = _Part(
                mine=mine,
                profile=self.profile(species, parity),
                rows=np.exp(-2j * np.pi * np.outer(w.qy, self.y[mine])),
                columns=np.exp(-2j * np.pi * np.outer(w.qx, self.x[mine])),
            )
        object.__setattr__(self, "_parts", parts)

    @property
    def classes(self) -> list[tuple[int, int]]:
        """Return (species, parity) of the distinct profiles."""
        pairs = zip(self.group.tolist(), self.parity.tolist(), strict=True)
        return sorted(set(pairs))

    def members(self, species: int, parity: int) -> Indices:
        """Return the columns with one profile."""
        return np.flatnonzero((self.group == species) & (self.parity == parity))

    def profile(self, species: int, parity: int) -> ComplexArray:
        """Return the profile on the support, 1/Å: see the module's equation; real for parity 0."""
        terms = self._terms(parity)
        exponent = np.tensordot(self.shape_terms[species, : len(terms)], terms, axes=1)
        profile = self.form[species] * np.exp(exponent) / self.whitening.area
        return np.asarray(profile, dtype=complex)

    def _terms(self, parity: int) -> ComplexArray:
        """Return what the shape terms multiply, (terms, rows, columns)."""
        w, q0 = self.whitening, REFERENCE_FREQUENCY
        qx, qy = np.broadcast_arrays(w.qx[None], w.qy[:, None])
        even = [qx**2 - q0**2 / 2, 2 * qx * qy, qy**2 - q0**2 / 2, w.radius**4 - q0**4]
        odd = [qx**3, 3 * qx**2 * qy, 3 * qx * qy**2, qy**3]
        cumulant = 1j * parity * (2 * np.pi) ** 3 / 6
        both = [-term + 0j for term in even] + [cumulant * term for term in odd]
        return np.stack(both[: self.shape_terms.shape[1]])

    def class_spectrum(self, species: int, parity: int) -> ComplexArray:
        """Return the part of phi(Q) that the columns of one profile make."""
        part = self._parts[species, parity]
        lattice = (part.rows * self.amplitude[part.mine]) @ part.columns.T
        return np.asarray(part.profile * lattice)

    def spectrum(self) -> ComplexArray:
        """Return phi(Q) of all columns."""
        return np.asarray(np.sum([self.class_spectrum(*kind) for kind in self.classes], axis=0))

    def shape_images(self) -> Array:
        """Return d u / d shape_terms, (species * terms, ny, nx)."""
        changes = np.zeros((*self.shape_terms.shape, *self.whitening.root.shape), complex)
        for species, parity in self.classes:
            changes[species] += self._terms(parity) * self.class_spectrum(species, parity)
        flat = changes.reshape(-1, *self.whitening.root.shape)
        return np.stack([self.whitening.whiten(change) for change in flat])

    def change(self, step: Array) -> ComplexArray:
        """Return the change of phi(Q) for small changes (columns, 3) of (amplitude, x, y)."""
        w = self.whitening
        total = np.zeros(w.root.shape, complex)
        for part in self._parts.values():
            amplitude, x, y = step[part.mine].T
            x, y = -2j * np.pi * self.amplitude[part.mine] * np.stack([x, y])
            lattice = (part.rows * (amplitude + w.qy[:, None] * y)) @ part.columns.T
            lattice += ((part.rows * x) @ part.columns.T) * w.qx
            total += part.profile * lattice
        return total

    def gradient(self, image: Array) -> Array:
        """Return ``sum_R image * d u / d (amplitude, x, y)``, shape (columns, 3)."""
        w = self.whitening
        back = w.pull_back(image)
        result = np.empty((len(self.x), 3))
        for part in self._parts.values():
            inner = back * part.profile
            plain = inner @ part.columns
            by_x = -2j * np.pi * ((inner * w.qx) @ part.columns)
            by_y = -2j * np.pi * w.qy[:, None] * plain
            sums = [(part.rows * term).sum(axis=0).real for term in (plain, by_x, by_y)]
            result[part.mine] = np.stack(sums, axis=-1)
        result[:, 1:] *= self.amplitude[:, None]
        return result

    def patches(self, reach: tuple[int, int]) -> tuple[Array, Indices, Indices]:
        """Return d u / d (amplitude, x, y) in a window around every column.

        Cubic splines through tables of the profile on a grid `OVERSAMPLING` times finer.

        Parameters
        ----------
        reach : tuple of int
            Half the window, scan steps (y, x).

        Returns
        -------
        values : array, (columns, 3, 2 reach_y + 1, 2 reach_x + 1)
        rows, columns : arrays of int
            Scan indices of the windows, wrapped around the scan.
        """
        w = self.whitening
        nearest = [
            np.rint(at / step).astype(int)
            for at, step in zip((self.y, self.x), w.step, strict=True)
        ]
        offsets = [np.arange(-n, n + 1) for n in reach]
        values = np.empty((len(self.x), 3, len(offsets[0]), len(offsets[1])))
        for species, parity in self.classes:
            mine = self.members(species, parity)
            tables = self._tables(species, parity, reach)
            at = [
                (offset[None] + near[mine, None] - position[mine, None] / step + n + 1)
                * OVERSAMPLING
                for offset, near, position, step, n in zip(
                    offsets, nearest, (self.y, self.x), w.step, reach, strict=True
                )
            ]
            grid = np.broadcast_arrays(at[0][:, :, None], at[1][:, None, :])
            for term, table in enumerate(tables):
                values[mine, term] = map_coordinates(table, grid, order=3, prefilter=False)
        values[:, 1:] *= self.amplitude[:, None, None, None]
        rows, columns = (
            (near[:, None] + offset[None]) % n
            for near, offset, n in zip(nearest, offsets, w.shape, strict=True)
        )
        return values, rows, columns

    def _tables(self, species: int, parity: int, reach: tuple[int, int]) -> list[Array]:
        w = self.whitening
        ty, tx = (
            np.arange(-(n + 1) * OVERSAMPLING, (n + 1) * OVERSAMPLING + 1) * step / OVERSAMPLING
            for n, step in zip(reach, w.step, strict=True)
        )
        base = w.root * self.profile(species, parity) * w.multiplicity / np.sqrt(w.size)
        waves = np.exp(2j * np.pi * np.outer(ty, w.qy)), np.exp(2j * np.pi * np.outer(w.qx, tx))
        factors = (1.0, -2j * np.pi * w.qx[None], -2j * np.pi * w.qy[:, None])
        return [spline_filter((waves[0] @ (base * f) @ waves[1]).real, order=3) for f in factors]
