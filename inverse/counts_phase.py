"""The projected phase of a field of columns, and its derivatives, exact on a periodic grid.

Sums over columns are separable in k_x and k_y and thus two matrix products, with no cut-off of
tails; see `echolith.inverse.counts_columns` for the model.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.diffraction_box import antialias
from echolith.inverse.counts_columns import (
    COMMON,
    KINDS,
    Array,
    ColumnState,
    ComplexArray,
    FieldGrid,
    Indices,
    Profiles,
    parity_signs,
)


def _parts(state: ColumnState) -> list[tuple[int, int, Indices]]:
    """Columns of one profile: species, parity, and their indices."""
    pairs = sorted({(int(g), int(p)) for g, p in zip(state.group, state.parity, strict=True)})
    return [(g, p, np.flatnonzero((state.group == g) & (state.parity == p))) for g, p in pairs]


def _phases(
    state: ColumnState, mine: Indices, grid: FieldGrid
) -> tuple[ComplexArray, ComplexArray]:
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
        shapes[group] += parity_signs(parity) * np.tensordot(profiles.terms, whole, axes=2).real
    return np.concatenate([columns.ravel(), shapes.ravel()]), by_sites


@dataclass(frozen=True, kw_only=True)
class ColumnChanges:
    """How the phase image changes with each column, in a patch around it."""

    images: npt.NDArray[np.float32] = field(repr=False)
    """(columns, 3, rows, columns of pixels)"""
    corners: Indices
    """Pixel (y, x) of the field where each patch begins."""

    def place(self, target: npt.NDArray[np.float32], column: int, corner: tuple[int, int]) -> None:
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
    """Return what the antialias aperture lets through, with the scale of the inverse transform."""
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
        for n, (sign, term) in enumerate(zip(parity_signs(parity), local.terms, strict=True)):
            images[group, n] += sign * fft.irfft2(whole * term, s=grid.shape, workers=1)
        along_y, along_x = _phases(state, mine, grid)
        filling = local.of(group, parity, state.shape[group])[1] * passed
        by_sites += fft.irfft2(filling * (along_y.T @ along_x), s=grid.shape, workers=1)
    every = np.concatenate([images.reshape(-1, *grid.shape), by_sites[None]])
    return every.astype(np.float32)
