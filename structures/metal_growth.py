"""A faceted particle of lithium or sodium that grows layer by layer, seen along [111].

It is a prism across the beam; six {110} facets stand edge-on. The front advances along [10-1], at
first fast, rests, and then goes along [1-10], nearly ten times faster, through a corner facet
(2-1-1) between the two that shrinks. With offsets h of three facets at 30° from each other the
middle one is as long as

    L = 2 (h_1 + h_2) - 2 sqrt(3) h_c.

Until the second front starts the corner's own offset rests, so that the corner facet lengthens as
the first front advances. Only whole atom layers are there: a layer is complete at once, and an edge
lies half a layer beyond the outermost plane of atoms.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from echolith.errors import BadInputError
from echolith.outlines import edge_on_facets, facet_lengths, facet_name
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.lithium_particles import (
    MARGIN,
    AlkaliMetal,
    MetalParticle,
    lattice_points,
    particle_turn,
)
from echolith.units import Angstrom, Degree, Second, Unit
from echolith.zone_axes import Zone

Array = npt.NDArray[np.float64]
Layers = tuple[int, ...]

ZONE: Zone = (1, 1, 1)
FACETS, ANGLES = edge_on_facets(ZONE)
NAMES = tuple(facet_name(hkl) for hkl in FACETS)
FIRST, CORNER, SECOND = NAMES.index("(10-1)"), NAMES.index("(2-1-1)"), NAMES.index("(1-10)")
FLAT = (FACETS**2).sum(axis=1) == 2
"""Which are {110}."""
NOWHERE = 1e9
"""Å, where a facet is that there is not."""
MOMENTS = 16
"""Of a frame, at which the layers are counted."""


class GrowthStage(BaseModel):
    """A time during which one front advances steadily."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    duration: Annotated[Second, Field(gt=0, le=1000)]
    first: Annotated[float, Unit("Å/s"), Field(ge=0, le=1e4)] = 0.0
    """Speed along [10-1]."""
    second: Annotated[float, Unit("Å/s"), Field(ge=0, le=1e4)] = 0.0
    """Speed along [1-10]."""


class MetalGrowth(BaseModel):
    """A growing particle and how the beam sees it; a given one has one truth."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metal: AlkaliMetal = AlkaliMetal.LITHIUM
    lattice: Annotated[Angstrom, Field(ge=2, le=8)] | None = None
    """Edge of the cubic cell; None: that of the table."""
    size: Annotated[Angstrom, Field(ge=20, le=1000)] = 76.0
    """Distance of opposite {110} facets at the beginning."""
    thickness: Annotated[Angstrom, Field(ge=10, le=1000)] = 40.0
    """Along the beam; the ends are flat."""
    rotation: Degree = 0.0
    """Of [10-1], from x towards y."""
    centre: tuple[Angstrom, Angstrom] = (0.0, 0.0)
    """Of the particle at the beginning, (x, y) from the middle of the field."""
    stages: Annotated[tuple[GrowthStage, ...], Field(min_length=1)] = (
        GrowthStage(duration=0.6, first=9.0),
        GrowthStage(duration=0.6, first=1.5),
        GrowthStage(duration=0.2),
        GrowthStage(duration=0.2, second=80.0),
    )
    """One after the other; then nothing moves."""
    corner: tuple[Annotated[Angstrom, Field(gt=0)], Annotated[Angstrom, Field(gt=0)]] = (24.0, 12.0)
    """Length of the corner facet when the second front starts, and when the last stage ends."""

    @property
    def edge(self) -> float:
        """Edge of the cubic cell, Å."""
        return CRYSTALS[self.metal.value].cell[0] if self.lattice is None else self.lattice

    @property
    def spacings(self) -> Array:
        """Distance of atom layers along each facet's normal, (facets,), Å."""
        return np.asarray(self.edge / np.linalg.norm(FACETS, axis=1))

    @property
    def switch_time(self) -> float:
        """When the second front starts, s; the end of the last stage if it never does."""
        begins = np.cumsum([0.0, *(stage.duration for stage in self.stages)])
        moving = [t for t, stage in zip(begins, self.stages, strict=False) if stage.second]
        return float(moving[0] if moving else begins[-1])


PUBLISHED = MetalGrowth(
    size=300.0,
    thickness=300.0,
    stages=(
        GrowthStage(duration=0.6, first=40.0),
        GrowthStage(duration=3.0, first=4.0),
        GrowthStage(duration=0.4),
        GrowthStage(duration=0.4, second=320.0),
    ),
    corner=(140.0, 60.0),
)
"""Times and corner facet as published (Nat. Commun., 2020: 15 frames of 40 ms, then 3 s; 14 nm to
6 nm); sizes and speeds, of which only the ratio is told, are ours."""


def law(growth: MetalGrowth, times: npt.ArrayLike) -> Array:
    """Return where the facets would be if there were no layers, (facets, times), Å.

    Parameters
    ----------
    growth : MetalGrowth
    times : array, (times,)
        s.

    Returns
    -------
    array, (facets, times)
        Distance from the particle's middle at the beginning; NaN where there is no such facet.
    """
    begins = np.cumsum([0.0, *(stage.duration for stage in growth.stages)])

    def front(name: str, at: Array) -> Array:
        steps = [getattr(stage, name) * stage.duration for stage in growth.stages]
        return np.asarray(growth.size / 2 + np.interp(at, begins, np.cumsum([0.0, *steps])))

    time = np.asarray(times, dtype=float)
    late = np.maximum(time, growth.switch_time)
    part = (late - growth.switch_time) / max(float(begins[-1]) - growth.switch_time, 1e-9)
    longest, last = growth.corner
    length = longest + (last - longest) * np.minimum(part, 1)
    found = np.full((len(FACETS), len(time)), np.nan)
    found[FLAT] = growth.size / 2
    found[FIRST], found[SECOND] = front("first", time), front("second", time)
    found[CORNER] = (front("first", late) + front("second", late) - length / 2) / np.sqrt(3)
    return found


def layers(growth: MetalGrowth, times: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the whole layers beyond the middle one, (facets, times); -1: no such facet."""
    found = np.rint(law(growth, times) / growth.spacings[:, None] - 0.5)
    return np.where(np.isnan(found), -1, found).astype(np.int64)


def frame_states(
    growth: MetalGrowth, times: npt.ArrayLike, *, frame_time: float
) -> list[dict[Layers, float]]:
    """Return the states that frames see, each with its share of the frame's time.

    Parameters
    ----------
    growth : MetalGrowth
    times : array, (frames,)
        Middle of each frame, s.
    frame_time : float
        s.
    """
    moments = (np.arange(MOMENTS) + 0.5) / MOMENTS - 0.5
    seen = np.asarray(times, dtype=float)[:, None] + frame_time * moments
    counted = layers(growth, seen.ravel()).T.reshape(*seen.shape, -1)
    frames = []
    for frame in counted.tolist():
        states = [tuple(state) for state in frame]
        frames.append({state: states.count(state) / MOMENTS for state in dict.fromkeys(states)})
    return frames


def particle_state(growth: MetalGrowth, state: Layers, *, field: tuple[float, float]) -> Atoms:
    """Return the particle with some whole layers, in a box of vacuum.

    Parameters
    ----------
    growth : MetalGrowth
    state : tuple of int
        As from `layers`.
    field : (float, float)
        Height (y) and width (x) of the box, Å.

    Raises
    ------
    BadInputError
        If the particle does not fit into the field.
    """
    body = state_body(growth, state)
    turn = particle_turn(MetalParticle(zone_axis=ZONE, rotation=growth.rotation))
    height, width = field
    half = growth.thickness / 2 + MARGIN
    middle = np.array([width / 2 + growth.centre[0], height / 2 + growth.centre[1], half])
    corners = body.vertices @ turn.T + middle
    if (corners[:, :2] < 0).any() or (corners[:, :2] > (width, height)).any():
        low, high = corners.min(axis=0), corners.max(axis=0)
        raise BadInputError(
            f"a particle that reaches from {low[0]:.1f} to {high[0]:.1f} Å along x and from "
            f"{low[1]:.1f} to {high[1]:.1f} Å along y has grown out of a field of {width:g} × "
            f"{height:g} Å; use a larger field, another centre or shorter stages"
        )
    positions = lattice_points(body, growth.edge, np.zeros(3)) @ turn.T + middle
    return Atoms(
        [growth.metal.value] * len(positions),
        positions=positions,
        cell=(width, height, 2 * half),
        pbc=False,
    )


def state_body(growth: MetalGrowth, state: Layers) -> ConvexBody:
    """Return the body of a state in the axes of its crystal, its first middle at the origin."""
    there = np.array(state) >= 0
    ends = np.array([ZONE, np.negative(ZONE)]) / np.sqrt(3)
    sides = FACETS[there] / np.linalg.norm(FACETS[there], axis=1, keepdims=True)
    edges = (np.array(state) + 0.5) * growth.spacings
    return ConvexBody(
        normals=np.concatenate([sides, ends]),
        offsets=np.array([*edges[there], *2 * [growth.thickness / 2]]),
    )


def growth_truth(growth: MetalGrowth, times: npt.ArrayLike, *, frame_time: float) -> xr.Dataset:
    """Return what is known of a growing particle.

    Parameters
    ----------
    growth : MetalGrowth
    times : array, (frames,)
        Middle of each frame, s.
    frame_time : float
        s.

    Returns
    -------
    xarray.Dataset
        ``edge`` (facet, frame; Å from the middle at the beginning, mean over the frame; NaN where
        there is no such facet), ``facet_length`` (the same), ``steady_edge`` (facet, frame; Å, as
        if there were no layers), ``angle`` (facet; ° of the normal from x towards y),
        ``switch_time`` (s), ``first_speed`` and ``second_speed`` (Å/s, the fastest of each front).
    """
    frames = frame_states(growth, times, frame_time=frame_time)
    counted = np.array(
        [np.sum([part * np.array(state) for state, part in one.items()], axis=0) for one in frames]
    ).T
    edge = np.where(counted < 0, np.nan, (counted + 0.5) * growth.spacings[:, None])
    length = facet_lengths(ANGLES, np.where(counted < 0, NOWHERE, edge))
    axes = ("facet", "frame")
    speeds = {
        f"{name}_speed": ((), max(getattr(s, name) for s in growth.stages), {"units": "Å/s"})
        for name in ("first", "second")
    }
    return xr.Dataset(
        {
            "edge": (axes, np.where(length > 0, edge, np.nan), {"units": "Å"}),
            "facet_length": (axes, length, {"units": "Å"}),
            "steady_edge": (axes, law(growth, times), {"units": "Å"}),
            "angle": ("facet", (ANGLES + growth.rotation) % 360, {"units": "°"}),
            "switch_time": ((), growth.switch_time, {"units": "s"}),
            **speeds,
        },
        coords={"facet": list(NAMES), "frame": ("frame", np.asarray(times), {"units": "s"})},
    )
