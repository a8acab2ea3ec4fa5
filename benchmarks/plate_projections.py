"""Plates of random directions: exact optical densities of every ray, and their truth on voxels.

Nothing here knows the voxels' model: a ray's path through a plate is that between three pairs of
parallel faces, and pixels are means over four sub-rays.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.tilts import Tilts, centres

Array = npt.NDArray[np.float64]

ABSORPTION = 0.1
"""Optical density of a voxel's width."""
FACES = (15.0, 12.0, 3.0)
"""Voxels; 100 × 80 × 20 nm at 6.7 nm, times 0.7 to 1.3."""
FINE = 2
FILLED = 0.42
"""Reach of the centres from the axis, and along it, in units of the field."""


@dataclass(frozen=True, kw_only=True)
class Plate:
    """Half the edges, the centre (x, y, z) in voxels from the middle, the edges' directions."""

    half: Array
    centre: Array
    turn: Array


def plates(side: int, *, seed: int) -> list[Plate]:
    """Return plates at random, 40 in a field of 128 voxels; they may overlap, and add."""
    rng = np.random.default_rng(seed)
    found: list[Plate] = []
    while len(found) < max(3, 40 * side // 128):
        centre = rng.uniform(-FILLED, FILLED, 3) * side
        if np.hypot(centre[0], centre[2]) > FILLED * side:
            continue
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        half = np.array(FACES) / 2 * rng.uniform(0.7, 1.3) * min(1, side / 64)
        found.append(Plate(half=half, centre=centre, turn=turn))
    return found


def truth(specimen: list[Plate], side: int) -> npt.NDArray[np.float32]:
    """Return the mean absorption of each voxel, (z, y, x), 1/Å, from 4³ points in each."""
    volume = np.zeros((side,) * 3, dtype=np.float32)
    points = centres(4, 0.25)
    for plate in specimen:
        boxes = [
            np.arange(max(0, int(c - r)), min(side, int(c + r) + 2))
            for c, r in zip(
                plate.centre + (side - 1) / 2, [np.linalg.norm(plate.half) + 1] * 3, strict=True
            )
        ]
        x, y, z = (
            (box[:, None] - (side - 1) / 2 + points).ravel() - c
            for box, c in zip(boxes, plate.centre, strict=True)
        )
        at = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1) @ plate.turn
        inside = (np.abs(at) < plate.half).all(axis=-1)
        shape = [n for box in boxes[::-1] for n in (len(box), 4)]
        volume[np.ix_(*boxes[::-1])] += inside.reshape(shape).mean(axis=(1, 3, 5))
    return volume * np.float32(ABSORPTION / Tilts().voxel_size)


def projections(specimen: list[Plate], side: int) -> xr.Dataset:
    """Return the optical densities of the published tilt series."""
    tilts = Tilts()
    seen = np.zeros((len(tilts.angles), side * FINE, side * FINE), dtype=np.float32)
    for image, angle in zip(seen, tilts.radians, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        across, beam = np.array([c, 0, s]), np.array([-s, 0, c])
        for plate in specimen:
            _add_paths(image, plate, across, beam)
    means = seen.reshape(len(seen), side, FINE, side, FINE).mean(axis=(2, 4)) * ABSORPTION
    size = tilts.voxel_size
    at = {"tilt": list(tilts.angles), "y": centres(side, size), "x": centres(side, size)}
    return xr.Dataset({"optical_density": (("tilt", "y", "x"), means)}, coords=at)


def _add_paths(image: npt.NDArray[np.float32], plate: Plate, across: Array, beam: Array) -> None:
    """Add the length of every ray inside a plate, between the last face in and the first out."""
    reach = float(np.linalg.norm(plate.half)) + 1
    rays = centres(image.shape[1], 1 / FINE)
    columns = np.flatnonzero(np.abs(rays - plate.centre @ across) < reach)
    rows = np.flatnonzero(np.abs(rays - plate.centre[1]) < reach)
    u, v = rays[columns] - plate.centre @ across, rays[rows, None] - plate.centre[1]
    first, last = np.full((len(rows), len(columns)), -np.inf), np.inf
    for half, edge in zip(plate.half, plate.turn.T, strict=True):
        slope = edge @ beam
        slope = slope if abs(slope) > 1e-9 else 1e-9
        there = u * (edge @ across) + v * edge[1]
        ends = (-half - there) / slope, (half - there) / slope
        first = np.maximum(first, np.minimum(*ends))
        last = np.minimum(last, np.maximum(*ends))
    image[np.ix_(rows, columns)] += np.maximum(last - first, 0)


def counted(exact: xr.Dataset, *, photons: float, seed: int) -> xr.Dataset:
    """Return Poisson counts behind the plates."""
    density = exact["optical_density"]
    counts = np.random.default_rng(seed).poisson(photons * np.exp(-density.values))
    return xr.Dataset({"counts": density.copy(data=counts.astype(np.float64)), "incident": photons})
