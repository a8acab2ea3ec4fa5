"""Amorphous carbon over and under a specimen: the support film, or contamination.

Atoms are placed at random, none nearer to another than a bond (random sequential addition), until
the density is reached. At 2.0 g/cm³ and 1.3 Å they fill 12 % of space, far from the 38 % where
this process jams.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.cation_sites import LABELS, SiteGrid, shifted, site_grid
from echolith.structures.column_stack import B, Floats
from echolith.structures.projection_clusters import laterally_periodic

BOND = 1.3
"""Å. Least distance of two carbon atoms; 1.42 to 1.54 are bonds."""
CONTACT = 1.5
"""Å. Least distance of carbon to the specimen's atoms."""
DENSITY = 2.0
"""g/cm³, of evaporated carbon films."""
CARBON_MASS = 12.011 * 1.66053907
"""Of one atom, in g/cm³ Å³: 1e-24 g."""
_ROUNDS = 100
"""Of trials; three are usual."""


def with_amorphous_carbon(
    atoms: Atoms,
    *,
    entrance: float = 0.0,
    exit: float = 0.0,
    density: float = DENSITY,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return a specimen between layers of amorphous carbon.

    Parameters
    ----------
    atoms : ase.Atoms
        Beam along z; laterally periodic or in vacuum.
    entrance, exit : float
        Thickness of the layer before and behind the specimen, 0 to 1000 Å. The one behind
        follows the exit face of a wedge.
    density : float
        g/cm³, 0.5 to 3.5.
    b : float
        Edge b, Å, of a labelled specimen that does not say.
    seed : int

    Returns
    -------
    ase.Atoms
        The cell grows along the beam by both thicknesses. Carbon belongs to no column:
        ``column_kind`` is empty, and the specimen's truth is what it was.

    Raises
    ------
    BadInputError
        If a thickness or the density is outside its range.

    Examples
    --------
    >>> from echolith.structures.li_rich_oxide import field_specimen
    >>> plate = field_specimen(field=(10, 10), thickness=8.532)
    >>> coated = with_amorphous_carbon(plate, exit=10.0)
    >>> round(float(coated.cell[2, 2]), 3), len(coated) - len(plate)
    (18.532, 100)
    """
    for name, thickness in (("entrance", entrance), ("exit", exit)):
        if not 0 <= thickness <= 1000:
            raise BadInputError(f"{name} = {thickness:g} Å; expected 0 to 1000 Å; give it in Å")
    if not 0.5 <= density <= 3.5:
        raise BadInputError(f"density = {density:g} g/cm³; expected 0.5 to 3.5 g/cm³ (carbon 2.0)")
    labelled = all(name in atoms.arrays for name in LABELS)
    front, back = _faces(atoms, site_grid(atoms, b=b) if labelled else None)
    coated = shifted(_on_grid(atoms, b) if labelled else atoms, np.array([0, 0, entrance]))
    coated.cell[2, 2] += entrance + exit
    films = (
        _Film(plane=front, thickness=entrance, name="entrance"),
        _Film(plane=np.add(back, (entrance, 0.0, 0.0)), thickness=exit, name="exit"),
    )
    placed = [_filled(film, coated, density, seed) for film in films]
    for positions in placed:
        coated.extend(Atoms("C" * len(positions), positions=positions))
    return coated


@dataclass(frozen=True, kw_only=True)
class _Film:
    """A layer on the face ``z = plane[0] + plane[1] x + plane[2] y``, growing along +z."""

    plane: Floats
    thickness: float
    name: str

    def base(self, xy: Floats) -> Floats:
        """Height of the face under places (n, 2)."""
        return np.asarray(self.plane[0] + xy @ self.plane[1:])


def _faces(atoms: Atoms, grid: SiteGrid | None) -> tuple[Floats, Floats]:
    """Planes where the layers before and behind begin; the one before ends on the entrance."""
    front = np.zeros(3)
    if grid is None:
        return front, np.array([float(atoms.cell[2, 2]), 0.0, 0.0])
    top = grid.entrance + grid.layers * grid.layer
    return front, np.array(grid.exit) if any(grid.exit[1:]) else np.array([top, 0.0, 0.0])


def _on_grid(atoms: Atoms, b: float) -> Atoms:
    """Return a copy that says where its layers are: a larger cell would no longer tell."""
    kept: Atoms = atoms.copy()
    site_grid(atoms, b=b).keep(kept)
    return kept


def _filled(film: _Film, atoms: Atoms, density: float, seed: int) -> Floats:
    """Place a layer's atoms, (n, 3) Å."""
    cell = np.asarray(atoms.cell)[:2, :2]
    volume = abs(float(np.linalg.det(cell))) * film.thickness
    wanted = round(density / CARBON_MASS * volume)
    draw = stream(seed, "amorphous carbon", film.name)
    steps = _steps(atoms)
    above = atoms.positions[:, 2] - film.base(atoms.positions[:, :2])
    near = (above > -CONTACT) & (above < film.thickness + CONTACT)
    crystal = cKDTree(_images(atoms.positions[near], steps)) if near.any() else None
    placed = np.empty((0, 3))
    for _ in range(_ROUNDS):
        if len(placed) == wanted:
            return placed
        trial = draw.random((2 * (wanted - len(placed)) + 32, 3))
        xy = trial[:, :2] @ cell
        trial = np.column_stack([xy, film.base(xy) + film.thickness * trial[:, 2]])
        trial = _clear(trial, crystal, CONTACT)
        trial = _clear(trial, cKDTree(_images(placed, steps)) if len(placed) else None, BOND)
        placed = np.concatenate([placed, _apart(trial, steps)[: wanted - len(placed)]])
    raise BadInputError(
        f"{film.name} = {film.thickness:g} Å of carbon at {density:g} g/cm³ finds no room beside "
        "the specimen's atoms; use a thicker layer or a lower density"
    )


def _clear(trial: Floats, tree: cKDTree | None, distance: float) -> Floats:
    """Keep what is farther than a distance from all in the tree."""
    if tree is None or not len(trial):
        return trial
    return np.asarray(trial[np.isinf(tree.query(trial, distance_upper_bound=distance)[0])])


def _apart(trial: Floats, steps: Floats) -> Floats:
    """Drop the later of every two that are nearer than a bond."""
    if not len(trial):
        return trial
    pairs = cKDTree(_images(trial, steps)).query_pairs(BOND, output_type="ndarray") % len(trial)
    keep = np.ones(len(trial), dtype=bool)
    keep[pairs.max(axis=1)[pairs[:, 0] != pairs[:, 1]]] = False
    return np.asarray(trial[keep])


def _steps(atoms: Atoms) -> Floats:
    """Lateral translations to the images that matter, (n, 3): none in vacuum."""
    reach = range(-1, 2) if laterally_periodic(atoms) else range(1)
    cell = np.asarray(atoms.cell)
    return np.array([i * cell[0] + j * cell[1] for i in reach for j in reach])


def _images(points: Floats, steps: Floats) -> Floats:
    return np.asarray((steps[:, None] + points[None]).reshape(-1, 3))
