"""Poisson likelihood of raw 4D counts under a model of columns: value, gradient, information.

``log L = sum n log mu - mu`` over every pixel of every frame. Its gradient by all parameters takes
one propagation there and one back for each probe; the Fisher information
``F = sum J J^T / mu`` is summed over a part of the probes, since it changes slowly with position.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.diffraction_box import antialias
from echolith.inverse.counts_columns import (
    COMMON,
    KINDS,
    Array,
    ColumnState,
    FieldGrid,
    Indices,
    Profiles,
)
from echolith.inverse.counts_phase import (
    ColumnChanges,
    column_changes,
    phase_gradient,
    phase_image,
    shared_changes,
)
from echolith.inverse.counts_propagation import Passage, Propagation, Waves

FINER = 2
"""``exp(i phi)`` is formed on a grid finer by this, since it holds more frequencies than phi."""
PROBES_AT_ONCE = 8
PROBES_PER_TASK = 64
"""Fixed, so that the order of summation does not depend on the number of threads."""
PATCH = 4.0
"""Å each side of a column within which its derivative is taken for the information."""
FLOOR = 1e-4
"""Least expected count, relative to the mean per pixel: an electron where the model has none must
not decide alone."""


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Value of log L without the terms of the counts alone, and its gradient."""

    value: float
    gradient: Array
    deviance: float
    """Pearson's chi squared over all pixels whose expected count is above 1, divided by their
    number."""


@dataclass(frozen=True, kw_only=True)
class CountsModel:
    """Measured counts, and how columns would make them."""

    counts: npt.NDArray[np.generic] = field(repr=False)
    """(probes, dy, dx)"""
    positions: Array = field(repr=False)
    """(probes, 2) xy in Å, along the specimen's axes, from scan pixel (0, 0)."""
    propagation: Propagation
    profiles: Profiles
    """On the finer grid of the field."""
    grid: FieldGrid
    free: npt.NDArray[np.bool_] = field(repr=False)
    """Which parameters the information is wanted about."""
    reach: float
    """Å; farther columns are taken not to change a frame, in the information alone."""
    workers: int

    @cached_property
    def floor(self) -> np.float32:
        """Least expected count of a pixel."""
        detector = self.propagation.acquisition.detector
        mean = self.propagation.acquisition.electrons_per_position / np.prod(detector.shape)
        return np.float32(FLOOR * mean)

    def transmission(self, state: ColumnState) -> tuple[Waves, npt.NDArray[np.complex128]]:
        """Return that of one slice on the grid, and on the finer one before the aperture."""
        fine = np.exp(1j * phase_image(state, self.profiles) / self.propagation.slices)
        spectrum = fft.fft2(fine, workers=1)[self._kept] * (self._passed / FINER**2)
        return np.asarray(fft.ifft2(spectrum, workers=1), dtype=np.complex64), fine

    @cached_property
    def _kept(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rows, columns = (
            np.rint(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in self.grid.shape
        )
        return rows[:, None], columns[None]

    @cached_property
    def _passed(self) -> Array:
        ky, kx = (
            np.fft.fftfreq(n, d) for n, d in zip(self.grid.shape, self.grid.sampling, strict=True)
        )
        return antialias(ky, kx, max(self.grid.sampling))

    def likelihood(self, state: ColumnState, probes: Indices) -> Likelihood:
        """Return log L and its gradient in the order of `ColumnState.vector`.

        As if the chosen probes stood for all.
        """
        transmission, fine = self.transmission(state)
        total = np.zeros(self.grid.shape, dtype=np.complex128)
        common, value = np.zeros(len(COMMON)), 0.0
        misfit, pixels = 0.0, 0

        def some(start: int) -> "_Sums":
            return self._sums(probes[start : start + PROBES_PER_TASK], state, transmission)

        with ThreadPoolExecutor(self.workers) as pool:
            for part in pool.map(some, range(0, len(probes), PROBES_PER_TASK)):
                total += part.slope
                common += part.common
                value += part.value
                misfit, pixels = misfit + part.misfit, pixels + part.pixels
        slope = self._phase_slope(total, fine)
        columns, common[3] = phase_gradient(state, slope, self.profiles)
        share = len(self.positions) / len(probes)
        return Likelihood(
            value=share * value,
            gradient=share * np.concatenate([columns, common]),
            deviance=misfit / max(pixels, 1),
        )

    def _sums(self, probes: Indices, state: ColumnState, transmission: Waves) -> "_Sums":
        slope = np.zeros(self.grid.shape, dtype=np.complex128)
        common, value, misfit, pixels = np.zeros(len(COMMON)), 0.0, 0.0, 0
        scale = float(state.common[0])
        ny, nx = self.propagation.box.gpts
        for start in range(0, len(probes), PROBES_AT_ONCE):
            batch = probes[start : start + PROBES_AT_ONCE]
            positions = self.positions[batch]
            passage = self.propagation.forward(
                positions, state=state, transmission=transmission, field=self.grid
            )
            frames = self.propagation.frames(passage, scale)
            mean = frames + self.floor
            counts = np.asarray(self.counts[batch], dtype=np.float32)
            ratio = counts / mean
            value += float((counts * np.log(mean) - mean).sum(dtype=np.float64))
            bright = mean > 1
            misfit += float(((counts - mean) ** 2 / mean)[bright].sum(dtype=np.float64))
            pixels += int(bright.sum())
            common[0] += float(((ratio - 1) * frames).sum(dtype=np.float64))
            slopes = self.propagation.back(passage, ratio - 1, scale)
            common[1:3] += slopes.common.sum(axis=0)
            corners, _ = self.propagation.corners(positions, self.grid)
            for (y, x), image in zip(corners, slopes.transmission, strict=True):
                slope[y : y + ny, x : x + nx] += image
        return _Sums(slope=slope, common=common, value=value, misfit=misfit, pixels=pixels)

    def _phase_slope(
        self, total: npt.NDArray[np.complex128], fine: npt.NDArray[np.complex128]
    ) -> Array:
        """Carry the derivative by the transmission function back to the phase on the fine grid."""
        spectrum = np.zeros(fine.shape, dtype=np.complex128)
        spectrum[self._kept] = fft.ifft2(total, workers=1) * (self._passed / FINER**2)
        image = fft.fft2(spectrum, workers=1)
        return np.asarray(2 * (image * 1j * fine).real / self.propagation.slices)

    def information(self, state: ColumnState, probes: Indices) -> Array:
        """Return the Fisher information as if the chosen probes stood for all.

        Zero for parameters that are not free.
        """
        transmission, _ = self.transmission(state)
        changes = column_changes(state, self.profiles, self.grid, half=PATCH)
        chosen = np.append(self.free[len(KINDS) * len(state.x) : -len(COMMON)], True)
        shapes = shared_changes(state, self.profiles, self.grid)[chosen]
        images = _Images(columns=changes, shared=shapes)
        total = np.zeros((state.size, state.size))

        def some(batch: Indices) -> Iterable[tuple[Indices, Array]]:
            passage = self.propagation.forward(
                self.positions[batch], state=state, transmission=transmission, field=self.grid
            )
            means = self.propagation.frames(passage, float(state.common[0])) + self.floor
            return [
                self._one(np.array(probe), state, passage, means[probe[0]], images)
                for probe in enumerate(batch)
            ]

        batches = [probes[n : n + PROBES_AT_ONCE] for n in range(0, len(probes), PROBES_AT_ONCE)]
        with ThreadPoolExecutor(self.workers) as pool:
            for parts in pool.map(some, batches):
                for index, block in parts:
                    total[np.ix_(index, index)] += block
        return total * (len(self.positions) / len(probes))

    def _one(
        self,
        probe: Indices,
        state: ColumnState,
        passage: Passage,
        mean: npt.NDArray[np.float32],
        images: "_Images",
    ) -> tuple[Indices, Array]:
        """Return the parameters that one frame depends on, and its information about them."""
        n, here = int(probe[0]), self.positions[probe[1]]
        columns, first = len(state.x), len(KINDS) * len(state.x)
        free = self.free[:first].reshape(columns, -1).any(axis=1)
        near = np.flatnonzero(free & (np.hypot(state.x - here[0], state.y - here[1]) < self.reach))
        corner = self.propagation.corners(here[None], self.grid)[0][0]
        slopes = self.propagation.tangents(
            passage, n, images.cut(near, corner, self.propagation.box.gpts), float(state.common[0])
        )
        jacobian = np.concatenate([slopes[:-2], mean[None], slopes[-2:]])
        jacobian = (jacobian / np.sqrt(mean)).reshape(len(jacobian), -1)
        mine = (len(KINDS) * near[:, None] + np.arange(len(KINDS))).ravel()
        shared = np.flatnonzero(self.free[first : -len(COMMON)]) + first
        # Sites come with the shapes, before scale, thickness and defocus.
        index = np.concatenate([mine, shared, state.size - np.array([1, 4, 3, 2])])
        return index, np.asarray(jacobian @ jacobian.T, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class _Images:
    """Changes of the phase image with each parameter."""

    columns: ColumnChanges
    shared: npt.NDArray[np.float32]

    def cut(
        self, near: Indices, corner: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.float32]:
        """Return those of some columns, then the shared ones, in a window at a corner."""
        (y, x), (ny, nx), own = corner, shape, len(KINDS) * len(near)
        images = np.zeros((own + len(self.shared), ny, nx), dtype=np.float32)
        for m, column in enumerate(near):
            target = images[len(KINDS) * m : len(KINDS) * (m + 1)]
            self.columns.place(target, int(column), (int(y), int(x)))
        images[own:] = self.shared[:, y : y + ny, x : x + nx]
        return images


@dataclass(frozen=True, kw_only=True)
class _Sums:
    slope: npt.NDArray[np.complex128]
    common: Array
    value: float
    misfit: float
    pixels: int
