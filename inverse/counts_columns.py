"""Atom columns as the phase shift they give the beam, and what depends on it.

A column of ``s`` atoms of a species at r, on ``n`` sites, adds to the projected phase

``phi(k) = sigma h²/(2 pi m e) (s f(k) + (n - s) g(k)) exp(-2 pi² k.U.k
+ i (2 pi)³ kappa(k, k, k) / 6 - 2 pi i k.r)``

with f the mean electron scattering factor of the species and g that of what fills its other sites
(lithium among transition metals; nothing elsewhere). U is the covariance and kappa the third
cumulant of the atoms' projected positions about r (thermal motion, source, static disorder); both
are shared by a species, kappa with opposite sign for its mirror images. The filling matters: it has
wide tails, and where a column of M was given a third of lithium instead of a fifth, the O columns
beside it were 0.2 to 0.3 pm off.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import constants

from echolith.forward.acquisition import Settings
from echolith.forward.optics import interaction_constant
from echolith.inverse.column_profiles import Scattering

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Indices = npt.NDArray[np.intp]

KINDS = ("x", "y", "strength")
SHAPES = ("xx", "xy", "yy", "xxx", "xxy", "xyy", "yyy")
"""Entries of U (Å²), then of kappa (Å³)."""
EVEN = 3
COMMON = ("scale", "thickness", "defocus", "sites")
"""Logarithm of the counts per electron, thickness (Å), C10 beyond that of the metadata (Å), and the
atoms of a full column."""

VOLT_ANGSTROM_SQUARED = (
    constants.h**2 / (2 * np.pi * constants.m_e * constants.e) * 1e20
)  # 47.878, Kirkland eq. 5.9


@dataclass(frozen=True, kw_only=True)
class ColumnState:
    """Every parameter of the model; positions in the frame of the specimen's axes, Å."""

    x: Array
    y: Array
    strength: Array
    """Atoms of its own species in the column."""
    group: Indices
    """Species of each column."""
    parity: Indices
    """+1 or -1 for a column whose kappa is that of its species or opposite, 0 without one."""
    shape: Array
    """(species, 7) in the order of `SHAPES`."""
    common: Array
    """In the order of `COMMON`."""

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(KINDS) * len(self.x) + self.shape.size + len(self.common)

    @property
    def vector(self) -> Array:
        """All parameters: x, y, strength of each column, shapes, common ones."""
        columns = np.stack([self.x, self.y, self.strength], axis=1)
        return np.concatenate([columns.ravel(), self.shape.ravel(), self.common])

    def with_vector(self, vector: Array) -> "ColumnState":
        """Return the state with other parameters."""
        n = len(KINDS) * len(self.x)
        x, y, strength = vector[:n].reshape(-1, len(KINDS)).T
        return replace(
            self,
            x=x,
            y=y,
            strength=strength,
            shape=vector[n : n + self.shape.size].reshape(self.shape.shape),
            common=vector[n + self.shape.size :],
        )


@dataclass(frozen=True, kw_only=True)
class FieldGrid:
    """A periodic rectangle of pixels; pairs are (y, x)."""

    origin: tuple[float, float]
    """Position of pixel (0, 0), Å."""
    shape: tuple[int, int]
    sampling: tuple[float, float]

    @property
    def area(self) -> float:
        """Å²."""
        return float(np.prod(self.shape) * np.prod(self.sampling))

    @cached_property
    def ky(self) -> Array:
        """Spatial frequencies along y, FFT order, 1/Å."""
        return np.asarray(np.fft.fftfreq(self.shape[0], self.sampling[0]))

    @cached_property
    def kx(self) -> Array:
        """Spatial frequencies along x, those of 0 and above, 1/Å."""
        return np.asarray(np.fft.rfftfreq(self.shape[1], self.sampling[1]))

    @cached_property
    def weight(self) -> Array:
        """How often each frequency of the half plane counts in a sum over the whole one, (nx,)."""
        weight = np.full(len(self.kx), 2.0)
        weight[0] = 1
        if self.shape[1] % 2 == 0:
            weight[-1] = 1
        return weight

    def finer(self, factor: int) -> "FieldGrid":
        """Return the same rectangle with smaller pixels."""
        ny, nx = self.shape
        dy, dx = self.sampling
        return FieldGrid(
            origin=self.origin,
            shape=(factor * ny, factor * nx),
            sampling=(dy / factor, dx / factor),
        )


class Content(Settings):
    """What columns are made of, as fractions of atoms."""

    species: dict[str, dict[str, float]] = Field(
        default_factory=lambda: {
            "M": {"Mn": 0.675, "Ni": 0.1625, "Co": 0.1625},
            "O": {"O": 1.0},
            "Li": {"Li": 1.0},
        }
    )
    """Mean content of each species, counted by `strength`; Li1.2Ni0.13Mn0.54Co0.13O2."""
    filling: dict[str, dict[str, float]] = Field(default_factory=lambda: {"M": {"Li": 1.0}})
    """What stands on the sites that its own atoms leave, where that is not vacancies."""
    share: dict[str, float] = Field(default_factory=lambda: {"M": 0.8})
    """Nominal share of a species' own atoms on its sites, 1 where not named: where a fit
    starts."""

    def factors(self, name: str, k: Array) -> tuple[Array, Array]:
        """Return the scattering factors of a species' own atom and of its filling, Å.

        Raises
        ------
        BadInputError
            If the species has no content.
        """
        own = Scattering(content=self.species).form_factor(name, k)
        if name not in self.filling:
            return own, np.zeros_like(own)
        return own, Scattering(content=self.filling).form_factor(name, k)


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Phase of one atom of every species on the frequencies of a grid, and of its derivatives."""

    grid: FieldGrid
    names: tuple[str, ...]
    content: Content
    energy: float

    @cached_property
    def _factors(self) -> list[tuple[Array, Array]]:
        k = np.hypot(self.grid.ky[:, None], self.grid.kx[None])
        scale = interaction_constant(self.energy) * VOLT_ANGSTROM_SQUARED
        pairs = [self.content.factors(name, k) for name in self.names]
        return [(scale * own, scale * filling) for own, filling in pairs]

    def of(self, group: int, parity: int, shape: Array) -> tuple[ComplexArray, ComplexArray]:
        """Return what one atom more adds, and what each site of a full column adds without it.

        Spectra of a column at the origin, rad Å², (ny, nx).
        """
        damping = np.exp(np.tensordot(shape * parity_signs(parity), self.terms, axes=1))
        own, filling = self._factors[group]
        return (own - filling) * damping, filling * damping

    @cached_property
    def terms(self) -> ComplexArray:
        """What each shape parameter is multiplied with in the exponent, (7, ny, nx)."""
        return shape_terms(self.grid.ky[:, None], self.grid.kx[None])

    def on(self, grid: FieldGrid) -> "Profiles":
        """Return the same profiles on another grid."""
        return replace(self, grid=grid)


def shape_terms(ky: Array, kx: Array) -> ComplexArray:
    """Return the derivative of the exponent by each of `SHAPES`."""
    even = -2 * np.pi**2 * np.stack([kx**2 + 0 * ky, 2 * kx * ky, ky**2 + 0 * kx])
    odd = np.stack([kx**3 + 0 * ky, 3 * kx**2 * ky, 3 * kx * ky**2, ky**3 + 0 * kx])
    return np.concatenate([even, 1j * (2 * np.pi) ** 3 / 6 * odd])


def parity_signs(parity: int) -> Array:
    """Return +1 for the entries of U and the parity for those of kappa."""
    signs = np.ones(len(SHAPES))
    signs[EVEN:] = parity
    return signs
