"""What a powder pattern must be before it is refined."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.powder_pattern import PowderAcquisition

LINES_AGREE = 2e-3
"""Å; wavelengths of one line are tabulated so far apart."""

Array = npt.NDArray[np.float64]


def checked_pattern(measurement: xr.Dataset) -> tuple[Array, Array]:
    """Return 2 theta in degrees and counts.

    Raises
    ------
    BadInputError
        If there are no counts over two_theta, angles do not increase in equal steps, or counts
        are negative or not finite.
    """
    if "counts" not in measurement or measurement["counts"].dims != ("two_theta",):
        raise BadInputError("no counts over two_theta; expected a powder pattern")
    angles = np.asarray(measurement["two_theta"].values, dtype=float)
    counts = np.asarray(measurement["counts"].values, dtype=float)
    if len(angles) < 50:
        raise BadInputError(f"{len(angles)} points; expected a pattern of 50 or more")
    steps = np.diff(angles)
    if (steps <= 0).any():
        at = angles[int(np.argmax(steps <= 0))]
        raise BadInputError(f"2 theta does not increase after {at:g}°; sort the points first")
    if np.abs(steps - steps.mean()).max() > 0.01 * steps.mean():
        raise BadInputError(
            f"steps of 2 theta are {steps.min():g} to {steps.max():g}°; expected equal ones; "
            "refine ranges of one step each"
        )
    if angles[0] <= 0 or angles[-1] >= 180 or angles[-1] < 3.2:
        raise BadInputError(
            f"2 theta from {angles[0]:g} to {angles[-1]:g}; expected degrees between 0 and 180"
        )
    bad = ~np.isfinite(counts) | (counts < 0)
    if bad.any():
        raise BadInputError(
            f"counts = {counts[bad][0]:g} at 2 theta = {angles[bad][0]:g}°; expected photons, 0 or "
            "more; subtract no background before"
        )
    if not counts.any():
        raise BadInputError("all counts are 0; there is nothing to refine")
    return angles, counts


def check_wavelength(measurement: xr.Dataset, instrument: PowderAcquisition) -> None:
    """Compare the lines that a measurement says it was taken with, where it does.

    Raises
    ------
    BadInputError
        If the wavelengths are others than those of the instrument.
    """
    told = np.reshape(np.array(measurement.attrs.get("lines", [])), (-1, 2))
    ours = np.array(instrument.lines)
    if not len(told) or abs(told[0, 0] - ours[0, 0]) < LINES_AGREE:
        return
    raise BadInputError(
        f"the pattern was taken with a wavelength of {told[0, 0]:g} Å, to be refined with "
        f"{ours[0, 0]:g} Å; set the source's lines: acquisition.lines={told.tolist()}"
    )
