"""Several strained crystals side by side, of sizes from a distribution."""

import numpy as np

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.strained_crystals import (
    Floats,
    MapSize,
    StrainedMap,
    check_spreads,
    strained,
)
from echolith.structures.strained_fields import Outline, SpacingGradient, faceted

ATTEMPTS = 100
"""To place particles, before they are said not to fit."""


def particle_diameters(count: int, *, mean: float, spread: float, seed: int = 0) -> Floats:
    """Draw diameters of particles from a log-normal distribution, (count,).

    With the mean m and the standard deviation s of the diameters, their logarithms have the
    variance v = ln(1 + s² / m²) and the mean ln(m) - v / 2.

    Parameters
    ----------
    count : int
    mean, spread : float
        Mean and standard deviation of the diameters, Å.
    seed : int

    Raises
    ------
    BadInputError
        If the mean is not positive, the spread negative, or there is no particle.

    Examples
    --------
    >>> particle_diameters(2, mean=5000.0, spread=0.0).tolist()
    [5000.0, 5000.0]
    """
    if not 0 < mean < np.inf or not 0 <= spread < np.inf or count < 1:
        raise BadInputError(
            f"count = {count}, mean = {mean:g} Å, spread = {spread:g} Å; expected one particle or "
            "more, a mean above 0 Å and a spread of 0 Å or more"
        )
    drawn = stream(seed, "particle diameters").standard_normal(count)
    variance = np.log1p((spread / mean) ** 2)
    return np.asarray(mean * np.exp(np.sqrt(variance) * drawn - variance / 2))


def particle_field(
    size: MapSize,
    *,
    reference: float,
    diameters: Floats,
    between: float = 1e-3,
    orientation: float = 0.1,
    strain: float = 3e-4,
    tilt: float = 0.03,
    width: float = 1.5e-3,
    gradient: SpacingGradient | None = None,
    margin: float = 0.0,
    seed: int = 0,
) -> StrainedMap:
    """Return particles apart from one another, each one crystal with its own spacing and tilt.

    Parameters
    ----------
    size : MapSize
    reference : float
        Lattice spacing without strain, Å.
    diameters : array, (particles,)
        Of circles of the same area, Å.
    between : float
        Standard deviation of the particles' strains.
    orientation : float
        Standard deviation of each component of the particles' tilts, degree.
    strain, tilt : float
        Standard deviations of the smooth strain and of each component of the smooth tilt (degree)
        inside of particles.
    width : float
        Of the peak, 1/Å.
    gradient : SpacingGradient, optional
        Of the spacing through every particle.
    margin : float
        To the rim of the grid that is kept free, Å.
    seed : int

    Returns
    -------
    StrainedMap
        ``domain`` numbers the particles in the order of the diameters.

    Raises
    ------
    BadInputError
        If a spread is negative, a diameter is below 4 pixels, or the particles do not fit.
    """
    check_spreads(reference=reference, between=between, strain=strain, tilt=tilt, width=width)
    check_spreads(orientation=orientation, margin=margin)
    if not len(diameters) or not (diameters >= 4 * size.pixel).all():
        least = float(np.min(diameters, initial=np.inf))
        raise BadInputError(
            f"{len(diameters)} diameters, the least {least:g} Å; expected one or more of at least "
            f"4 pixels of {size.pixel:g} Å"
        )
    rng = stream(seed, "particle field")
    outlines = [faceted(rng).of_diameter(diameter) for diameter in diameters]
    domain = np.zeros(size.shape, dtype=np.int32)
    stretched, turned = np.zeros(size.shape), np.zeros((*size.shape, 2))
    offsets = between * rng.standard_normal(len(diameters))
    tilts = np.radians(orientation) * rng.standard_normal((len(diameters), 2))
    for n, centre in enumerate(_centres(size, outlines, margin, rng)):
        away = _grid(size) - centre
        inside = outlines[n].reach(away) < 1
        through = (gradient or SpacingGradient()).strain(
            outlines[n].depth(away), away / diameters[n]
        )
        domain[inside] = n + 1
        stretched[inside] = offsets[n] + through[inside]
        turned[inside] = tilts[n]
    return strained(
        size,
        reference=reference,
        domain=domain,
        stretched=stretched,
        turned=turned,
        strain=strain,
        tilt=tilt,
        width=width,
        rng=rng,
    )


def _grid(size: MapSize) -> Floats:
    """Return places (y, x) of the pixels, Å."""
    return np.asarray(np.moveaxis(np.indices(size.shape), 0, -1) * size.pixel, dtype=np.float64)


def _centres(
    size: MapSize, outlines: list[Outline], margin: float, rng: np.random.Generator
) -> Floats:
    """Return places (y, x), Å, whose circles about the outlines do not meet."""
    radii = np.array([outline.radii.max() for outline in outlines]) + size.pixel
    most = 0
    for _ in range(ATTEMPTS):
        centres = _arranged(size, radii, margin, rng)
        placed = int(np.isfinite(centres[:, 0]).sum())
        if placed == len(radii):
            return centres
        most = max(most, placed)
    raise BadInputError(
        f"{most} of {len(radii)} particles fit into {size.shape} pixels of {size.pixel:g} Å; take "
        "fewer or smaller ones, or a larger map"
    )


def _arranged(size: MapSize, radii: Floats, margin: float, rng: np.random.Generator) -> Floats:
    """Return places drawn one after the other, large ones first; NaN where none is left."""
    grid = _grid(size)
    free = np.minimum(grid, grid[-1, -1] - grid).min(axis=-1) - margin
    centres = np.full((len(radii), 2), np.nan)
    for n in np.argsort(-radii, kind="stable"):
        places = np.argwhere(free > radii[n])
        if not len(places):
            break
        centres[n] = (places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, 2)) * size.pixel
        free = np.minimum(free, np.linalg.norm(grid - centres[n], axis=-1) - radii[n])
    return centres
