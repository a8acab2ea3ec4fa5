"""Frames, positions and grids of iterative ptychography.

Waves live on a box whose reciprocal grid holds every sample of the detector; the object on the
same pixels, aligned with the detector, over the scanned field and half a box around it. Positions
are fractions of a pixel: the whole part moves the window, the rest is a phase ramp of the probe.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.forward.diffraction_box import DiffractionBox, fitted_box
from echolith.inverse.scan_transform import CERTAIN_ELECTRONS, checked_counts
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Volume = npt.NDArray[np.float32]
"""(slices, y, x) on the object's raster."""

FEWEST_POSITIONS = 9
"""Along neither axis fewer than three: below, object and probe cannot be told apart."""
PADDING = 0.6
"""Å of object beyond the outermost window: how far a corrected position may move."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Counts (positions, dy, dx) in the detector's frame, raster order, any transpose undone."""

    counts: npt.NDArray[Any]
    acquisition: StemAcquisition

    @classmethod
    def of(cls, measurement: xr.Dataset) -> "Frames":
        """Read and check them.

        Raises
        ------
        BadInputError
            For missing metadata, wrong shapes, counts that are NaN, infinite or negative, empty
            frames, or too few of them.
        """
        counts, acquisition = checked_counts(measurement)
        ny, nx = acquisition.scan.shape
        if min(ny, nx) < 3 or ny * nx < FEWEST_POSITIONS:
            raise BadInputError(
                f"{ny} × {nx} scan positions; iterative ptychography needs overlapping "
                "illumination from 3 × 3 positions or more; scan a larger field"
            )
        values = np.asarray(counts.values)
        _check_counts(values)
        if acquisition.detector.transpose:
            values = values.swapaxes(2, 3)
        values = values.reshape(ny * nx, *values.shape[2:])
        if values.dtype.kind == "f" or values.dtype.itemsize > 4:
            values = values.astype(np.float32)
        return cls(
            counts=np.ascontiguousarray(values, values.dtype.newbyteorder("=")),
            acquisition=acquisition,
        )

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def electrons(self) -> float:
        """Mean electrons on the detector per position."""
        return float(self.counts.sum(dtype=np.float64) / len(self.counts))

    @property
    def pixels(self) -> int:
        """Number of counts in the whole set."""
        return self.counts.size

    def batch(self, chosen: Indices) -> npt.NDArray[np.float32]:
        """Return some frames as float32."""
        return np.asarray(self.counts[chosen], dtype=np.float32)


def _check_counts(counts: npt.NDArray[Any]) -> None:
    for y, row in enumerate(counts):
        wrong = np.argwhere(~(row >= 0) | ~np.isfinite(row))
        if wrong.size:
            x, value = int(wrong[0, 0]), row[tuple(wrong[0])]
            what = "NaN" if np.isnan(value) else f"{value:g} electrons"
            raise BadInputError(
                f"counts at scan position ({y}, {x}) contain {what}; expected counts of 0 or more; "
                "subtract no dark level beyond zero, and mask or repair dead pixels first"
            )
    totals = counts.sum(axis=(2, 3), dtype=np.float64)
    if not totals.any():
        raise BadInputError("all frames are empty (0 electrons); nothing can be reconstructed")
    empty = np.argwhere(totals == 0)
    if len(empty) and totals.mean() > CERTAIN_ELECTRONS:
        y, x = empty[0]
        raise BadInputError(
            f"{len(empty)} of {totals.size} frames are empty, the first at scan position "
            f"({y}, {x}), where {totals.mean():.4g} electrons are expected; replace dropped "
            "frames first"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Box, detector samples and the object's raster; pairs are (y, x)."""

    box: DiffractionBox
    rows: Indices
    """(dy, samples) of the spectrum in each detector row."""
    columns: Indices
    origin: tuple[float, float]
    """Object pixel (0, 0) in Å, relative to scan pixel (0, 0), specimen frame."""
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, acquisition: StemAcquisition, *, oversampling: float, minimum_box: Angstrom
    ) -> "Grid":
        """Choose box and object raster of a measurement."""
        box = _box(acquisition, oversampling, minimum_box)
        xy = acquisition.scan.positions().reshape(-1, 2)
        low, high = xy.min(axis=0)[::-1], xy.max(axis=0)[::-1]
        step = np.array(box.sampling)
        half = np.array(box.gpts) // 2 + np.ceil(PADDING / step) + 1
        origin = low - half * step
        size = np.ceil((high - low) / step) + 2 * half + 1
        return cls(
            box=box,
            rows=_samples(acquisition, box, 0),
            columns=_samples(acquisition, box, 1),
            origin=(float(origin[0]), float(origin[1])),
            shape=(int(size[0]), int(size[1])),
        )

    def windows(self, positions: Array) -> tuple[Indices, Array]:
        """Return window corners (n, 2) and where the probe lies inside, (n, 2) in Å, both yx.

        Parameters
        ----------
        positions : array, (n, 2)
            xy in Å relative to scan pixel (0, 0), specimen frame.
        """
        step = np.array(self.box.sampling)
        pixel = (positions[:, ::-1] - np.array(self.origin)) / step
        corner = np.rint(pixel).astype(np.int64) - np.array(self.box.gpts) // 2
        corner = np.clip(corner, 0, np.array(self.shape) - np.array(self.box.gpts))
        return corner, np.asarray((pixel - corner) * step)

    def ramps(self, inside: Array) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]]:
        """Return the factors along y and x that move a probe to places inside the box."""
        along = (
            np.exp(-2j * np.pi * inside[:, axis, None] * self.box.frequencies(axis))
            for axis in (0, 1)
        )
        y, x = along
        return y.astype(np.complex64), x.astype(np.complex64)


def _box(acquisition: StemAcquisition, oversampling: float, minimum_box: float) -> DiffractionBox:
    detector, lam = acquisition.detector, acquisition.beam.wavelength
    y, x = (
        lam / (size / s * 1e-3) / (n * s * oversampling)
        for n, size, s in zip(detector.shape, detector.pixel_size, detector.subpixels, strict=True)
    )
    return fitted_box(acquisition, least_side=(minimum_box, minimum_box), spacing=(y, x))


def _samples(acquisition: StemAcquisition, box: DiffractionBox, axis: int) -> Indices:
    from echolith.forward.diffraction_box import sample_angles

    angles = sample_angles(acquisition)[axis]
    steps = np.rint(angles / box.pixel[axis] - box.offset[axis]).astype(np.int64)
    per_pixel = acquisition.detector.subpixels[axis]
    return np.ascontiguousarray((steps % box.gpts[axis]).reshape(-1, per_pixel))
