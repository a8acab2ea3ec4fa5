"""Read powder patterns from text: .xy, .xye, .dat and UXD.

What a file is follows from what is in it: UXD by its keys; two or three columns are 2 theta, counts
and their standard deviation; a first line of three numbers is start, step and stop of 2 theta, with
counts after it (the free format of FullProf and others).
"""

import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.powder_text import Row, file_text, number_rows
from echolith.forward.uxd_files import UxdRange, is_uxd, uxd_ranges

Array = npt.NDArray[np.float64]

UNEVEN = 0.05
"""Of a step: angles nearer than this to equal steps were rounded when they were written."""
EVEN = 0.01
ROUNDED = 0.05
"""Whole numbers are counts if sigma² / y is 1 to this: uncertainties are written rounded."""
NOT_COUNTING = 1.1
"""Ratio of the largest to the smallest sigma² / y from which uncertainties are not of counting."""


def read_powder(
    path: str | os.PathLike[str], *, step_time: float | None = None, part: int | None = None
) -> xr.Dataset:
    """Read a powder pattern.

    Parameters
    ----------
    path : path
        ``.xy``, ``.xye``, ``.dat``, ``.uxd`` or any text of these kinds.
    step_time : float, optional
        Seconds a step. Give it where the file holds counts per second: counts are then the product.
        Of a UXD file that says so, it is known.
    part : int, optional
        Which range of a UXD file, from 1. Ranges that follow each other in equal steps are joined.

    Returns
    -------
    xarray.Dataset
        ``counts`` (two_theta) in photons; angles in degrees. ``attrs["lines"]``: wavelength and
        relative intensity of each line, where the file tells. With uncertainties s of values y,
        counts are y² / s², the photons that have this relative uncertainty, if s² / y is the same
        everywhere.

    Raises
    ------
    BadInputError
        If the file cannot be read, is cut short, or 2 theta does not increase; it names the line.

    Warns
    -----
    BadInputWarning
        If values are not whole numbers and nothing says how many photons they stand for, or
        uncertainties are not those of counting.
    """
    path = Path(path)
    text = file_text(path)
    if is_uxd(text):
        found = _chosen(path, uxd_ranges(path, text), part)
        _check_angles(path, found.angles, None)
        counts = _uxd_counts(path, found, step_time)
        return _measurement(path, found.angles, counts, found.lines)
    if part is not None:
        raise BadInputError(f"part = {part}; '{path}' has no ranges, only UXD files have")
    angles, values, sigma = _columns(path, number_rows(path, text))
    if step_time is not None:
        return _measurement(path, angles, values * _checked_time(step_time), ())
    if sigma is not None:
        return _measurement(path, angles, _effective_counts(path, values, sigma), ())
    _tell_fractions(path, values)
    return _measurement(path, angles, values, ())


def _columns(path: Path, rows: list[Row]) -> tuple[Array, Array, Array | None]:
    """Return angles, values and uncertainties."""
    stepped = _stepped(path, rows)
    if stepped is not None:
        return (*stepped, None)
    width = len(rows[0].numbers)
    for row in rows:
        if len(row.numbers) != width or row.rest or width not in (2, 3):
            raise BadInputError(
                f"'{path}', line {row.line}: {len(row.numbers)} numbers; expected 2 theta, counts "
                "and maybe their uncertainty in every line, or a first line of start, step and stop"
            )
    table = np.array([row.numbers for row in rows])
    _check_angles(path, table[:, 0], [row.line for row in rows])
    return table[:, 0], table[:, 1], table[:, 2] if width == 3 and table[:, 2].any() else None


def _stepped(path: Path, rows: list[Row]) -> tuple[Array, Array] | None:
    """Return angles and counts of a file with start, step and stop in its first line."""
    if len(rows[0].numbers) != 3:
        return None
    start, step, stop = rows[0].numbers
    plausible = 0 <= start < stop <= 180 and 0 < step <= (stop - start) / 2
    expected = round((stop - start) / step) + 1 if plausible else 0
    values = np.array([value for row in rows[1:] for value in row.numbers])
    if plausible and len(values) == expected:
        angles = np.asarray(start + step * np.arange(expected), dtype=np.float64)
        _check_angles(path, angles, None)
        return angles, values
    if not rows[0].rest and all(len(row.numbers) == 3 for row in rows):
        return None
    raise BadInputError(
        f"'{path}', line {rows[0].line}: start {start:g}, step {step:g} and stop {stop:g}° of 2 "
        f"theta announce {expected} points, {len(values)} follow; the file is cut short, or its "
        "first line means something else"
    )


def _check_angles(path: Path, angles: Array, lines: list[int] | None) -> None:
    if len(angles) < 2:
        raise BadInputError(f"'{path}' holds {len(angles)} points; expected a powder pattern")
    wrong = ~(np.diff(angles) > 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        where = f"'{path}', line {lines[at + 1]}" if lines else f"'{path}'"
        raise BadInputError(
            f"{where}: 2 theta = {angles[at + 1]:g}° after {angles[at]:g}°; expected increasing "
            "angles: sort the points, or part the scans that the file holds"
        )
    if not (angles[0] > -180 and angles[-1] <= 360):
        raise BadInputError(
            f"'{path}': 2 theta from {angles[0]:g} to {angles[-1]:g}°; expected degrees"
        )


def _measurement(
    path: Path, angles: Array, counts: Array, lines: tuple[tuple[float, float], ...]
) -> xr.Dataset:
    bad = ~np.isfinite(counts)
    if bad.any():
        raise BadInputError(
            f"'{path}': counts = {counts[bad][0]:g} at 2 theta = {angles[bad][0]:g}°; expected "
            "numbers"
        )
    return xr.Dataset(
        {"counts": ("two_theta", counts, {"units": "photons"})},
        coords={"two_theta": ("two_theta", _evened(angles), {"units": "°"})},
        attrs={"lines": [value for pair in lines for value in pair]} if lines else {},
    )


def _evened(angles: Array) -> Array:
    """Undo the rounding of angles that were in equal steps."""
    even = np.linspace(angles[0], angles[-1], len(angles))
    step = even[1] - even[0]
    uneven = np.abs(np.diff(angles) - step).max()
    if uneven > EVEN * step and np.abs(angles - even).max() < UNEVEN * step:
        return even
    return angles


def _effective_counts(path: Path, values: Array, sigma: Array) -> Array:
    wrong = ~(np.isfinite(sigma) & (sigma >= 0))
    if wrong.any():
        raise BadInputError(f"'{path}': an uncertainty is {sigma[wrong][0]:g}; expected 0 or more")
    usable = (values > 0) & (sigma > 0)
    if not usable.any():
        raise BadInputError(f"'{path}': no value above 0 with an uncertainty; nothing was counted")
    # Counts n times a scale g have the variance g² n, so that g = sigma² / y.
    scale = sigma[usable] ** 2 / values[usable]
    low, middle, high = (float(value) for value in np.percentile(scale, [5, 50, 95]))
    if high > NOT_COUNTING * low:
        warnings.warn(
            f"'{path}': uncertainties are not those of scaled counts: sigma² / y is {low:.3g} to "
            f"{high:.3g} (expected one value). {middle:.3g} is taken, so that weights of single "
            f"points are off by up to {max(high / middle, middle / low):.2g} times; give raw "
            "counts, from which no background was subtracted",
            BadInputWarning,
            stacklevel=3,
        )
    counted = (values == np.rint(values)).all() and abs(middle - 1) < ROUNDED
    return values if counted else values / middle


def _tell_fractions(path: Path, values: Array) -> None:
    if (values != np.rint(values)).any():
        warnings.warn(
            f"'{path}': values such as {values[values != np.rint(values)][0]:g} are not counts; "
            "they are taken as photons, on which all uncertainties rest. Give step_time in seconds "
            "if they are counts per second, or a third column with their uncertainties",
            BadInputWarning,
            stacklevel=3,
        )


def _checked_time(step_time: float) -> float:
    if not 0 < step_time < 1e7:
        raise BadInputError(f"step_time = {step_time:g} s; expected more than 0")
    return step_time


def _uxd_counts(path: Path, found: UxdRange, step_time: float | None) -> Array:
    if not found.per_second:
        if step_time is not None:
            raise BadInputError(
                f"step_time = {step_time:g} s, but '{path}' holds counts; it is for counts per "
                "second"
            )
        return found.values
    seconds = step_time if step_time is not None else found.step_time
    if seconds is None:
        raise BadInputError(f"'{path}' holds counts per second and no _STEPTIME; give step_time")
    return found.values * _checked_time(seconds)


def _chosen(path: Path, ranges: list[UxdRange], part: int | None) -> UxdRange:
    if part is not None:
        if not 1 <= part <= len(ranges):
            raise BadInputError(f"part = {part}; '{path}' has the ranges 1 to {len(ranges)}")
        return ranges[part - 1]
    if len(ranges) == 1:
        return ranges[0]
    first = ranges[0]
    angles = np.concatenate([found.angles for found in ranges])
    steps = np.diff(angles)
    joined = len(steps) > 0 and np.abs(steps - steps[0]).max() < EVEN * abs(steps[0])
    alike = {(found.per_second, found.step_time, found.lines) for found in ranges}
    if not joined or len(alike) > 1:
        held = ", ".join(f"{_shown(found.angles)}" for found in ranges)
        raise BadInputError(
            f"'{path}' has {len(ranges)} ranges ({held}) that do not follow each other in equal "
            "steps of equal time; choose one: part=1, ..."
        )
    values = np.concatenate([found.values for found in ranges])
    return UxdRange(
        angles=angles,
        values=values,
        per_second=first.per_second,
        step_time=first.step_time,
        lines=first.lines,
    )


def _shown(angles: Array) -> str:
    return f"{angles[0]:g} to {angles[-1]:g}°" if len(angles) else "empty"
