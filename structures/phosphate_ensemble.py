"""The published ensemble of LiFePO4 nano-plates: sizes, packing, activity and fields, by a seed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.convex_bodies import ConvexBody, PlacedBody
from echolith.structures.delithiation_fields import Delithiation, delithiation_field
from echolith.structures.phosphate_plates import PhosphateSpecimen, Plate, plate_body
from echolith.structures.plate_activity import (
    activity_scores,
    plate_compositions,
    reachable_state_of_charge,
)
from echolith.structures.plate_packing import PackingRegion, packed

Floats = npt.NDArray[np.float64]

FACET_AREAS = (2.5e5, 4e6)
"""Smallest and largest, Å² (2,500 to 40,000 nm²: Yu et al., Nat. Commun. 9 (2018) 921)."""
THICKNESSES = (100.0, 300.0)
"""Smallest and largest, Å (10 to 30 nm: the same)."""


@dataclass(frozen=True, kw_only=True)
class PlateEnsemble:
    """What an ensemble is like. Defaults: the 83 plates of Yu et al., Nat. Commun. 9 (2018) 921.

    Attributes
    ----------
    count : int
        Plates, 1 to 150.
    region : PackingRegion
        Where they are.
    facet_area, facet_spread : float
        Median, Å², and standard deviation of the logarithm; 100 x 80 nm plates have 8e5 Å².
    thickness, thickness_spread : float
        Median, Å, and standard deviation of the logarithm; independent of the facet area.
    aspect : float
        Median of length over width.
    orientation_spread : float or None
        Degree, see `orientation`; None: any orientation.
    touching, gap : float
        See `packed`; a negative gap, Å, lets plates overlap.
    state_of_charge : float
        Fraction of FePO4 over all plates.
    active_fraction : float
        Of plates with at least ``activity_threshold`` FePO4.
    activity_threshold : float
    facet_correlation : float
        Of activity with the logarithm of the facet area, -1 to 1.
    kinds : tuple of Delithiation
        Drawn from with equal probability.
    interface : float
        Over which a front goes from 10 to 90 %, Å.
    binder, binder_radius : int, float
        Number of carbon-binder fragments, and their mean radius, Å.
    """

    count: int = 83
    region: PackingRegion = PackingRegion(height=15e3, width=15e3, depth=4e3)  # noqa: RUF009
    facet_area: float = 7.5e5
    facet_spread: float = 0.55
    thickness: float = 200.0
    thickness_spread: float = 0.2
    aspect: float = 1.25
    orientation_spread: float | None = None
    touching: float = 0.5
    gap: float = 0.0
    state_of_charge: float = 0.162
    active_fraction: float = 0.301
    activity_threshold: float = 0.15
    facet_correlation: float = 0.7
    kinds: tuple[Delithiation, ...] = tuple(Delithiation)
    interface: float = 60.0
    binder: int = 8
    binder_radius: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 150:
            raise BadInputError(f"count = {self.count}; expected 1 to 150 plates")
        if not 0 <= self.binder <= 150:
            raise BadInputError(f"binder = {self.binder}; expected 0 to 150 fragments")
        if not self.kinds:
            raise BadInputError("kinds is empty; expected at least one kind of delithiation")
        for name, (low, high) in (
            ("facet_area", FACET_AREAS),
            ("thickness", THICKNESSES),
            ("binder_radius", (20.0, 5000.0)),
            ("aspect", (0.5, 3.0)),
            ("facet_spread", (0.0, 2.0)),
            ("thickness_spread", (0.0, 2.0)),
        ):
            if not low <= getattr(self, name) <= high:
                raise BadInputError(
                    f"{name} = {getattr(self, name):g}; expected {low:g} to {high:g} (Å, Å²)"
                )


def phosphate_ensemble(
    ensemble: PlateEnsemble = PlateEnsemble(),
    *,
    seed: int = 0,
) -> PhosphateSpecimen:
    """Return an ensemble of partly delithiated plates.

    Parameters
    ----------
    ensemble : PlateEnsemble
    seed : int
        Of sizes, places, activity and fields, each from a stream of its own.

    Returns
    -------
    PhosphateSpecimen

    Raises
    ------
    BadInputError
        If the plates do not fit, or no such plates have this state of charge.

    Examples
    --------
    >>> specimen = phosphate_ensemble(PlateEnsemble(count=10, binder=2), seed=1)
    >>> round(specimen.state_of_charge, 6), len(specimen.bodies)
    (0.162, 12)
    """
    shapes = [_plate(ensemble, stream(seed, "plate shape", i)) for i in range(ensemble.count)]
    places = packed(
        shapes,
        region=ensemble.region,
        draw=stream(seed, "plate packing"),
        spread=ensemble.orientation_spread,
        touching=ensemble.touching,
        gap=ensemble.gap,
    )
    plates = _reacted(places, ensemble, seed)
    crumbs = [
        fragment(ensemble.binder_radius, stream(seed, "binder shape", i))
        for i in range(ensemble.binder)
    ]
    binder = packed(
        crumbs,
        region=ensemble.region,
        draw=stream(seed, "binder packing"),
        touching=ensemble.touching,
        gap=ensemble.gap,
        around=places,
    )
    return PhosphateSpecimen(
        plates=plates, binder=binder, activity_threshold=ensemble.activity_threshold
    )


def _plate(ensemble: PlateEnsemble, draw: np.random.Generator) -> ConvexBody:
    area = _between(draw, ensemble.facet_area, ensemble.facet_spread, FACET_AREAS)
    thickness = _between(draw, ensemble.thickness, ensemble.thickness_spread, THICKNESSES)
    aspect = ensemble.aspect * float(np.exp(np.clip(draw.normal(0, 0.12), -0.3, 0.3)))
    corner, bevel = draw.uniform(0.05, 0.2), draw.uniform(0.1, 0.4)
    trial = plate_body(length=aspect, width=1.0, thickness=1.0, corner=corner, bevel=bevel)
    size = float(np.sqrt(area / (np.abs(trial.normals[:, 1]) @ trial.face_areas / 2)))
    return plate_body(
        length=aspect * size, width=size, thickness=thickness, corner=corner, bevel=bevel
    )


def _between(
    draw: np.random.Generator, median: float, spread: float, limits: tuple[float, float]
) -> float:
    """Draw from a log-normal distribution cut off at limits (that hold the median)."""
    while True:
        value = median * float(np.exp(draw.normal(0, spread)))
        if limits[0] <= value <= limits[1]:
            return value


def _reacted(
    places: tuple[PlacedBody, ...], ensemble: PlateEnsemble, seed: int
) -> tuple[Plate, ...]:
    means = plate_compositions(
        *_scores_and_volumes([place.body for place in places], ensemble, seed),
        state_of_charge=ensemble.state_of_charge,
        active_fraction=ensemble.active_fraction,
        threshold=ensemble.activity_threshold,
        draw=stream(seed, "plate excess"),
    )
    return tuple(
        _delithiated(place, float(mean), ensemble, stream(seed, "plate field", index))
        for index, (place, mean) in enumerate(zip(places, means, strict=True))
    )


def _scores_and_volumes(
    bodies: list[ConvexBody], ensemble: PlateEnsemble, seed: int
) -> tuple[Floats, Floats]:
    areas = np.array([np.abs(b.normals[:, 1]) @ b.face_areas / 2 for b in bodies])
    draw = stream(seed, "plate activity")
    scores = activity_scores(areas, correlation=ensemble.facet_correlation, draw=draw)
    return scores, np.array([body.volume for body in bodies])


def charge_limits(ensemble: PlateEnsemble, *, seed: int = 0) -> tuple[float, float]:
    """Return the least and the most state of charge that the plates of a seed can have.

    The active fraction and the threshold of activity bound it; the ensemble's own state of charge
    plays no part.
    """
    bodies = [_plate(ensemble, stream(seed, "plate shape", i)) for i in range(ensemble.count)]
    return reachable_state_of_charge(
        *_scores_and_volumes(bodies, ensemble, seed),
        active_fraction=ensemble.active_fraction,
        threshold=ensemble.activity_threshold,
    )


def _delithiated(
    place: PlacedBody, mean: float, ensemble: PlateEnsemble, draw: np.random.Generator
) -> Plate:
    kind = ensemble.kinds[int(draw.integers(len(ensemble.kinds)))]
    field = delithiation_field(
        place.body, kind=kind, mean=mean, draw=draw, interface=ensemble.interface
    )
    return Plate(placed=place, field=field, kind=kind)


def fragment(radius: float, draw: np.random.Generator) -> ConvexBody:
    """Return an irregular convex fragment with fourteen faces.

    Parameters
    ----------
    radius : float
        Mean distance of its faces, Å.
    draw : numpy.random.Generator

    Returns
    -------
    ConvexBody
    """
    # Six faces along the axes close the body; eight turned at random break it.
    normals = draw.normal(size=(8, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    faces = np.concatenate([np.eye(3), -np.eye(3), normals])
    return ConvexBody(normals=faces, offsets=radius * draw.uniform(0.7, 1.3, len(faces)))
