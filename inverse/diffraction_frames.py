"""Frames of a map of rocking curves: checked, and read in blocks of rows of the scan."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.goniometer import Goniometer, Reflection

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]

DIMS = ("scan_y", "scan_x", "eta", "detector_y", "detector_x")
BLOCK_BYTES = 1 << 28
"""Rows of the scan are read in blocks of about this size, or one by one."""
ENERGIES = (6000.0, 20000.0)
"""Of beams that are focused to less than a micrometre for maps, eV."""
UNEVEN = 0.1
"""Part of the step of eta by which a step may differ from a whole number of them."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What a measurement says of its frames.

    Attributes
    ----------
    counts : xarray.DataArray
        Over `DIMS`, lazy where it was.
    eta : array, (eta,)
        Degree, increasing.
    step : float
        Of eta, degree: the median.
    monitor : array, (eta,)
        Intensity of the beam over its mean.
    valid : array, (rows, columns)
        Pixels that are not known to be bad.
    goniometer : Goniometer
    reflection : Reflection
        From whose direction tilts are measured.
    saturation : float
        A voxel that counts it counted that or more; infinite where nothing saturates.
    """

    counts: xr.DataArray
    eta: Array
    step: float
    monitor: Array
    valid: npt.NDArray[np.bool_]
    goniometer: Goniometer
    reflection: Reflection
    saturation: float

    @property
    def missing(self) -> Array:
        """Angles eta that were left out between others, degree."""
        gaps = np.rint(np.diff(self.eta) / self.step).astype(int)
        return np.concatenate(
            [
                self.eta[n] + (self.eta[n + 1] - self.eta[n]) * np.arange(1, gap) / gap
                for n, gap in enumerate(gaps)
            ]
            or [np.zeros(0)]
        )

    def rows_at_once(self, least: int = 1) -> int:
        """Return how many rows of the scan are read together."""
        row = int(np.prod(self.counts.shape[1:])) * self.counts.dtype.itemsize
        return max(least, BLOCK_BYTES // max(row, 1))

    def blocks(self, least: int = 1) -> Iterator[range]:
        """Yield ranges of rows that hold the whole scan."""
        rows, size = self.counts.shape[0], self.rows_at_once(least)
        return (range(n, min(n + size, rows)) for n in range(0, rows, size))

    def read(self, rows: range) -> Counts:
        """Return counts of rows of the scan.

        Raises
        ------
        BadInputError
            If counts are negative or not finite.
        """
        values = self.counts[rows.start : rows.stop].values
        if np.issubdtype(values.dtype, np.unsignedinteger):
            return np.asarray(values)
        if not np.isfinite(values).all() or (values < 0).any():
            raise BadInputError("counts are negative or not finite; expected photons")
        return np.asarray(np.rint(values), dtype=np.uint32)


def checked_frames(measurement: xr.Dataset) -> Frames:
    """Return what a measurement says of its frames, without reading them.

    Raises
    ------
    BadInputError
        If counts, angles, motors of the goniometer or the monitor are missing or wrong.
    """
    if "counts" not in measurement or measurement["counts"].dims != DIMS:
        held = measurement["counts"].dims if "counts" in measurement else "none"
        raise BadInputError(f"counts over {held}; expected {DIMS}")
    counts = measurement["counts"]
    goniometer = _goniometer(measurement)
    eta = measurement["eta"].values.astype(float)
    if len(eta) < 5 or not (np.diff(eta) > 0).all():
        raise BadInputError(f"{len(eta)} angles eta; expected 5 or more that increase, in degrees")
    step = float(np.median(np.diff(eta)))
    _check_steps(eta, step)
    valid = np.ones(counts.shape[3:], dtype=bool)
    if "valid" in measurement.coords:
        valid = measurement["valid"].values.astype(bool)
    reflection = measurement.attrs.get("reflection")
    return Frames(
        counts=counts,
        eta=eta,
        step=step,
        monitor=_monitor(measurement, eta),
        valid=valid,
        goniometer=goniometer,
        reflection=Reflection.model_validate_json(reflection) if reflection else Reflection(),
        saturation=_saturation(measurement),
    )


def _goniometer(measurement: xr.Dataset) -> Goniometer:
    if "goniometer" not in measurement.attrs or "eta" not in measurement.coords:
        raise BadInputError(
            "the angles of the goniometer are missing; expected the coordinate eta and the "
            "attribute goniometer (see echolith.forward.goniometer.Goniometer)"
        )
    text = measurement.attrs["goniometer"]
    try:
        given = json.loads(text)
    except (TypeError, ValueError):
        given = {}
    missing = [name for name in Goniometer.model_fields if name not in given]
    if missing:
        raise BadInputError(
            f"the goniometer's {', '.join(missing)} are missing; expected all of "
            f"{', '.join(Goniometer.model_fields)} in the attribute goniometer (JSON)"
        )
    goniometer = Goniometer.model_validate_json(text)
    low, high = ENERGIES
    if not low <= goniometer.beam_energy <= high:
        warnings.warn(
            f"beam_energy = {goniometer.beam_energy:g} eV; beams that make such maps have "
            f"{low:g} to {high:g} eV; a wrong one scales every lattice spacing: check it",
            BadInputWarning,
            stacklevel=4,
        )
    return goniometer


def _check_steps(eta: Array, step: float) -> None:
    """Refuse steps that are no whole number of the usual one: frames would weigh differently."""
    parts = np.diff(eta) / step
    if (np.abs(parts - np.maximum(np.rint(parts), 1)) > UNEVEN).any():
        raise BadInputError(
            f"steps of eta are {np.diff(eta).min():.4g}° to {np.diff(eta).max():.4g}°; expected "
            "equal ones, or whole numbers of them where frames are missing"
        )


def _monitor(measurement: xr.Dataset, eta: Array) -> Array:
    if "monitor" not in measurement.coords:
        return np.ones(len(eta))
    monitor = measurement["monitor"].values.astype(float)
    if monitor.shape != eta.shape:
        raise BadInputError(
            f"the monitor is over {measurement['monitor'].dims}; expected one value an angle eta"
        )
    bad = ~np.isfinite(monitor) | (monitor <= 0)
    if bad.any():
        raise BadInputError(
            f"the monitor is {monitor[bad][0]:g} at eta = {eta[bad][0]:g}°; expected the beam's "
            "intensity, finite and above 0; leave out frames without beam"
        )
    return np.asarray(monitor / monitor.mean())


def _saturation(measurement: xr.Dataset) -> float:
    """Return the count at which a pixel is full: as stated, or as the type of numbers has it."""
    kind = measurement["counts"].dtype
    full = float(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else np.inf
    stated = float(measurement.attrs.get("saturation", np.inf))
    if not stated >= 1:
        raise BadInputError(f"saturation = {stated:g} photons; expected 1 or more")
    return min(full, stated)
