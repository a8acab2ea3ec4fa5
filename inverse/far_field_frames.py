"""Far-field frames as the solver takes them: checked, unknown pixels marked, detector described."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.far_field_options import FarFieldSolver, Saturated

Array = npt.NDArray[Any]
NEEDED = ("energy", "pixel_size", "photons", "outer_zone_width", "central_stop", "defocus")
UNKNOWN = np.float32(-1)
"""Marks a pixel that tells nothing."""


def checked_frames(measurement: xr.Dataset, options: FarFieldSolver) -> tuple[Array, Array]:
    """Return frames (positions, n, n), zero frequency first, and positions (positions, 2), Å.

    The variance of the read-out is added to the counts: Poisson counts with Gaussian noise of
    variance s² are nearly Poisson of mean m + s² then (Snyder et al., J. Opt. Soc. Am. A 12
    (1995) 272).

    Raises
    ------
    BadInputError
        As `echolith.inverse.far_field_ptychography.far_field_ptychography`.
    """
    missing = [name for name in NEEDED if name not in measurement.attrs]
    if missing or "counts" not in measurement:
        names = ", ".join([*missing, *(["counts"] if "counts" not in measurement else [])])
        raise BadInputError(f"the measurement lacks {names}; expected frames as `far_field_mean`")
    frames = measurement["counts"]
    if set(frames.dims) != {"position", "detector_y", "detector_x"}:
        told = f"{frames.sizes['energy']} energies; choose one" if "energy" in frames.dims else ""
        raise BadInputError(
            f"counts have dims {frames.dims}; expected (position, detector_y, detector_x){told}"
        )
    counts = frames.transpose("position", "detector_y", "detector_x").values
    _check_counts(counts, readout=float(measurement.attrs.get("readout", 0.0)))
    native = np.fft.ifftshift(counts, axes=(1, 2)).astype(np.float32)
    native = np.maximum(native + np.float32(measurement.attrs.get("readout", 0.0)) ** 2, 0)
    full = measurement.attrs.get("saturation")
    if full is not None:
        _leave_out(native, np.fft.ifftshift(counts, axes=(1, 2)) >= full, full, options)
    return np.ascontiguousarray(native), _positions(measurement)


def detector_share(measurement: xr.Dataset, size: int) -> Array:
    """Return the share of photons that reaches each pixel, zero frequency first; 1 by default."""
    if "detector_transmission" not in measurement.coords:
        return np.ones((size, size), dtype=np.float32)
    share = measurement["detector_transmission"].values
    if share.shape != (size, size) or not ((share >= 0) & (share <= 1)).all():
        raise BadInputError(
            f"detector_transmission of shape {share.shape}; expected shares of 0 to 1, "
            f"{(size, size)}"
        )
    return np.ascontiguousarray(np.fft.ifftshift(share), dtype=np.float32)


def _check_counts(counts: Array, *, readout: float) -> None:
    if counts.shape[1] != counts.shape[2] or counts.shape[1] % 2:
        raise BadInputError(f"frames of {counts.shape[1:]} pixels; expected square and even")
    if len(counts) < 4:
        raise BadInputError(f"{len(counts)} frames; expected 4 or more that overlap")
    if not np.isfinite(counts).all() or (counts < -10 * readout).any():
        raise BadInputError(
            "counts that are negative or not finite; expected photons per pixel; name the "
            "read-out noise in the attribute readout where it makes them so"
        )


def _leave_out(native: Array, saturated: Array, full: float, options: FarFieldSolver) -> None:
    """Mark saturated pixels as unknown, in place, or refuse them."""
    if saturated.any() and options.saturated is Saturated.REFUSE:
        raise BadInputError(
            f"{int(saturated.any(axis=(1, 2)).sum())} of {len(native)} frames reach the "
            f"saturation of {full:g} photons; use an attenuator, or leave these pixels out "
            "(saturated: leave out)"
        )
    if saturated.mean() > 0.2:
        raise BadInputError(
            f"{saturated.mean():.0%} of the pixels are saturated at {full:g} photons; too few are "
            "left; use an attenuator"
        )
    native[saturated] = UNKNOWN


def _positions(measurement: xr.Dataset) -> Array:
    positions = np.stack([measurement[f"position_{axis}"].values for axis in "yx"], axis=1)
    if not np.isfinite(positions).all():
        raise BadInputError("positions that are not finite; expected Å")
    spread = np.ptp(positions, axis=0).max() / float(measurement.attrs["pixel_size"])
    if spread > 20000:
        raise BadInputError(
            f"positions spread over {spread:.3g} pixels; expected Å, did you give them in pm or m?"
        )
    return positions.astype(np.float64)
