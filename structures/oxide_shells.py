"""Polycrystalline shells of oxide on a particle of lithium or sodium metal.

The shell fills what lies between the particle's faces and the same faces moved out by its
thickness. Its grains are Voronoi cells with known orientations; they stay as they are while the
shell thickens, so states of one shell at several times differ at its outside alone.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.crystals import crystal
from echolith.structures.lithium_particles import (
    MARGIN,
    MetalParticle,
    metal_particle,
    particle_turn,
    wulff_body,
)
from echolith.units import Angstrom, Second, Unit
from echolith.zone_axes import Zone, rotation_period, zone_frame

Array = npt.NDArray[np.float64]

CONTACT = 1.7
"""Å. Least distance of atoms of two crystals; Li-O is 2.00 inside one."""
TRIALS = 4000
"""Points that part the shell into grains of alike size."""


class ThickeningLaw(Enum):
    """How a shell grows."""

    LINEAR = "linear"
    """t = t0 + r time: the reaction at the surface limits."""
    PARABOLIC = "parabolic"
    """t² = t0² + r time: diffusion through the shell limits (Wagner)."""


class Thickening(BaseModel):
    """Thickness of a shell as a function of time."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    initial: Annotated[Angstrom, Field(ge=0, le=200)] = 10.0
    law: ThickeningLaw = ThickeningLaw.PARABOLIC
    rate: Annotated[float, Unit("Å/s or Å²/s"), Field(ge=0, le=1e4)] = 4.0
    """Å/s of a linear law, Å²/s of a parabolic one."""

    def thickness(self, time: Second) -> Angstrom:
        """Return the thickness at a time.

        Examples
        --------
        >>> Thickening(initial=6.0, rate=4.0).thickness(16.0)
        10.0
        """
        if self.law is ThickeningLaw.LINEAR:
            return self.initial + self.rate * time
        return float(np.sqrt(self.initial**2 + self.rate * time))


class OxideShell(BaseModel):
    """What a shell is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    grains: Annotated[int, Field(ge=1, le=200)] = 7
    columnar: bool = True
    """Grains run through along the beam; else they are as long along it as across."""
    zone_axis: Zone | None = (1, 1, 0)
    """Of every grain, towards the electron source, with any rotation about it; None: grains are
    turned at random in space."""
    thickening: Thickening = Thickening()

    @field_validator("zone_axis")
    @classmethod
    def _direction(cls, value: Zone | None) -> Zone | None:
        if value is not None:
            zone_frame(value)
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class OxideGrains:
    """A particle and the grains about it, drawn; how thick the shell is remains to be said.

    Attributes
    ----------
    particle : MetalParticle
    shell : OxideShell
    places : array, (grains, 3)
        Of the middles of Voronoi cells from the particle's middle, Å.
    turns : array, (grains, 3, 3)
        From crystal axes to the specimen's frame.
    field : (float, float)
        Height (y) and width (x) of the box, Å.
    seed : int
    """

    particle: MetalParticle
    shell: OxideShell
    places: Array
    turns: Array
    field: tuple[float, float]
    seed: int

    @property
    def oxide(self) -> str:
        """Name of the oxide's crystal."""
        return f"{self.particle.metal.value}2O"


def drawn_grains(
    particle: MetalParticle, shell: OxideShell, *, field: tuple[float, float], seed: int
) -> OxideGrains:
    """Draw where the grains of a shell are and how they are turned."""
    draw = stream(seed, "oxide grains")
    body = shell_body(particle, max(shell.thickening.initial, 1.0))
    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    points = draw.uniform(low, high, (TRIALS, 3))
    points = points[body.contains(points)]
    if shell.columnar:
        points[:, 2] = 0
    else:
        points = points[~shell_body(particle, 0).contains(points)]
    places, _ = kmeans2(points, shell.grains, minit="++", seed=draw)
    if shell.zone_axis is None:
        turns = Rotation.from_quat(draw.standard_normal((shell.grains, 4))).as_matrix()
    else:
        angles = draw.uniform(0, rotation_period(shell.zone_axis), shell.grains)
        spins = Rotation.from_euler("z", angles[:, None], degrees=True).as_matrix()
        turns = spins @ zone_frame(shell.zone_axis)
    return OxideGrains(
        particle=particle, shell=shell, places=places, turns=turns, field=field, seed=seed
    )


def shell_body(particle: MetalParticle, thickness: Angstrom) -> ConvexBody:
    """Return what a shell's outside bounds, in the specimen's frame, its middle at the origin."""
    body = wulff_body(particle)
    return ConvexBody(
        normals=body.normals @ particle_turn(particle).T, offsets=body.offsets + thickness
    )


def shell_atoms(grains: OxideGrains, thickness: Angstrom) -> Atoms:
    """Return particle and shell in a box of vacuum.

    Parameters
    ----------
    grains : OxideGrains
    thickness : float
        Of the shell, Å.

    Returns
    -------
    ase.Atoms
        Beam along z; array ``grain``: 0 in the metal, then 1, 2, ... No two atoms are nearer than
        `CONTACT`: at boundaries the atom of the later grain is left out. ``info`` as of
        `metal_particle`.

    Raises
    ------
    BadInputError
        If the particle does not fit into the field.
    """
    body = shell_body(grains.particle, thickness)
    width, height = np.ptp(body.vertices[:, :2], axis=0)
    if height > grains.field[0] or width > grains.field[1]:
        raise BadInputError(
            f"particle and shell of {width:.1f} × {height:.1f} Å (x, y) do not fit into "
            f"{grains.field[1]:g} × {grains.field[0]:g} Å; use a larger field, a smaller particle "
            "or a thinner shell"
        )
    depth = float(np.ptp(body.vertices[:, 2])) + 2 * MARGIN
    core = metal_particle(grains.particle, field=grains.field, seed=grains.seed)
    shift = np.array([0.0, 0.0, 0.5 * (depth - float(core.cell[2, 2]))])
    middle = np.array([grains.field[1] / 2, grains.field[0] / 2, depth / 2])
    parts = [
        _grain(grains, number, body) for number in range(len(grains.places) if thickness else 0)
    ]
    symbols = np.concatenate([np.array(core.symbols), *(names for names, _ in parts)])
    places = np.concatenate([core.positions + shift, *(xyz + middle for _, xyz in parts)])
    counts = [len(core), *(len(names) for names, _ in parts)]
    owner = np.repeat(np.arange(len(counts)), counts)
    keep = apart(places, CONTACT)
    atoms = Atoms(
        symbols[keep], positions=places[keep], cell=(*grains.field[::-1], depth), pbc=False
    )
    atoms.set_array("grain", owner[keep])
    atoms.info = core.info | {"lattice_place": core.info["lattice_place"] + shift}
    return atoms


def _grain(
    grains: OxideGrains, number: int, body: ConvexBody
) -> tuple[npt.NDArray[np.str_], Array]:
    """Return elements and places of the atoms of a grain, from the particle's middle."""
    origin = stream(grains.seed, "oxide lattice", number).random(3)
    names, places = lattice_inside(grains.oxide, body, turn=grains.turns[number], origin=origin)
    mine = cKDTree(grains.places).query(_flat(places, grains))[1] == number
    mine &= ~shell_body(grains.particle, 0).contains(places)
    return names[mine], places[mine]


def _flat(places: Array, grains: OxideGrains) -> Array:
    """Return places as the Voronoi cells see them: columns have no length."""
    return places * [1, 1, 0] if grains.shell.columnar else places


def lattice_inside(
    name: str, body: ConvexBody, *, turn: Array, origin: Array
) -> tuple[npt.NDArray[np.str_], Array]:
    """Return elements and places, (n, 3) Å, of a crystal's atoms inside a body.

    Parameters
    ----------
    name : str
        Of the crystal table; every site is full, with its likeliest element.
    body : ConvexBody
    turn : array, (3, 3)
        From crystal axes to the body's frame.
    origin : array, (3,)
        Of the lattice, in cells.
    """
    cell = crystal(name)
    edges = np.asarray(cell.cell)
    # Fractions of a cell that the body's corners reach.
    reach = np.ceil(np.abs(body.vertices @ turn @ np.linalg.inv(edges)).max(axis=0)).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    places = ((cells + cell.get_scaled_positions() + origin).reshape(-1, 3) @ edges) @ turn.T
    inside = body.contains(places)
    return np.tile(np.array(cell.symbols), len(cells))[inside], places[inside]


def apart(places: Array, least: Angstrom) -> npt.NDArray[np.bool_]:
    """Tell what to keep of places (n, 3): of every two nearer than ``least`` the earlier."""
    pairs = cKDTree(places).query_pairs(least, output_type="ndarray")
    keep = np.ones(len(places), dtype=bool)
    keep[pairs.max(axis=1, initial=0)[: len(pairs)]] = False
    return keep
