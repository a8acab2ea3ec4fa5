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

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import constants, fft

from echolith.forward.acquisition import Settings
from echolith.forward.diffraction_box import antialias
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
            origin=self.origin, shape=(factor * ny, factor * nx), sampling=(dy / factor, dx / factor)
        )


class Content(Settings):
    """What columns are made of, as fractions of atoms."""

    species: dict[str, dict[str, float]] = {
        "M": {"Mn": 0.675, "Ni": 0.1625, "Co": 0.1625},
        "O": {"O": 1.0},
        "Li": {"Li": 1.0},
    }
    """Mean content of each species, counted by `strength`; Li1.2Ni0.13Mn0.54Co0.13O2."""
    filling: dict[str, dict[str, float]] = {"M": {"Li": 1.0}}
    """What stands on the sites that its own atoms leave, where that is not vacancies."""
    share: dict[str, float] = {"M": 0.8}
    """Nominal share of a species' own atoms on its sites, 1 where not named: where a fit starts."""

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
        damping = np.exp(np.tensordot(shape * _signs(parity), self.terms, axes=1))
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


def _signs(parity: int) -> Array:
    signs = np.ones(len(SHAPES))
    signs[EVEN:] = parity
    return signs


def _parts(state: ColumnState) -> list[tuple[int, int, Indices]]:
    """Columns of one profile: species, parity, and their indices."""
    pairs = sorted({(int(g), int(p)) for g, p in zip(state.group, state.parity, strict=True)})
    return [(g, p, np.flatnonzero((state.group == g) & (state.parity == p))) for g, p in pairs]


def _phases(state: ColumnState, mine: Indices, grid: FieldGrid) -> tuple[ComplexArray, ComplexArray]:
    """exp(-2 pi i k r) of some columns along y (n, ny) and along x (n, nx)."""
    y, x = state.y[mine] - grid.origin[0], state.x[mine] - grid.origin[1]
    return (
        np.exp(-2j * np.pi * y[:, None] * grid.ky),
        np.exp(-2j * np.pi * x[:, None] * grid.kx),
    )


def _weights(state: ColumnState, mine: Indices) -> tuple[Array, Array]:
    """Return how often atoms and sites of some columns count, each (n, 1)."""
    sites = np.full(len(mine), state.common[COMMON.index("sites")])
    return state.strength[mine, None], sites[:, None]


def _spectrum(
    state: ColumnState, mine: Indices, profiles: Profiles, group: int, parity: int
) -> ComplexArray:
    """Return the phase spectrum of the columns of one profile, rad Å²."""
    along_y, along_x = _phases(state, mine, profiles.grid)
    own, filling = profiles.of(group, parity, state.shape[group])
    strength, sites = _weights(state, mine)
    spectrum = own * ((along_y * strength).T @ along_x)
    if filling.any():
        spectrum = spectrum + filling * ((along_y * sites).T @ along_x)
    return np.asarray(spectrum)


def phase_image(state: ColumnState, profiles: Profiles) -> Array:
    """Return the projected phase of all columns, rad, (ny, nx)."""
    grid = profiles.grid
    spectra = [_spectrum(state, mine, profiles, g, p) for g, p, mine in _parts(state)]
    scale = np.prod(grid.shape) / grid.area
    return np.asarray(fft.irfft2(np.sum(spectra, axis=0), s=grid.shape, workers=1) * scale)


def phase_gradient(state: ColumnState, slope: Array, profiles: Profiles) -> tuple[Array, float]:
    """Return the derivative of a number by the columns' parameters, from that by the phase image.

    Parameters
    ----------
    state : ColumnState
    slope : array, (ny, nx)
        Derivative by the phase (rad) of each pixel.
    profiles : Profiles

    Returns
    -------
    columns_and_shapes : array, (3 columns + 7 species,)
        In the order of `ColumnState.vector`.
    sites : float
    """
    grid = profiles.grid
    conjugate = np.conj(fft.rfft2(slope, workers=1)) * grid.weight / grid.area
    columns = np.empty((len(state.x), len(KINDS)))
    shapes, by_sites = np.zeros(state.shape.shape), 0.0
    for group, parity, mine in _parts(state):
        along_y, along_x = _phases(state, mine, grid)
        turned_x = along_x * (-2j * np.pi * grid.kx)
        turned_y = along_y * (-2j * np.pi * grid.ky)
        columns[mine, :2] = 0
        pair = profiles.of(group, parity, state.shape[group])
        for profile, weight, own in zip(pair, _weights(state, mine), (True, False), strict=True):
            if not profile.any():
                continue
            seen = profile * conjugate
            lines = along_y @ seen
            columns[mine, 0] += weight[:, 0] * (lines * turned_x).sum(axis=1).real
            columns[mine, 1] += weight[:, 0] * ((turned_y @ seen) * along_x).sum(axis=1).real
            by_weight = (lines * along_x).sum(axis=1).real
            if own:
                columns[mine, 2] = by_weight
            else:
                by_sites += float(by_weight.sum())
        whole = conjugate * _spectrum(state, mine, profiles, group, parity)
        shapes[group] += _signs(parity) * np.tensordot(profiles.terms, whole, axes=2).real
    return np.concatenate([columns.ravel(), shapes.ravel()]), by_sites


@dataclass(frozen=True, kw_only=True)
class ColumnChanges:
    """How the phase image changes with each column, in a patch around it."""

    images: npt.NDArray[np.float32] = field(repr=False)
    """(columns, 3, rows, columns of pixels)"""
    corners: Indices
    """Pixel (y, x) of the field where each patch begins."""

    def place(
        self, target: npt.NDArray[np.float32], column: int, corner: tuple[int, int]
    ) -> None:
        """Write a column's patch into an empty window (3, ny, nx) that begins at a corner."""
        (y, x), (h, w) = self.corners[column] - np.array(corner), self.images.shape[2:]
        ny, nx = target.shape[1:]
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + h, ny), min(x + w, nx)
        if top < bottom and left < right:
            target[:, top:bottom, left:right] = self.images[
                column, :, top - y : bottom - y, left - x : right - x
            ]


def column_changes(
    state: ColumnState, profiles: Profiles, grid: FieldGrid, *, half: float
) -> ColumnChanges:
    """Return the derivative of the phase image by each column's parameters, cut off at `half` Å."""
    pixel = np.array(grid.sampling)
    n = np.array([fft.next_fast_len(2 * int(np.ceil(half / d)) + 1, real=True) for d in pixel])
    place = np.stack([state.y, state.x], axis=1) - np.array(grid.origin)
    corners = np.rint(place / pixel).astype(np.intp) - n // 2
    small = FieldGrid(origin=(0.0, 0.0), shape=(int(n[0]), int(n[1])), sampling=grid.sampling)
    local, yx = profiles.on(small), place - corners * pixel
    inside = replace(state, y=yx[:, 0], x=yx[:, 1])
    images = np.empty((len(state.x), len(KINDS), *small.shape), dtype=np.float32)
    for group, parity, mine in _parts(inside):
        along_y, along_x = _phases(inside, mine, small)
        waves = along_y[:, :, None] * along_x[:, None, :] * _passed(small)
        own, filling = local.of(group, parity, state.shape[group])
        strength, sites = (w[:, :, None] for w in _weights(inside, mine))
        whole = (strength * own + sites * filling) * waves
        for kind, spectrum in enumerate(
            (-2j * np.pi * small.kx * whole, -2j * np.pi * small.ky[:, None] * whole, own * waves)
        ):
            images[mine, kind] = fft.irfft2(spectrum, s=small.shape, workers=1)
    return ColumnChanges(images=images, corners=corners)


def _passed(grid: FieldGrid) -> Array:
    """What the antialias aperture lets through, with the scale of the inverse transform."""
    aperture = antialias(grid.ky, grid.kx, max(grid.sampling))
    return np.asarray(aperture * (np.prod(grid.shape) / grid.area))


def shared_changes(
    state: ColumnState, profiles: Profiles, grid: FieldGrid
) -> npt.NDArray[np.float32]:
    """Return the derivative of the phase image by shapes, then sites, (7 species + 1, ny, nx)."""
    local, passed = profiles.on(grid), _passed(grid)
    images = np.zeros((*state.shape.shape, *grid.shape))
    by_sites = np.zeros(grid.shape)
    for group, parity, mine in _parts(state):
        whole = _spectrum(state, mine, local, group, parity) * passed
        for n, (sign, term) in enumerate(zip(_signs(parity), local.terms, strict=True)):
            images[group, n] += sign * fft.irfft2(whole * term, s=grid.shape, workers=1)
        along_y, along_x = _phases(state, mine, grid)
        filling = local.of(group, parity, state.shape[group])[1] * passed
        by_sites += fft.irfft2(filling * (along_y.T @ along_x), s=grid.shape, workers=1)
    every = np.concatenate([images.reshape(-1, *grid.shape), by_sites[None]])
    return every.astype(np.float32)
