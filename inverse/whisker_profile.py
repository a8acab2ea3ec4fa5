"""Counts along the axis of a whisker, frame by frame."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.whisker_axis import WhiskerAxis

Array = npt.NDArray[np.float64]

BAND = 0.3
"""Half the width of the band that is read, by the width of the whisker: inside its flat part."""
FRAMES_AT_ONCE = 32
DROPPED = 0.5
"""Of the median electrons in a frame; one with fewer, or with what is no count, was dropped."""


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Counts in bins along an axis.

    Attributes
    ----------
    counts : array (frames, bins)
        Sums over the band.
    pixels : array (frames, bins)
        In each bin.
    place : array (bins,)
        Mean of the pixels' places along the axis, pixels.
    blur : float
        Standard deviation of their places within a bin, pixels.
    """

    counts: Array
    pixels: Array
    place: Array
    blur: float

    def chosen(self, frames: npt.NDArray[np.int64]) -> "Profiles":
        """Return some of the frames."""
        return Profiles(
            counts=self.counts[frames],
            pixels=self.pixels[frames],
            place=self.place,
            blur=self.blur,
        )


def dropped_frames(counts: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Return which frames hold no image: far fewer electrons than others, or what is no count."""
    totals = np.concatenate(
        [block.sum(axis=(1, 2), dtype=np.float64) for _, block in _blocks(counts)]
    )
    known = totals[np.isfinite(totals)]
    usual = float(np.median(known)) if len(known) else 0.0
    return np.asarray(~(totals > DROPPED * usual))


def axis_profiles(counts: xr.DataArray, axis: WhiskerAxis) -> Profiles:
    """Return the profiles of all frames; memory does not grow with the frames' size."""
    shape = (counts.sizes["y"], counts.sizes["x"])
    middle = (counts.sizes["frame"] - 1) / 2
    along, across = axis.coordinates(shape, middle)
    band = np.abs(across) < BAND * axis.width
    first = float(along[band].min()) - 0.5
    bins = int(np.floor(along[band].max() - first)) + 1
    index = np.clip(np.floor(along - first).astype(int), 0, bins - 1)
    size = np.bincount(index[band], minlength=bins)
    place = np.bincount(index[band], weights=along[band], minlength=bins) / np.maximum(size, 1)
    # At the corners of the frame bins hold few pixels and hardly tell.
    full = np.flatnonzero(size > 0.5 * np.median(size))
    low, high = int(full[0]), int(full[-1]) + 1
    blur = float(np.sqrt(np.mean((along - place[index])[band] ** 2)))
    sums, pixels = [], []
    for start, block in _blocks(counts):
        for n, frame in enumerate(block):
            _, across = axis.coordinates(shape, start + n)
            band = np.abs(across) < BAND * axis.width
            sums.append(np.bincount(index[band], weights=frame[band], minlength=bins)[low:high])
            pixels.append(np.bincount(index[band], minlength=bins)[low:high])
    return Profiles(
        counts=np.array(sums),
        pixels=np.array(pixels, dtype=float),
        place=place[low:high],
        blur=blur,
    )


def _blocks(counts: xr.DataArray) -> Iterator[tuple[int, Array]]:
    """Yield the first frame and the values of pieces of a movie."""
    movie = counts.transpose("frame", "y", "x")
    for start in range(0, movie.sizes["frame"], FRAMES_AT_ONCE):
        yield start, np.asarray(movie[start : start + FRAMES_AT_ONCE].values)
