"""Particles of lithium or sodium metal with the facets of a Wulff construction, seen along a zone.

The faces lie at distances proportional to their surface energies (Wulff, Z. Kristallogr. 34 (1901)
449): {110} alone is a rhombic dodecahedron; {211} cuts its edges where its energy is below
2 / sqrt(3) = 1.155 of that of {110}, {100} its corners below sqrt(2) = 1.414. Atoms are those of
the lattice inside the faces, wherever the lattice's origin lies.
"""

from enum import Enum
from itertools import permutations, product
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.crystal_table import CRYSTALS
from echolith.units import Angstrom, Degree
from echolith.zone_axes import Zone, rotation_period, zone_frame, zone_reflections

Array = npt.NDArray[np.float64]

MARGIN = 2.0
"""Å of vacuum before and behind the particle."""


class AlkaliMetal(Enum):
    """Body-centred metals of this file."""

    LITHIUM = "Li"
    SODIUM = "Na"


class MetalParticle(BaseModel):
    """What a particle is and how the beam sees it; a given particle has one truth."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metal: AlkaliMetal = AlkaliMetal.LITHIUM
    lattice: Annotated[Angstrom, Field(ge=2, le=8)] | None = None
    """Edge of the cubic cell; None: that of the table."""
    size: Annotated[Angstrom, Field(ge=10, le=1000)] = 50.0
    """Distance of opposite {110} faces."""
    corner_energy: Annotated[float, Field(gt=0.87, le=2)] | None = None
    """Surface energy of {211} by that of {110}; None: no such faces."""
    cube_energy: Annotated[float, Field(gt=0.71, le=2)] | None = None
    """Surface energy of {100} by that of {110}; None: no such faces."""
    zone_axis: Zone = (1, 1, 0)
    """Points towards the electron source."""
    rotation: Degree = 0.0
    """Of the shortest reflection across the zone axis, from x towards y."""

    @property
    def edge(self) -> float:
        """Edge of the cubic cell, Å."""
        return CRYSTALS[self.metal.value].cell[0] if self.lattice is None else self.lattice


def wulff_body(particle: MetalParticle) -> ConvexBody:
    """Return the body of a particle in the axes of its crystal, its middle at the origin.

    Examples
    --------
    >>> round(wulff_body(MetalParticle(size=20.0)).volume / 20.0**3, 6)  # of a dodecahedron
    0.707107
    """
    energies = {(1, 1, 0): 1.0, (2, 1, 1): particle.corner_energy, (1, 0, 0): particle.cube_energy}
    normals, offsets = [], []
    for family, energy in energies.items():
        if energy is None:
            continue
        members = _family(family)
        normals.append(members / np.linalg.norm(members, axis=1, keepdims=True))
        offsets.append(np.full(len(members), energy * particle.size / 2))
    return ConvexBody(normals=np.concatenate(normals), offsets=np.concatenate(offsets))


def metal_particle(
    particle: MetalParticle,
    *,
    field: tuple[float, float],
    centre: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Atoms:
    """Return a particle in a box of vacuum.

    Parameters
    ----------
    particle : MetalParticle
    field : (float, float)
        Height (y) and width (x) of the box, Å.
    centre : (float, float)
        Of the particle from the middle of the box (x, y), Å.
    seed : int
        Of where the lattice's origin lies inside the body.

    Returns
    -------
    ase.Atoms
        Beam along z. ``info`` holds the truth that `particle_truth` reads.

    Raises
    ------
    BadInputError
        If the particle does not fit into the field.
    """
    body = wulff_body(particle)
    turn = particle_turn(particle)
    corners = body.vertices @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    height, width = field
    middle = np.array([width / 2 + centre[0], height / 2 + centre[1], MARGIN - low[2]])
    room = np.array([width, height])
    if ((low + middle)[:2] < 0).any() or ((high + middle)[:2] > room).any():
        raise BadInputError(
            f"a particle of {np.ptp(corners[:, 0]):.1f} × {np.ptp(corners[:, 1]):.1f} Å (x, y) "
            f"with its middle {centre} Å off does not fit into {width:g} × {height:g} Å; "
            "use a larger field or a smaller particle"
        )
    origin = stream(seed, "particle lattice").random(3)
    inside = lattice_points(body, particle.edge, origin)
    positions = inside @ turn.T + middle
    thickness = float(high[2] - low[2]) + 2 * MARGIN
    atoms = Atoms(
        [particle.metal.value] * len(positions),
        positions=positions,
        cell=(width, height, thickness),
        pbc=False,
    )
    atoms.info["metal_particle"] = particle.model_dump_json()
    # A place of the lattice, so that columns are found without a search.
    atoms.info["lattice_place"] = particle.edge * origin @ turn.T + middle
    return atoms


def particle_truth(atoms: Atoms) -> xr.Dataset:
    """Return what is known of a particle made by `metal_particle`.

    Returns
    -------
    xarray.Dataset
        ``spacing`` (Å) of the shortest reflection across the zone axis, ``rotation`` (°, 0 to
        ``rotation_period``), ``zone_axis`` and the columns of atoms: ``x``, ``y`` (Å),
        ``column_atoms``.
    """
    particle = _particle_of(atoms)
    hkl = zone_reflections(particle.zone_axis)
    period = rotation_period(particle.zone_axis)
    xy, count = _columns(atoms, particle)
    return xr.Dataset(
        {
            "spacing": ((), particle.edge / np.linalg.norm(hkl[0]), {"units": "Å"}),
            "rotation": ((), particle.rotation % period, {"units": "°"}),
            "rotation_period": ((), period, {"units": "°"}),
            "zone_axis": ("index", np.array(particle.zone_axis), {"units": "1"}),
            "x": ("column", xy[:, 0], {"units": "Å"}),
            "y": ("column", xy[:, 1], {"units": "Å"}),
            "column_atoms": ("column", count, {"units": "1"}),
        }
    )


def lattice_points(body: ConvexBody, edge: float, origin: Array) -> Array:
    """Return the points (n, 3), Å, of a body-centred lattice inside a body, axes of the crystal.

    Parameters
    ----------
    body : ConvexBody
    edge : float
        Of the cubic cell, Å.
    origin : array, (3,)
        Of the lattice, in cells.
    """
    reach = np.ceil(np.abs(body.vertices).max(axis=0) / edge).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    points = (edge * (cells + basis + origin)).reshape(-1, 3)
    return np.asarray(points[body.contains(points)])


def _family(indices: tuple[int, int, int]) -> Array:
    """Return every direction equivalent to one in a cube, (directions, 3)."""
    signed = {
        tuple(s * n for s, n in zip(signs, order, strict=True))
        for order in permutations(indices)
        for signs in product((1, -1), repeat=3)
    }
    return np.array(sorted(signed), dtype=float)


def particle_turn(particle: MetalParticle) -> Array:
    """Return the rotation from crystal axes to the specimen's frame."""
    c, s = np.cos(np.radians(particle.rotation)), np.sin(np.radians(particle.rotation))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ zone_frame(particle.zone_axis)


def _particle_of(atoms: Atoms) -> MetalParticle:
    if "metal_particle" not in atoms.info:
        raise BadInputError(
            "the specimen does not say which particle it is (info 'metal_particle'); make it with "
            "metal_particle"
        )
    return MetalParticle.model_validate_json(str(atoms.info["metal_particle"]))


def _columns(atoms: Atoms, particle: MetalParticle) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return places (n, 2) xy, Å, and numbers of atoms of the columns along the zone axis."""
    mine = atoms.positions[atoms.symbols == particle.metal.value]
    hkl = zone_reflections(particle.zone_axis)
    vectors = (hkl @ particle_turn(particle).T)[:, :2] / particle.edge
    first = vectors[0]
    # The shortest second reflection that spans a primitive cell of the others with the first.
    areas = np.abs(first[0] * vectors[:, 1] - first[1] * vectors[:, 0])
    second = vectors[np.argmax(np.isclose(areas, areas[areas > 1e-9].min()))]
    phases = (mine - atoms.info["lattice_place"])[:, :2] @ np.stack([first, second], axis=1)
    _, owner, count = np.unique(
        np.rint(phases).astype(int), axis=0, return_inverse=True, return_counts=True
    )
    owner = owner.ravel()
    sums = [np.bincount(owner, weights=mine[:, axis]) for axis in (0, 1)]
    return np.stack(sums, axis=1) / count[:, None], count.astype(np.int64)
