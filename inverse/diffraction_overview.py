"""A first look at all frames of a map: bad pixels, missing frames, and where the photons are."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from numba import njit

from echolith.errors import BadInputError, BadInputWarning
from echolith.inverse.diffraction_frames import DIMS, Counts, Frames

Array = npt.NDArray[np.float64]
Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

HOT = 12.0
"""Times the median of its neighbours from which a pixel is hot, on average over all frames."""
ENOUGH = 25.0
"""Photons that the neighbours of a pixel, or of a frame, count where one that counts none is dead:
by chance that happens once in 1e10."""
CLEAR = 6.0
"""Standard deviations by which a line of voxels is above the background."""
MARGIN = 0.3
"""Part of its extent that is added to the region on either side, so that tails are in it."""


@dataclass(frozen=True, kw_only=True)
class Usable:
    """Which voxels are fitted.

    Attributes
    ----------
    pixels : array, (rows, columns)
        Good pixels.
    frames : array, (eta,)
        Frames that counted something.
    region : Region
        First and one past the last eta, row and column.
    hot, dead : int
        Pixels that were found to be, besides those known to be bad.
    """

    pixels: npt.NDArray[np.bool_]
    frames: npt.NDArray[np.bool_]
    region: Region
    hot: int
    dead: int


def overview(frames: Frames) -> xr.Dataset:
    """Add up all points, block of rows by block.

    Returns
    -------
    xarray.Dataset
        ``voxels`` (eta, detector_y, detector_x): photons of all points; ``saturated``: voxels of
        points that were full.
    """
    voxels = np.zeros(frames.counts.shape[2:], dtype=np.int64)
    saturated = 0
    for rows in frames.blocks():
        counts = frames.read(rows)
        saturated += _add_up(counts.reshape(-1, voxels.size), frames.saturation, voxels.ravel())
    return xr.Dataset({"voxels": (DIMS[2:], voxels), "saturated": saturated})


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _add_up(counts: Counts, saturation: float, voxels: npt.NDArray[np.int64]) -> int:
    full = 0
    for n in range(len(counts)):
        for v in range(len(voxels)):
            if counts[n, v] > 0:
                voxels[v] += counts[n, v]
                full += counts[n, v] >= saturation
    return full


def usable(frames: Frames, voxels: npt.NDArray[np.int64], region: Region | None) -> Usable:
    """Find bad pixels, missing frames and the region of interest.

    Parameters
    ----------
    frames : Frames
    voxels : array, (eta, rows, columns)
        Photons of all points.
    region : Region, optional
        As asked for; by default where the photons are.

    Raises
    ------
    BadInputError
        If the region is not inside the frames.
    """
    sums = voxels.sum(axis=0).astype(float)
    around = _median_around(sums, frames.valid)
    hot = frames.valid & (sums > HOT * np.maximum(around, sums.mean()))
    dead = frames.valid & (sums == 0) & (around > ENOUGH)
    pixels = frames.valid & ~hot & ~dead
    turns = (voxels * pixels).sum(axis=(1, 2)).astype(float)
    besides = np.minimum(np.r_[turns[1], turns[:-1]], np.r_[turns[1:], turns[-2]])
    lit = (turns > 0) | (besides <= ENOUGH)
    if not lit.all():
        warnings.warn(
            f"the frames at eta = {', '.join(f'{e:.4g}°' for e in frames.eta[~lit])} are empty, "
            "those beside them are not; they are taken as missing",
            BadInputWarning,
            stacklevel=3,
        )
    found = _checked(region, voxels.shape) if region else _region(voxels, pixels, lit)
    return Usable(pixels=pixels, frames=lit, region=found, hot=int(hot.sum()), dead=int(dead.sum()))


def _median_around(sums: Array, valid: npt.NDArray[np.bool_]) -> Array:
    """Return the median of the eight neighbours of every pixel; 0 where none is valid."""
    padded = np.pad(np.where(valid, sums, np.nan), 1, constant_values=np.nan)
    height, width = sums.shape
    around = np.stack(
        [
            padded[1 + a : 1 + a + height, 1 + b : 1 + b + width]
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a, b) != (0, 0)
        ]
    )
    known = np.isfinite(around).any(axis=0)
    typical = np.zeros(sums.shape)
    typical[known] = np.nanmedian(around[:, known], axis=0)
    return typical


def _checked(region: Region, shape: tuple[int, ...]) -> Region:
    for (start, stop), size in zip(region, shape, strict=True):
        if not 0 <= start < stop <= size:
            raise BadInputError(
                f"region = {region}; expected first and one past the last eta, row and column of "
                f"frames {shape}"
            )
    return region


def _region(
    voxels: npt.NDArray[np.int64], pixels: npt.NDArray[np.bool_], lit: npt.NDArray[np.bool_]
) -> Region:
    """Return the box of the lines of voxels that are clearly above the background, and a margin."""
    good = np.broadcast_to(pixels, voxels.shape) & lit[:, None, None]
    photons = np.where(good, voxels, 0)
    sides = []
    for axis, size in enumerate(voxels.shape):
        others = tuple(k for k in range(3) if k != axis)
        number = good.sum(axis=others)
        line = photons.sum(axis=others)
        known = number > 0
        rate = line[known] / number[known]
        floor = np.quantile(rate, 0.1) if known.any() else 0.0
        excess = line - floor * number
        clear = np.flatnonzero(known & (excess > CLEAR * np.sqrt(floor * number + 1)))
        if not len(clear):
            sides.append((0, size))
            continue
        margin = int(np.ceil(MARGIN * (clear[-1] + 1 - clear[0])))
        sides.append((max(0, int(clear[0]) - margin), min(size, int(clear[-1]) + 1 + margin)))
    return (sides[0], sides[1], sides[2])
