"""Transition metals that leave their sites: within their layer, or into the alkali layer.

Contents of two sites change places, so that every element is conserved. The number that migrates
is exact: the fraction of all transition metals, rounded to the nearest whole atom.
"""

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.cation_sites import (
    TRANSITION_METALS,
    CationSites,
    cation_sites,
    exchanged,
)
from echolith.structures.column_composition import true_composition
from echolith.structures.column_stack import B, Floats
from echolith.structures.delithiation import check_part
from echolith.structures.occupation import Integers, zigzag
from echolith.structures.projection_clusters import laterally_periodic

__all__ = ["in_plane_migration", "out_of_plane_migration", "true_composition"]

LARGEST_FRACTION = 0.5
"""Beyond, the layers would no longer be told apart; published are 5 to 6 % out of plane."""

_FACE = 2.4
"""Å. An octahedral and a tetrahedral site nearer than this share a face (1.7 to 1.8 Å; the next
ones are 3.4 Å apart)."""


def in_plane_migration(atoms: Atoms, *, fraction: float, seed: int = 0, b: float = B) -> Atoms:
    """Return a specimen in which transition metals took other sites of their own layer.

    Each changes places with a lithium or a vacancy of the same layer, drawn at random: what many
    hops within the layer lead to.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled specimen of Li-rich oxide.
    fraction : float
        Of the transition metals in the transition-metal layers, 0 to 0.5.
    seed : int
    b : float
        Edge b, Å, where the specimen does not say.

    Returns
    -------
    ase.Atoms
        The number that moved is ``fraction`` of them, rounded; it is shared among the layers in
        proportion, by largest remainder, as far as each has room.

    Raises
    ------
    BadInputError
        If the fraction is outside its range, or the layers hold too few sites without a
        transition metal.
    """
    check_part("fraction", fraction, LARGEST_FRACTION)
    sites = cation_sites(atoms, b=b)
    metal = _metal(atoms, sites)
    layers = np.unique(sites.j[sites.kind == "M"])
    here = [(sites.kind == "M") & (sites.j == j) for j in layers]
    filled, free = ([np.flatnonzero(h & m) for h in here] for m in (metal, ~metal))
    first, second = [], []
    for j, held, empty, count in zip(
        layers, filled, free, _shares(filled, free, fraction), strict=True
    ):
        draw = stream(seed, "in-plane migration", zigzag(int(j)))
        first.append(draw.choice(held, count, replace=False))
        second.append(draw.choice(empty, count, replace=False))
    return exchanged(atoms, sites, _joined(first), _joined(second))


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate([np.empty(0, dtype=np.intp), *parts])


def _shares(filled: list[Integers], free: list[Integers], fraction: float) -> list[int]:
    """Split the rounded whole among layers, largest remainders first, as far as each has room."""
    exact = fraction * np.array([len(group) for group in filled], dtype=float)
    room = np.minimum([len(group) for group in filled], [len(group) for group in free])
    wanted = round(float(exact.sum()))
    _check_room(wanted, int(room.sum()), "sites without one in the transition-metal layers")
    counts = np.minimum(np.floor(exact).astype(int), room)
    while counts.sum() < wanted:
        counts[np.argmax(np.where(counts < room, exact - counts, -np.inf))] += 1
    return [int(n) for n in counts]


def out_of_plane_migration(
    atoms: Atoms, *, fraction: float, tetrahedral: float = 0.0, seed: int = 0, b: float = B
) -> Atoms:
    """Return a specimen in which transition metals went into the alkali layers.

    To octahedral sites, in exchange with the lithium or the vacancy there; or to a tetrahedral
    site that shares a face with the octahedron they leave, the one with fewer neighbours in the
    alkali layer.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled specimen of Li-rich oxide.
    fraction : float
        Of the transition metals in the transition-metal layers, 0 to 0.5.
    tetrahedral : float
        Part of those that migrate which stops at a tetrahedral site, 0 to 1. Their neighbours
        stay: in a full alkali layer they end 1.8 Å from lithium, so delithiate first.
    seed : int
    b : float
        Edge b, Å, where the specimen does not say.

    Returns
    -------
    ase.Atoms
        Both numbers are exact to rounding. Atoms on tetrahedral sites belong to columns "T" with
        sign +1 or -1 (see `cation_sites`).

    Raises
    ------
    BadInputError
        If a fraction is outside its range, or too few sites are free.
    """
    check_part("fraction", fraction, LARGEST_FRACTION)
    check_part("tetrahedral", tetrahedral)
    sites = cation_sites(atoms, b=b, tetrahedral=True)
    metal = _metal(atoms, sites)
    draw = stream(seed, "out-of-plane migration")
    order = draw.permutation(np.flatnonzero((sites.kind == "M") & metal))
    count = round(fraction * len(order))
    stop = round(tetrahedral * count)
    first, second = _tetrahedral_hops(atoms, sites, order, stop)
    free = _without_neighbours(atoms, sites, np.flatnonzero((sites.kind == "Li") & ~metal), second)
    _check_room(count - stop, len(free), "octahedral sites of the alkali layers without one")
    rest = order[~np.isin(order, first)][: count - stop]
    goals = draw.choice(free, count - stop, replace=False)
    return exchanged(atoms, sites, _joined([first, rest]), _joined([second, goals]))


def _tetrahedral_hops(
    atoms: Atoms, sites: CationSites, order: Integers, count: int
) -> tuple[Integers, Integers]:
    """Pair the first sites of an order that can with a tetrahedral site through their face."""
    free = np.flatnonzero((sites.kind == "T") & (sites.atom < 0) & _inside(atoms, sites.positions))
    held = sites.positions[(sites.kind == "Li") & (sites.atom >= 0)]
    crowd = [len(near) for near in _near(atoms, sites.positions[free], held)]
    taken: dict[int, int] = {}
    faces = _near(atoms, sites.positions[order], sites.positions[free]) if count else []
    for site, near in zip(order.tolist(), faces, strict=False):
        goals = sorted((crowd[n], int(free[n])) for n in near)
        goal = next((g for _, g in goals if g not in taken), None)
        if goal is not None and len(taken) < count:
            taken[goal] = site
    _check_room(count, len(taken), "transition metals beside a free tetrahedral site")
    return np.array(list(taken.values()), dtype=np.intp), np.array(list(taken), dtype=np.intp)


def _without_neighbours(
    atoms: Atoms, sites: CationSites, octahedral: Integers, tetrahedral: Integers
) -> Integers:
    """Keep the octahedral sites that share no face with one of the tetrahedral ones."""
    near = _near(atoms, sites.positions[octahedral], sites.positions[tetrahedral])
    return octahedral[[not others for others in near]] if len(octahedral) else octahedral


def _near(atoms: Atoms, points: Floats, others: Floats) -> list[list[int]]:
    """Which of the others share a face with each point, across lateral periods too."""
    if not len(points) or not len(others):
        return [[] for _ in points]
    reach = range(-1, 2) if laterally_periodic(atoms) else range(1)
    cell = np.asarray(atoms.cell)
    images = np.concatenate([others + i * cell[0] + j * cell[1] for i in reach for j in reach])
    found = cKDTree(images).query_ball_point(points, _FACE)
    return [sorted({n % len(others) for n in near}) for near in found]


def _inside(atoms: Atoms, positions: Floats) -> npt.NDArray[np.bool_]:
    if laterally_periodic(atoms):
        return np.ones(len(positions), dtype=bool)
    fraction = positions[:, :2] @ np.linalg.inv(np.asarray(atoms.cell)[:2, :2])
    return np.asarray(((fraction >= 0) & (fraction < 1)).all(axis=1))


def _metal(atoms: Atoms, sites: CationSites) -> npt.NDArray[np.bool_]:
    return np.isin(sites.numbers(atoms), TRANSITION_METALS)


def _check_room(wanted: int, there: int, what: str) -> None:
    if wanted > there:
        raise BadInputError(
            f"{wanted} transition metals should migrate, but there are {there} {what}; "
            "ask for a smaller fraction"
        )
