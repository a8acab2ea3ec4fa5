"""Where plates lie: turned, packed into a cylinder about the tilt axis, touching or apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, PlacedBody, separation

Floats = npt.NDArray[np.float64]

ATTEMPTS = 400
"""For each body, before the region counts as full."""
BISECTIONS = 40


@dataclass(frozen=True, kw_only=True)
class PackingRegion:
    """Where bodies may be: inside a cylinder about the tilt axis y, so in the field at every tilt.

    Attributes
    ----------
    height : float
        Along y, Å.
    width : float
        Diameter of the cylinder, Å.
    depth : float
        Along z, Å, at most the width.
    """

    height: float
    width: float
    depth: float

    def __post_init__(self) -> None:
        for name in ("height", "width", "depth"):
            if not 100 <= getattr(self, name) <= 1e6:
                raise BadInputError(
                    f"{name} = {getattr(self, name):g} Å; expected 100 to 1e6 Å; give it in Å"
                )
        if self.depth > self.width:
            raise BadInputError(
                f"depth = {self.depth:g} Å exceeds the width of {self.width:g} Å; the specimen "
                "would leave the field when it is tilted; use a depth of the width or less"
            )

    def holds(self, body: PlacedBody) -> bool:
        """Whether all of a body is inside."""
        x, y, z = np.abs(body.vertices).T
        inside = (y <= self.height / 2) & (z <= self.depth / 2)
        return bool((inside & (np.hypot(x, z) <= self.width / 2)).all())

    def point(self, draw: np.random.Generator) -> Floats:
        """Draw a point of the box about the region."""
        half = np.array([self.width, self.height, self.depth]) / 2
        return np.asarray(draw.uniform(-half, half))


def orientation(draw: np.random.Generator, *, spread: float | None) -> Floats:
    """Draw how a plate lies: columns are its axes a, b, c in the specimen frame.

    Parameters
    ----------
    draw : numpy.random.Generator
    spread : float or None
        Standard deviation in degrees, about each of two axes, of the angle between the thickness b
        and the beam at tilt 0; None: any orientation, all equally likely.

    Returns
    -------
    array (3, 3)
    """
    if spread is None:
        return np.asarray(Rotation.random(rng=draw).as_matrix())
    # At rest b is along z, c along x and a along y, which is right-handed.
    lying = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    in_plane = Rotation.from_euler("z", draw.uniform(0, 360), degrees=True)
    lean = Rotation.from_rotvec([*draw.normal(0, spread, 2), 0.0], degrees=True)
    return np.asarray((lean * in_plane).as_matrix() @ lying)


def packed(
    bodies: Sequence[ConvexBody],
    *,
    region: PackingRegion,
    draw: np.random.Generator,
    spread: float | None = None,
    touching: float = 0.0,
    gap: float = 0.0,
    around: Sequence[PlacedBody] = (),
) -> tuple[PlacedBody, ...]:
    """Place bodies at random, the largest first.

    Parameters
    ----------
    bodies : sequence of ConvexBody
    region : PackingRegion
    draw : numpy.random.Generator
    spread : float or None
        Of the orientation, degree; see `orientation`.
    touching : float
        Probability that a body is brought up to one that is there until they touch.
    gap : float
        Least distance of any two, Å; negative: how deep one may be in another.
    around : sequence of PlacedBody
        What is there already.

    Returns
    -------
    tuple of PlacedBody
        In the order of the bodies.

    Raises
    ------
    BadInputError
        If they do not fit; it says how many did.
    """
    if not 0 <= touching <= 1:
        raise BadInputError(f"touching = {touching:g}; expected a probability of 0 to 1")
    order = np.argsort([-body.volume for body in bodies], kind="stable")
    there, placed = list(around), dict[int, PlacedBody]()
    for index in order.tolist():
        found = _place(bodies[index], there, region, draw, spread, touching, gap)
        if found is None:
            raise BadInputError(
                f"{len(placed)} of {len(bodies)} bodies fit into {region.height:g} x "
                f"{region.width:g} x {region.depth:g} Å (y, x, z); use a larger field or depth, "
                "fewer bodies or a negative gap"
            )
        placed[index] = found
        there.append(found)
    return tuple(placed[index] for index in range(len(bodies)))


def _place(
    body: ConvexBody,
    there: list[PlacedBody],
    region: PackingRegion,
    draw: np.random.Generator,
    spread: float | None,
    touching: float,
    gap: float,
) -> PlacedBody | None:
    contact = bool(there) and draw.uniform() < touching
    for attempt in range(ATTEMPTS):
        centre, turned = region.point(draw), orientation(draw, spread=spread)
        candidate = PlacedBody(body=body, centre=centre, rotation=turned)
        # Where nothing free is found next to others, a free place anywhere will do.
        if contact and attempt < ATTEMPTS // 2:
            candidate = _brought_up(candidate, there[int(draw.integers(len(there)))], gap)
        if region.holds(candidate) and _clear(candidate, there, gap):
            return candidate
    return None


def _clear(body: PlacedBody, there: list[PlacedBody], gap: float) -> bool:
    for other in there:
        away = float(np.linalg.norm(body.centre - other.centre))
        # The slack lets a body stay that was brought up to exactly this gap.
        near = away < body.radius + other.radius + max(gap, 0)
        if near and separation(body, other) < gap - 1e-6:
            return False
    return True


def _brought_up(body: PlacedBody, to: PlacedBody, gap: float) -> PlacedBody:
    """Move a body towards another, along the line of their centres, until the gap is left."""
    direction = body.centre - to.centre
    direction /= max(float(np.linalg.norm(direction)), 1e-9)
    inside, outside = 0.0, body.radius + to.radius + max(gap, 0)
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        at = body.moved(to.centre + middle * direction - body.centre)
        inside, outside = (inside, middle) if separation(at, to) >= gap else (middle, outside)
    return body.moved(to.centre + outside * direction - body.centre)
