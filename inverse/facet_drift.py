"""The drift of a lattice from frame to frame, and where its columns are.

The sums ``F_g = sum_pixels counts exp(-2 pi i g r)`` over reflections of columns at d have the
phases ``-2 pi g d``, whatever the outline. Their place is where

    S(d) = sum_g w_g Re[F_g exp(2 pi i g d)],    w_g = T(g) / P(g),

is largest: known up to a vector of the lattice. The one nearest to what went before is taken.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

FINE = 24
"""Places tried along each edge of a cell."""
STEPS = 4
"""Of Newton's method."""
MEMORY = 12
"""Frames whose places tell where the next one is."""
LEAST = 5.5
"""Standard deviations of S in noise; the largest of a cell exceeds 4.5 once in some 10^4 frames."""


@dataclass(frozen=True, kw_only=True)
class Reflections:
    """Reflections of a lattice of columns.

    Attributes
    ----------
    places : array, (reflections, 2)
        x, y, 1/Å; one of each Friedel pair.
    weights : array, (reflections,)
    noise : array, (reflections,)
        Standard deviation of the real part of ``w_g F_g`` of noise in a whole frame.
    cell : array, (2, 2)
        Two shortest vectors of the lattice, rows (x, y), Å.
    """

    places: Array
    weights: Array
    noise: Array
    cell: Array


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Places of a column in every frame.

    Attributes
    ----------
    shift, shift_std : array, (frames, 2)
        x, y, Å; NaN where there is no lattice.
    strength : array, (frames,)
        S over its standard deviation in noise.
    """

    shift: Array
    shift_std: Array
    strength: Array


def reflection_sums(frames: npt.NDArray[np.float32], places: Array, *, pixel: float) -> Complex:
    """Return F_g, (frames, reflections), of frames (n, y, x) without their means."""
    ny, nx = frames.shape[1:]
    along_x = np.exp(-2j * np.pi * pixel * np.outer(np.arange(nx), places[:, 0]))
    along_y = np.exp(-2j * np.pi * pixel * np.outer(np.arange(ny), places[:, 1]))
    rows = frames @ along_x.astype(np.complex64)
    return np.asarray(np.einsum("fyg,yg->fg", rows, along_y))


def tracked(
    sums: Complex, times: Array, *, reflections: Reflections, before: Drift | None = None
) -> Drift:
    """Return the places of a lattice in frames.

    Parameters
    ----------
    sums : array of complex, (frames, reflections)
        From `reflection_sums`.
    times : array
        Of these frames and all before, s.
    reflections : Reflections
    before : Drift, optional
        Of the frames before; it is part of what is returned.
    """
    shift, std = np.full((2, len(times), 2), np.nan)
    strength = np.zeros(len(times))
    begin = len(times) - len(sums)
    if before is not None:
        shift[:begin], std[:begin] = before.shift, before.shift_std
        strength[:begin] = before.strength
    spread = float(np.sqrt((reflections.noise**2).sum()))
    gradient = 2 * np.pi * reflections.places * reflections.noise[:, None]
    for n, one in enumerate(sums, begin):
        waves = one * reflections.weights
        place, height = _highest(waves, reflections)
        strength[n] = height / spread
        if strength[n] < LEAST:
            continue
        place, curvature = _peak(waves, place, reflections.places)
        known = np.flatnonzero(np.isfinite(shift[:n, 0]))[-MEMORY:]
        expected = _expected(times[known], shift[known], times[n])
        vectors = np.rint((expected - place) @ np.linalg.inv(reflections.cell))
        shift[n] = place + vectors @ reflections.cell
        inverse = np.linalg.inv(curvature)
        std[n] = np.sqrt(np.diag(inverse @ gradient.T @ gradient @ inverse))
    return Drift(shift=shift, shift_std=std, strength=strength)


def _expected(times: Array, shifts: Array, time: float) -> Array:
    """Return where a steady drift leads; the last place where little is known."""
    if not len(times):
        return np.zeros(2)
    if len(times) < MEMORY // 2:
        return np.asarray(shifts[-1])
    return np.asarray(np.polyfit(times - time, shifts, 1)[1])


def _highest(waves: Complex, reflections: Reflections) -> tuple[Array, float]:
    """Return about where S is largest in a cell, and how large."""
    steps = np.arange(FINE) / FINE
    u, v = (m.ravel() for m in np.meshgrid(steps, steps))
    grid = np.stack([u, v], axis=1) @ reflections.cell
    heights = (np.exp(2j * np.pi * grid @ reflections.places.T) @ waves).real
    best = int(heights.argmax())
    return grid[best], float(heights[best])


def _peak(waves: Complex, place: Array, g: Array) -> tuple[Array, Array]:
    """Return where S has its maximum, and minus its second derivatives there."""
    for _ in range(STEPS):
        turned = waves * np.exp(2j * np.pi * g @ place)
        curvature = (2 * np.pi) ** 2 * (g.T * turned.real) @ g
        place = place - np.linalg.solve(curvature, 2 * np.pi * turned.imag @ g)
    return place, curvature
