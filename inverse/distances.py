"""The eight named distances of Li-rich oxide, pair by pair and as means.

With A, C, F = C + 2 A, D = 2 o, E = F - D, B = D - A, G = E - A (see `projected_lattice`): D across
an M column, E across a Li column, B across the middle of two M, G across the middle of two Li.
"""

import warnings
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError, BadInputWarning
from echolith.inverse.projected_lattice import (
    TOLERANCE,
    ProjectedLattice,
    find_lattice,
    sublattices,
)

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_ENDS = {
    "m_m": [("M", "M")],
    "o_o_mli": [("O+", "O+"), ("O-", "O-")],
    "m_m_olio": [("M", "M")],
    "o_o_li": [("O+", "O-")],
    "m_m_li": [("M", "M")],
    "o_o_2m": [("O-", "O+")],
    "o_o_2li": [("O+", "O-")],
    "o_o_m": [("O-", "O+")],
}
_LINES = {"o_o_li": "m_m_olio", "o_o_m": "m_m_olio", "o_o_2m": "m_m_li", "o_o_2li": "m_m_li"}


class Mode(Enum):
    """How a distance is read."""

    PLANE = "plane"
    """Length of the vector in the image plane."""
    LINE = "line"
    """Length along the line of M columns the pair lies near (M-M(OLiO) for D and E, M-M(Li) for
    B and G), as line profiles give it: 0.3 to 0.4 pm shorter for D and E."""


def measure_distances(
    columns: xr.Dataset, *, mode: Mode = Mode.PLANE, include_edges: bool = False
) -> xr.Dataset:
    """Measure the eight named distances.

    Parameters
    ----------
    columns : xarray.Dataset
        ``x``, ``y`` (Å) and ``species`` over dim ``column``; ``xy_covariance`` and ``edge`` are
        used where present.
    mode : Mode
    include_edges : bool
        Count pairs with a column flagged ``edge`` too.

    Returns
    -------
    xarray.Dataset
        For each name of `LONG_NAMES` with two pairs or more, in Å: the mean ``<name>``;
        ``<name>_std``, its standard error from the scatter of the pairs (pairs share columns: an
        error of one column that cancels in the sum is not counted); ``<name>_scatter``, the
        standard deviation of single pairs; and ``<name>_fit_std``, the standard error that follows
        from ``xy_covariance``, where present. Single pairs over dim ``pair``: ``pair_name``,
        ``pair_first``, ``pair_second`` (indices of columns), ``pair_distance``, ``pair_x`` and
        ``pair_y`` (the vector). ``lattice`` (lattice_vector A, C, o; lattice_axis x, y), means
        over all columns.

    Warns
    -----
    BadInputWarning
        Names the distances left out because the field holds fewer than two of their pairs.

    Raises
    ------
    BadInputError
        If there is no lattice, or no distance has two pairs.
    """
    missing = [name for name in ("x", "y", "species") if name not in columns]
    if missing:
        raise BadInputError(
            f"columns lack {', '.join(missing)}; give what find_columns or fit_columns returns"
        )
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1).astype(float)
    if not np.isfinite(xy).all():
        raise BadInputError(f"{int((~np.isfinite(xy)).any(axis=1).sum())} columns are not finite")
    lattice = find_lattice(columns)
    groups = sublattices(columns, lattice)
    if "edge" in columns and not include_edges:
        groups = np.where(columns["edge"].values.astype(bool), "", groups)
    covariance = columns["xy_covariance"].values if "xy_covariance" in columns else None
    found = {name: _pairs(name, xy, groups, lattice, mode) for name in LONG_NAMES}
    _check(found, groups)
    found = {name: pairs for name, pairs in found.items() if len(pairs.first) >= 2}
    variables: dict[str, Any] = {}
    for name, pairs in found.items():
        for suffix, value in _summary(pairs, len(xy), covariance).items():
            attrs = {"units": "Å", "long_name": LONG_NAMES[name] + suffix.replace("_", " ")}
            variables[name + suffix] = ((), value, attrs)
    variables |= _single(found)
    vectors = np.stack([lattice.a, lattice.c, lattice.o])
    variables["lattice"] = (("lattice_vector", "lattice_axis"), vectors, {"units": "Å"})
    coords = {"lattice_vector": ["A", "C", "o"], "lattice_axis": ["x", "y"]}
    return xr.Dataset(variables, coords=coords, attrs={"mode": mode.value})


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    first: Indices
    second: Indices
    vector: Array
    unit: Array
    length: Array


def _pairs(
    name: str, xy: Array, groups: npt.NDArray[np.str_], lattice: ProjectedLattice, mode: Mode
) -> _Pairs:
    expected = lattice.vectors[name]
    first, second = [], []
    for start, end in _ENDS[name]:
        starts, ends = np.flatnonzero(groups == start), np.flatnonzero(groups == end)
        if not len(starts) or not len(ends):
            continue
        distance, nearest = cKDTree(xy[ends]).query(xy[starts] + expected)
        good = distance < TOLERANCE
        first.append(starts[good])
        second.append(ends[nearest[good]])
    one = np.concatenate(first) if first else np.empty(0, dtype=np.intp)
    two = np.concatenate(second) if second else np.empty(0, dtype=np.intp)
    vector = xy[two] - xy[one]
    length = np.hypot(*vector.T)
    unit = vector / length[:, None]
    if mode is Mode.LINE and name in _LINES:
        line = lattice.vectors[_LINES[name]]
        unit = np.broadcast_to(line / np.hypot(*line), vector.shape)
        length = (vector * unit).sum(axis=1)
    return _Pairs(first=one, second=two, vector=vector, unit=unit, length=length)


def _check(found: dict[str, _Pairs], groups: npt.NDArray[np.str_]) -> None:
    lacking = [LONG_NAMES[name] for name, pairs in found.items() if len(pairs.first) < 2]
    if lacking:
        counts = ", ".join(f"{int((groups == g).sum())} {g}" for g in ("M", "Li", "O+", "O-"))
        message = (
            f"fewer than two pairs for {', '.join(lacking)} among the columns away from the border "
            f"({counts}); scan a larger field, lower the margin, or pass include_edges=True"
        )
        if len(lacking) == len(found):
            raise BadInputError(message)
        warnings.warn(message, BadInputWarning, stacklevel=3)


def _summary(pairs: _Pairs, count: int, covariance: Array | None) -> dict[str, float]:
    """Mean, its standard errors, and the scatter."""
    n = len(pairs.length)
    scatter = float(pairs.length.std(ddof=1))
    # d mean / d position of every column.
    slope = np.zeros((count, 2))
    np.add.at(slope, pairs.second, pairs.unit / n)
    np.add.at(slope, pairs.first, -pairs.unit / n)
    # A pair's variance is that of two columns along the line joining them.
    result = {
        "": float(pairs.length.mean()),
        "_std": scatter * float(np.sqrt((slope**2).sum() / 2)),
        "_scatter": scatter,
    }
    if covariance is not None:
        used = np.unique(np.concatenate([pairs.first, pairs.second]))
        variance = np.einsum("ki,kij,kj->", slope[used], covariance[used], slope[used])
        result["_fit_std"] = float(np.sqrt(variance))
    return result


def _single(found: dict[str, _Pairs]) -> dict[str, Any]:
    def joined(part: str) -> Array:
        return np.concatenate([getattr(pairs, part) for pairs in found.values()])

    names = np.repeat(list(found), [len(pairs.first) for pairs in found.values()])
    vector = joined("vector")
    return {
        "pair_name": ("pair", names, {"units": "1"}),
        "pair_first": ("pair", joined("first"), {"units": "1"}),
        "pair_second": ("pair", joined("second"), {"units": "1"}),
        "pair_distance": ("pair", joined("length"), {"units": "Å"}),
        "pair_x": ("pair", vector[:, 0], {"units": "Å"}),
        "pair_y": ("pair", vector[:, 1], {"units": "Å"}),
    }
