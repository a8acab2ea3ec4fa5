"""What a tilt series is aligned from: densities of all energies, their noise, a first guess."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.tilts import Tilts
from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tomography_input import Projections, read_projections

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

LEAST_TILTS = 8
"""Fewer, and every image has a volume to itself."""
SMOOTHED = 2.0
"""Pixels, before what is specimen is told from what is not."""
SURE = 4.0
"""Standard deviations."""
LOST = 0.3
"""Share of the specimen that may differ from the median over tilts."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A tilt series at one or more energies."""

    density: Array
    """Optical density, (energy, tilt, y, x)."""
    std: Array | None
    """Of the density; None where unknown."""
    variance: Floats
    """Of the density of a pixel without specimen, (energy, tilt)."""
    tilts: Tilts
    """Their pixel is that of the detector."""

    @property
    def images(self) -> Array:
        """(energy tilt, y, x)."""
        return self.density.reshape(-1, *self.density.shape[2:])


def read_series(measurement: xr.Dataset) -> Series:
    """Check a tilt series and turn counts into optical densities.

    Raises
    ------
    BadInputError
        If it cannot be reconstructed, has too few tilts, or projections without specimen.
    """
    each = [read_projections(one) for one in by_energy(measurement)]
    if len(each[0].tilts.angles) < LEAST_TILTS:
        raise BadInputError(
            f"{len(each[0].tilts.angles)} tilts; expected {LEAST_TILTS} or more: with fewer a "
            "volume fits images wherever they lie; align them by markers"
        )
    if any((one.shift_x != 0).any() or one.tilts.axis_offset for one in each):
        raise BadInputError(
            "the projections have shift_x or axis_offset already; expected raw ones, since images "
            "are to be warped once; drop both"
        )
    series = Series(
        density=np.stack([one.density for one in each]),
        std=None if each[0].std is None else np.stack([_known(one.std) for one in each]),
        variance=np.stack([_variance(one) for one in each]),
        tilts=each[0].tilts,
    )
    _check_specimen(series)
    return series


def by_energy(measurement: xr.Dataset) -> list[xr.Dataset]:
    """Return the projections of each energy."""
    if "energy" not in measurement.dims:
        return [measurement]
    return [measurement.isel(energy=i) for i in range(measurement.sizes["energy"])]


def _known(std: Array | None) -> Array:
    assert std is not None
    return std


def _variance(one: Projections) -> Floats:
    """Variance grows as exp(density) where photons are counted; where unknown, it is estimated.

    Second differences along y tell noise from specimen (their squares are 6 variances).
    """
    if one.std is None:
        rough = one.density[:, 2:] - 2 * one.density[:, 1:-1] + one.density[:, :-2]
        middle = np.median(np.abs(rough.reshape(len(rough), -1)), axis=1) / 0.6745
        return np.asarray(np.maximum(np.square(middle, dtype=np.float64) / 6, 1e-10))
    # The median: pixels that are hardly known do not count.
    empty = np.square(one.std, dtype=np.float64) * np.exp(-one.density)
    return np.asarray(np.median(empty.reshape(len(empty), -1), axis=1))


def _check_specimen(series: Series) -> None:
    """Every projection of an energy holds the same specimen, if it is in the field at all."""
    pixels = series.density.shape[2] * series.density.shape[3]
    total = series.density.sum(axis=(2, 3), dtype=np.float64)
    noise = np.sqrt(series.variance * pixels)
    empty = (total < SURE * noise).any(axis=0)
    if empty.any():
        raise BadInputError(
            f"no specimen in {empty.sum()} projections, the first at tilt "
            f"{series.tilts.angles[int(empty.argmax())]:g}° (total optical density "
            f"{total[:, empty.argmax()].min():.3g} ± {noise[:, empty.argmax()].max():.2g}); "
            "expected the specimen in each; leave them out with drop_sel(tilt=)"
        )
    usual = np.median(total, axis=1, keepdims=True)
    wrong = (np.abs(total - usual) > np.maximum(LOST * usual, 2 * SURE * noise)).any(axis=0)
    if wrong.any():
        angles = ", ".join(f"{series.tilts.angles[i]:g}°" for i in np.flatnonzero(wrong)[:5])
        warnings.warn(
            f"the total optical density of {wrong.sum()} projections (tilts {angles}"
            f"{' ...' if wrong.sum() > 5 else ''}) differs by more than {LOST:.0%} from that of "
            "the others: the specimen moved out of the field, or the incident counts are wrong; "
            "widen the field or leave these tilts out",
            BadInputWarning,
            stacklevel=2,
        )


def centred(series: Series) -> Motion:
    """Return the first guess: what moves the centre of mass off its path.

    The centre of what absorbs follows ``a cos t + b sin t + axis_offset`` and stays at one y.

    Parameters
    ----------
    series : Series

    Returns
    -------
    Motion
    """
    images = series.images
    smooth = gaussian_filter(images, (0, SMOOTHED, SMOOTHED))
    noise = np.sqrt(series.variance.ravel()) / (2 * SMOOTHED * np.sqrt(np.pi))
    sure = np.where(smooth > SURE * noise[:, None, None], smooth, 0).astype(np.float64)
    whole = np.maximum(sure.sum(axis=(1, 2)), 1e-12)
    y, x = (np.arange(n) - (n - 1) / 2 for n in images.shape[1:])
    shift = np.column_stack([sure.sum(axis=1) @ x, sure.sum(axis=2) @ y]) / whole[:, None]
    none = np.zeros(len(images))
    return Motion(shift=shift, angle=none, growth=none)
