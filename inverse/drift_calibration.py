"""Drift calibration of distances read from a slow scan, by M-M distances of a fast one.

A slow 4D-STEM scan drifts, fast annular dark-field frames hardly do. Both show the M columns: what
the drift does to the M-M distances is taken out of all others, either by one ratio for each group
of nearly parallel distances, as published, or by the one affine distortion that three M-M distances
fix.

References
----------
Song et al., Joule 6 (2022), supplemental tables S1-S3, S8-S10 (scalar).
"""

from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan
from echolith.inverse.distance_vectors import distance_vectors, known_names, length_of
from echolith.inverse.scan_raster import ScanRaster

Array = npt.NDArray[np.float64]

GROUPS: dict[str, tuple[str, ...]] = {
    "m_m": ("m_m", "o_o_mli"),
    "m_m_olio": ("m_m_olio", "o_o_li", "o_o_m"),
    "m_m_li": ("m_m_li", "o_o_2m", "o_o_2li"),
}
"""The M-M distance by which each distance is calibrated: the one nearly parallel to it."""

LARGEST_DRIFT = 1.5
"""Ratio of a length to its reference beyond which they are not the same length, or not in the same
unit."""
_DEPENDENT = 1e-6


class ErrorRule(Enum):
    """How errors of several inputs add up."""

    LINEAR = "linear"
    """Sum of magnitudes, as published: an upper limit, whatever the correlations."""
    QUADRATURE = "quadrature"
    """Root of the sum of squares, with covariances where given: the standard deviation."""


def calibrate_scalar(
    distances: xr.Dataset, reference: xr.Dataset, *, errors: ErrorRule = ErrorRule.QUADRATURE
) -> xr.Dataset:
    """Multiply every distance by reference over measured length of its group's M-M distance.

    ``calibrated = measured * reference_MM / measured_MM``. Errors, linear as published:
    ``calibrated * (e_ref/ref + e_MM/MM + e/measured)``, for M-M distances themselves too, where
    ``e_MM`` is so counted twice; in quadrature the root of the sum of squares, where for an M-M
    distance, which becomes its reference, the reference's error alone is left.

    Parameters
    ----------
    distances : xarray.Dataset
        Measured ``<name>`` (Å) of the eight distances or some of them, with ``<name>_std``;
        the M-M distance of every group that is asked for.
    reference : xarray.Dataset
        ``m_m``, ``m_m_olio``, ``m_m_li`` (Å) with ``<name>_std``, free of drift.
    errors : ErrorRule

    Returns
    -------
    xarray.Dataset
        For each distance, in Å: ``<name>`` and, where all errors that go in are stated,
        ``<name>_std``. ``ratio`` and ``ratio_std`` (group). ``distance_covariance`` (distance,
        distance_) in Å² in quadrature: distances of one group share their ratio's error.

    Raises
    ------
    BadInputError
        If a reference or an M-M distance is missing or implausible.

    Examples
    --------
    >>> lengths = {"m_m_olio": 6.5108, "m_m_olio_std": 0.0199, "o_o_li": 3.3538}
    >>> reference = xr.Dataset({"m_m_olio": 5.9874, "m_m_olio_std": 0.00601})
    >>> float(calibrate_scalar(xr.Dataset(lengths), reference)["o_o_li"].round(3))
    3.084
    """
    names = known_names(distances)
    groups = [group for group in GROUPS if set(GROUPS[group]) & set(names)]
    _check_reference(distances, reference, groups)
    lengths = {name: length_of(distances, name) for name in names}
    target = {group: length_of(reference, group) for group in groups}
    home = [next(g for g in GROUPS if name in GROUPS[g]) for name in names]
    value = np.array(
        [
            lengths[name][0] * target[group][0] / lengths[group][0]
            for name, group in zip(names, home, strict=True)
        ]
    )
    # Relative slopes to the measured lengths and the references: calibrated = value exp(slope dx).
    own = np.array([[1.0 * (name == other) for other in names] for name in names])
    metal = np.array([[1.0 * (group == other) for other in names] for group in home])
    anchor = np.array([[1.0 * (group == other) for other in groups] for group in home])
    relative = np.array([lengths[name][1] / lengths[name][0] for name in names])
    relative_reference = np.array([target[group][1] / target[group][0] for group in groups])
    if errors is ErrorRule.LINEAR:
        std = value * (_sum(own + metal, relative) + _sum(anchor, relative_reference))
        covariance = None
    else:
        size = np.array([lengths[name][0] for name in names])
        first = _stated(distances, names, relative * size) / np.outer(size, size)
        size = np.array([target[group][0] for group in groups])
        second = _stated(reference, groups, relative_reference * size) / np.outer(size, size)
        covariance = _propagated(own - metal, first) + _propagated(anchor, second)
        covariance = covariance * np.outer(value, value)
        std = np.sqrt(np.diag(covariance))
    result = _described(names, value, std, covariance, errors)
    ratio = np.array([target[g][0] / lengths[g][0] for g in groups])
    both = np.array([[relative[names.index(g)], target[g][1] / target[g][0]] for g in groups])
    both = both.sum(axis=1) if errors is ErrorRule.LINEAR else np.hypot(*both.T)
    return result.assign_coords(group=groups).assign(
        ratio=("group", ratio, {"units": "1"}), ratio_std=("group", ratio * both, {"units": "1"})
    )


def calibrate_affine(
    distances: xr.Dataset, reference: xr.Dataset, *, errors: ErrorRule = ErrorRule.QUADRATURE
) -> xr.Dataset:
    """Undo the affine distortion that gives all three M-M distances their reference lengths.

    The symmetric metric g with ``v' g v = L_ref²`` for the three M-M vectors v is solved for; every
    distance is then ``L = sqrt(v' g v)``. Without the bias of 1 to 3 pm that the scalar ratio has
    where a distance is not parallel to its group's M-M distance.

    Parameters
    ----------
    distances : xarray.Dataset
        Measured lengths, and where known vectors; see `distance_vectors`.
    reference : xarray.Dataset
        ``m_m``, ``m_m_olio``, ``m_m_li`` (Å) with ``<name>_std``, and ``distance_covariance``
        (distance, distance_) where known.
    errors : ErrorRule

    Returns
    -------
    xarray.Dataset
        ``<name>``, ``<name>_std``, ``distance_covariance`` as for `calibrate_scalar`, and
        ``metric`` (axis, axis_), 1 without drift.

    Raises
    ------
    BadInputError
        If a reference is missing, the M-M vectors are fewer than three or not independent, or no
        affine distortion gives them the reference lengths.
    """
    known = distance_vectors(distances)
    lacking = [LONG_NAMES[g] for g in GROUPS if g not in known.names]
    if lacking:
        raise BadInputError(
            f"{3 - len(lacking)} of three M-M distances measured ({', '.join(lacking)} missing); "
            "an affine distortion has three numbers; measure a larger field or use calibrate_scalar"
        )
    _check_reference(distances, reference, list(GROUPS))
    v, target = known.vectors, np.array([length_of(reference, g) for g in GROUPS])
    metals = [known.names.index(g) for g in GROUPS]
    rows = np.stack([v[:, 0] ** 2, 2 * v[:, 0] * v[:, 1], v[:, 1] ** 2], axis=1)
    inverse = _inverse(rows[metals])
    xx, xy, yy = inverse @ target[:, 0] ** 2
    metric = np.array([[xx, xy], [xy, yy]])
    if xx <= 0 or xx * yy <= xy**2:
        raise BadInputError(
            f"no affine distortion turns M-M lengths {np.hypot(*v[metals].T).round(3)} Å into the "
            f"reference {target[:, 0].round(3)} Å; check that both are of the same specimen"
        )
    length = np.sqrt(rows @ (inverse @ target[:, 0] ** 2))
    # dL_k = (g v_k).dv_k / L_k + sum_i s_ki [l_i dl_i - (g v_i).dv_i] with s = rows inverse / L.
    pull = v @ metric
    share = rows @ inverse / length[:, None]
    n = len(v)
    slope = np.zeros((n, n, 2))
    slope[np.arange(n), np.arange(n)] = pull / length[:, None]
    slope[:, metals] -= share[:, :, None] * pull[metals]
    anchor = share * target[:, 0]
    covariance = None
    if errors is ErrorRule.LINEAR:
        along = np.sqrt(np.einsum("kiki->ki", known.covariance))
        std = _sum(np.abs(slope).reshape(n, -1), along.ravel())
        std = std + _sum(np.abs(anchor), target[:, 1])
    else:
        given = known.covariance.reshape(2 * n, 2 * n)
        covariance = _propagated(slope.reshape(n, -1), given)
        covariance = covariance + _propagated(anchor, _stated(reference, [*GROUPS], target[:, 1]))
        std = np.sqrt(np.diag(covariance))
    result = _described(known.names, length, std, covariance, errors)
    return result.assign(metric=(("axis", "axis_"), metric, {"units": "1"})).assign_attrs(
        vectors=known.source
    )


def drift_raster(calibrated: xr.Dataset, *, scan: Scan) -> ScanRaster:
    """Return the raster of a slow scan from the drift that `calibrate_affine` found.

    A metric tells a distortion up to a turn. Drift hardly turns a line, which takes a fraction of a
    second: the turn is such that lines stay along x. Then ``F' F = g`` has one solution,
    ``F = [[a, b], [0, d]]``, the Cholesky factor of g.

    Parameters
    ----------
    calibrated : xarray.Dataset
        From `calibrate_affine`, of distances whose vectors are in the scan frame: measured pairs,
        not printed lengths.
    scan : Scan
        As it was meant.

    Raises
    ------
    BadInputError
        If there is no metric, or its frame is not the scan's.
    """
    if "metric" not in calibrated:
        raise BadInputError(
            "the distances hold no 'metric' of an affine drift; give what calibrate_affine returns"
        )
    if calibrated.attrs.get("vectors") == "lengths":
        raise BadInputError(
            "the metric is from lengths alone, which do not tell how the lattice lies in the scan; "
            "calibrate what measure_distances returns, or give vectors beside the lengths"
        )
    stretch = np.linalg.cholesky(np.asarray(calibrated["metric"].values, dtype=float)).T
    return ScanRaster.of(scan, strain=stretch - np.eye(2))


def _inverse(rows: Array) -> Array:
    scaled = rows / np.linalg.norm(rows, axis=1)[:, None]
    if np.linalg.svd(scaled, compute_uv=False)[-1] < _DEPENDENT:
        raise BadInputError(
            "fewer than three independent M-M vectors: two of M-M, M-M(OLiO), M-M(Li) are "
            "parallel; check the vectors, or use calibrate_scalar"
        )
    return np.asarray(np.linalg.inv(rows), dtype=np.float64)


def _check_reference(distances: xr.Dataset, reference: xr.Dataset, groups: list[str]) -> None:
    for group in groups:
        for what, data in (("reference", reference), ("measured distances", distances)):
            if group not in data:
                raise BadInputError(
                    f"the {what} lack {group} ({LONG_NAMES[group]}), by which "
                    f"{', '.join(LONG_NAMES[n] for n in GROUPS[group])} are calibrated; give it, "
                    "or leave these distances out"
                )
        known_names(reference[[group, *{f"{group}_std"} & set(reference)]])
        ratio = length_of(reference, group)[0] / length_of(distances, group)[0]
        if not 1 / LARGEST_DRIFT < ratio < LARGEST_DRIFT:
            raise BadInputError(
                f"reference {group} is {ratio:.3g} times the measured one; expected "
                f"{1 / LARGEST_DRIFT:.2g} to {LARGEST_DRIFT:g}; give both in Å"
            )


def _stated(data: xr.Dataset, names: "list[str] | tuple[str, ...]", std: Array) -> Array:
    """Return the covariance of lengths: that given, else independent errors."""
    if "distance_covariance" in data:
        given = data["distance_covariance"]
        return np.asarray(given.sel(distance=list(names), distance_=list(names)).values)
    return np.asarray(np.diag(std**2), dtype=np.float64)


def _propagated(slope: Array, covariance: Array) -> Array:
    """Return slope covariance slope'; NaN where an unknown error goes in."""
    unknown = np.isnan(np.diag(covariance))
    result = slope @ np.where(np.isnan(covariance), 0.0, covariance) @ slope.T
    touched = (np.abs(slope[:, unknown]) > 1e-9 * np.abs(slope).max()).any(axis=1)
    return np.where(touched[:, None] | touched[None], np.nan, result)


def _sum(slope: Array, std: Array) -> Array:
    used = np.abs(slope) > 1e-9 * np.abs(slope).max()
    return np.asarray(np.where(used, slope * std, 0.0).sum(axis=1))


def _described(
    names: tuple[str, ...], value: Array, std: Array, covariance: Array | None, rule: ErrorRule
) -> xr.Dataset:
    result = xr.Dataset(attrs={"errors": rule.value, "mode": "plane"})
    for name, length, error in zip(names, value, std, strict=True):
        result[name] = ((), float(length), {"units": "Å", "long_name": LONG_NAMES[name]})
        if np.isfinite(error):
            result[f"{name}_std"] = ((), float(error), {"units": "Å"})
    if covariance is not None and np.isfinite(covariance).all():
        result = result.assign_coords(distance=list(names), distance_=list(names))
        result["distance_covariance"] = (("distance", "distance_"), covariance, {"units": "Å²"})
    return result
