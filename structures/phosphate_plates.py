"""Ensembles of LiFePO4 nano-plates as analytic shapes: faceted plates, their chemistry, binder.

Frame of a plate: a across, b through the thickness, c along. Specimen frame: the tilt axis y,
the beam along z at tilt 0, the origin in the middle. Nothing is cut into voxels here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, PlacedBody, separation
from echolith.structures.crystals import crystal_data
from echolith.structures.delithiation_fields import Delithiation, DelithiationField, quadrature

Floats = npt.NDArray[np.float64]

CELL = crystal_data("LiFePO4").cell[:3]
"""Edges a, b, c, Å, of the cell that gives facets their angles."""


def plate_body(
    *,
    length: float,
    width: float,
    thickness: float,
    corner: float = 0.15,
    bevel: float = 0.15,
) -> ConvexBody:
    """Return a plate with facets {100}, {010}, {001}, corners {101}, bevels {210} and {011}.

    Parameters
    ----------
    length, width, thickness : float
        Along c, a and b, Å.
    corner : float
        Part of the way from a corner to the middle that {101} cuts off, 0 (none) to 0.4.
    bevel : float
        Part of the half thickness that a bevel takes off the rim, 0 (none) to 0.9.

    Returns
    -------
    ConvexBody
        Frame (a, b, c), origin in the middle.

    Raises
    ------
    BadInputError
        If a size is not above 0 or a cut too large.
    """
    half = np.array([width, thickness, length]) / 2
    if not (half > 0).all():
        raise BadInputError(
            f"plate of {length:g} x {width:g} x {thickness:g} Å; expected sizes above 0 Å"
        )
    if not 0 <= corner <= 0.4:
        raise BadInputError(f"corner = {corner:g}; expected a part of 0 to 0.4")
    if not 0 <= bevel <= 0.9:
        raise BadInputError(f"bevel = {bevel:g}; expected a part of 0 to 0.9")
    normals, offsets = [np.eye(3), -np.eye(3)], [half, half]
    cuts: list[tuple[tuple[int, int, int], float, int | None]] = []
    cuts += [((1, 0, 1), corner, None)] if corner else []
    cuts += [((2, 1, 0), bevel, 1), ((0, 1, 1), bevel, 1)] if bevel else []
    for indices, cut, along in cuts:
        facets = _family(indices)
        reach = np.abs(facets) @ half
        lost = reach if along is None else np.abs(facets[:, along]) * half[along]
        normals.append(facets)
        offsets.append(reach - cut * lost)
    return ConvexBody(normals=np.concatenate(normals), offsets=np.concatenate(offsets))


def _family(indices: tuple[int, int, int]) -> Floats:
    """Return unit normals of {hkl} with every sign, from reciprocal vectors of the cell."""
    normal = np.array(indices) / np.array(CELL)
    normal /= np.linalg.norm(normal)
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    return np.unique(signs * normal + 0.0, axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plate:
    """One nano-plate: where it is, and where in it is FePO4.

    Attributes
    ----------
    placed : PlacedBody
    field : DelithiationField
    kind : Delithiation
    """

    placed: PlacedBody
    field: DelithiationField
    kind: Delithiation

    @property
    def volume(self) -> float:
        """Volume, Å³."""
        return self.placed.body.volume

    @property
    def facet_area(self) -> float:
        """Area of the plate seen along b, Å²: one large facet with its bevels."""
        body = self.placed.body
        return float(np.abs(body.normals[:, 1]) @ body.face_areas / 2)

    @property
    def thickness(self) -> float:
        """Distance of the two large facets, Å."""
        return float(np.ptp(self.placed.body.vertices[:, 1]))

    @cached_property
    def composition(self) -> float:
        """Mean fraction of FePO4."""
        nodes, weights = quadrature(self.placed.body)
        return float(weights @ self.field.composition(nodes))


@dataclass(frozen=True, kw_only=True, eq=False)
class PhosphateSpecimen:
    """Plates and carbon-binder fragments. Where bodies overlap, the earlier one owns the place.

    Attributes
    ----------
    plates : tuple of Plate
    binder : tuple of PlacedBody
        Amorphous carbon; yields to plates.
    activity_threshold : float
        Mean fraction of FePO4 from which a plate counts as active.
    """

    plates: tuple[Plate, ...]
    binder: tuple[PlacedBody, ...] = ()
    activity_threshold: float = 0.15

    @cached_property
    def state_of_charge(self) -> float:
        """Fraction of FePO4 of all plates, weighted by volume (overlaps counted twice)."""
        volumes = np.array([plate.volume for plate in self.plates])
        means = np.array([plate.composition for plate in self.plates])
        return float(volumes @ means / volumes.sum())

    @cached_property
    def bodies(self) -> tuple[PlacedBody, ...]:
        """Every body, plates first, in the order of ownership."""
        return (*(plate.placed for plate in self.plates), *self.binder)

    @cached_property
    def overlaps(self) -> tuple[tuple[int, ...], ...]:
        """For each body the earlier ones that it overlaps."""
        return tuple(
            tuple(j for j in range(i) if _overlap(body, self.bodies[j]))
            for i, body in enumerate(self.bodies)
        )

    def owner(self, points: Floats) -> npt.NDArray[np.intp]:
        """Return which body holds each of the points (..., 3), Å; -1 for none."""
        owner = np.full(points.shape[:-1], -1)
        for index in reversed(range(len(self.bodies))):
            placed = self.bodies[index]
            owner[placed.body.contains(placed.local(points))] = index
        return owner

    def density(self, points: Floats) -> Floats:
        """Return 1 in phosphate and 0 elsewhere, at points (..., 3), Å."""
        owner = self.owner(points)
        return ((owner >= 0) & (owner < len(self.plates))).astype(float)

    def composition(self, points: Floats) -> Floats:
        """Return the fraction of FePO4 at points (..., 3), Å; 0 where there is no phosphate."""
        owner = self.owner(points)
        fraction = np.zeros(owner.shape)
        for index, plate in enumerate(self.plates):
            here = owner == index
            if here.any():
                fraction[here] = plate.field.composition(plate.placed.local(points[here]))
        return fraction

    def particles(self) -> xr.Dataset:
        """Return the truth of every plate.

        Returns
        -------
        xarray.Dataset
            Along ``particle`` (counted from 1): ``composition`` (fraction of FePO4), ``volume``,
            ``facet_area``, ``thickness``, ``active``, ``kind``, and ``centre`` along ``axis``
            (centre of mass, x, y, z). Å, Å², Å³.
        """
        plates = self.plates
        centres = [p.placed.centre + p.placed.rotation @ p.placed.body.centroid for p in plates]
        composition = np.array([plate.composition for plate in plates])
        columns = {
            "composition": (composition, "1"),
            "volume": (np.array([plate.volume for plate in plates]), "Å³"),
            "facet_area": (np.array([plate.facet_area for plate in plates]), "Å²"),
            "thickness": (np.array([plate.thickness for plate in plates]), "Å"),
            "active": (composition >= self.activity_threshold, "1"),
        }
        table = xr.Dataset(
            {
                name: ("particle", values, {"units": unit})
                for name, (values, unit) in columns.items()
            },
            coords={"particle": np.arange(1, len(plates) + 1), "axis": list("xyz")},
        )
        table["kind"] = ("particle", np.array([plate.kind.value for plate in plates]))
        table["centre"] = (("particle", "axis"), np.array(centres), {"units": "Å"})
        table.attrs["state_of_charge"] = self.state_of_charge
        table.attrs["activity_threshold"] = self.activity_threshold
        return table


def _overlap(first: PlacedBody, second: PlacedBody) -> bool:
    away = float(np.linalg.norm(first.centre - second.centre))
    return away < first.radius + second.radius and separation(first, second) < 0
