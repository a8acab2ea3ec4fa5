"""The outer shape of a specimen: a wedge instead of a plate, and a small tilt off the zone axis."""

import numpy as np
from ase import Atoms

from echolith.errors import BadInputError
from echolith.structures.cation_sites import (
    LABELS,
    SiteGrid,
    cation_sites,
    remember_columns,
    shifted,
    site_grid,
)
from echolith.structures.column_stack import B, Floats
from echolith.structures.projection_clusters import laterally_periodic

LARGEST_TILT = 50.0
"""mrad; the foreshortening that a shear leaves out is then 0.1 %."""


def wedge(atoms: Atoms, *, slope: float, direction: float = 0.0, b: float = B) -> Atoms:
    """Return a specimen cut to a wedge: thinner along a direction, the entrance face as it was.

    ``t(r) = t - slope (n·r - min n·r)``, t the full thickness where the wedge is thickest. Atoms
    beyond the inclined exit face are left out, whole.

    Parameters
    ----------
    atoms : ase.Atoms
        Not laterally periodic.
    slope : float
        Loss of thickness per lateral length, Å/Å (2 % is 0.02), at least 0; for a given loss
        over the field see `slope_of_variation`.
    direction : float
        In which the specimen gets thinner, degree from x towards y.
    b : float
        Edge b, Å, of a labelled specimen that does not say.

    Returns
    -------
    ase.Atoms
        The cell is as before. `true_composition` counts sites down to the inclined face only.

    Raises
    ------
    BadInputError
        If the slope is negative, nothing is left at the thin end, the specimen is periodic, or a
        wedge already.
    """
    if laterally_periodic(atoms):
        raise BadInputError("a laterally periodic specimen cannot be a wedge; use a field_specimen")
    if not 0 <= slope <= 1:
        raise BadInputError(f"slope = {slope:g} Å/Å; expected 0 to 1; give 2 % as 0.02")
    labelled = all(name in atoms.arrays for name in LABELS)
    grid = site_grid(atoms, b=b) if labelled else _plate(atoms)
    if any(grid.exit[1:]):
        raise BadInputError("the specimen is a wedge already; cut the plate with one slope")
    normal, start, length = _extent(atoms, direction)
    top = grid.entrance + grid.layers * grid.layer
    loss = slope * length
    if loss > top - grid.entrance - grid.layer:
        raise BadInputError(
            f"slope = {slope:g} Å/Å takes {loss:.1f} Å off {top - grid.entrance:.1f} Å of "
            "thickness over the field and leaves less than a layer; use a smaller slope"
        )
    plane = (top + slope * start, -slope * float(normal[0]), -slope * float(normal[1]))
    cut: Atoms = atoms.copy()
    if labelled:
        remember_columns(cut)
        SiteGrid(layer=grid.layer, entrance=grid.entrance, layers=grid.layers, exit=plane).keep(cut)
    x, y, z = atoms.positions.T
    if labelled:
        z = _site_heights(atoms, b)
    del cut[np.flatnonzero(z >= plane[0] + plane[1] * x + plane[2] * y)]
    return cut


def _site_heights(atoms: Atoms, b: float) -> Floats:
    """Heights of atoms, Å, of cations those of their sites, so that vacancies are cut alike."""
    sites = cation_sites(atoms, b=b)
    there = sites.atom >= 0
    z: Floats = atoms.positions[:, 2].copy()
    z[sites.atom[there]] = sites.heights(site_grid(atoms, b=b))[there]
    return z


def slope_of_variation(atoms: Atoms, variation: float, *, direction: float = 0.0) -> float:
    """Return the slope that takes a part of the thickness off over the width of a field, Å/Å.

    Parameters
    ----------
    atoms : ase.Atoms
    variation : float
        Thickness lost from the thick to the thin end, part of the full one (20 % is 0.2).
    direction : float
        As for `wedge`, degree.

    Examples
    --------
    >>> from ase import Atoms
    >>> slope_of_variation(Atoms(cell=(50, 40, 20)), 0.25)
    0.1
    """
    return variation * float(atoms.cell[2, 2]) / _extent(atoms, direction)[2]


def _extent(atoms: Atoms, direction: float) -> tuple[Floats, float, float]:
    """Return the unit vector of a direction, where along it the field starts, and its length."""
    if not np.isfinite(direction):
        raise BadInputError(f"direction = {direction:g}°; expected an angle in degrees")
    angle = np.deg2rad(direction)
    normal: Floats = np.array([np.cos(angle), np.sin(angle)]).round(12)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ np.asarray(atoms.cell)[:2, :2]
    along = corners @ normal
    return normal, float(along.min()), float(np.ptp(along))


def _plate(atoms: Atoms) -> SiteGrid:
    thickness = float(atoms.cell[2, 2])
    return SiteGrid(layer=thickness / 10, entrance=0.0, layers=10, exit=(thickness, 0.0, 0.0))


def mistilted(atoms: Atoms, *, tilt: tuple[float, float]) -> Atoms:
    """Return a specimen tilted a little off the zone axis.

    Rotated by (tilt_x, tilt_y) about the axes x and y, to first order ``x + tilt_y z``,
    ``y - tilt_x z`` with z from the middle: a shear, which leaves the faces square to the beam and
    so equals a tilt of the beam. Left out is foreshortening, ``tilt²/2``.

    Parameters
    ----------
    atoms : ase.Atoms
    tilt : (float, float)
        About x and about y, mrad, up to 50.

    Returns
    -------
    ase.Atoms
        Without periodicity the cell grows on all sides, by what an atom at either face moves at
        most. A column's place is the mean of its atoms, so that of half its depth. Let atoms
        migrate before, not after: vacancies are taken to be at half depth.

    Raises
    ------
    BadInputError
        If a tilt is not finite or beyond 50 mrad.
    """
    about = np.array(tilt, dtype=float)
    if about.shape != (2,) or not (np.abs(about) <= LARGEST_TILT).all():
        raise BadInputError(
            f"tilt = {tilt} mrad; expected two angles of at most {LARGEST_TILT:g} mrad; "
            "give them in mrad"
        )
    shear = np.array([about[1], -about[0]]) * 1e-3
    middle = float(atoms.cell[2, 2]) / 2
    margin = np.zeros(2) if laterally_periodic(atoms) else np.abs(shear) * middle
    tilted = shifted(atoms, np.append(margin, 0.0))
    tilted.positions[:, :2] += np.outer(atoms.positions[:, 2] - middle, shear)
    cell = np.asarray(atoms.cell).copy()
    cell[[0, 1], [0, 1]] += 2 * margin
    tilted.cell = cell
    return tilted
