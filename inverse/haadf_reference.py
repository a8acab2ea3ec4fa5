"""Reference M-M distances from fast annular dark-field frames, for drift calibration.

The dark field shows M columns only. Distances are lengths of mean vectors: the noise of columns
lengthens the mean of lengths, not the length of the mean.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.inverse.haadf_columns import BrightColumns, fit_bright_columns
from echolith.inverse.projected_lattice import TOLERANCE, metal_lattice
from echolith.inverse.registration import RegistrationOptions, register_frames

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def haadf_reference(
    measurement: xr.Dataset,
    *,
    name: str = "haadf",
    registration: RegistrationOptions | None = None,
    columns: BrightColumns | None = None,
) -> xr.Dataset:
    """Register frames, fit the M columns and measure the three M-M distances.

    Parameters
    ----------
    measurement : xarray.Dataset
        Counts ``<name>`` (frame, scan_y, scan_x); see `register_frames`.
    name : str
    registration : RegistrationOptions, optional
    columns : BrightColumns, optional

    Returns
    -------
    xarray.Dataset
        What `register_frames`, `fit_bright_columns` and `metal_distances` return; without
        distances where another shift between frames fits as well, for a wrong one strains them
        all. Then ``attrs["undetermined"]`` names them: say by ``registration`` how far the
        specimen can have drifted from one frame to the next.
    """
    registered = register_frames(measurement, name=name, options=registration)
    found = fit_bright_columns(measurement, registered, name=name, options=columns)
    if registered["shift_ambiguous"].any():
        named = (
            "M-M distances (m_m, m_m_olio, m_m_li): more than one shift between frames fits, and a "
            "lattice vector too much in every frame strains all of them; give the largest drift "
            "from frame to frame as largest_shift, below half a lattice vector (1.2 Å)"
        )
        undetermined = [*registered.attrs["undetermined"], named]
        merged = xr.merge([registered, found.drop_vars("weight", errors="ignore")])
        return merged.assign_attrs(registered.attrs | {"undetermined": undetermined})
    strain = np.nan_to_num(registered["strain_std"].values)
    distances = metal_distances(found, strain_std=strain)
    attrs = registered.attrs | distances.attrs
    found = found.drop_vars("weight", errors="ignore")
    merged = xr.merge([registered, found, distances], combine_attrs="drop_conflicts")
    return merged.assign_attrs(attrs)


def metal_distances(columns: xr.Dataset, *, strain_std: npt.ArrayLike = (0.0, 0.0)) -> xr.Dataset:
    """Measure M-M, M-M(OLiO) and M-M(Li) on M columns alone.

    Parameters
    ----------
    columns : xarray.Dataset
        ``x``, ``y`` (Å), ``species`` and, where known, ``edge`` over dim ``column``.
    strain_std : pair of float
        Standard deviations of a displacement along x and y per Å along y, which all columns share.

    Returns
    -------
    xarray.Dataset
        ``m_m``, ``m_m_olio``, ``m_m_li`` (Å) with ``_std``: of the mean of pairs, from their
        scatter (a column that two pairs share cancels), and of the strain. ``vector`` (distance,
        axis): mean vectors. ``distance_covariance`` (distance, distance_) in Å²: distances share
        columns and strain. ``metal_a``, ``metal_c`` (axis): lattice vectors.

    Raises
    ------
    BadInputError
        If M columns are too few or form no lattice, or a distance has fewer than two pairs.
    """
    metal = columns["species"].values == "M"
    if "edge" in columns:
        metal &= ~columns["edge"].values.astype(bool)
    xy = np.stack([columns["x"].values[metal], columns["y"].values[metal]], axis=-1)
    _, a, c = metal_lattice(xy)
    named = {"m_m": a, "m_m_olio": c + 2 * a, "m_m_li": c}
    weights, lengths, vectors, units, scatter = [], [], [], [], []
    for name, expected in named.items():
        first, second = _pairs(xy, expected)
        if len(first) < 2:
            raise BadInputError(
                f"{len(first)} pairs for {LONG_NAMES[name]} among {len(xy)} M columns away from "
                "the border; expected 2 or more; scan a larger field or lower the margin"
            )
        pairs = xy[second] - xy[first]
        vector = pairs.mean(axis=0)
        unit = vector / np.hypot(*vector)
        slope = np.zeros(len(xy))
        np.add.at(slope, second, 1 / len(first))
        np.add.at(slope, first, -1 / len(first))
        along = pairs @ unit
        # A pair's variance is that of two columns.
        scatter.append(float(along.var(ddof=1)) / 2)
        weights.append(slope)
        vectors.append(vector)
        units.append(unit)
        lengths.append(float(np.hypot(*vector)))
    covariance = _covariance(np.array(weights), np.array(units), np.array(scatter))
    strain = np.array(vectors)[:, 1, None] * np.array(units) * np.asarray(strain_std)
    covariance = covariance + strain @ strain.T
    names = list(named)
    result = xr.Dataset(
        {
            "vector": (("distance", "axis"), np.array(vectors), {"units": "Å"}),
            "distance_covariance": (("distance", "distance_"), covariance, {"units": "Å²"}),
            "metal_a": ("axis", a, {"units": "Å"}),
            "metal_c": ("axis", c, {"units": "Å"}),
        },
        coords={"distance": names, "distance_": names, "axis": ["x", "y"]},
    )
    for name, length, variance in zip(names, lengths, np.diag(covariance), strict=True):
        result[name] = ((), length, {"units": "Å", "long_name": LONG_NAMES[name]})
        result[f"{name}_std"] = ((), float(np.sqrt(variance)), {"units": "Å"})
    return result


def _pairs(xy: Array, expected: Array) -> tuple[Indices, Indices]:
    distance, nearest = cKDTree(xy).query(xy + expected)
    first = np.flatnonzero(distance < TOLERANCE)
    return first, np.asarray(nearest[first], dtype=np.intp)


def _covariance(weights: Array, units: Array, variance: Array) -> Array:
    """Covariance of mean lengths whose columns have independent errors of the size of the scatter.

    Two distances take in a column's error along directions of their own.
    """
    size = np.sqrt(np.outer(variance, variance))
    return np.asarray(weights @ weights.T * (units @ units.T) * size)
