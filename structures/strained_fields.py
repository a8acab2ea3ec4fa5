"""Random fields that strained particles are made of: outlines, parts, smooth fields, gradients."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from echolith.errors import BadInputError

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]

ANGLES = np.arange(720) * np.pi / 360
"""Directions in which the radius of an outline is taken."""


@dataclass(frozen=True, kw_only=True)
class SpacingGradient:
    """How the lattice spacing changes through a particle.

    Attributes
    ----------
    radial : float
        Strain of the middle of a face over that of the core. It grows with the square of the way:
        so diffusion at a constant current leaves a round particle. Corners are further.
    linear : float
        Strain of one side over that of the other.
    direction : float
        In which the linear part grows, degree from x towards y.

    References
    ----------
    Crank, The Mathematics of Diffusion (1975), section 6.3.3: constant flux into a sphere.
    """

    radial: float = 0.0
    linear: float = 0.0
    direction: float = 0.0

    def __post_init__(self) -> None:
        if not max(abs(self.radial), abs(self.linear)) <= 0.1 or not np.isfinite(self.direction):
            raise BadInputError(
                f"radial = {self.radial:g}, linear = {self.linear:g}, direction = "
                f"{self.direction:g}°; expected strains of -0.1 to 0.1 and a finite angle"
            )

    def strain(self, depth: Floats, across: Floats) -> Floats:
        """Return the strain of pixels.

        Parameters
        ----------
        depth : array, (...)
            0 in the core, 1 at the middle of a face.
        across : array, (..., 2)
            Place (y, x) from the middle, over the width of the particle.
        """
        turn = np.radians(self.direction)
        along = across @ np.array([np.sin(turn), np.cos(turn)])
        return np.asarray(self.radial * depth**2 + self.linear * along)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A polygon about the origin by its faces.

    Attributes
    ----------
    normals : array, (faces, 2)
        Of the faces, (y, x), unit length.
    limits : array, (faces,)
        Distances of the faces from the origin.
    """

    normals: Floats
    limits: Floats

    def reach(self, places: Floats) -> Floats:
        """Return 0 at the origin and 1 at the nearest face, for places (..., 2)."""
        return np.asarray((places @ self.normals.T / self.limits).max(axis=-1))

    def depth(self, places: Floats) -> Floats:
        """Return the same but smooth, so that no edge runs from the core to a corner."""
        out = np.maximum(places @ self.normals.T / self.limits, 0)
        return np.asarray((out**6).sum(axis=-1) ** (1 / 6))

    @property
    def radii(self) -> Floats:
        """Distances of the rim in `ANGLES`."""
        return 1 / self.reach(np.stack([np.sin(ANGLES), np.cos(ANGLES)], axis=-1))

    def of_diameter(self, diameter: float) -> "Outline":
        """Return the polygon scaled to the area of a circle."""
        area = np.pi * float(np.mean(self.radii**2))
        scale = diameter / 2 * np.sqrt(np.pi / area)
        return Outline(normals=self.normals, limits=scale * self.limits)


def faceted(rng: np.random.Generator) -> Outline:
    """Return a polygon of six to eight faces within a square of side 2."""
    faces = int(rng.integers(6, 9))
    angles = 2 * np.pi * (np.arange(faces) + 0.3 * rng.uniform(-1, 1, faces)) / faces
    normals = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return Outline(normals=normals, limits=rng.uniform(0.68, 0.85, faces))


def places_of(shape: tuple[int, int]) -> Floats:
    """Return positions of pixels over the half side, about the middle, (rows, columns, 2)."""
    rows, columns = shape
    y, x = np.meshgrid(
        (np.arange(rows) - (rows - 1) / 2) / (rows / 2),
        (np.arange(columns) - (columns - 1) / 2) / (columns / 2),
        indexing="ij",
    )
    return np.stack([y, x], axis=-1)


def smooth_field(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return a smooth field of mean 0 and standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(shape), min(shape) / 8, mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


def parted(
    shape: tuple[int, int], parts: int, rng: np.random.Generator
) -> tuple[Labels, npt.NDArray[np.bool_]]:
    """Return which of the nearest points each pixel belongs to (from 1), and the cracks between."""
    places = places_of(shape)
    points = rng.uniform(-0.75, 0.75, (parts, 2))
    if parts == 1:
        return np.ones(shape, dtype=np.int32), np.zeros(shape, dtype=bool)
    distances, nearest = cKDTree(points).query(places, k=2)
    between = np.linalg.norm(points[nearest[..., 0]] - points[nearest[..., 1]], axis=-1)
    # Distance to the plane midway, over the half side of the map.
    away = (distances[..., 1] ** 2 - distances[..., 0] ** 2) / (2 * np.maximum(between, 1e-9))
    return (nearest[..., 0] + 1).astype(np.int32), away < 1.2 / min(shape)


def peak_widths(shape: tuple[int, int], width: float, rng: np.random.Generator) -> Floats:
    """Return widths along Qx, Qy and Qz; misorientation widens the first two more."""
    fields = [np.exp(0.2 * smooth_field(shape, rng)) for _ in range(3)]
    return np.stack([f * width * part for f, part in zip(fields, (1.5, 1.5, 1.0), strict=True)], -1)
