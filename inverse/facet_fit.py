"""Outlines of a crystal in all frames of a movie, and how its columns show where they are there.

How strong the signals inside the crystal are follows from the frames themselves: outlines with one
strength for all columns give the strengths of columns well inside, these better outlines.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from echolith.inverse.facet_model import FacetModel
from echolith.inverse.facet_outline import inner_sums, outline
from echolith.inverse.facet_steps import stepped

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Signals = npt.NDArray[np.float32]

WIDTH = 10
"""Rows to each side in which a facet of the next frame is looked for; after a gap more ..."""
LONGEST = 4
"""... up to this many times."""
ROUNDS = 3
"""In which the facets of a frame are gone through."""
REFINED = 2
"""Times that outlines give strengths, and strengths outlines."""
SMOOTH = 8.0
"""Å; signals so near are averaged to find the crystal."""
DEPTH = 2.0
"""Rows from every edge to where a column's strength is that inside."""
FEWEST = 30
"""Columns inside that tell how strengths vary."""


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """Edges of all facets.

    Attributes
    ----------
    origin : array, (2,)
        One of the columns, x, y, Å.
    single, single_stds : array, (facets, frames)
        Distance of each edge from it, of that frame alone, Å; NaN: the frame shows no lattice.
    edges, stds : array, (facets, frames)
        The same of all frames together, in which rows come whole.
    held : array, (facets, frames)
        Part of the columns about an edge that is in the field.
    """

    origin: Array
    single: Array
    single_stds: Array
    edges: Array
    stds: Array
    held: Array


def fitted_outlines(
    signals: Signals, times: Array, known: Indices, *, model: FacetModel, first: int
) -> Outlines:
    """Fit the outlines of a movie's frames, each beginning with the one before.

    Parameters
    ----------
    signals : array of float32, (frames, columns)
        NaN where a column is not in the field.
    times : array, (frames,)
        s.
    known : array of int
        Frames that show the lattice.
    model : FacetModel
    first : int
        Frames that together give the outline to begin with.
    """
    early = signals[known[:first]]
    origin, strength, radius = _about(_mean(early), model.columns)
    columns = model.columns - origin
    rows = model.rows(columns)
    fit = partial(outline, rows=rows, shares=model.shares, layers=model.layers, angles=model.angles)
    means = np.full(len(columns), strength)
    begin = fit(
        _mean(early),
        means,
        start=radius / model.layers,
        scale=model.scale * len(early),
        width=int(radius / model.layers.min()),
        rounds=2 * ROUNDS,
        keep=False,
    )[0]
    gaps = np.rint(
        np.diff(times[known], prepend=-np.inf) / np.median(np.diff(times, append=np.inf))
    )
    gaps = np.clip(np.nan_to_num(gaps, nan=1), 1, LONGEST).astype(int)
    whole, spread = np.full((2, len(known), len(rows)), np.nan)
    for again in range(REFINED):
        seen, last = [], begin
        for at, n in enumerate(known):
            one = fit(
                signals[n].astype(float),
                means,
                start=whole[at] if again else last,
                scale=model.scale,
                width=WIDTH * (1 if again else int(gaps[at])),
                rounds=1 if again else ROUNDS,
                keep=bool(again),
            )
            seen.append(one)
            last = one[0]
        whole, spread = _stepped(seen, gaps)
        means = _inner_means(signals[known], columns, rows, whole, strength)
    alone = np.array([one[:3] for one in seen]).transpose(1, 2, 0)
    layers = model.layers[:, None]
    values = [(alone[0] + 0.5) * layers, alone[1] * layers]
    values += [(whole.T + 0.5) * layers, spread.T * layers, alone[2]]
    every = np.full((len(values), len(rows), len(times)), np.nan)
    every[:, :, known] = values
    names = ("single", "single_stds", "edges", "stds", "held")
    return Outlines(origin=origin, **dict(zip(names, every, strict=True)))


def _stepped(seen: list[Any], gaps: Indices) -> tuple[Array, Array]:
    """Return edges and their standard deviations from all frames together, (frames, facets)."""
    widest = max(one[3].shape[1] for one in seen)
    logs = np.array(
        [np.pad(one[3], ((0, 0), (0, widest - one[3].shape[1])), "edge") for one in seen]
    )
    lows, corners = (np.array([one[n] for one in seen]) for n in (4, 5))
    each = [stepped(logs[:, n], lows[:, n], corners[:, n], gaps) for n in range(logs.shape[1])]
    mean, std = np.array(each).transpose(1, 2, 0)
    return mean, std


def _about(mean: Array, columns: Array) -> tuple[Array, float, float]:
    """Return a column in the crystal's middle, the signal inside, and about the radius, Å."""
    tree = cKDTree(columns)
    near = tree.sparse_distance_matrix(tree, SMOOTH, output_type="coo_matrix").tocsr()
    near.data[:] = 1
    near.setdiag(1)
    smooth = near @ np.nan_to_num(mean) / near.sum(axis=1).A1
    inside = smooth > smooth.max() / 2
    origin = columns[tree.query(columns[inside].mean(axis=0))[1]]
    area = float(np.prod(np.ptp(columns, axis=0))) / len(columns)
    strength = float(smooth[smooth > 0.8 * smooth.max()].mean())
    return origin, strength, float(np.sqrt(inside.sum() * area / np.pi))


def _mean(signals: Signals) -> Array:
    """Return the means of columns; NaN where a column never is in the field."""
    count = np.isfinite(signals).sum(axis=0)
    return np.where(count, np.nansum(signals, axis=0) / np.maximum(count, 1), np.nan)


def _inner_means(
    signals: Signals, columns: Array, rows: Indices, edges: Array, strength: float
) -> Array:
    """Return the signal that every column has inside: a paraboloid over columns well inside."""
    sums, counts = inner_sums(signals, rows, edges, DEPTH)
    there = counts > 0
    if there.sum() < FEWEST:
        return np.full(len(columns), strength)
    x, y = columns.T / np.abs(columns[there]).max()
    terms = np.stack([np.ones_like(x), x, y, x**2, x * y, y**2], axis=1)
    weight = np.sqrt(counts[there])
    values = sums[there] / counts[there]
    found = np.linalg.lstsq(terms[there] * weight[:, None], values * weight, rcond=None)[0]
    return np.asarray(np.clip(terms @ found, values.mean() / 3, 3 * values.mean()))
