"""Grains of other crystals beside a particle: LiF, Li2CO3, Li7La3Zr2O12 and what else is known."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.crystals import crystal_data
from echolith.structures.oxide_shells import CONTACT, apart, lattice_inside
from echolith.units import Angstrom

SHORTEST = 1.2
"""Å. No bond of the crystals is shorter; C-O is 1.27."""


class Neighbour(BaseModel):
    """A cube of a crystal, turned at random in space, half way through the specimen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crystal: str = "LiF"
    edge: Angstrom = Field(default=20.0, ge=5, le=500)
    centre: tuple[Angstrom, Angstrom] = (0.0, 0.0)
    """From the middle of the box (x, y)."""

    @field_validator("crystal")
    @classmethod
    def _known(cls, value: str) -> str:
        crystal_data(value)
        return value


def with_neighbours(atoms: Atoms, neighbours: Sequence[Neighbour], *, seed: int = 0) -> Atoms:
    """Return a specimen with grains beside it, which give way where there is something already.

    Parameters
    ----------
    atoms : ase.Atoms
        In an upright box.
    neighbours : sequence of Neighbour
    seed : int
        Of orientations.

    Raises
    ------
    BadInputError
        If a grain has no room in the box.
    """
    grown: Atoms = atoms.copy()
    middle = 0.5 * np.diag(np.asarray(atoms.cell))
    for number, neighbour in enumerate(neighbours):
        draw = stream(seed, "neighbour", number)
        turn = Rotation.from_quat(draw.standard_normal(4)).as_matrix()
        cube = ConvexBody(
            normals=np.concatenate([np.eye(3), -np.eye(3)]), offsets=np.full(6, neighbour.edge / 2)
        )
        names, places = lattice_inside(neighbour.crystal, cube, turn=turn, origin=draw.random(3))
        places = places + middle + [*neighbour.centre, 0.0]
        if (places < 0).any() or (places > 2 * middle).any():
            raise BadInputError(
                f"a grain of {neighbour.crystal}, {neighbour.edge:g} Å wide at "
                f"{neighbour.centre} Å, does not fit into a box of "
                f"{2 * middle[0]:.1f} × {2 * middle[1]:.1f} × {2 * middle[2]:.1f} Å; "
                "use a smaller one, or a larger field"
            )
        # Partly empty sites that are too near cannot both be full.
        full = apart(places, SHORTEST)
        names, places = names[full], places[full]
        free = np.isinf(cKDTree(grown.positions).query(places, distance_upper_bound=CONTACT)[0])
        grown.extend(Atoms(list(names[free]), positions=places[free]))
    return grown
