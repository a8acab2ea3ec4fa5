"""Write powder patterns as text: .xy, .xye, .dat and UXD."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from echolith.atomic import whole_file
from echolith.errors import BadInputError, near_match

EVEN = 0.01
"""Of a step: how far equal ones may differ."""


def write_powder(measurement: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a powder pattern, whole or not at all; the suffix says how.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (two_theta).
    path : path
        ``.xy``; ``.xye`` with sqrt(counts), 1 where there are none; ``.dat`` with start, step and
        stop; ``.uxd`` with the wavelengths where ``attrs["lines"]`` tells them.

    Raises
    ------
    BadInputError
        If the suffix is another, there is no pattern, or steps are not equal (.dat, .uxd).
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if "counts" not in measurement or measurement["counts"].dims != ("two_theta",):
        raise BadInputError("no counts over two_theta; expected a powder pattern")
    if not np.isfinite(measurement["counts"].values).all():
        raise BadInputError("counts are not finite; expected photons")
    if path.suffix.lower() not in WRITERS:
        raise BadInputError(
            f"'{path.name}': expected one of {', '.join(WRITERS)}; "
            f"{near_match(path.suffix.lower(), WRITERS)}"
        )
    lines = WRITERS[path.suffix.lower()](measurement)
    with whole_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _pairs(measurement: xr.Dataset) -> list[tuple[float, float]]:
    angles, counts = measurement["two_theta"].values, measurement["counts"].values
    return list(zip(angles.tolist(), counts.tolist(), strict=True))


def _xy(measurement: xr.Dataset) -> list[str]:
    return [f"{angle:.9g} {_text(value)}" for angle, value in _pairs(measurement)]


def _xye(measurement: xr.Dataset) -> list[str]:
    return [
        f"{angle:.9g} {_text(value)} {np.sqrt(value if value > 0 else 1.0):.9g}"
        for angle, value in _pairs(measurement)
    ]


def _even_steps(measurement: xr.Dataset) -> tuple[float, float, float]:
    angles = measurement["two_theta"].values.astype(float)
    steps = np.diff(angles)
    if len(steps) < 1 or not np.abs(steps - steps.mean()).max() < EVEN * steps.mean():
        raise BadInputError("2 theta is not in equal steps; write .xy or .xye")
    return float(angles[0]), float(steps.mean()), float(angles[-1])


def _values(measurement: xr.Dataset) -> list[str]:
    words = [_text(value) for _, value in _pairs(measurement)]
    return [" ".join(words[n : n + 8]) for n in range(0, len(words), 8)]


def _dat(measurement: xr.Dataset) -> list[str]:
    start, step, stop = _even_steps(measurement)
    return [f"{start:.9g} {step:.9g} {stop:.9g}", *_values(measurement)]


def _uxd(measurement: xr.Dataset) -> list[str]:
    start, step, _ = _even_steps(measurement)
    lines = list(measurement.attrs.get("lines", []))[:4]
    names = ("_WL1", "", "_WL2", "_WLRATIO")
    keys = [f"{name}={value:.9g}" for name, value in zip(names, lines, strict=False) if name]
    return [
        "; written by echolith",
        "_FILEVERSION=2",
        *keys,
        "_DRIVE='COUPLED'",
        "; the time of a step is not known",
        "_STEPTIME=1",
        f"_STEPSIZE={step:.9g}",
        f"_STEPCOUNT={measurement.sizes['two_theta']}",
        f"_START={start:.9g}",
        "_COUNTS",
        *_values(measurement),
    ]


WRITERS: dict[str, Callable[[xr.Dataset], list[str]]] = {
    ".xy": _xy,
    ".xye": _xye,
    ".dat": _dat,
    ".uxd": _uxd,
}
