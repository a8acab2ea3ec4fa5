"""Particles as a diffraction map shows them: lattice spacing, tilt, widths, intensity in a plane.

Fields are on a grid that should be finer than the scan. A tilt (a, b) leans the normal of the
lattice planes by the angle hypot(a, b) from z towards the direction (a, b) of the plane x, y.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.strained_fields import (
    SpacingGradient,
    faceted,
    parted,
    peak_widths,
    places_of,
    smooth_field,
)

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
        Number of the particle, grain or domain from 1, 0 outside.
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
    gradient: SpacingGradient | None = None,
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
    gradient : SpacingGradient, optional
        Of the spacing through the crystal, on top of the smooth strain.
    seed : int

    Returns
    -------
    StrainedMap

    Raises
    ------
    BadInputError
        If a spread is negative or there is no domain.
    """
    check_spreads(reference=reference, strain=strain, tilt=tilt, step=step, width=width)
    if domains < 1:
        raise BadInputError(f"domains = {domains}; expected 1 or more")
    rng = stream(seed, "strained crystal")
    places = places_of(size.shape)
    outline = faceted(rng)
    domain, gap = parted(size.shape, domains, rng)
    turned = np.radians(step) * rng.standard_normal((domains + 1, 2)) * (domains > 1)
    return strained(
        size,
        reference=reference,
        domain=np.where((outline.reach(places) < 1) & ~gap, domain, 0),
        stretched=(gradient or SpacingGradient()).strain(outline.depth(places), places / 2),
        turned=turned[domain],
        strain=strain,
        tilt=tilt,
        width=width,
        rng=rng,
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
    gradient: SpacingGradient | None = None,
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
    gradient : SpacingGradient, optional
        Of the spacing through the whole cluster.
    seed : int

    Returns
    -------
    StrainedMap

    Raises
    ------
    BadInputError
        If a spread is negative or there are fewer than two grains.
    """
    check_spreads(reference=reference, strain=strain, tilt=tilt, step=orientation, width=width)
    if grains < 2:
        raise BadInputError(f"grains = {grains}; expected 2 or more")
    rng = stream(seed, "crystal cluster")
    places = places_of(size.shape)
    domain, gap = parted(size.shape, grains, rng)
    outline = faceted(rng)
    turned = np.radians(orientation) * rng.standard_normal((grains + 1, 2))
    stretched = strain * rng.standard_normal(grains + 1)
    through = (gradient or SpacingGradient()).strain(outline.depth(places), places / 2)
    return strained(
        size,
        reference=reference,
        domain=np.where((outline.reach(places) < 1) & ~gap, domain, 0),
        stretched=stretched[domain] + through,
        turned=turned[domain],
        strain=strain / 3,
        tilt=tilt,
        width=width,
        rng=rng,
    )


def strained(
    size: MapSize,
    *,
    reference: float,
    domain: npt.NDArray[np.integer],
    stretched: Floats,
    turned: Floats,
    strain: float,
    tilt: float,
    width: float,
    rng: np.random.Generator,
) -> StrainedMap:
    """Return crystals of given strain and tilt with smooth strain, tilt, widths and intensity.

    Parameters
    ----------
    size : MapSize
    reference : float
        Lattice spacing without strain, Å.
    domain : array, (rows, columns)
        Number of the crystal, 0 outside.
    stretched : array, (rows, columns)
        Strain that is given.
    turned : array, (rows, columns, 2)
        Tilt that is given, rad.
    strain : float
        Standard deviation of the smooth strain.
    tilt : float
        Standard deviation of each component of the smooth tilt, degree.
    width : float
        Of the peak, 1/Å.
    rng : numpy.random.Generator
        Drawn from in the order tilts, strain, widths, intensity.
    """
    lean = np.stack([smooth_field(size.shape, rng) for _ in range(2)], axis=-1) * np.radians(tilt)
    return StrainedMap(
        pixel=size.pixel,
        reference=reference,
        spacing=reference * (1 + stretched + strain * smooth_field(size.shape, rng)),
        tilt=lean + turned,
        width=peak_widths(size.shape, width, rng),
        intensity=np.where(domain > 0, 0.8 + 0.2 * np.tanh(smooth_field(size.shape, rng)), 0.0),
        domain=domain.astype(np.int32),
    )


def check_spreads(**values: float) -> None:
    """Refuse what is negative or not finite, and a spacing or width of 0."""
    for name, value in values.items():
        if not np.isfinite(value) or value < 0 or (name in ("reference", "width") and value == 0):
            raise BadInputError(f"{name} = {value:g}; expected a finite number of 0 or more")
