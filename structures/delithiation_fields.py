"""Where a phosphate plate has given up its lithium: fields of FePO4 grown from seeds.

The composition, the fraction of FePO4, at a point u of the plate is

    x(u) = low + (high - low) / (1 + exp(-(T - tau(u)) / w)),

tau the distance from the nearest seed (a plane or a point; along the thickness it may count less,
because lithium moves fast along [010]) and T how far the reaction has come. T is solved for the
mean composition that is asked for. So a field is a few numbers, and known at every point.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, chords

Floats = npt.NDArray[np.float64]

LITHIATED, DELITHIATED = 0.07, 0.98
"""FePO4 in the end members Li0.93FePO4 and Li0.02FePO4 (Yu et al., Nat. Commun. 9 (2018) 921)."""
TEN_TO_NINETY = 2 * np.log(9)
"""Distance over which the logistic function goes from 10 to 90 %, in its scale w."""
CELL = 24.0
"""Largest cell, Å, over which means over a plate are taken by two Gauss points along each axis."""


class Delithiation(Enum):
    """How a particle reacts."""

    SOLID_SOLUTION = "solid solution"
    EDGES = "edges"
    FACET = "facet"
    POINTS = "points"
    FRONT = "front"
    CORE_SHELL = "core-shell"


@dataclass(frozen=True, kw_only=True, eq=False)
class DelithiationField:
    """The composition of one plate, in the plate's frame (a, b, c).

    Attributes
    ----------
    planes : array (n, 4)
        Normal (outward, length 1) and offset: ``tau = offset - normal · u``, Å.
    points : array (n, 6)
        Centre, Å, and weight of each axis: ``tau = |weights (u - centre)|``, Å.
    reach : float
        T, how far from the seeds the reaction has come, Å.
    scale : float
        w, Å; 10 to 90 % take 4.39 of it.
    low, high : float
        Fraction of FePO4 ahead of the front and behind it. Without seeds ``low`` is everywhere.
    """

    planes: Floats
    points: Floats
    reach: float
    scale: float
    low: float
    high: float

    def distance(self, local: Floats) -> Floats:
        """Return tau of points (..., 3) of the plate's frame, Å."""
        return _distance(self.planes, self.points, local)

    def composition(self, local: Floats) -> Floats:
        """Return the fraction of FePO4 at points (..., 3) of the plate's frame."""
        if not len(self.planes) + len(self.points):
            return np.full(local.shape[:-1], self.low)
        behind = (self.reach - self.distance(local)) / self.scale
        return np.asarray(self.low + (self.high - self.low) * logistic(behind))


def logistic(x: Floats) -> Floats:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _distance(planes: Floats, points: Floats, local: Floats) -> Floats:
    nearest = np.full(local.shape[:-1], np.inf)
    for *normal, offset in planes:
        nearest = np.minimum(nearest, offset - local @ np.array(normal))
    for point in points:
        away = np.linalg.norm(point[3:] * (local - point[:3]), axis=-1)
        nearest = np.minimum(nearest, away)
    return nearest


def delithiation_field(
    body: ConvexBody,
    *,
    kind: Delithiation,
    mean: float,
    draw: np.random.Generator,
    interface: float = 60.0,
    low: float = LITHIATED,
    high: float = DELITHIATED,
) -> DelithiationField:
    """Return a field of a kind with this mean composition over the plate.

    Parameters
    ----------
    body : ConvexBody
        The plate, frame (a, b, c), b its thickness.
    kind : Delithiation
        EDGES: one to three faces off the large ones react inwards, and one large facet as well
        half of the time; FACET: a large one; POINTS: two to five on the rim, through the
        thickness; FRONT: one plane across the plate; CORE_SHELL: every face.
    mean : float
        Fraction of FePO4, between low and high.
    draw : numpy.random.Generator
        Of the seeds.
    interface : float
        Over which the front goes from 10 to 90 %, Å.
    low, high : float
        Fraction of FePO4 ahead of the front and behind it.

    Returns
    -------
    DelithiationField
        Its mean over the points of `quadrature` is the one asked for to 1e-9; other ways to take
        the mean find the same to about 1e-4.

    Raises
    ------
    BadInputError
        If the mean is not between low and high or the interface is none.
    """
    if not 0 <= low < high <= 1:
        raise BadInputError(f"end members {low:g} and {high:g}; expected 0 <= low < high <= 1")
    if not low <= mean <= high:
        raise BadInputError(
            f"mean composition = {mean:g}; expected a fraction of FePO4 of {low:g} to {high:g}"
        )
    if not 1 <= interface <= 1000:
        raise BadInputError(f"interface = {interface:g} Å; expected 1 to 1000 Å; give it in Å")
    planes, points = _seeds(body, kind, draw)
    flat = kind is Delithiation.SOLID_SOLUTION or mean in (low, high)
    if flat:
        planes, points = np.empty((0, 4)), np.empty((0, 6))
    scale = interface / TEN_TO_NINETY
    part = 0.0 if flat else (mean - low) / (high - low)
    reach = 0.0 if flat else _reach(body, planes, points, scale, part)
    return DelithiationField(
        planes=planes,
        points=points,
        reach=reach,
        scale=scale,
        low=mean if flat else low,
        high=mean if flat else high,
    )


def _reach(body: ConvexBody, planes: Floats, points: Floats, scale: float, part: float) -> float:
    nodes, weights = quadrature(body)
    tau = _distance(planes, points, nodes) / scale

    def excess(reach: float) -> float:
        return float(weights @ logistic(reach - tau)) - part

    # The mean is at most the logistic of the nearest point's, at least that of the farthest's.
    start = float(np.log(part / (1 - part)))
    return scale * float(
        brentq(excess, start + tau.min() - 1, start + tau.max() + 1, xtol=1e-11, rtol=1e-14)
    )


def quadrature(body: ConvexBody, *, cell: float = CELL) -> tuple[Floats, Floats]:
    """Return points of a body, (n, 3) in Å, and the part of its volume that each stands for.

    Chords along the second axis, exact, stand on a grid that fits the box of the body. Cells have
    two Gauss points along each axis: reactions that start at a face decay from there within a
    cell or two, which middle points would underrate.

    Parameters
    ----------
    body : ConvexBody
    cell : float
        Largest size of cells along each axis, Å.
    """
    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    parts = [_gauss_parts(int(np.ceil(size / cell))) for size in high - low]
    grid = [low[axis] + parts[axis] * (high - low)[axis] for axis in (0, 2)]
    a, c = (along.ravel() for along in np.meshgrid(*grid, indexing="ij"))
    enter, leave = chords(body, np.column_stack([a, np.zeros_like(a), c]), axis=1)
    hit = enter < leave
    b = enter[hit, None] + parts[1] * (leave - enter)[hit, None]
    nodes = np.stack(np.broadcast_arrays(a[hit, None], b, c[hit, None]), axis=-1)
    weights = np.repeat((leave - enter)[hit], len(parts[1]))
    return nodes.reshape(-1, 3), weights / weights.sum()


def _gauss_parts(cells: int) -> Floats:
    """Two Gauss points, of equal weight, in each of the equal cells of 0 to 1."""
    offsets = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3)
    return np.asarray(((np.arange(cells)[:, None] + offsets) / cells).ravel())


def _seeds(
    body: ConvexBody, kind: Delithiation, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw planes and points from which a kind of reaction starts."""
    faces = np.column_stack([body.normals, body.offsets])[body.face_areas > 0]
    across = np.abs(faces[:, 1])
    large, rim = faces[across > 0.999], faces[across < 1e-6]
    none = np.empty((0, 6))
    match kind:
        case Delithiation.EDGES:
            chosen = draw.choice(rim, size=int(draw.integers(1, 4)), replace=False)
            facet = draw.choice(large, size=int(draw.integers(0, 2)), replace=False)
            return np.concatenate([chosen, facet]), none
        case Delithiation.FACET:
            return draw.choice(large, size=1), none
        case Delithiation.POINTS:
            return np.empty((0, 4)), _points_on_rim(body, draw)
        case Delithiation.FRONT:
            angle = draw.uniform(0, 2 * np.pi)
            normal = np.array([np.cos(angle), 0.0, np.sin(angle)])
            return np.append(normal, (body.vertices @ normal).max())[None], none
        case Delithiation.CORE_SHELL:
            return faces, none
        case Delithiation.SOLID_SOLUTION:
            return np.empty((0, 4)), none


def _points_on_rim(body: ConvexBody, draw: np.random.Generator) -> Floats:
    """Two to five points on the rim at half depth; along b distances count a fifth."""
    angles = draw.uniform(0, 2 * np.pi, int(draw.integers(2, 6)))
    towards = np.column_stack([np.cos(angles), np.zeros(len(angles)), np.sin(angles)])
    rates = towards @ body.normals.T
    reach = np.where(rates > 1e-12, body.offsets / np.where(rates > 1e-12, rates, 1), np.inf)
    centres = towards * reach.min(axis=1, keepdims=True)
    return np.column_stack([centres, np.broadcast_to([1.0, 0.2, 1.0], centres.shape)])
