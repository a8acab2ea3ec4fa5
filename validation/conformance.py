"""Checks for other people's parts, for use in their own tests: solver, forward, noise, metric.

    from echolith.validation.conformance import check_solver

    def test_my_solver_keeps_the_rules():
        check_solver(my_solver, scenario=el.scenario("li-rich-oxide"))

Each raises `ConformanceError` (an ``AssertionError``) at the first rule broken, which names the
check, what was seen and what was expected.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from pydantic import ValidationError

from echolith.validation.conformance_basics import (
    ConformanceError,
    called_purely,
    difference,
    fingerprint,
    require,
)
from echolith.validation.conformance_forward import check_adjoint, check_forward, check_metric
from echolith.validation.conformance_noise import check_noise
from echolith.validation.conformance_solver import check_solver
from echolith.validation.scenario import Scenario

__all__ = [
    "ConformanceError",
    "check_adjoint",
    "check_forward",
    "check_metric",
    "check_noise",
    "check_scenario",
    "check_solver",
]

PIXELS = 200_000
"""Of a large mean, this many go to `check_noise`."""


def check_scenario(
    scenario: Scenario,
    *,
    seed: int = 0,
    tolerance: float | Mapping[str, float] | None = None,
) -> None:
    """Check a whole scenario and each of its parts.

    Parameters
    ----------
    scenario : Scenario
    seed : int
        Of the case looked at.
    tolerance : float or mapping of str to float, optional
        As for `check_solver`: what the reference solver may miss from noise-free data.

    Raises
    ------
    ConformanceError
        At the first check failed: build and truth (the same seed gives the same, nothing is
        changed), quantities (in the truth, finite, with units), settings (they survive JSON),
        gauge (leaves the truth alone), metrics, forward, noise, solver.
    """
    specimen, truth = _built(scenario, seed)
    _quantities(scenario, truth)
    _settings(scenario)
    told = difference(scenario.gauge(truth.copy(deep=True), truth), truth)
    require(
        told is None,
        "gauge",
        seen=f"the truth changed by its own gauge: {told}",
        expected="the truth as it was",
    )
    for metric in scenario.metrics:
        check_metric(metric, truth=truth)
    mean = check_forward(scenario.forward, specimen=specimen)
    check_noise(scenario.noise, mean=_part(mean), seed=seed)
    check_solver(scenario.solver, scenario=scenario, seed=seed, tolerance=tolerance)


def _built(scenario: Scenario, seed: int) -> tuple[object, xr.Dataset]:
    specimen, again = scenario.build(seed), scenario.build(seed)
    require(
        fingerprint(specimen) == fingerprint(again),
        "build",
        seen=f"two specimens from seed {seed}",
        expected="the same seed to give the same specimen",
    )
    truth = called_purely(
        "the truth", lambda: scenario.truth(specimen), lambda: fingerprint(specimen)
    )
    return specimen, truth


def _quantities(scenario: Scenario, truth: xr.Dataset) -> None:
    for name in scenario.quantities:
        require(
            name in truth,
            "quantities",
            seen=f"no '{name}' in the truth, which holds {', '.join(map(str, truth.data_vars))}",
            expected="every quantity in the truth",
        )
        variable = truth[name]
        require(
            variable.ndim == 0 and bool(np.isfinite(variable.values)),
            "quantities",
            seen=f"'{name}' of shape {variable.shape}: {variable.values}",
            expected="one finite number",
        )
        require(
            "units" in variable.attrs,
            "quantities",
            seen=f"'{name}' without units",
            expected="an attribute 'units' (\"1\" where it has none)",
        )


def _settings(scenario: Scenario) -> None:
    settings = scenario.settings
    try:
        again = type(settings).model_validate(settings.model_dump(mode="json"))
        told = "" if again == settings else f"{again!r} from {settings!r}"
    except ValidationError as error:
        told = str(error)
    require(
        not told,
        "settings",
        seen=f"by way of JSON: {told}",
        expected="the same settings, so that a stored run can be repeated",
    )


def _part(mean: xr.Dataset) -> xr.Dataset:
    """Return the first rows of a large mean."""
    largest = max(mean.data_vars.values(), key=lambda variable: variable.size)
    if largest.size <= PIXELS or not largest.ndim:
        return mean
    rows = max(2, PIXELS * largest.shape[0] // largest.size)
    return mean.isel({largest.dims[0]: slice(0, rows)})
