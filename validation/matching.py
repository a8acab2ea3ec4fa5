"""Which recovered column is which true one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

MATCH_RADIUS = 0.5
"""Å; less than half of the smallest distance between two columns of Li-rich oxide (1.3 Å)."""

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Match:
    """Matched pairs by index, and what was left over.

    ``expected`` counts the true columns that could be found: those in the interior the estimate
    covers. ``unmatched`` counts estimated columns without a true one.
    """

    estimate: Indices
    truth: Indices
    expected: int
    unmatched: int


def match_columns(estimate: xr.Dataset, truth: xr.Dataset, *, species: str | None = None) -> Match:
    """Match recovered to true columns, each at most once, within `MATCH_RADIUS`.

    Parameters
    ----------
    estimate, truth : xarray.Dataset
        ``x``, ``y`` (Å, scan frame) and ``species`` over dim ``column``; both may flag columns
        near the edge of the field as ``edge``, which are not scored.
    species : str, optional
        Only columns of this species on both sides.

    Returns
    -------
    Match
    """
    ours = _chosen(estimate, species)
    theirs = _chosen(truth, species)
    first, second = _assign(_positions(estimate, ours), _positions(truth, theirs))
    # A column next to the border of the scored field may lie inside it on one side only.
    everything = _all_positions(truth, species)
    lone = np.setdiff1d(np.arange(len(ours)), first)
    false = _without_neighbour(_positions(estimate, ours)[lone], everything)
    missed = np.setdiff1d(np.arange(len(theirs)), second)
    really_missed = _without_neighbour(
        _positions(truth, theirs)[missed], _all_positions(estimate, species)
    )
    return Match(
        estimate=ours[first],
        truth=theirs[second],
        expected=len(second) + really_missed,
        unmatched=false,
    )


def _chosen(columns: xr.Dataset, species: str | None) -> Indices:
    keep = np.ones(columns.sizes.get("column", 0), dtype=bool)
    if "edge" in columns:
        keep &= ~columns["edge"].values.astype(bool)
    if species is not None and "species" in columns:
        keep &= columns["species"].values == species
    return np.flatnonzero(keep)


def _positions(columns: xr.Dataset, index: Indices) -> npt.NDArray[np.float64]:
    if "x" not in columns:
        return np.empty((0, 2))
    return np.stack([columns["x"].values[index], columns["y"].values[index]], axis=-1)


def _all_positions(columns: xr.Dataset, species: str | None) -> npt.NDArray[np.float64]:
    return _positions(columns, _chosen(columns.drop_vars("edge", errors="ignore"), species))


def _without_neighbour(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> int:
    if not len(points):
        return 0
    if not len(others):
        return len(points)
    distance, _ = cKDTree(others).query(points)
    return int((distance > MATCH_RADIUS).sum())


def _assign(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]
) -> tuple[Indices, Indices]:
    if not len(ours) or not len(theirs):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    distance = np.hypot(*(ours[:, None] - theirs[None]).transpose(2, 0, 1))
    # Beyond the radius every pairing costs the same, so that it never displaces a good one.
    first, second = linear_sum_assignment(np.minimum(distance, MATCH_RADIUS * 10))
    good = distance[first, second] <= MATCH_RADIUS
    return first[good], second[good]
