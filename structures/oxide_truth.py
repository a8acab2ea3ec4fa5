"""What is known of a shell of oxide as it is projected: which grain is where, and how it is turned.

A pixel belongs to the grain with the longest way through it along the beam, if that is `SEEN` or
more.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.structures.convex_bodies import chords
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.oxide_shells import OxideGrains, shell_body
from echolith.units import Angstrom
from echolith.zone_axes import rotation_period, zone_frame

Array = npt.NDArray[np.float64]

SEEN = 10.0
"""Å of oxide along the beam, two cells."""
STEP = 2.0
"""Å along the beam between points that tell which grain is there."""


def shell_truth(
    grains: OxideGrains, thickness: Angstrom, *, shape: tuple[int, int], pixel: Angstrom
) -> xr.Dataset:
    """Return what is known of a shell in a frame.

    Parameters
    ----------
    grains : OxideGrains
    thickness : float
        Of the shell, Å.
    shape : (int, int)
        Pixels of the frame.
    pixel : float
        Å.

    Returns
    -------
    xarray.Dataset
        ``grain`` (y, x), 0 where there is no oxide, else from 1; ``thickness``;
        ``grain_area`` (Å²), ``grain_depth`` (Å, the longest way through it),
        ``grain_reflections`` (pairs of {111} and {220} that are excited) and
        ``grain_rotation`` (°, of the frame of the zone axis; NaN of grains turned at random)
        of every grain; ``grain_turn``: matrices from crystal axes to the frame.
    """
    paths = _paths(grains, thickness, shape, pixel)
    label = np.where(paths.max(axis=0) >= SEEN, paths.argmax(axis=0) + 1, 0)
    count = len(grains.places)
    area = np.bincount(label.ravel(), minlength=count + 1)[1:] * pixel**2
    depth = paths.reshape(count, -1).max(axis=1)
    excited = [len(excited_reflections(grains, n, thickness=float(depth[n]))) for n in range(count)]
    axes = {
        name: (name, np.arange(n) * pixel, {"units": "Å"})
        for name, n in zip(("y", "x"), shape, strict=True)
    }
    return xr.Dataset(
        {
            "grain": (("y", "x"), label.astype(np.int32), {"units": "1"}),
            "thickness": ((), thickness, {"units": "Å"}),
            "grain_area": ("true_grain", area, {"units": "Å²"}),
            "grain_depth": ("true_grain", depth, {"units": "Å"}),
            "grain_reflections": ("true_grain", np.array(excited), {"units": "1"}),
            "grain_rotation": ("true_grain", _rotations(grains), {"units": "°"}),
            "rotation_period": ((), _period(grains), {"units": "°"}),
            "grain_turn": (("true_grain", "axis", "crystal_axis"), grains.turns, {"units": "1"}),
        },
        coords=axes,
    )


def _paths(grains: OxideGrains, thickness: float, shape: tuple[int, int], pixel: float) -> Array:
    """Return the ways through every grain along the beam, (grains, y, x), Å."""
    outer, inner = (shell_body(grains.particle, t) for t in (thickness, 0.0))
    y, x = (pixel * np.arange(n) - side / 2 for n, side in zip(shape, grains.field, strict=True))
    lines = np.stack([*np.broadcast_arrays(x, y[:, None]), np.zeros(shape)], axis=-1).reshape(-1, 3)
    (front, back), (enter, leave) = (chords(body, lines, axis=2) for body in (outer, inner))
    tree, found = cKDTree(grains.places), np.zeros((len(grains.places), len(lines)))
    if grains.shell.columnar:
        whole = np.maximum(back - front, 0) - np.maximum(leave - enter, 0)
        found[tree.query(lines)[1], np.arange(len(lines))] = whole
        return found.reshape(-1, *shape)
    reach = float(np.abs(outer.vertices[:, 2]).max())
    for z in np.arange(-reach, reach, STEP) + STEP / 2:
        (here,) = np.nonzero((z > front) & (z < back) & ~((z > enter) & (z < leave)))
        found[tree.query(lines[here] + [0, 0, z])[1], here] += STEP
    return found.reshape(-1, *shape)


def _rotations(grains: OxideGrains) -> Array:
    zone = grains.shell.zone_axis
    if zone is None:
        return np.full(len(grains.turns), np.nan)
    # Of the frame's x axis, brought into the image by the grain's turn.
    x = grains.turns @ zone_frame(zone)[0]
    return np.asarray(np.degrees(np.arctan2(x[:, 1], x[:, 0])) % rotation_period(zone))


def _period(grains: OxideGrains) -> float:
    return np.nan if grains.shell.zone_axis is None else rotation_period(grains.shell.zone_axis)


def excited_reflections(grains: OxideGrains, number: int, *, thickness: Angstrom) -> Array:
    """Return strong reflections of a grain that its thickness lets shine, (n, 2) xy, 1/Å.

    One of each Friedel pair, of those within 1 / thickness of the Ewald plane.
    """
    line = np.arange(-2, 3)
    hkl = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    strong = np.isin(np.sort(np.abs(hkl), axis=1) @ [100, 10, 1], [111, 22])
    half = hkl @ [100, 10, 1] > 0
    g = hkl[strong & half] @ grains.turns[number].T / CRYSTALS[grains.oxide].cell[0]
    return np.asarray(g[np.abs(g[:, 2]) * max(thickness, 1.0) < 1, :2])
