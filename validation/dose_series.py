"""How bias and spread change with the dose: one simulation, its counts thinned downwards."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import acquisition_of
from echolith.protocols import Solver
from echolith.validation.bounds import cramer_rao
from echolith.validation.dose_ladder import finished_case, restated, scaled, thinned
from echolith.validation.round_trip import round_trip
from echolith.validation.round_trip_summary import summed_up
from echolith.validation.scenario import Scenario

Array = npt.NDArray[np.float64]
Statistics = dict[str, dict[str, Any]]

OF_QUANTITY = ("bias", "spread", "rmse", "bound", "efficiency", "coverage95")
OF_SINGLE = ("single_bias", "single_spread", "single_bound", "single_efficiency", "singles")
WITHOUT_UNIT = ("efficiency", "single_efficiency", "coverage95", "singles")


def dose_series(
    scenario: Scenario,
    *,
    doses: Iterable[float],
    seeds: Iterable[int] = range(20),
    solver: Solver | None = None,
    bound: bool = True,
    at_dose: Callable[[float], Scenario] | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> xr.Dataset:
    """Return the statistics of a scenario at several doses.

    The specimen of the first seed is simulated once. Each seed draws counts at the highest dose,
    which are thinned to the lower ones: the same electrons, fewer of them, so that the doses
    differ by as little chance as they can. The bound is computed once and scaled, since Fisher
    information of counts is proportional to the dose. Both hold for noise models with
    ``scales_with_dose`` and a mean proportional to the dose; others need `at_dose`, and are then
    simulated at every dose.

    Parameters
    ----------
    scenario : Scenario
        Its measurement or its settings state a ``dose``.
    doses : iterable of float
        In the unit of the scenario's dose.
    seeds : iterable of int
    solver : callable, optional
        The reference solver by default.
    bound : bool
        Put the Cramér-Rao bound beside the spread where the scenario has one.
    at_dose : callable, optional
        ``at_dose(dose)`` returns the scenario at a dose.
    announce : callable
        Told what begins.

    Returns
    -------
    xarray.Dataset
        Over (dose, quantity), doses rising: ``bias``, ``spread``, ``rmse``, ``bound``,
        ``efficiency``, ``coverage95``, and those of one single value, ``single_bias``,
        ``single_spread``, ``single_bound``, ``single_efficiency``, and how many of them went in,
        ``singles``; NaN where something is not known. Over dose: ``cases`` that count and
        ``failed`` ones, told in ``attrs["failures"]``. The coord ``unit`` is that of each quantity.

    Raises
    ------
    BadInputError
        If there are no doses or seeds, a dose is not positive, or the scenario states no dose.

    References
    ----------
    Kingman, *Poisson Processes* (1993), section 5.1 (colouring theorem).
    """
    series, chosen = _checked(doses), list(dict.fromkeys(seeds))
    if not chosen:
        raise BadInputError("seeds is empty; expected at least one integer of 0 or more")
    if getattr(scenario.noise, "scales_with_dose", False):
        found = _thinned(scenario, series, chosen, solver, bound, announce)
    elif at_dose is None:
        raise BadInputError(
            f"the noise of {scenario.name!r} does not say scales_with_dose, so its data cannot be "
            "thinned to a lower dose; give at_dose, a function from a dose to the scenario at it"
        )
    else:
        found = [
            _simulated(at_dose(dose), dose, chosen, solver, bound, announce) for dose in series
        ]
    return _dataset(scenario, series, found)


def _checked(doses: Iterable[float]) -> Array:
    series = np.array(sorted({float(dose) for dose in doses}))
    if not len(series):
        raise BadInputError("doses is empty; expected at least one")
    for dose in series:
        if not 0 < dose < np.inf:
            raise BadInputError(f"dose = {dose:g}; expected more than 0, in the scenario's unit")
    return series


@dataclass(frozen=True, kw_only=True)
class _AtDose:
    """What came out at one dose."""

    statistics: Statistics
    cases: int
    failures: tuple[str, ...]


def _thinned(
    scenario: Scenario,
    doses: Array,
    seeds: list[int],
    solver: Solver | None,
    bound: bool,
    announce: Callable[[str], None],
) -> list[_AtDose]:
    announce("simulate")
    specimen = scenario.build(seeds[0])
    truth = scenario.truth(specimen)
    mean = scenario.forward(specimen).compute()
    own = _own_dose(scenario, mean)
    brightest = restated(scaled(mean, doses[-1] / own), {"dose": float(doses[-1])})
    cases: list[dict[int, dict[str, Any]]] = [{} for _ in doses]
    failures: list[list[str]] = [[] for _ in doses]
    for seed in seeds:
        counts = scenario.noise.sample(brightest, seed=seed).compute()
        for place, dose in enumerate(doses):
            announce(f"seed {seed}, dose {dose:g}")
            measurement = thinned(counts, dose / doses[-1], seed=seed)
            try:
                cases[place][seed] = finished_case(scenario, measurement, truth, solver)
            except Exception as error:  # any solver may be plugged in; its failure is a result
                failures[place].append(
                    f"dose {dose:g}, seed {seed}: {type(error).__name__}: {error}"
                )
    limits = None
    if bound and scenario.information is not None:
        announce("bound")
        limits = cramer_rao(scenario, seed=seeds[0])
    return [
        _AtDose(
            statistics=summed_up(
                cases[place], same_specimen=True, limits=_at(limits, np.sqrt(own / dose))
            )["statistics"],
            cases=len(cases[place]),
            failures=tuple(failures[place]),
        )
        for place, dose in enumerate(doses)
    ]


def _own_dose(scenario: Scenario, mean: xr.Dataset) -> float:
    """Return the dose that a mean was simulated for."""
    if "acquisition" in mean.attrs:
        return acquisition_of(mean).dose
    dose = getattr(scenario.settings, "dose", None)
    if not isinstance(dose, int | float):
        raise BadInputError(
            f"neither the measurement nor the settings of {scenario.name!r} state a dose; add a "
            "number 'dose' to its settings"
        )
    return float(dose)


def _at(limits: xr.Dataset | None, factor: float) -> xr.Dataset | None:
    """Return bounds scaled; an unbounded one stays so."""
    return None if limits is None else limits * factor


def _simulated(
    scenario: Scenario,
    dose: float,
    seeds: list[int],
    solver: Solver | None,
    bound: bool,
    announce: Callable[[str], None],
) -> _AtDose:
    announce(f"dose {dose:g}")
    outcome = round_trip(scenario, seeds=seeds, solver=solver, bound=bound, announce=announce)
    return _AtDose(
        statistics=outcome.summary["statistics"],
        cases=len(outcome.cases),
        failures=tuple(
            f"dose {dose:g}, seed {seed}: {why}" for seed, why in outcome.failures.items()
        ),
    )


def _dataset(scenario: Scenario, doses: Array, found: list[_AtDose]) -> xr.Dataset:
    names = [q for q in scenario.quantities if any(q in at.statistics for at in found)]
    units = {q: s["unit"] for at in found for q, s in at.statistics.items()}
    common = set(units.values())
    unit = common.pop() if len(common) == 1 else "that of the quantity"
    variables: dict[str, Any] = {
        part: (
            ("dose", "quantity"),
            np.array([[_number(at.statistics.get(q, {}).get(part)) for q in names] for at in found])
            .reshape(len(doses), len(names)),
            {"units": "1" if part in WITHOUT_UNIT else unit},
        )
        for part in (*OF_QUANTITY, *OF_SINGLE)
    }  # fmt: skip
    variables["cases"] = ("dose", [at.cases for at in found], {"units": "1"})
    variables["failed"] = ("dose", [len(at.failures) for at in found], {"units": "1"})
    return xr.Dataset(
        variables,
        coords={
            "dose": ("dose", doses, {"units": _dose_unit(scenario)}),
            "quantity": names,
            "unit": ("quantity", [units[q] for q in names]),
        },
        attrs={
            "scenario": scenario.name,
            "failures": [why for at in found for why in at.failures],
        },
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _dose_unit(scenario: Scenario) -> str:
    """Return the unit that the settings declare for the dose."""
    from echolith.units import Unit

    declared = type(scenario.settings).model_fields.get("dose")
    found = [m.symbol for m in declared.metadata if isinstance(m, Unit)] if declared else []
    return found[0] if found else "1"
