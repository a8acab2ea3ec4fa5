"""Particles as a diffraction map shows them: lattice spacing, tilt, widths, intensity in a plane.

Fields are on a grid that should be finer than the scan. A tilt (a, b) leans the normal of the
lattice planes by the angle hypot(a, b) from z towards the direction (a, b) of the plane x, y.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.seeds import stream

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class StrainedMap:
    """Fields of lattice planes over a particle.

    Attributes
    ----------
    pixel : float
        Of the grid, Å.
    reference : float
        Lattice spacing without strain, Å.
    spacing : array, (rows, columns)
        Lattice spacing, Å.
    tilt : array, (rows, columns, 2)
        Lean of the normal towards x and towards y, rad.
    width : array, (rows, columns, 3)
        Standard deviation of the peak along Qx, Qy, Qz, 1/Å, of the crystal alone.
    intensity : array, (rows, columns)
        Relative, 0 outside.
    domain : array, (rows, columns)
        Number of the grain or domain from 1, 0 outside.
    """

    pixel: float
    reference: float
    spacing: Floats
    tilt: Floats
    width: Floats
    intensity: Floats
    domain: Labels

    @property
    def strain(self) -> Floats:
        """(d - d0) / d0: expansion is positive."""
        return np.asarray(self.spacing / self.reference - 1)


@dataclass(frozen=True, kw_only=True)
class MapSize:
    """The grid of a map: rows and columns, and the pixel in Å."""

    shape: tuple[int, int] = (120, 120)
    pixel: float = 100.0

    def __post_init__(self) -> None:
        if min(self.shape) < 8:
            raise BadInputError(f"shape = {self.shape}; expected 8 or more pixels each way")
        if not 1 <= self.pixel <= 1e6:
            raise BadInputError(f"pixel = {self.pixel:g} Å; expected 1 to 1e6 Å; give it in Å")


def single_crystal(
    size: MapSize,
    *,
    reference: float,
    strain: float = 1e-3,
    tilt: float = 0.1,
    domains: int = 2,
    step: float = 0.15,
    width: float = 1.5e-3,
    seed: int = 0,
) -> StrainedMap:
    """Return one crystal of smooth strain and tilt, parted by cracks into slightly turned domains.

    Parameters
    ----------
    size : MapSize
    reference : float
        Lattice spacing without strain, Å.
    strain : float
        Standard deviation of the smooth strain.
    tilt : float
        Standard deviation of each component of the smooth tilt, degree.
    domains : int
        1 or more; between two there is a crack of no intensity.
    step : float
        Standard deviation of the tilts of domains, degree.
    width : float
        Of the peak, 1/Å; along Qx and Qy half more, and varying smoothly by a fifth.
    seed : int

    Returns
    -------
    StrainedMap

    Raises
    ------
    BadInputError
        If a spread is negative or there is no domain.
    """
    _check(reference=reference, strain=strain, tilt=tilt, step=step, width=width)
    if domains < 1:
        raise BadInputError(f"domains = {domains}; expected 1 or more")
    rng = stream(seed, "strained crystal")
    inside = _outline(size, rng)
    domain, gap = _parted(size, domains, rng)
    present = inside & ~gap
    turned = np.radians(step) * rng.standard_normal((domains + 1, 2)) * (domains > 1)
    lean = np.stack([_smooth(size, rng) for _ in range(2)], axis=-1) * np.radians(tilt)
    return StrainedMap(
        pixel=size.pixel,
        reference=reference,
        spacing=reference * (1 + strain * _smooth(size, rng)),
        tilt=lean + turned[domain],
        width=_widths(size, width, rng),
        intensity=np.where(present, 0.8 + 0.2 * np.tanh(_smooth(size, rng)), 0.0),
        domain=np.where(present, domain, 0).astype(np.int32),
    )


def crystal_cluster(
    size: MapSize,
    *,
    reference: float,
    grains: int = 12,
    orientation: float = 0.3,
    strain: float = 1e-3,
    tilt: float = 0.03,
    width: float = 2e-3,
    seed: int = 0,
) -> StrainedMap:
    """Return a cluster of grains, each with its own spacing and orientation.

    Parameters
    ----------
    size : MapSize
    reference : float
        Lattice spacing without strain, Å.
    grains : int
        2 or more.
    orientation : float
        Standard deviation of each component of the grains' tilts, degree; up to 15 is realistic,
        but one rocking curve sees those within its range only.
    strain : float
        Standard deviation of the grains' strains; a third of it varies inside of them.
    tilt : float
        Standard deviation inside a grain, degree.
    width : float
        Of the peak, 1/Å.
    seed : int

    Returns
    -------
    StrainedMap

    Raises
    ------
    BadInputError
        If a spread is negative or there are fewer than two grains.
    """
    _check(reference=reference, strain=strain, tilt=tilt, step=orientation, width=width)
    if grains < 2:
        raise BadInputError(f"grains = {grains}; expected 2 or more")
    rng = stream(seed, "crystal cluster")
    domain, gap = _parted(size, grains, rng)
    present = _outline(size, rng) & ~gap
    turned = np.radians(orientation) * rng.standard_normal((grains + 1, 2))
    stretched = strain * rng.standard_normal(grains + 1)
    lean = np.stack([_smooth(size, rng) for _ in range(2)], axis=-1) * np.radians(tilt)
    return StrainedMap(
        pixel=size.pixel,
        reference=reference,
        spacing=reference * (1 + stretched[domain] + strain / 3 * _smooth(size, rng)),
        tilt=lean + turned[domain],
        width=_widths(size, width, rng),
        intensity=np.where(present, 0.8 + 0.2 * np.tanh(_smooth(size, rng)), 0.0),
        domain=np.where(present, domain, 0).astype(np.int32),
    )


def particle_diameters(count: int, *, median: float, spread: float, seed: int = 0) -> Floats:
    """Draw diameters of particles from a log-normal distribution, (count,), the unit of the median.

    Raises
    ------
    BadInputError
        If the median is not positive or the spread negative.
    """
    if not median > 0 or spread < 0 or count < 1:
        raise BadInputError(
            f"count = {count}, median = {median:g}, spread = {spread:g}; expected one particle or "
            "more, a median above 0 and a spread of the logarithm of 0 or more"
        )
    drawn = stream(seed, "particle diameters").standard_normal(count)
    return np.asarray(median * np.exp(spread * drawn))


def _check(**values: float) -> None:
    for name, value in values.items():
        if not np.isfinite(value) or value < 0 or (name in ("reference", "width") and value == 0):
            raise BadInputError(f"{name} = {value:g}; expected a finite number of 0 or more")


def _smooth(size: MapSize, rng: np.random.Generator) -> Floats:
    """Return a smooth field of mean 0 and standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(size.shape), min(size.shape) / 8, mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


def _places(size: MapSize) -> Floats:
    """Return positions of pixels over the half side, about the middle, (rows, columns, 2)."""
    rows, columns = size.shape
    y, x = np.meshgrid(
        (np.arange(rows) - (rows - 1) / 2) / (rows / 2),
        (np.arange(columns) - (columns - 1) / 2) / (columns / 2),
        indexing="ij",
    )
    return np.stack([y, x], axis=-1)


def _outline(size: MapSize, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return the inside of a polygon of six to eight faces about the middle."""
    places = _places(size)
    faces = int(rng.integers(6, 9))
    angles = 2 * np.pi * (np.arange(faces) + 0.3 * rng.uniform(-1, 1, faces)) / faces
    normals = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return np.asarray((places @ normals.T < rng.uniform(0.68, 0.85, faces)).all(axis=-1))


def _parted(
    size: MapSize, parts: int, rng: np.random.Generator
) -> tuple[Labels, npt.NDArray[np.bool_]]:
    """Return which of the nearest points each pixel belongs to (from 1), and the cracks between."""
    places = _places(size)
    points = rng.uniform(-0.75, 0.75, (parts, 2))
    if parts == 1:
        return np.ones(size.shape, dtype=np.int32), np.zeros(size.shape, dtype=bool)
    distances, nearest = cKDTree(points).query(places, k=2)
    between = np.linalg.norm(points[nearest[..., 0]] - points[nearest[..., 1]], axis=-1)
    # Distance to the plane midway, over the half side of the map.
    away = (distances[..., 1] ** 2 - distances[..., 0] ** 2) / (2 * np.maximum(between, 1e-9))
    return (nearest[..., 0] + 1).astype(np.int32), away < 1.2 / min(size.shape)


def _widths(size: MapSize, width: float, rng: np.random.Generator) -> Floats:
    """Return widths along Qx, Qy and Qz; misorientation widens the first two more."""
    fields = [np.exp(0.2 * _smooth(size, rng)) for _ in range(3)]
    return np.stack([f * width * part for f, part in zip(fields, (1.5, 1.5, 1.0), strict=True)], -1)
