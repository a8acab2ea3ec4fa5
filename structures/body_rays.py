"""Straight rays through plates and binder: exact chords, and the composition along them.

A chord through a convex body is where no face has yet been left: ``max t_in`` to ``min t_out``
over its faces. What an earlier body owns is cut out of it. Bodies are packed into flat arrays for
the compiled loops; no loop is shared out between threads.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from echolith.structures.phosphate_plates import PhosphateSpecimen

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

GAUSS = 0.5 / np.sqrt(3.0)
"""Of the two Gauss points of a cell of length 1, the distance from its middle."""
MOST_PIECES = 32
"""Into which earlier bodies may cut a chord."""


class PackedBodies(NamedTuple):
    """The bodies of a specimen as arrays; those of body i are rows ``start[i]`` to ``start[i+1]``.

    Attributes
    ----------
    centre, rotation : array (bodies, 3), (bodies, 3, 3)
    faces, face_start : array (n, 4), (bodies + 1,)
        Normal and offset, frame of the body.
    planes, plane_start : array (n, 4), (bodies + 1,)
    points, point_start : array (n, 6), (bodies + 1,)
        Seeds of delithiation.
    levels : array (bodies, 4)
        Reach and scale, Å, and the compositions ahead of the front and behind it.
    earlier, earlier_start : array (n,), (bodies + 1,)
        Which bodies own what they share with this one.
    vertices, vertex_start : array (n, 3), (bodies + 1,)
        Corners, specimen frame.
    plates : int
        How many bodies are plates; the rest is binder.
    """

    centre: Floats
    rotation: Floats
    faces: Floats
    face_start: Integers
    planes: Floats
    plane_start: Integers
    points: Floats
    point_start: Integers
    levels: Floats
    earlier: Integers
    earlier_start: Integers
    vertices: Floats
    vertex_start: Integers
    plates: int


def packed_bodies(specimen: PhosphateSpecimen) -> PackedBodies:
    """Return the bodies of a specimen as flat arrays."""
    bodies, plates = specimen.bodies, specimen.plates
    none, rest = np.empty((0, 4)), len(bodies) - len(plates)
    fields = [plate.field for plate in plates]
    faces, face_start = _joined(
        [np.column_stack([b.body.normals, b.body.offsets]) for b in bodies], 4
    )
    planes, plane_start = _joined([f.planes for f in fields] + [none] * rest, 4)
    points, point_start = _joined([f.points for f in fields] + [np.empty((0, 6))] * rest, 6)
    earlier, earlier_start = _joined(
        [np.array(of, dtype=float).reshape(-1, 1) for of in specimen.overlaps], 1
    )
    vertices, vertex_start = _joined([b.vertices for b in bodies], 3)
    levels = [(f.reach, f.scale, f.low, f.high) for f in fields] + [(0.0, 1.0, 0.0, 0.0)] * rest
    return PackedBodies(
        centre=np.array([b.centre for b in bodies]).reshape(-1, 3),
        rotation=np.array([b.rotation for b in bodies]).reshape(-1, 3, 3),
        faces=faces,
        face_start=face_start,
        planes=planes,
        plane_start=plane_start,
        points=points,
        point_start=point_start,
        levels=np.array(levels).reshape(-1, 4),
        earlier=earlier.ravel().astype(np.int64),
        earlier_start=earlier_start,
        vertices=vertices,
        vertex_start=vertex_start,
        plates=len(plates),
    )


def _joined(parts: list[Floats], columns: int) -> tuple[Floats, Integers]:
    start = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.concatenate([*parts, np.empty((0, columns))]), start


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def composition_at(bodies: PackedBodies, index: int, u0: float, u1: float, u2: float) -> float:
    """Return the fraction of FePO4 at a point of a plate's frame, Å."""
    first, last = bodies.plane_start[index], bodies.plane_start[index + 1]
    start, stop = bodies.point_start[index], bodies.point_start[index + 1]
    low, high = bodies.levels[index, 2], bodies.levels[index, 3]
    if first == last and start == stop:
        return float(low)
    nearest = np.inf
    for k in range(first, last):
        n = bodies.planes[k]
        nearest = min(nearest, n[3] - n[0] * u0 - n[1] * u1 - n[2] * u2)
    for k in range(start, stop):
        p = bodies.points[k]
        d0, d1, d2 = p[3] * (u0 - p[0]), p[4] * (u1 - p[1]), p[5] * (u2 - p[2])
        nearest = min(nearest, np.sqrt(d0 * d0 + d1 * d1 + d2 * d2))
    ahead = (nearest - bodies.levels[index, 0]) / bodies.levels[index, 1]
    if ahead > 40:
        return float(low)
    if ahead < -40:
        return float(high)
    return float(low + (high - low) / (1 + np.exp(ahead)))


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def into_frame(
    bodies: PackedBodies, index: int, vector: Floats, place: bool, local: Floats
) -> None:
    """Write a vector (or a place) of the specimen frame in the frame of a body."""
    r, c = bodies.rotation[index], bodies.centre[index]
    x, y, z = vector[0], vector[1], vector[2]
    if place:
        x, y, z = x - c[0], y - c[1], z - c[2]
    for k in range(3):
        local[k] = r[0, k] * x + r[1, k] * y + r[2, k] * z


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def chord(
    bodies: PackedBodies, index: int, origin: Floats, direction: Floats
) -> tuple[float, float]:
    """Return where a ray, in the frame of a body, enters and leaves it, Å; entry past exit: never.

    Parameters
    ----------
    bodies : PackedBodies
    index : int
    origin, direction : array (3,)
        A point of the ray, Å, and its direction, length 1.
    """
    enter, leave = -np.inf, np.inf
    for k in range(bodies.face_start[index], bodies.face_start[index + 1]):
        n = bodies.faces[k]
        room = n[3] - n[0] * origin[0] - n[1] * origin[1] - n[2] * origin[2]
        rate = n[0] * direction[0] + n[1] * direction[1] + n[2] * direction[2]
        if rate > 1e-12:
            leave = min(leave, room / rate)
        elif rate < -1e-12:
            enter = max(enter, room / rate)
        elif room < 0:
            return 1.0, 0.0
        if enter >= leave:
            return 1.0, 0.0
    return enter, leave


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def owned_pieces(
    bodies: PackedBodies,
    index: int,
    origin: Floats,
    direction: Floats,
    pieces: Floats,
    scratch: Floats,
) -> int:
    """Write the parts of a chord that no earlier body owns; return how many there are.

    Parameters
    ----------
    bodies : PackedBodies
    index : int
    origin, direction : array (3,)
        Of the ray, specimen frame.
    pieces : array (MOST_PIECES, 2)
        Written: start and end along the ray, Å.
    scratch : array (2, 3)
        Written: origin and direction in the frame of this body.
    """
    count = 0
    for e in range(bodies.earlier_start[index], bodies.earlier_start[index + 1] + 1):
        own = e == bodies.earlier_start[index]
        other = index if own else bodies.earlier[e - 1]
        into_frame(bodies, other, origin, True, scratch[0])
        into_frame(bodies, other, direction, False, scratch[1])
        enter, leave = chord(bodies, other, scratch[0], scratch[1])
        if own:
            if enter >= leave:
                return 0
            pieces[0, 0], pieces[0, 1] = enter, leave
            count = 1
        elif enter < leave:
            count = _without(pieces, count, enter, leave)
    if bodies.earlier_start[index] < bodies.earlier_start[index + 1]:
        into_frame(bodies, index, origin, True, scratch[0])
        into_frame(bodies, index, direction, False, scratch[1])
    return count


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _without(pieces: Floats, count: int, enter: float, leave: float) -> int:
    """Cut an interval out of the pieces, in place."""
    kept = count
    for k in range(count):
        a, b = pieces[k, 0], pieces[k, 1]
        if leave <= a or enter >= b:
            continue
        left, right = enter > a, leave < b
        if left and right and kept < pieces.shape[0]:
            pieces[kept, 0], pieces[kept, 1] = leave, b
            kept += 1
        if left:
            pieces[k, 1] = enter
        elif right:
            pieces[k, 0] = leave
        else:
            pieces[k, 1] = a
    return kept


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def reacted_length(
    bodies: PackedBodies, index: int, ray: Floats, start: float, end: float, cell: float
) -> float:
    """Return the integral of the composition over a piece of a ray, Å, by two Gauss points a cell.

    Parameters
    ----------
    bodies : PackedBodies
    index : int
    ray : array (2, 3)
        Origin and direction in the frame of the body.
    start, end : float
        Of the piece, Å.
    cell : float
        Largest cell, Å.
    """
    o, d = ray[0], ray[1]
    uniform = (
        bodies.plane_start[index] == bodies.plane_start[index + 1]
        and bodies.point_start[index] == bodies.point_start[index + 1]
    )
    if uniform:
        return float(bodies.levels[index, 2] * (end - start))
    count = int(np.ceil((end - start) / cell))
    width = (end - start) / count
    total = 0.0
    for k in range(2 * count):
        t = start + (k // 2 + (0.5 - GAUSS if k % 2 == 0 else 0.5 + GAUSS)) * width
        total += composition_at(bodies, index, o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2])
    return total * width / 2
