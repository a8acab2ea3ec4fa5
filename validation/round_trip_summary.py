"""What a round trip over seeds adds up to, as plain values for machines."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from echolith.validation.residuals import case_residuals, from_json, joined
from echolith.validation.run import scalar
from echolith.validation.statistics import (
    Residuals,
    calibration,
    efficiency,
    moments,
    single_moments,
)

Cases = Mapping[int, Mapping[str, Any]]


def summed_up(cases: Cases, *, same_specimen: bool, limits: xr.Dataset | None) -> dict[str, Any]:
    """Return the statistics of finished cases.

    Parameters
    ----------
    cases : mapping
        By seed: ``quantities``, ``scores``, ``residuals`` (plain).
    same_specimen : bool
        True where only the noise differs from case to case.
    limits : xarray.Dataset, optional
        Cramér-Rao bounds by quantity, and by ``<quantity>_single``.

    Returns
    -------
    dict
        ``quantities`` and ``scores`` of the first case, ``score_means``, ``statistics`` by
        quantity and ``calibration`` by kind of value.
    """
    nothing: dict[str, Any] = {"quantities": {}, "scores": {}, "diagnosis": []}
    first = next(iter(cases.values()), nothing)
    names = {
        name: entry["unit"] for case in cases.values() for name, entry in case["quantities"].items()
    }
    residuals = [from_json(case["residuals"]) for case in cases.values()]
    return {
        "quantities": first["quantities"],
        "scores": first["scores"],
        "diagnosis": first["diagnosis"],
        "score_means": _score_means(cases),
        "statistics": {
            name: _statistics(name, unit, cases, residuals, same_specimen, limits)
            for name, unit in names.items()
        },
        "calibration": _calibration(cases),
    }


def _score_means(cases: Cases) -> dict[str, dict[str, Any]]:
    means: dict[str, dict[str, Any]] = {}
    for case in cases.values():
        for name, score in case["scores"].items():
            means.setdefault(name, {"values": [], "unit": score["unit"]})["values"].append(
                score["value"]
            )
    return {
        name: {"value": _mean_of_known(entry["values"]), "unit": entry["unit"]}
        for name, entry in means.items()
    }


def _mean_of_known(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _statistics(
    name: str,
    unit: str,
    cases: Cases,
    residuals: list[dict[str, Residuals]],
    same_specimen: bool,
    limits: xr.Dataset | None,
) -> dict[str, Any]:
    rows = [case["quantities"].get(name, {}) for case in cases.values()]
    usable = [r for r in rows if r.get("truth") is not None and r.get("estimate") is not None]
    error = np.array([r["estimate"] - r["truth"] for r in usable])
    std = np.array([np.nan if r["std"] is None else r["std"] for r in usable])
    of_mean = moments(error)
    singles = [found[name] for found in residuals if name in found]
    single = single_moments(singles, same_values=same_specimen)
    freedom = single.pop("freedom")
    limit, single_limit = scalar(limits, name), scalar(limits, f"{name}_single")
    of_single = efficiency(single["single_spread"], single_limit, freedom)
    pulls = calibration(error, std)
    return {
        **of_mean,
        "bound": limit,
        **efficiency(of_mean["spread"], limit, len(error) - 1),
        "coverage68": pulls["coverage68"],
        "coverage95": pulls["coverage95"],
        "pull_variance": pulls["pull_variance"],
        **single,
        "single_bound": single_limit,
        "single_efficiency": of_single["efficiency"],
        "single_efficiency_ci95": of_single["efficiency_ci95"],
        "unit": unit,
    }


def _calibration(cases: Cases) -> dict[str, Any]:
    """Return the pulls of every kind of value for which standard deviations were reported."""
    result = {}
    for name, found in joined(case_residuals(case) for case in cases.values()).items():
        entry = calibration(found.error, found.std)
        if entry["count"]:
            rms = float(np.sqrt(np.mean(found.error**2)))
            result[name] = {**entry, "rms_error": rms, "unit": found.unit}
    return result
