"""Errors value by value, with the standard deviations reported for them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.validation.matching import match_columns
from echolith.validation.statistics import Residuals

Array = npt.NDArray[np.float64]


def array_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of every array that estimate and truth share in name, dims and shape.

    Values that either leaves undetermined, NaN, have no error.
    """
    found = {}
    for name, true in truth.data_vars.items():
        ours = estimate.get(name)
        numeric = np.issubdtype(true.dtype, np.number)
        if ours is None or not true.ndim or not numeric or ours.sizes != true.sizes:
            continue
        std = estimate.get(f"{name}_std")
        aligned = ours.transpose(*true.dims)
        error = (aligned.values - true.values).ravel().astype(float)
        spread = np.full(len(error), np.nan)
        if std is not None and std.sizes == true.sizes:
            spread = std.transpose(*true.dims).values.ravel().astype(float)
        known = np.flatnonzero(np.isfinite(error))
        if len(known):
            found[str(name)] = Residuals(
                key=known,
                error=error[known],
                std=spread[known],
                unit=str(true.attrs.get("units", "1")),
            )
    return found


def column_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of columns by species, and of every single distance by its name.

    Parameters
    ----------
    estimate, truth : xarray.Dataset
        As for `match_columns`, the gauge taken out; ``xy_covariance`` (column, axis, axis_) and
        pairs (``pair_name``, ``pair_first``, ``pair_second``, ``pair_distance``) where known.

    Returns
    -------
    dict
        ``column_<species>``: x and y errors in turn, the key twice the true column's index plus
        the axis; and for each named distance its pairs, the key the true pair's index. Å.
    """
    if "x" not in estimate or "x" not in truth:
        return {}
    found = {}
    for species in np.unique(truth["species"].values).tolist() if "species" in truth else []:
        match = match_columns(estimate, truth, species=species)
        if not len(match.estimate):
            continue
        error = np.stack(
            [
                estimate[axis].values[match.estimate] - truth[axis].values[match.truth]
                for axis in ("x", "y")
            ],
            axis=1,
        )
        found[f"column_{species.lower()}"] = Residuals(
            key=(2 * match.truth[:, None] + np.arange(2)).ravel(),
            error=error.ravel(),
            std=_axis_std(estimate)[match.estimate].ravel(),
            unit="Å",
        )
    return found | _pair_residuals(estimate, truth)


def _axis_std(estimate: xr.Dataset) -> Array:
    """Return the reported std of x and y of every column, NaN where there is none."""
    result = np.full((estimate.sizes["column"], 2), np.nan)
    for axis, name in enumerate(("x_std", "y_std")):
        if name in estimate:
            result[:, axis] = estimate[name].values
    return result


def _pair_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    if "pair_name" not in estimate or "pair_name" not in truth:
        return {}
    match = match_columns(estimate, truth.drop_vars("edge", errors="ignore"))
    true_index = dict(zip(match.estimate.tolist(), match.truth.tolist(), strict=True))
    true_pair = {
        (str(name), frozenset((int(a), int(b)))): (index, float(d))
        for index, (name, a, b, d) in enumerate(_pairs(truth))
    }
    rows: dict[str, list[tuple[int, float, float]]] = {}
    for name, a, b, distance in _pairs(estimate):
        key = (str(name), frozenset((true_index.get(int(a), -1), true_index.get(int(b), -1))))
        if key in true_pair:
            index, length = true_pair[key]
            std = _pair_std(estimate, int(a), int(b))
            rows.setdefault(str(name), []).append((index, float(distance) - length, std))
    return {name: _from_rows(found, "Å") for name, found in rows.items()}


def _pairs(data: xr.Dataset) -> Iterable[tuple[Any, Any, Any, Any]]:
    columns = [data[f"pair_{part}"].values for part in ("name", "first", "second", "distance")]
    return zip(*columns, strict=True)


def _pair_std(estimate: xr.Dataset, a: int, b: int) -> float:
    """Return the standard deviation of a distance from the covariances of its two columns."""
    if "xy_covariance" not in estimate:
        return float("nan")
    xy = np.array([[estimate[n].values[i] for n in ("x", "y")] for i in (a, b)])
    unit = (xy[1] - xy[0]) / np.linalg.norm(xy[1] - xy[0])
    covariance = estimate["xy_covariance"].values[[a, b]].sum(axis=0)
    return float(np.sqrt(unit @ covariance @ unit))


def _from_rows(rows: list[tuple[int, float, float]], unit: str) -> Residuals:
    key, error, std = zip(*rows, strict=True)
    return Residuals(
        key=np.array(key, dtype=np.int64), error=np.array(error), std=np.array(std), unit=unit
    )


def case_residuals(case: Mapping[str, Any]) -> dict[str, Residuals]:
    """Return the errors of one case of a round trip by kind of value.

    Parameters
    ----------
    case : mapping
        ``residuals`` (plain) and ``quantities``, as `round_trip` keeps them.

    Returns
    -------
    dict
        The residuals of the case, and those quantities that they do not cover, with key 0.
    """
    found = from_json(case["residuals"])
    for name, entry in case["quantities"].items():
        if name not in found and None not in (entry["truth"], entry["estimate"]):
            std = np.nan if entry["std"] is None else entry["std"]
            row = (0, entry["estimate"] - entry["truth"], std)
            found[name] = _from_rows([row], entry["unit"])
    return found


def joined(cases: Iterable[Mapping[str, Residuals]]) -> dict[str, Residuals]:
    """Put the residuals of cases together, kind by kind, one case after the other."""
    parts: dict[str, list[Residuals]] = {}
    for case in cases:
        for name, residuals in case.items():
            parts.setdefault(name, []).append(residuals)
    return {
        name: Residuals(
            key=np.concatenate([p.key for p in found]),
            error=np.concatenate([p.error for p in found]),
            std=np.concatenate([p.std for p in found]),
            unit=found[0].unit,
        )
        for name, found in parts.items()
    }


def to_json(residuals: Mapping[str, Residuals]) -> dict[str, Any]:
    """Return residuals as plain lists; a missing std is None."""
    return {
        name: {
            "unit": r.unit,
            "rows": [
                [int(k), float(e), float(s) if np.isfinite(s) else None]
                for k, e, s in zip(r.key, r.error, r.std, strict=True)
            ],
        }
        for name, r in residuals.items()
    }


def from_json(content: Mapping[str, Any]) -> dict[str, Residuals]:
    """Return what `to_json` made plain."""
    return {
        name: _from_rows(
            [(k, e, np.nan if s is None else s) for k, e, s in entry["rows"]], entry["unit"]
        )
        for name, entry in content.items()
        if entry["rows"]
    }
