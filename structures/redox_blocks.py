"""One block of a redox model: four C2/m cells, 96 sites, its vacancies and O2 molecules placed.

The block is 2a × 2b in the layer and one layer high, so that its 24 sites of the transition-metal
layer lie in one layer, where a cluster can form. Li29 Mn13 Ni3 Co3 O48 is what 24 formula units
Li1.2 Mn.54 Ni.13 Co.13 O2 round to, and neutral with Mn4+, Ni2+, Co3+.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from echolith.errors import BadInputError
from echolith.structures.column_stack import Floats, columns_at, stack
from echolith.structures.occupation import Integers, Occupation
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.redox_models import RedoxModel

COLUMNS, LAYERS = 4, 6
"""Lattice points along A, and layers of b/3, of a block."""
BOND = 1.25
"""Å. Between the atoms of trapped O2; 1.21 in the free molecule, 1.2 to 1.3 calculated."""

METALS = {"Mn": 13, "Ni": 3, "Co": 3}
METAL_LAYER_LITHIUM = 5
_ACROSS = 3.0
"""Å. Oxygen above and below the layer nearer than this spans an edge of an octahedron."""
_BONDED = 2.6
"""Å. A site of the layer and oxygen nearer than this are neighbours (1.9 to 2.1; next 3.3)."""
_APART = 2.4
"""Å. Least distance of the centres of two molecules."""
_CLEAR = 1.8
"""Å. Least distance of a molecule's atom and a metal: a bond of Mn4+."""
_TRIES = 200
"""Clusters drawn at most until the molecules have room; most do in the first."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a block holds.

    ``alkali`` lithium in the alkali layer (24 sites), ``metal_layer`` in the transition-metal
    layer; ``clustered``: its vacancies gathered by migration of transition metals in the plane;
    ``trapped`` O2 molecules in the cluster, ``lost`` ones gone from there.
    """

    alkali: int
    metal_layer: int = 0
    clustered: bool = False
    trapped: int = 0
    lost: int = 0


CONTENTS: Mapping[RedoxModel, Content] = {
    RedoxModel.PRISTINE: Content(alkali=24, metal_layer=METAL_LAYER_LITHIUM),
    RedoxModel.O2: Content(alkali=5, clustered=True, trapped=2),
    RedoxModel.VO2: Content(alkali=5, clustered=True, lost=2),
    RedoxModel.HOLE: Content(alkali=5),
    RedoxModel.TM: Content(alkali=5),
    RedoxModel.DISCHARGED: Content(alkali=24, clustered=True),
}
"""Charged: 5 of 29 Li remain, in the alkali layer, Li0.2: a first charge to 4.6 V or more takes out
about one Li a formula unit (314 mAh/g), the transition-metal layer's with it. Ni and Co give 9 of
the 24 electrons, so oxygen the rest. Discharged: 24 of 29 Li return, to the alkali layer. That a
cluster of five vacancies holds two O2 is an assumption: no more pairs of its oxygen lie apart."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Atoms of a block by arrays of equal length, lattice point (0, 0) at the origin.

    ``number`` is 0 on an empty site; ``in_molecule`` marks the oxygen of O2.
    """

    number: Integers
    positions: Floats
    kind: npt.NDArray[np.str_]
    sign: Integers
    i: Integers
    j: Integers
    layer: Integers
    in_molecule: npt.NDArray[np.bool_]


def redox_block(
    model: RedoxModel, parameters: ProjectedParameters, *, b: float, draw: np.random.Generator
) -> Block:
    """Return a block of a model: cations drawn, vacancies gathered, oxygen paired or lost.

    The projected mean of every kind of column is that of the parameters: what molecules displace,
    the rest of that kind makes up for.
    """
    columns = columns_at(np.arange(COLUMNS), np.zeros(COLUMNS, dtype=np.intp))
    ordered = stack(columns, parameters, layers=LAYERS, b=b, occupation=Occupation.ORDERED, seed=0)
    content = CONTENTS[model]
    kind, positions = ordered.arrays["column_kind"], ordered.positions.copy()
    number = _cations(np.asarray(ordered.numbers), kind, content, draw)
    metal_layer = np.flatnonzero(kind == "M")
    before = number[metal_layer]
    sides = _sides(parameters, b)
    for _ in range(_TRIES):
        if content.clustered:
            number[metal_layer] = _clustered(before, positions[metal_layer], draw)
        filled = number[metal_layer] > 0
        pairs = _oxygen_pairs(
            positions,
            ordered.arrays["sign"],
            positions[metal_layer[~filled]],
            content.trapped + content.lost,
            draw,
        )
        metals = _with_neighbours(positions[metal_layer], filled, sides)
        if (
            not content.trapped
            or _distances(_bonded(positions[pairs]).reshape(-1, 3), metals).min() > _CLEAR
        ):
            break
    else:
        raise BadInputError(
            f"no cluster of {_TRIES} has room for {content.trapped} molecules; take another seed"
        )
    in_molecule = np.zeros(len(number), dtype=bool)
    if content.lost:
        number[pairs] = 0
    elif content.trapped:
        in_molecule[pairs] = True
        positions[pairs] = _bonded(positions[pairs])
    block = Block(
        number=number,
        positions=positions,
        kind=kind,
        sign=ordered.arrays["sign"],
        i=ordered.arrays["lattice_i"],
        j=ordered.arrays["lattice_j"],
        layer=np.tile(np.arange(LAYERS), len(columns.kind)),
        in_molecule=in_molecule,
    )
    return recentred(block, parameters)


def _cations(
    ordered: Integers, kind: npt.NDArray[np.str_], content: Content, draw: np.random.Generator
) -> Integers:
    """Fill both cation layers; what holds lithium in the pristine state may be left empty."""
    number = ordered.astype(np.intp)
    minority = np.flatnonzero((kind == "M") & (ordered == atomic_numbers["Li"]))
    lithium = draw.choice(minority, METAL_LAYER_LITHIUM, replace=False)
    metals = np.setdiff1d(np.flatnonzero(kind == "M"), lithium)
    symbols = [atomic_numbers[element] for element, n in METALS.items() for _ in range(n)]
    number[metals] = draw.permutation(symbols)
    number[lithium[content.metal_layer :]] = 0
    alkali = draw.permutation(np.flatnonzero(kind == "Li"))
    number[alkali[content.alkali :]] = 0
    return number


def _clustered(number: Integers, positions: Floats, draw: np.random.Generator) -> Integers:
    """Move transition metals within the layer so that its vacancies lie together.

    Those on the sites nearest to a place drawn at random take the vacancies elsewhere.
    """
    vacancies = np.flatnonzero(number == 0)
    in_plane = positions[:, ::2]
    centre = in_plane.min(axis=0) + draw.random(2) * np.ptp(in_plane, axis=0)
    nearest = np.argsort(np.hypot(*(in_plane - centre).T))[: len(vacancies)]
    leaving, filled = np.setdiff1d(nearest, vacancies), np.setdiff1d(vacancies, nearest)
    gathered = number.copy()
    gathered[filled], gathered[leaving] = number[draw.permutation(leaving)], 0
    return gathered


def _oxygen_pairs(
    positions: Floats, sign: Integers, empty: Floats, count: int, draw: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Pair oxygen across the layer, (count, 2): those with the most vacancies around first."""
    if not count:
        return np.empty((0, 2), dtype=np.intp)
    above, below = np.flatnonzero(sign == 1), np.flatnonzero(sign == -1)
    around = (_distances(positions, empty) < _BONDED).sum(axis=1)
    upper, lower = np.nonzero(_distances(positions[above], positions[below]) < _ACROSS)
    pairs = np.column_stack([above[upper], below[lower]])
    order = np.argsort(-around[pairs].sum(axis=1) + 0.5 * draw.random(len(pairs)))
    centres = positions[pairs].mean(axis=1)
    chosen: list[int] = []
    for n in order.tolist():
        if len(chosen) < count and all(_distances(centres[[n]], centres[chosen]).ravel() > _APART):
            chosen.append(n)
    return np.asarray(pairs[chosen])


def _sides(parameters: ProjectedParameters, b: float) -> Floats:
    """Return the vectors from a block to the next ones in the metal layer, (2, 3) Å."""
    return np.array([[COLUMNS * parameters.A, 0.0, 0.0], [0.0, 0.0, LAYERS * b / 3]])


def _with_neighbours(sites: Floats, filled: npt.NDArray[np.bool_], sides: Floats) -> Floats:
    """Return the filled sites of a layer, and all those of the blocks around it.

    What stands there is drawn by itself; a molecule must have room whatever it is.
    """
    steps = [(m, n) for m in (-1, 0, 1) for n in (-1, 0, 1) if m or n]
    around = [sites + np.array(step) @ sides for step in steps]
    return np.concatenate([sites[filled], *around])


def _distances(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.linalg.norm(first[:, None] - second[None], axis=-1))


def _bonded(pairs: Floats) -> Floats:
    """Bring pairs (n, 2, 3) together about their centres, to the length of the bond."""
    centre = pairs.mean(axis=1, keepdims=True)
    apart = pairs - centre
    return np.asarray(centre + apart * BOND / 2 / np.linalg.norm(apart, axis=-1, keepdims=True))


def recentred(block: Block, parameters: ProjectedParameters) -> Block:
    """Return the block with oxygen outside molecules shifted so that +O and -O keep their mean.

    The mean is over the atoms there are, each from the place of its column.
    """
    positions, vectors = block.positions.copy(), parameters.vectors()
    place = block.i[:, None] * vectors["A"] + block.j[:, None] * vectors["C"]
    for sign in (1, -1):
        here = (block.sign == sign) & (block.number > 0)
        free = here & ~block.in_molecule
        if free.any():
            excess = positions[here, :2] - place[here] - sign * vectors["O"]
            positions[free, :2] -= excess.sum(axis=0) / free.sum()
    values = {name: getattr(block, name) for name in Block.__dataclass_fields__}
    return Block(**(values | {"positions": positions}))
