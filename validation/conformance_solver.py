"""Conformance of solvers with their protocol."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from echolith.errors import near_match
from echolith.protocols import Solver
from echolith.validation.conformance_basics import (
    ConformanceError,
    called_purely,
    difference,
    fingerprint,
    require,
)
from echolith.validation.estimate_check import STD, check_estimate
from echolith.validation.scenario import Scenario
from echolith.validation.solver_failure import SolverFailure

Tolerance = float | Mapping[str, float]


def check_solver(
    solver: Solver,
    *,
    scenario: Scenario,
    seed: int = 0,
    deviations: float = 4.0,
    tolerance: Tolerance | None = None,
) -> tuple[str, ...]:
    """Check a solver on one case of a scenario, noisy and noise-free.

    Calls the solver five times: twice on the same counts, on those of the next seed, on the
    expected counts, and on the expected counts with one NaN among them.

    Parameters
    ----------
    solver : callable
        Any; a `SolverProcess` too.
    scenario : Scenario
    seed : int
        Of the case.
    deviations : float
        How many of its own reported standard deviations (from the noisy case) an estimate from
        noise-free data may be off.
    tolerance : float or mapping of str to float, optional
        The same as a length, or whatever the quantity is in, for all or by name; it goes before
        ``deviations``, and is needed where the solver reports no ``_std``.

    Returns
    -------
    tuple of str
        Names of the checks passed.

    Raises
    ------
    ConformanceError
        At the first check failed: kind of result, input left alone, global random state, purity,
        well-formed, names, units, follows the data, noiseless recovery, NaN.
    """
    specimen = scenario.build(seed)
    truth = scenario.truth(specimen)
    mean = scenario.forward(specimen).compute()
    counts, others = (scenario.noise.sample(mean, seed=s).compute() for s in (seed, seed + 1))
    estimate = called_purely("the solver", lambda: solver(counts), lambda: fingerprint(counts))
    _well_formed(estimate, scenario, truth)
    _names(estimate, truth)
    _units(estimate, truth)
    _follows_the_data(estimate, solver(others), counts, others)
    _recovers(solver(mean), estimate, scenario, truth, deviations, tolerance)
    _nan(solver, mean, scenario.quantities)
    return (
        "kind of result",
        "input left alone",
        "global random state",
        "purity",
        "well-formed",
        "names",
        "units",
        "follows the data",
        "noiseless recovery",
        "NaN",
    )


def _well_formed(estimate: xr.Dataset, scenario: Scenario, truth: xr.Dataset) -> None:
    try:
        check_estimate(estimate, quantities=scenario.quantities, truth=truth)
    except SolverFailure as failure:
        raise ConformanceError(
            "well-formed", seen=str(failure), expected="what check_estimate lets through"
        ) from failure


def _names(estimate: xr.Dataset, truth: xr.Dataset) -> None:
    known = [str(name) for name in truth.data_vars]
    for name in map(str, estimate.data_vars):
        plain = name.removesuffix(STD)
        if plain in known:
            continue
        near = [k for k in known if _same_letters(k, plain)]
        require(
            not near,
            "names",
            seen=f"a variable '{name}' that the truth does not have; {near_match(plain, known)}",
            expected="the names of the truth, letter by letter",
        )


def _same_letters(one: str, two: str) -> bool:
    first, second = ("".join(filter(str.isalnum, name)).lower() for name in (one, two))
    return first == second


def _units(estimate: xr.Dataset, truth: xr.Dataset) -> None:
    bare = [
        str(name)
        for name in estimate.data_vars
        if name in truth and "units" in truth[name].attrs and "units" not in estimate[name].attrs
    ]
    require(
        not bare,
        "units",
        seen=f"no attribute 'units' on {', '.join(bare)}",
        expected="the units of the truth, so that nobody has to guess",
    )


def _follows_the_data(
    one: xr.Dataset, two: xr.Dataset, counts: xr.Dataset, others: xr.Dataset
) -> None:
    require(
        difference(one, two) is not None or difference(counts, others) is None,
        "follows the data",
        seen="the same estimate to the bit from the counts of two seeds",
        expected="estimates that follow the measurement",
    )


def _recovers(
    clean: xr.Dataset,
    noisy: xr.Dataset,
    scenario: Scenario,
    truth: xr.Dataset,
    deviations: float,
    tolerance: Tolerance | None,
) -> None:
    aligned = scenario.gauge(clean, truth)
    judged = 0
    for name in scenario.quantities:
        if name not in aligned or name not in truth:
            continue
        allowed, basis = _allowed(name, noisy, deviations, tolerance)
        if allowed is None:
            continue
        judged += 1
        error = float(aligned[name]) - float(truth[name])
        unit = truth[name].attrs.get("units", "1")
        require(
            abs(error) <= allowed,
            "noiseless recovery",
            seen=f"'{name}' off by {error:.3g} {unit} from noise-free data",
            expected=f"{allowed:.3g} {unit} at most ({basis})",
        )
    require(
        judged > 0,
        "noiseless recovery",
        seen="no quantity with a standard deviation to judge it by",
        expected="'<name>_std' in the estimate, or a tolerance given to check_solver",
    )


def _allowed(
    name: str, noisy: xr.Dataset, deviations: float, tolerance: Tolerance | None
) -> tuple[float | None, str]:
    given = tolerance.get(name) if isinstance(tolerance, Mapping) else tolerance
    if given is not None:
        return float(given), "the tolerance given"
    std = noisy.get(f"{name}{STD}")
    if std is None or not np.isfinite(std.values):
        return None, ""
    return deviations * float(std), f"{deviations:g} of its reported standard deviations"


def _nan(solver: Solver, mean: xr.Dataset, quantities: tuple[str, ...]) -> None:
    name = next(n for n, v in mean.data_vars.items() if np.issubdtype(v.dtype, np.floating))
    spoilt = mean[name].copy(deep=True)
    spoilt.values[tuple(n // 2 for n in spoilt.shape)] = np.nan
    try:
        estimate = solver(mean.assign({name: spoilt}))
    except Exception:  # refusing is right, in whatever words
        return
    bad = [q for q in quantities if q in estimate and not np.isfinite(estimate[q].values).all()]
    require(
        not bad,
        "NaN",
        seen=f"one NaN in '{name}' came back as {', '.join(bad)} not finite",
        expected="an error that names it, or an estimate without the bad pixel",
    )
