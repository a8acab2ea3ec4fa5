"""A surface layer grown epitaxially on a crystal: where it begins, and how its lattice strains.

At depth t below the surface a place belongs to the layer with probability
``f(t) = erfc((t - depth) / (sqrt(2) width)) / 2``. The lattice is coherent: along the interface
it is that of the bulk; across, it strains by f(t) towards the layer's own. With G the map from the
bulk's lattice to the layer's and n the outward normal, ``u(t) = n (G - 1) ∫ f dt'`` from t inwards.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from echolith.errors import BadInputError
from echolith.structures.column_stack import Floats
from echolith.structures.projected_cell import ProjectedParameters

LARGEST_DEPTH = 60.0
"""Å; published are 20 (charged) to 40 (discharged)."""


@dataclass(frozen=True, kw_only=True)
class SurfacePlane:
    """The end of a crystal: outward normal (2,), and its distance from the field's centre, Å."""

    normal: Floats
    distance: float


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The profile of a layer by undeformed depth, Å, and the displacement it brings."""

    plane: SurfacePlane
    depth: float
    width: float
    strain: Floats

    def below(self, xy: Floats) -> Floats:
        """Return the undeformed depth of places (n, 2) about the centre of the field."""
        return np.asarray(self.plane.distance - xy @ self.plane.normal)

    def share(self, below: Floats) -> Floats:
        """Return the probability f of the layer at depths (n,)."""
        return np.asarray(ndtr((self.depth - below) / self.width) * (self.depth > 0))

    def displacement(self, below: Floats) -> Floats:
        """Return the displacement u, (n, 2) Å, at depths (n,); none deep in the bulk."""
        z = (self.depth - below) / self.width
        bell = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        integral = self.width * (bell + z * ndtr(z)) * (self.depth > 0)
        return np.asarray(integral[:, None] * self.strain)


def surface_plane(box: Floats, *, direction: float, vacuum: float) -> SurfacePlane:
    """Return the surface that faces an edge of a box (width, height), Å.

    Parameters
    ----------
    box : array, (2,)
    direction : float
        Of the outward normal, degree from x towards y.
    vacuum : float
        Between the surface and the edge of the box in this direction, Å.

    Raises
    ------
    BadInputError
        If the direction is not finite or the vacuum leaves no crystal.
    """
    if not np.isfinite(direction):
        raise BadInputError(f"direction = {direction:g}°; expected an angle in degrees")
    angle = np.deg2rad(direction)
    normal: Floats = np.array([np.cos(angle), np.sin(angle)]).round(12)
    reach = float((box / 2 / np.maximum(np.abs(normal), 1e-9)).min())
    if not 0 <= vacuum < 2 * reach:
        raise BadInputError(
            f"vacuum = {vacuum:g} Å; expected at least 0 and less than the {2 * reach:g} Å of the "
            "field along the normal"
        )
    return SurfacePlane(normal=normal, distance=reach - vacuum)


def interface(
    bulk: ProjectedParameters,
    layer: ProjectedParameters,
    plane: SurfacePlane,
    *,
    depth: float,
    width: float,
) -> Interface:
    """Place a layer in the undeformed crystal so that, strained, it ends up as deep as asked for.

    Parameters
    ----------
    bulk, layer : ProjectedParameters
    plane : SurfacePlane
        Of the strained crystal.
    depth : float
        Of the middle of the interface, 0 to 60 Å.
    width : float
        Standard deviation of its error function, 0.01 to 20 Å.

    Raises
    ------
    BadInputError
        If depth or width are outside their ranges.
    """
    if not 0 <= depth <= LARGEST_DEPTH:
        raise BadInputError(f"depth = {depth:g} Å; expected 0 to {LARGEST_DEPTH:g} Å; give it in Å")
    if not 0.01 <= width <= 20:
        raise BadInputError(f"interface_width = {width:g} Å; expected 0.01 to 20 Å; give it in Å")
    strain = coherent_strain(bulk, layer, plane.normal)
    shallow = depth / (1 + float(plane.normal @ strain))
    start = Interface(plane=plane, depth=shallow, width=width, strain=strain)
    grown = float(start.displacement(np.zeros(1))[0] @ plane.normal)
    undeformed = SurfacePlane(normal=plane.normal, distance=plane.distance - grown)
    return Interface(plane=undeformed, depth=shallow, width=width, strain=strain)


def coherent_strain(
    bulk: ProjectedParameters, layer: ProjectedParameters, normal: Floats
) -> Floats:
    """Return ``n (G - 1)``, the change across the interface per unit of depth, (2,).

    The layer's lattice is turned first so that lines along the interface keep their direction;
    what is left along them is the misfit, which coherence suppresses.
    """
    to_layer = np.linalg.inv(lattice_rows(bulk)) @ lattice_rows(layer)
    line = np.array([-normal[1], normal[0]])
    x, y = line @ to_layer
    turn = np.arctan2(line[1], line[0]) - np.arctan2(y, x)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(normal @ to_layer @ rotation - normal)


def lattice_rows(parameters: ProjectedParameters) -> Floats:
    """Return the lattice vectors A and C as rows, (2, 2) Å."""
    vectors = parameters.vectors()
    return np.stack([vectors["A"], vectors["C"]])
