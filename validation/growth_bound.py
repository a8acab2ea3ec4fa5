"""What a movie of a growing particle tells: edges of facets, speeds, and when growth switches.

A row of columns that is there in part changes a frame by that part of what a whole row changes. So
the slope of a frame with an edge is the difference of the frames with and without one more row,
over their distance. Places of the lattice and all else of the image are known, all edges of a frame
unknown. Speeds and times of change then follow from the edges of one facet, as if rows filled
steadily: that layers come whole adds to what is not known.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import block_diag

from echolith.forward.growth_movie import GrowthMovie, state_counts
from echolith.forward.hrtem import frame_times
from echolith.protocols import Noise
from echolith.structures.metal_growth import (
    FIRST,
    NAMES,
    SECOND,
    Layers,
    MetalGrowth,
    growth_truth,
    layers,
)
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]

STATES = 4
"""In which the information of a frame is taken; between them the nearest in time holds."""
SHORTEST = 5.0
"""Å; shorter facets are left out."""
MOMENTS = 16
"""Of a frame, over which a law is averaged."""
STEP = 1e-4
"""Of a parameter, Å, Å/s or s."""


def growth_information(growth: MetalGrowth, *, taken: GrowthMovie, noise: Noise) -> Information:
    """Return the information of a movie on edges (Å), speeds (Å/s) and the switch (s).

    Parameters
    ----------
    growth : MetalGrowth
    taken : GrowthMovie
    noise : Noise
    """
    times = frame_times(taken.acquisition)
    frame_time = taken.acquisition.frame_time
    truth = growth_truth(growth, times, frame_time=frame_time)
    looked = np.unique(np.linspace(0, len(times) - 1, STATES).round().astype(int))
    known = [_edge_information(growth, taken, noise, truth.isel(frame=n)) for n in looked]
    nearest = np.abs(np.arange(len(times))[:, None] - looked).argmin(axis=1)
    frames = [known[n] for n in nearest]
    names = [
        f"{facet}, frame {n}"
        for n, (facets, _) in enumerate(frames)
        for facet in np.array(NAMES)[facets]
    ]
    blocks = [matrix for _, matrix in frames]
    edges = len(names)
    gradients = {"edge": (0, edges)}
    for front, facet in (("first", FIRST), ("second", SECOND)):
        weight = np.array([_alone(facets, matrix, facet) for facets, matrix in frames])
        law = _Front(growth, front)
        slopes = law.slopes(times, frame_time)
        blocks.append((slopes.T * weight) @ slopes)
        at = len(names)
        gradients[f"{front}_speed"] = (at + 1 + law.fastest, 1)
        if front == "second" and law.fastest:
            gradients["switch_time"] = (at + 1 + len(law.speeds) + law.fastest - 1, 1)
        names += [f"{front} {name}" for name in law.names]
    unit = np.eye(len(names))
    return Information(
        names=tuple(names),
        matrix=block_diag(*blocks),
        gradients={name: unit[at : at + many] for name, (at, many) in gradients.items()},
        units={"edge": "Å", "first_speed": "Å/s", "second_speed": "Å/s", "switch_time": "s"},
        notes=(
            "Rows that fill steadily, edges of every frame unknown, all else known; speeds and "
            "times of change are not told in advance, nor used for edges.",
        ),
    )


def _edge_information(
    growth: MetalGrowth, taken: GrowthMovie, noise: Noise, truth: xr.Dataset
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the facets that one frame shows, and the information on their edges."""
    state = layers(growth, [float(truth["frame"])])[:, 0]
    facets = np.flatnonzero(truth["facet_length"].values > SHORTEST)
    mean = state_counts(growth, tuple(state.tolist()), taken=taken).ravel().astype(float)

    def with_row(facet: int) -> Array:
        more: Layers = tuple((state + (np.arange(len(state)) == facet)).tolist())
        return state_counts(growth, more, taken=taken).ravel().astype(float)

    slopes = [(with_row(n) - mean) / growth.spacings[n] for n in facets.tolist()]
    return facets, noise.information(mean, np.stack(slopes, axis=1))


def _alone(facets: npt.NDArray[np.int64], matrix: Array, facet: int) -> float:
    """Return the information on one edge where the others are unknown; 0 where there is none."""
    at = np.flatnonzero(facets == facet)
    return float(1 / np.linalg.inv(matrix)[at[0], at[0]]) if len(at) else 0.0


class _Front:
    """The law of one front: where it is first, the speed of every piece, and when they change."""

    def __init__(self, growth: MetalGrowth, name: str) -> None:
        speeds = np.array([*(getattr(stage, name) for stage in growth.stages), 0.0])
        ends = np.cumsum([stage.duration for stage in growth.stages])
        changed = np.flatnonzero(np.diff(speeds))
        self.changes = ends[changed]
        self.speeds = speeds[np.append(changed, len(speeds) - 1)]
        self.fastest = int(self.speeds.argmax())
        self.names = (
            "place",
            *(f"speed {n}" for n in range(len(self.speeds))),
            *(f"change {n}" for n in range(len(self.changes))),
        )

    def slopes(self, times: Array, frame_time: float) -> Array:
        """Return the derivatives of the places in frames, (frames, parameters)."""
        moments = times[:, None] + frame_time * ((np.arange(MOMENTS) + 0.5) / MOMENTS - 0.5)
        vector = np.concatenate([[0.0], self.speeds, self.changes])
        pieces = len(self.speeds)

        def place(values: Array) -> Array:
            knots = np.concatenate([[0.0], values[1 + pieces :], [np.inf]])
            gone = np.clip(moments[..., None], knots[:-1], knots[1:]) - knots[:-1]
            return np.asarray(values[0] + (gone @ values[1 : 1 + pieces]).mean(axis=1))

        return _differences(place, vector)


def _differences(function: Callable[[Array], Array], at: Array) -> Array:
    steps = STEP * np.eye(len(at))
    return np.stack([(function(at + s) - function(at - s)) / (2 * STEP) for s in steps], axis=1)
