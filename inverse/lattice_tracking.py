"""The lattice followed through a movie: spacing, rotation and shift of every frame, and their sum.

The lattice is found once, in the first frames. In each frame its reflections are cut out where it
was last seen, and strain and turn are those of `echolith.inverse.lattice_maps`. The shift comes
from the phases of the reflections: with A_g of the frame, B_g of the frames so far,

    s = argmax sum_g Re(B_g* A_g exp(2 pi i g s)) / s_g².

A lattice looks the same a column on, so shifts are followed from frame to frame; where that cannot
be, after a gap, they are not determined. Frames are read once, a few at a time, and added up moved
by whole pixels: no count is resampled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.hrtem_acquisition import HrtemAcquisition, hrtem_acquisition_of
from echolith.inverse.frame_sum import FrameSum
from echolith.inverse.lattice import (
    FoundLattice,
    LatticeSearch,
    Verdict,
    find_lattice,
    frame_counts,
    unusable,
)
from echolith.inverse.lattice_fit import ROUNDS
from echolith.inverse.lattice_maps import Cutter, Reflections, posterior
from echolith.inverse.lattice_shift import Shift, measured_shift

Array = npt.NDArray[np.float64]

AT_ONCE = 32
"""Frames read together."""
STARTS = (1, 4, 16)
"""Numbers of frames that are added up to find the lattice, in turn."""
LEAST_INSIDE = 0.5
"""Share of the particle that must be in the field."""
DARK = 0.1
"""Of the mean count of the first frames; a frame with less is dropped."""
GAIN = 0.3
"""Of what a frame adds to the expected spacing and rotation of the next."""


class Reason(Enum):
    """Why nothing is told of a frame."""

    NONE = ""
    BLANK = "blank frame"
    SATURATED = "saturated frame"
    NOT_FINITE = "pixels that are not finite"
    LOST = "noise alone gives as much"
    LEFT = "the particle leaves the field"


COLUMNS = {"spacing": "Å", "rotation": "°", "shift_y": "Å", "shift_x": "Å"}


@dataclass(frozen=True, kw_only=True)
class LatticeMovie:
    """A lattice followed.

    Attributes
    ----------
    table : xarray.Dataset
        Over ``frame``: ``frame_spacing`` (Å), ``frame_rotation`` (°), ``shift_y``, ``shift_x``
        (Å, of mean 0), each with ``_std``; ``frame_noise_probability``; ``reason``, a `Reason` or
        why the shift alone is missing. What is not determined is NaN.
    counts : FrameSum or None
        The sum of the frames as the mean of their places shows them; None without a lattice.
    start : FoundLattice
        In the first frames.
    """

    table: xr.Dataset
    counts: FrameSum | None
    start: FoundLattice


def track_lattice(measurement: xr.Dataset, *, options: LatticeSearch | None = None) -> LatticeMovie:
    """Follow one lattice through a movie.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, drawn; lazy counts are read in order, once
        but for those few that find the lattice.
    options : LatticeSearch, optional
        ``frame`` is where to begin.

    Raises
    ------
    BadInputError
        If there is no such frame.
    """
    options = options or LatticeSearch()
    acquisition = hrtem_acquisition_of(measurement)
    counts = frame_counts(measurement, options.frame).isel(frame=slice(options.frame, None))
    start, mean, added = _start(counts, acquisition, options)
    if start.verdict is not Verdict.LATTICE or start.fit is None or start.level is None:
        nothing = [_Row(reason=start.verdict.value)] * counts.sizes["frame"]
        return LatticeMovie(table=_table(nothing, counts), counts=None, start=start)
    follower = _Follower(start, mean=mean, added=added, acquisition=acquisition, options=options)
    rows = [follower.followed(image) for image in _images(counts)]
    table = _table(rows, counts)
    return LatticeMovie(table=table, counts=follower.sum, start=start)


def _images(counts: xr.DataArray) -> Iterator[npt.NDArray[np.float32]]:
    for first in range(0, counts.sizes["frame"], AT_ONCE):
        block = counts.isel(frame=slice(first, first + AT_ONCE)).values
        yield from np.asarray(block, dtype=np.float32)


def _start(
    counts: xr.DataArray, acquisition: HrtemAcquisition, options: LatticeSearch
) -> tuple[FoundLattice, float, int]:
    """Return the lattice of the sum of the first usable frames, their mean count and number."""
    found = FoundLattice(verdict=Verdict.BLANK, unusable="no frame holds counts that can be used")
    total, added = np.zeros(acquisition.shape), 0
    for image in _images(counts.isel(frame=slice(0, 2 * max(STARTS)))):
        if _reason(image, 0.0) is Reason.NONE:
            total, added = total + image, added + 1
            if added in STARTS:
                found = find_lattice(total, acquisition=acquisition, options=options)
                if found.fit is not None:
                    break
    return found, float(total.mean()) / max(added, 1), added


def _reason(image: npt.NDArray[np.float32], least: float) -> Reason:
    total = float(image.mean(dtype=np.float64))
    if not np.isfinite(total):
        return Reason.NOT_FINITE
    if total <= least:
        return Reason.BLANK
    verdict, _ = unusable(image)
    return Reason.NONE if verdict is None else Reason(verdict.value)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What is known of one frame."""

    values: tuple[float, ...] = (np.nan,) * 4
    std: tuple[float, ...] = (np.nan,) * 4
    noise_probability: float = 1.0
    reason: str = ""


class _Follower:
    """Where the lattice is expected, updated by every frame."""

    def __init__(
        self,
        start: FoundLattice,
        *,
        mean: float,
        added: int,
        acquisition: HrtemAcquisition,
        options: LatticeSearch,
    ) -> None:
        assert start.fit is not None
        assert start.level is not None
        fit, self.fit, self.mean, self.options = start.fit, start.fit, mean, options
        self.kept = Reflections(g=fit.reflections)
        self.cutter = Cutter(self.kept.g, acquisition=acquisition, shape=acquisition.shape)
        # Of one frame, from the sum of some.
        self.level = start.level[0], start.level[1] / added
        self.strength = fit.strengths / added
        std = [fit.spacing_std / fit.spacing, np.radians(fit.rotation_std)]
        self.range = np.sqrt(added) * np.array(std)
        self.lattice = np.zeros(2)
        self.shift = Shift.at_rest(fit.amplitudes / added, fit.reflections)
        self.field = acquisition.field
        self.sum = FrameSum(acquisition.shape, acquisition.pixel)

    def followed(self, image: npt.NDArray[np.float32]) -> _Row:
        """Return what is known of the next frame."""
        self.shift = self.shift.waited()
        reason = _reason(image, DARK * self.mean)
        centre = self.fit.centre + self.shift.expected
        if reason is Reason.NONE and self._inside(centre) < LEAST_INSIDE:
            reason = Reason.LEFT
        if reason is not Reason.NONE:
            return _Row(reason=reason.value)
        level = self.level[0], self.level[1] * float(image.mean(dtype=np.float64)) / self.mean
        maps = self.cutter(image, level)
        outline = maps.outline(centre, self.fit.radius)
        mean, std, ratio = self.lattice, self.range, 0.0
        for n in range(ROUNDS):
            found = posterior(maps, self.kept, outline, strength=self.strength, mean=mean, std=std)
            mean, std, ratio = found.mean, found.std, ratio if n else found.log_ratio
        noise = float(np.exp(-max(ratio, 0.0)))
        if noise > self.options.false_alarm:
            return _Row(noise_probability=noise, reason=Reason.LOST.value)
        self.lattice = (1 - GAIN) * self.lattice + GAIN * mean
        places = self.kept.at(*mean)
        amplitudes, variance = maps.amplitudes(places, outline, centre)
        self.shift, told = measured_shift(self.shift, amplitudes, variance, places)
        if not told.reason:
            self.sum.add(image, told.values)
        return self._row(mean, std, told.values, told.std, noise, told.reason)

    def _row(
        self, mean: Array, std: Array, shift: Array, shift_std: Array, noise: float, reason: str
    ) -> _Row:
        spacing = self.fit.spacing * (1 + mean[0])
        return _Row(
            values=(spacing, self.fit.rotation + np.degrees(mean[1]), *shift),
            std=(self.fit.spacing * std[0], np.degrees(std[1]), *shift_std),
            noise_probability=noise,
            reason=reason,
        )

    def _inside(self, centre: Array) -> float:
        """Return which share of the outline's area is in the field."""
        r = self.fit.radius * np.linspace(-1, 1, 41)
        disc = np.hypot(r[:, None], r) < self.fit.radius
        y, x = ((c + r > 0) & (c + r < side) for c, side in zip(centre, self.field, strict=True))
        return float((disc & y[:, None] & x).sum() / disc.sum())


def _table(rows: list[_Row], counts: xr.DataArray) -> xr.Dataset:
    """Return rows as variables over frames, the shifts about their mean."""
    values, std = (np.array([getattr(row, n) for row in rows]) for n in ("values", "std"))
    known = np.isfinite(values[:, 2])
    if known.any():
        values[:, 2:] -= values[known, 2:].mean(axis=0)
    variables = {}
    for n, (name, unit) in enumerate(COLUMNS.items()):
        full = name if name.startswith("shift") else f"frame_{name}"
        variables[full] = ("frame", values[:, n], {"units": unit})
        variables[f"{full}_std"] = ("frame", std[:, n], {"units": unit})
    probability = [row.noise_probability for row in rows]
    variables["frame_noise_probability"] = ("frame", np.array(probability), {"units": "1"})
    variables["reason"] = ("frame", np.array([row.reason for row in rows]), {"units": "1"})
    frame = {"frame": counts["frame"]} if "frame" in counts.coords else {}
    return xr.Dataset(variables, coords=frame)
