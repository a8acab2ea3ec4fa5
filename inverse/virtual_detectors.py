"""Virtual detectors: weighted sums over the frames, in one pass over the data.

The sums are lazy where the measurement is lazy. Detectors are defined in the scan frame: the stored
frame's transpose is undone, and directions are rotated by minus the scan's rotation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition, acquisition_of, rotate

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

SCAN = ("scan_y", "scan_x")
FRAME = ("detector_y", "detector_x")
FRAMES_AT_ONCE = 1 << 18
"""Pixels converted to double precision at a time: stays in the processor's cache."""


class VirtualDetector(Protocol):
    """The response of a detector in the diffraction plane."""

    def __call__(self, x: Floats, y: Floats, /) -> Floats:
        """Return the weight of pixels at scattering angles x, y (mrad, scan frame)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Annulus:
    """Collects scattering angles from `inner` (included) to `outer` (excluded), in mrad.

    Pixels belong to it by their centres, so annuli that follow on each other share no pixel.
    """

    inner: float = 0.0
    outer: float = np.inf

    def __post_init__(self) -> None:
        if not 0 <= self.inner < self.outer:
            raise BadInputError(
                f"annulus from {self.inner:g} to {self.outer:g} mrad; expected 0 <= inner < outer"
            )

    def __call__(self, x: Floats, y: Floats, /) -> Floats:
        """Return 1 inside, 0 outside."""
        angle = np.hypot(x, y)
        return ((angle >= self.inner) & (angle < self.outer)).astype(float)


def virtual_images(measurement: xr.Dataset, detectors: Mapping[str, VirtualDetector]) -> xr.Dataset:
    """Sum every frame with the weights of several detectors, in one pass.

    Parameters
    ----------
    measurement : xarray.Dataset
        With ``counts`` (scan_y, scan_x, detector_y, detector_x) and its acquisition.
    detectors : mapping of VirtualDetector
        By the name of their image; called with angles in the scan frame.

    Returns
    -------
    xarray.Dataset
        One variable (scan_y, scan_x) per detector, in electrons (times the unit of the weights),
        double precision, lazy where the measurement is.

    Raises
    ------
    BadInputError
        If the measurement has no such counts or no acquisition, a detector catches no pixel, or
        (when computed) counts are NaN, infinite or negative.

    Examples
    --------
    >>> detectors = {"bf": Annulus(outer=11.2), "df": Annulus(inner=22.4)}
    >>> images = virtual_images(measurement, detectors)  # doctest: +SKIP
    """
    counts, acquisition = _counts_of(measurement)
    x, y = _angles(acquisition)
    weights = {name: np.asarray(detector(x, y), float) for name, detector in detectors.items()}
    for name, weight in weights.items():
        if weight.shape != x.shape or not np.isfinite(weight).all():
            raise BadInputError(
                f"detector '{name}' returns weights of shape {weight.shape}; expected finite ones "
                f"of the frames' shape {x.shape}"
            )
        if not weight.any():
            raise BadInputError(
                f"detector '{name}' catches no pixel of a frame that reaches "
                f"{np.hypot(x, y).max():.4g} mrad; check its angles (in mrad)"
            )
    table = np.stack([weight.ravel() for weight in weights.values()], axis=-1)
    sums = _weighted_sums(counts.data, table)
    coords = {name: measurement.coords[name] for name in SCAN if name in measurement.coords}
    return xr.Dataset(
        {
            name: xr.DataArray(sums[..., i], dims=SCAN, coords=coords, attrs={"units": "e"})
            for i, name in enumerate(weights)
        },
        attrs={"acquisition": measurement.attrs["acquisition"]},
    )


def _counts_of(measurement: xr.Dataset) -> tuple[xr.DataArray, StemAcquisition]:
    if "counts" not in measurement:
        held = ", ".join(map(str, measurement.data_vars)) or "nothing"
        raise BadInputError(f"the measurement has no variable 'counts' (it holds: {held})")
    counts, acquisition = measurement["counts"], acquisition_of(measurement)
    if set(counts.dims) != {*SCAN, *FRAME}:
        raise BadInputError(
            f"'counts' has the dims {counts.dims}; expected {(*SCAN, *FRAME)}, a frame per "
            "scan position"
        )
    counts = counts.transpose(*SCAN, *FRAME)
    expected = (*acquisition.scan.shape, *acquisition.detector.stored_shape)
    if counts.shape[2:] != expected[2:]:
        raise BadInputError(
            f"frames have shape {counts.shape[2:]}, but the acquisition says {expected[2:]}"
        )
    if counts.dtype.kind not in "iuf":
        raise BadInputError(f"'counts' is of type {counts.dtype}; expected real numbers")
    return counts, acquisition


def _angles(acquisition: StemAcquisition) -> tuple[Floats, Floats]:
    """Scattering angles of the stored frame's pixels in the scan frame, mrad."""
    rows, columns = acquisition.detector.angles()
    y, x = np.meshgrid(rows, columns, indexing="ij")
    if acquisition.detector.transpose:
        x, y = x.T, y.T
    if acquisition.scan.rotation:
        x, y = np.moveaxis(rotate(np.stack([x, y], axis=-1), -acquisition.scan.rotation), -1, 0)
    return np.asarray(x), np.asarray(y)


def _weighted_sums(counts: Any, table: Floats) -> Any:
    """Sum frames (y, x, detector_y, detector_x) with weights (pixels, n) to (y, x, n)."""
    if not isinstance(counts, da.Array):
        return _sum_block(np.asarray(counts), table=table)
    whole: Any = counts.rechunk({2: -1, 3: -1})  # type: ignore[no-untyped-call, unused-ignore]
    return whole.map_blocks(
        _sum_block,
        drop_axis=[2, 3],
        new_axis=2,
        chunks=(*whole.chunks[:2], (table.shape[1],)),
        dtype=float,
        meta=np.empty((0, 0, 0)),
        table=table,
    )


def _sum_block(counts: Array, *, table: Floats) -> Floats:
    frames = counts.reshape(-1, len(table))
    sums = np.empty((len(frames), table.shape[1]))
    step = max(1, FRAMES_AT_ONCE // len(table))
    for start in range(0, len(frames), step):
        piece = frames[start : start + step].astype(float)
        if counts.dtype.kind != "u" and not (piece.min() >= 0 and piece.max() < np.inf):
            raise BadInputError(
                f"counts from {piece.min():g} to {piece.max():g}; expected finite numbers of 0 or "
                "more: mask bad pixels before"
            )
        sums[start : start + step] = piece @ table
    return sums.reshape(*counts.shape[:2], -1)
