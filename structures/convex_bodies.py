"""Convex bodies bounded by plane faces: vertices, volume, areas, and whether two of them touch."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from echolith.errors import BadInputError

Floats = npt.NDArray[np.float64]

SAME = 1e-7
"""Vertices and directions nearer than this part of the size are one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvexBody:
    """All points u, in a frame of its own, with ``normals u <= offsets``.

    Attributes
    ----------
    normals : array (faces, 3)
        Outward, of length 1.
    offsets : array (faces,)
        Distance of each face from the origin, Å, above 0: the origin is inside.
    """

    normals: Floats
    offsets: Floats

    def __post_init__(self) -> None:
        lengths = np.linalg.norm(self.normals, axis=1)
        if not np.allclose(lengths, 1, atol=1e-9):
            raise BadInputError(
                f"a face normal has length {lengths[np.argmax(abs(lengths - 1))]:g}; expected 1"
            )
        if not (self.offsets > 0).all():
            raise BadInputError(
                f"a face lies {self.offsets.min():g} Å from the origin; expected above 0 Å, so "
                "that the origin is inside; move the origin"
            )
        # A body without bounds is refused here, not where it is first drawn.
        _ = self.vertices

    @cached_property
    def vertices(self) -> Floats:
        """Corners, (vertices, 3), Å."""
        halfspaces = np.column_stack([self.normals, -self.offsets])
        try:
            corners = HalfspaceIntersection(halfspaces, np.zeros(3)).intersections
        except QhullError as error:
            raise BadInputError(f"{len(self.offsets)} faces bound no body: {error}") from error
        size = float(self.offsets.max())
        if not np.isfinite(corners).all() or np.abs(corners).max() > 1e4 * size:
            raise BadInputError(
                f"{len(self.offsets)} faces leave the body open; expected faces on all sides"
            )
        _, first = np.unique(np.round(corners / (SAME * size)), axis=0, return_index=True)
        return np.asarray(corners[np.sort(first)])

    @cached_property
    def _hull(self) -> ConvexHull:
        return ConvexHull(self.vertices)

    @property
    def volume(self) -> float:
        """Volume, Å³."""
        return float(self._hull.volume)

    @cached_property
    def centroid(self) -> Floats:
        """Centre of mass, Å."""
        corners = self.tetrahedra
        weights = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1]))
        return np.asarray(weights @ corners.mean(axis=1) / weights.sum())

    @cached_property
    def tetrahedra(self) -> Floats:
        """Corners of tetrahedra that fill the body, (tetrahedra, 4, 3), Å; the first is 0."""
        triangles = self.vertices[self._hull.simplices]
        return np.concatenate([np.zeros((len(triangles), 1, 3)), triangles], axis=1)

    @cached_property
    def face_areas(self) -> Floats:
        """Area of each face, Å²; 0 where the others cut it off."""
        triangles = self.vertices[self._hull.simplices]
        areas = np.linalg.norm(
            np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1
        )
        owner = np.argmax(self._hull.equations[:, :3] @ self.normals.T, axis=1)
        return np.asarray(
            np.bincount(owner, weights=areas / 2, minlength=len(self.offsets)), dtype=float
        )

    @cached_property
    def edges(self) -> Floats:
        """Directions of the edges, (edges, 3), each once whatever its sign."""
        simplices, equations = self._hull.simplices, self._hull.equations[:, :3]
        pairs = [
            (simplices[i], simplices[j])
            for i, near in enumerate(self._hull.neighbors)
            for j in near
            if i < j and equations[i] @ equations[j] < 1 - SAME
        ]
        shared = np.array([np.intersect1d(a, b) for a, b in pairs])
        along = self.vertices[shared[:, 1]] - self.vertices[shared[:, 0]]
        return distinct_directions(along / np.linalg.norm(along, axis=1, keepdims=True))

    def contains(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Whether points (..., 3), Å, are inside."""
        return np.asarray((points @ self.normals.T <= self.offsets).all(axis=-1))


def chords(body: ConvexBody, points: Floats, *, axis: int) -> tuple[Floats, Floats]:
    """Return where lines along an axis enter and leave a body; entry past exit: never.

    Parameters
    ----------
    body : ConvexBody
    points : array (n, 3)
        One of each line, Å, frame of the body.
    axis : int
        Of the body's frame.

    Returns
    -------
    array (n,), array (n,)
        From the points, Å.
    """
    rates = body.normals[:, axis]
    room = body.offsets - points @ body.normals.T
    out, into, aside = rates > 1e-12, rates < -1e-12, np.abs(rates) <= 1e-12
    leave = (room[:, out] / rates[out]).min(axis=1)
    enter = (room[:, into] / rates[into]).max(axis=1)
    return np.where((room[:, aside] < 0).any(axis=1), np.inf, enter), leave


def distinct_directions(directions: Floats) -> Floats:
    """Return unit vectors, (n, 3), of which no two are parallel."""
    kept: list[int] = []
    overlap = np.abs(directions @ directions.T) > 1 - SAME
    for i in range(len(directions)):
        if not overlap[i, kept].any():
            kept.append(i)
    return directions[kept]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedBody:
    """A body at a place: the point u of its frame is at ``centre + rotation u``.

    Attributes
    ----------
    body : ConvexBody
    centre : array (3,)
        Where its origin is, Å, specimen frame.
    rotation : array (3, 3)
        Columns: its axes in the specimen frame.
    """

    body: ConvexBody
    centre: Floats
    rotation: Floats

    @cached_property
    def vertices(self) -> Floats:
        """Corners in the specimen frame, Å."""
        return np.asarray(self.centre + self.body.vertices @ self.rotation.T)

    @cached_property
    def radius(self) -> float:
        """Largest distance from the centre, Å."""
        return float(np.linalg.norm(self.body.vertices, axis=1).max())

    def moved(self, by: Floats) -> "PlacedBody":
        """Return the body moved by a vector, Å."""
        return PlacedBody(body=self.body, centre=self.centre + by, rotation=self.rotation)

    def local(self, points: Floats) -> Floats:
        """Return points (..., 3) of the specimen frame in the frame of the body, Å."""
        return np.asarray((points - self.centre) @ self.rotation)


def separation(first: PlacedBody, second: PlacedBody) -> float:
    """Return the gap between two bodies, Å; negative: how deep one is in the other.

    The largest gap over the directions that can separate two convex bodies: normals of both, and
    cross products of their edges (separating axes: Gottschalk, Lin and Manocha, SIGGRAPH 1996).
    Penetration depths are exact, gaps between corners are lower bounds.

    Parameters
    ----------
    first, second : PlacedBody

    Returns
    -------
    float
    """
    ours, theirs = (distinct_directions(p.body.normals) @ p.rotation.T for p in (first, second))
    edges, others = (p.body.edges @ p.rotation.T for p in (first, second))
    crossed = np.cross(edges[:, None], others[None]).reshape(-1, 3)
    lengths = np.linalg.norm(crossed, axis=1)
    crossed = crossed[lengths > 1e-6] / lengths[lengths > 1e-6, None]
    axes = np.concatenate([ours, theirs, crossed])
    a, b = first.vertices @ axes.T, second.vertices @ axes.T
    gaps = np.maximum(b.min(axis=0) - a.max(axis=0), a.min(axis=0) - b.max(axis=0))
    return float(gaps.max())
