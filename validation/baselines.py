"""Which baseline belongs to which test: scenario, settings, seeds and simulated measurement."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ValidationError

from echolith.errors import BadInputError
from echolith.validation.baseline_file import (
    REMAKE,
    Baseline,
    as_stored,
    read_baseline,
    rounded,
    write_baseline,
)
from echolith.validation.performance import Performance
from echolith.validation.scenario import Scenario

__all__ = [
    "REMAKE",
    "Baseline",
    "check_belongs",
    "make_baseline",
    "read_baseline",
    "write_baseline",
]

VERSIONS_OF = ("echolith", "abtem", "numpy")
SAME = 1e-5
"""Relative difference up to which two simulated measurements are the same: the stored sums are
rounded to 6 digits, and engines and schedulers differ by 1e-8 to 1e-6."""


def make_baseline(scenario: Scenario, mean: xr.Dataset, measured: Performance) -> Baseline:
    """Return the baseline of a performance, rounded as it will be read back.

    Parameters
    ----------
    scenario : Scenario
    mean : xarray.Dataset
        The expected counts that were drawn from.
    measured : Performance

    Returns
    -------
    Baseline
    """
    made = Baseline(
        scenario=scenario.name,
        settings=changed_settings(scenario.settings),
        measurement=sums(mean),
        versions={name: version(name) for name in VERSIONS_OF},
        performance=measured,
    )
    return as_stored(made)


def changed_settings(settings: BaseModel) -> dict[str, Any]:
    """Return the settings that differ from their defaults, by dotted name.

    Where a setting has no default, all are returned.
    """
    resolved = flat(settings.model_dump(mode="json"))
    try:
        usual = flat(type(settings)().model_dump(mode="json"))
    except ValidationError:
        return resolved
    missing = object()
    return {name: v for name, v in resolved.items() if usual.get(name, missing) != v}


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name."""
    result: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def sums(mean: xr.Dataset) -> dict[str, list[float]]:
    """Return, for every numeric variable, the sum of magnitudes and a sum with fixed weights.

    Two simulations with the same sums are taken to be the same; a shift or a transpose changes the
    second.
    """
    return {
        str(name): [rounded(x) for x in _two_sums(np.asarray(variable.values).ravel())]
        for name, variable in mean.data_vars.items()
        if np.issubdtype(variable.dtype, np.number)
    }


def _two_sums(values: npt.NDArray[Any], at_once: int = 1 << 20) -> tuple[float, float]:
    size = weighted = 0.0
    for start in range(0, len(values), at_once):
        part = np.nan_to_num(values[start : start + at_once].astype(float))
        # Multiples of the golden ratio, modulo 1: spread evenly, without any period.
        weight = (np.arange(start, start + len(part)) * 0.6180339887498949) % 1
        size, weighted = size + float(np.abs(part).sum()), weighted + float(part @ weight)
    return size, weighted


def check_belongs(
    baseline: Baseline,
    scenario: Scenario,
    *,
    seeds: Sequence[int] | None = None,
    mean: xr.Dataset | None = None,
) -> None:
    """Refuse a baseline of another scenario, other settings, seeds or measurements.

    Parameters
    ----------
    baseline : Baseline
    scenario : Scenario
    seeds : sequence of int, optional
    mean : xarray.Dataset, optional
        The simulated measurement.

    Raises
    ------
    BadInputError
        With what differs and what to do.
    """
    if baseline.scenario != scenario.name:
        raise BadInputError(
            f"the baseline is of the scenario '{baseline.scenario}', not '{scenario.name}'; "
            f"{REMAKE}"
        )
    ours = json.loads(json.dumps(changed_settings(scenario.settings)))
    names = sorted(
        n for n in {*ours, *baseline.settings} if ours.get(n) != baseline.settings.get(n)
    )
    if names:
        told = ", ".join(
            f"{n} = {ours.get(n, 'default')} (baseline: {baseline.settings.get(n, 'default')})"
            for n in names
        )
        raise BadInputError(f"the baseline has other settings: {told}; {REMAKE}")
    stored = list(baseline.performance.seeds)
    if seeds is not None and list(seeds) != stored:
        raise BadInputError(
            f"the baseline has the seeds {_listed(stored)}, not {_listed(seeds)}; the same seeds "
            f"make the same noise, so ask for those, or {REMAKE}"
        )
    if mean is not None:
        _check_measurement(baseline, sums(mean))


def _check_measurement(baseline: Baseline, ours: dict[str, list[float]]) -> None:
    theirs = baseline.measurement
    same = ours.keys() == theirs.keys() and all(
        np.allclose(ours[name], theirs[name], rtol=0, atol=SAME * theirs[name][0]) for name in ours
    )
    if not same:
        versions = ", ".join(f"{n} {v}" for n, v in sorted(baseline.versions.items()))
        raise BadInputError(
            "the simulated measurement is not the one of the baseline (sums "
            f"{ours}, baseline {theirs}, made with {versions}): the simulation changed, so a "
            f"comparison would say nothing about the solver; {REMAKE}"
        )


def _listed(seeds: Sequence[int]) -> str:
    seeds = list(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
