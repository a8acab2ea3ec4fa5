"""The detector of a CXI entry: where the beam is on it, which way it runs, which pixels count."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.stack_quantities import given_value

DETECTOR = "instrument_1/detector_1"
SMALLEST = 16
"""Pixels along each side of a frame."""
GOOD = (0, 0x1000)
"""Values of a pixel mask that leave a pixel in: nothing said, and a signal above the background."""


def frame_region(
    entry: h5py.Group, shape: tuple[int, int], *, pixel_size: float, given: Mapping[str, Any]
) -> tuple[slice, slice]:
    """Return rows and columns of the largest even square with the beam on its pixel n // 2.

    They run backwards where the detector's vectors run the other way than our axes do.

    Parameters
    ----------
    entry : h5py.Group
    shape : (int, int)
        Of the frames.
    pixel_size : float
        m.
    given : mapping
        ``centre_y``, ``centre_x`` of the beam and ``pixels`` along each side, where they are given.

    Raises
    ------
    BadInputError
        If the detector is turned, its pixels are not square, or the beam misses it.
    """
    steps = _steps(entry, pixel_size)
    corner = entry.get(f"{DETECTOR}/corner_position")
    centres = [size // 2 for size in shape]
    if corner is not None:
        # (x, y, z) of the first pixel; x and y of CXI are minus ours.
        centres = [int(np.rint(-np.ravel(corner)[1 - n] / steps[n])) for n in (0, 1)]
    centres = [_whole(given, f"centre_{n}", c) for n, c in zip("yx", centres, strict=True)]
    # A slice about c runs from c - half to c + half - 1, backwards to c - half + 1.
    room = min(
        min(centre + (step > 0), size - centre - (step > 0))
        for centre, size, step in zip(centres, shape, steps, strict=True)
    )
    half = _whole(given, "pixels", 2 * room) // 2
    if not SMALLEST <= 2 * half <= 2 * room:
        raise BadInputError(
            f"'{entry.file.filename}', {entry.name}: {2 * half} pixels about the beam at "
            f"{centres[0]}, {centres[1]} of frames of {shape[0]} x {shape[1]}; expected {SMALLEST} "
            f"to {max(2 * room, 0)}; give pixels, or centre_y and centre_x where the beam is"
        )
    rows, columns = (
        _about(centre, half, backwards=step > 0)
        for centre, step in zip(centres, steps, strict=True)
    )
    return rows, columns


def reaching_share(entry: h5py.Group, shape: tuple[int, int]) -> npt.NDArray[np.float32] | None:
    """Return the share of photons that reaches each pixel, 0 where it is masked; None: all do.

    Raises
    ------
    BadInputError
        If mask or efficiency is not of the frames' shape.
    """
    found = {n: entry.get(f"{DETECTOR}/{n}") for n in ("efficiency", "mask")}
    told = {name: one[()] for name, one in found.items() if isinstance(one, h5py.Dataset)}
    for name, values in told.items():
        if np.shape(values) != shape:
            raise BadInputError(
                f"'{entry.file.filename}', {entry.name}: {name} of shape {np.shape(values)}; "
                f"expected {shape}, one for all frames"
            )
    if not told:
        return None
    share = np.asarray(told.get("efficiency", np.ones(shape)), dtype=np.float32)
    return share * np.isin(told.get("mask", 0), GOOD)


def _steps(entry: h5py.Group, pixel_size: float) -> tuple[float, float]:
    """Return the way from row to row along y of CXI, and from column to column along x, m."""
    found = entry.get(f"{DETECTOR}/basis_vectors")
    if found is None:
        return -pixel_size, -pixel_size
    vectors = np.asarray(found[()], dtype=float)
    vectors = vectors[0] if vectors.ndim == 3 else vectors
    vectors = vectors.T if vectors.shape == (3, 2) else vectors
    steps = float(vectors[0, 1]), float(vectors[1, 0])
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose([*np.abs(steps), *lengths], pixel_size, rtol=1e-3):
        raise BadInputError(
            f"'{entry.file.filename}', {entry.name}: basis_vectors {vectors.tolist()} m; expected "
            f"square pixels of {pixel_size:g} m, rows along y and columns along x; turn the frames"
        )
    return steps


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    if name not in given:
        return default
    return round(float(given_value(name, given[name], expected="pixels").mean()))


def _about(centre: int, half: int, *, backwards: bool) -> slice:
    if not backwards:
        return slice(centre - half, centre + half)
    stop = centre - half
    return slice(centre + half, stop if stop >= 0 else None, -1)
