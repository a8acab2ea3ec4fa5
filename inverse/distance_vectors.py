"""The vectors that belong to the eight named distances, with their covariance.

With A, C and o (see `projected_lattice`) every named vector is ``n_A A + n_C C + n_o o``. They are
taken from where they stand: given vectors, single pairs, the mean lattice, or, where a table prints
lengths alone, the lattice that fits the lengths best.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]

COMBINATIONS: dict[str, tuple[int, int, int]] = {
    "m_m": (1, 0, 0),
    "o_o_mli": (1, 0, 0),
    "m_m_olio": (2, 1, 0),
    "o_o_li": (2, 1, -2),
    "m_m_li": (0, 1, 0),
    "o_o_2m": (-1, 0, 2),
    "o_o_2li": (1, 1, -2),
    "o_o_m": (0, 0, 2),
}
"""How often A, C and o go into each named vector."""

_SHAPE = np.array([1.0, -0.68, 1.95, 0.34, 0.45])
"""Start of the fit to lengths: A, Cx, Cy, ox, oy of a typical cell in units of A."""
_SINGULAR = 3e-3
"""Smallest singular value of the slopes, relative to the largest, that fixes a lattice: with the
five distances of most papers it is 1e-3, with M-M(Li) beside them 0.1."""


@dataclass(frozen=True, kw_only=True)
class DistanceVectors:
    """Vectors (distance, axis) in Å, their covariance (distance, axis, distance, axis) in Å².

    ``covariance`` is NaN for vectors without a stated error; ``source`` says what they are from.
    """

    names: tuple[str, ...]
    vectors: Array
    covariance: Array
    source: str


class LatticeFit(NamedTuple):
    """A, C, o (3, 2) in Å with A along x, and how far the lengths are from it."""

    lattice: Array
    chi_squared: float
    freedom: int


def known_names(distances: xr.Dataset) -> tuple[str, ...]:
    """Return which of the eight distances a dataset holds, in the order of printing.

    Raises
    ------
    BadInputError
        If there is none, or a length or its error is not a plausible number.
    """
    names = tuple(name for name in LONG_NAMES if name in distances)
    if not names:
        raise BadInputError(
            f"none of {', '.join(LONG_NAMES)} is given (but: {', '.join(map(str, distances))}); "
            "give what measure_distances returns, or a Dataset of lengths with these names"
        )
    for name in names:
        value, std = length_of(distances, name)
        if not np.isfinite(value) or value <= 0:
            raise BadInputError(f"{name} = {value:g} Å; expected a length above 0")
        if std < 0 or np.isinf(std):
            raise BadInputError(f"{name}_std = {std:g} Å; expected 0 or more")
    return names


def length_of(distances: xr.Dataset, name: str) -> tuple[float, float]:
    """Return a length and its standard deviation, NaN where none is stated (Å)."""
    for part in (name, f"{name}_std"):
        if part in distances and distances[part].attrs.get("units", "Å") != "Å":
            raise BadInputError(
                f"{part} is in {distances[part].attrs['units']}; expected Å; convert it"
            )
    std = float(distances[f"{name}_std"]) if f"{name}_std" in distances else float("nan")
    return float(distances[name]), std


def distance_vectors(distances: xr.Dataset) -> DistanceVectors:
    """Find the vector of every named distance.

    Parameters
    ----------
    distances : xarray.Dataset
        Lengths ``<name>`` (Å) with ``<name>_std``, and of the following the first there is:
        ``vector`` (distance, axis) with names as coordinate and, optionally, ``vector_covariance``
        (distance, axis, distance_, axis_); single pairs as `measure_distances` gives them;
        ``lattice``; nothing, then the lattice is fitted to the lengths.

    Returns
    -------
    DistanceVectors
        Directions from there, lengths as stated (in mode ``line``, where stated lengths are
        projections, those of the vectors). Covariances of single vectors are those of their pairs,
        else ``<name>_std`` in both directions; different vectors count as independent unless
        ``vector_covariance`` says more.

    Raises
    ------
    BadInputError
        If the lengths do not fix a lattice.
    """
    names = known_names(distances)
    if "vector" in distances:
        vectors, source = _given(distances, names), "vector"
    elif "pair_name" in distances and "pair_x" in distances:
        vectors, source = _pair_means(distances, names), "pairs"
    elif "lattice" in distances:
        vectors, source = _combined(distances["lattice"].values, names), "lattice"
    else:
        vectors, source = _combined(fit_lattice(distances).lattice, names), "lengths"
    covariance = _covariance(distances, names, source)
    if distances.attrs.get("mode") != "line":
        stated = np.array([length_of(distances, name)[0] for name in names])
        vectors = vectors * (stated / np.hypot(*vectors.T))[:, None]
    return DistanceVectors(names=names, vectors=vectors, covariance=covariance, source=source)


def fit_lattice(distances: xr.Dataset) -> LatticeFit:
    """Fit A, C and o to lengths by least squares, weighted by ``<name>_std`` where all have one.

    ``chi_squared`` over ``freedom`` (lengths less five) tells whether the lengths close within
    their errors; it is NaN without errors.

    Raises
    ------
    BadInputError
        If the lengths do not fix the five parameters.
    """
    from scipy.optimize import least_squares

    names = known_names(distances)
    length, std = np.array([length_of(distances, name) for name in names]).T
    weighted = bool((std > 0).all())
    scale = 1 / std if weighted else np.ones(len(names))
    table = np.array([COMBINATIONS[name] for name in names], dtype=float)
    unit = length[0] / np.hypot(*(table[0] @ _lattice(_SHAPE)))

    def residual(p: Array) -> Array:
        return np.asarray(scale * (np.hypot(*(table @ _lattice(p)).T) - length))

    too_few = len(names) < 5
    fit = None if too_few else least_squares(residual, unit * _SHAPE, x_scale=unit)
    plain = None if fit is None else np.linalg.svd(fit.jac / scale[:, None], compute_uv=False)
    if fit is None or plain is None or plain[-1] < _SINGULAR * plain[0]:
        raise BadInputError(
            f"the lengths of {', '.join(LONG_NAMES[n] for n in names)} do not fix the lattice "
            "(A, C, o: five numbers); give all eight, or five that include M-M(Li); or give "
            "vectors (lattice, pairs) beside the lengths"
        )
    chi_squared = 2 * float(fit.cost) if weighted else float("nan")
    return LatticeFit(_lattice(fit.x), chi_squared, len(names) - 5)


def _lattice(p: Array) -> Array:
    return np.array([[p[0], 0.0], [p[1], p[2]], [p[3], p[4]]])


def _combined(lattice: Array, names: tuple[str, ...]) -> Array:
    times = np.array([COMBINATIONS[name] for name in names], dtype=float)
    return np.asarray(times @ lattice)


def _given(distances: xr.Dataset, names: tuple[str, ...]) -> Array:
    vector = distances["vector"]
    lacking = [n for n in names if n not in vector.coords["distance"].values.tolist()]
    if lacking:
        raise BadInputError(f"vector lacks {', '.join(lacking)}; give one for every length")
    return np.asarray(vector.sel(distance=list(names)).values, dtype=float)


def _pairs_of(distances: xr.Dataset, name: str) -> Array:
    mine = distances["pair_name"].values == name
    pairs = np.stack([distances["pair_x"].values[mine], distances["pair_y"].values[mine]], axis=-1)
    if not len(pairs):
        raise BadInputError(f"{name} is stated but there are no pairs of it; give them or drop it")
    return np.asarray(pairs, dtype=float)


def _pair_means(distances: xr.Dataset, names: tuple[str, ...]) -> Array:
    return np.stack([_pairs_of(distances, name).mean(axis=0) for name in names])


def _covariance(distances: xr.Dataset, names: tuple[str, ...], source: str) -> Array:
    if "vector_covariance" in distances:
        chosen = distances["vector_covariance"].sel(distance=list(names), distance_=list(names))
        ordered = chosen.transpose("distance", "axis", "distance_", "axis_")
        return np.asarray(ordered.values, dtype=np.float64)
    n = len(names)
    covariance = np.zeros((n, 2, n, 2))
    for k, name in enumerate(names):
        _, std = length_of(distances, name)
        covariance[k, :, k, :] = std**2 * np.eye(2)
        scatter = float(distances.get(f"{name}_scatter", np.nan))
        if source == "pairs" and scatter > 0:
            # Standard error over scatter tells how many independent pairs there are.
            spread = np.cov(_pairs_of(distances, name).T)
            covariance[k, :, k, :] = spread * (std / scatter) ** 2
    return covariance
