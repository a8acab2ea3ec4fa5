"""Several solvers on several scenarios: one table, sorted, with every failure and its reason."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.mean_store import simulate_once
from echolith.validation.residuals import from_json
from echolith.validation.round_trip import RoundTrip, round_trip
from echolith.validation.run import Stages, circumstances
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals, single_moments

FORMAT = "echolith-leaderboard"
SCHEMA_VERSION = 1
NUMBERS = ("bias", "spread", "rmse", "bound", "efficiency", "coverage95")


def leaderboard(
    solvers: Mapping[str, Solver | None],
    scenarios: Iterable[Scenario],
    *,
    seeds: Iterable[int] = range(20),
    bound: bool = True,
    announce: Callable[[str], None] = lambda _name: None,
) -> dict[str, Any]:
    """Run every solver on every scenario, on the same measurements.

    Each scenario is simulated once. A solver that fails is a row with its reason, a scenario that
    cannot be simulated a reason for all solvers; neither takes the run down.

    Parameters
    ----------
    solvers : mapping
        Name to callable; None is the reference solver of each scenario.
    scenarios : iterable of Scenario
    seeds : iterable of int
        Of the noise; the first also of the specimen.
    bound : bool
        Compute the Cramér-Rao bound where the scenario has one.
    announce : callable
        Told what begins.

    Returns
    -------
    dict
        Ready for JSON. ``standings``: one row for every scenario and solver, best first.
        ``rows``: one for every scenario, quantity and solver, best first, with ``bias``,
        ``spread``, ``rmse``, ``bound``, ``efficiency``, ``coverage95`` (None where unknown) in
        ``unit``, and 95 % intervals of bias and efficiency; kinds of single values, e.g. the
        columns of a species, follow the quantities.

    Raises
    ------
    BadInputError
        If there is no solver, scenario or seed, or two scenarios have the same name and settings.
    """
    tried, benches = list(dict.fromkeys(seeds)), list(scenarios)
    if not (solvers and benches and tried):
        raise BadInputError("a leaderboard needs at least one solver, one scenario and one seed")
    names = _labels(benches)
    standings: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for name, scenario in zip(names, benches, strict=True):
        outcomes = _run_all(name, scenario, solvers, tried, bound, announce)
        found = [row for who, o in outcomes.items() for row in _rows(name, who, o)]
        rows += _sorted_rows(found)
        standings += _standings(name, outcomes, found, len(tried))
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "seeds": tried,
        "solvers": list(solvers),
        "scenarios": {
            name: {
                "scenario": scenario.name,
                "settings": scenario.settings.model_dump(mode="json"),
                "notes": list(scenario.notes),
            }
            for name, scenario in zip(names, benches, strict=True)
        },
        "standings": standings,
        "rows": rows,
        "versions": circumstances(Stages())["versions"],
    }


def _labels(scenarios: list[Scenario]) -> list[str]:
    """Return a name for each scenario; those that appear twice are numbered."""
    names = [scenario.name for scenario in scenarios]
    seen: dict[str, int] = {}
    labels = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if names.count(name) == 1 else f"{name} ({seen[name]})")
    return labels


def _run_all(
    name: str,
    scenario: Scenario,
    solvers: Mapping[str, Solver | None],
    seeds: list[int],
    bound: bool,
    announce: Callable[[str], None],
) -> dict[str, RoundTrip | str]:
    """Return what came of each solver; a text is why nothing did."""
    announce(f"{name}: simulate")
    try:
        fixed = simulate_once(scenario, seed=seeds[0]).scenario
    except Exception as error:  # any scenario may be plugged in; its failure is a result
        return dict.fromkeys(solvers, f"cannot be simulated: {type(error).__name__}: {error}")
    bounded = bound and _has_bound(fixed, seeds[0])
    outcomes: dict[str, RoundTrip | str] = {}
    for who, solver in solvers.items():
        announce(f"{name}: {who}")
        try:
            outcomes[who] = round_trip(fixed, seeds=seeds, solver=solver, bound=bounded)
        except (Exception, SystemExit) as error:  # what a round trip lets through, above all exits
            outcomes[who] = f"{type(error).__name__}: {error}"
    return outcomes


def _has_bound(scenario: Scenario, seed: int) -> bool:
    if scenario.information is None:
        return False
    try:
        scenario.information(scenario.build(seed))  # kept for the solvers
    except Exception:  # without bound the table still stands
        return False
    return True


def _rows(scenario: str, who: str, outcome: RoundTrip | str) -> list[dict[str, Any]]:
    if isinstance(outcome, str):
        return []
    statistics = outcome.summary["statistics"]
    kinds = _kinds(outcome)
    found = {**statistics, **{n: kind for n, kind in kinds.items() if n not in statistics}}
    return [
        {
            "scenario": scenario,
            "quantity": name,
            "solver": who,
            **{number: entry.get(number) for number in NUMBERS},
            "bias_ci95": entry.get("bias_ci95"),
            "efficiency_ci95": entry.get("efficiency_ci95"),
            "unit": entry["unit"],
        }
        for name, entry in found.items()
        if entry["rmse"] is not None
    ]


def _kinds(outcome: RoundTrip) -> dict[str, dict[str, Any]]:
    """Return bias, spread and rms error of single values by kind."""
    cases = [from_json(case["residuals"]) for case in outcome.cases.values()]
    names = dict.fromkeys(name for case in cases for name in case)
    return {name: _kind([case[name] for case in cases if name in case]) for name in names}


def _kind(cases: list[Residuals]) -> dict[str, Any]:
    known = [_finite(case) for case in cases]
    moments = single_moments(known, same_values=True)
    error = np.concatenate([case.error for case in known])
    return {
        "bias": moments["single_bias"],
        "spread": moments["single_spread"],
        "rmse": float(np.sqrt(np.mean(error**2))) if len(error) else None,
        "unit": cases[0].unit,
    }


def _finite(case: Residuals) -> Residuals:
    known = np.isfinite(case.error)
    return replace(case, key=case.key[known], error=case.error[known], std=case.std[known])


def _sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the order of the quantities; within each, smallest error first."""
    order = {name: n for n, name in enumerate(dict.fromkeys(row["quantity"] for row in rows))}
    return sorted(rows, key=lambda row: (order[row["quantity"]], row["rmse"]))


@dataclass(frozen=True, kw_only=True)
class _Errors:
    """Root-mean-square errors of one solver by quantity."""

    of: dict[str, float]

    def relative(self, best: Mapping[str, float]) -> float | None:
        """Return the geometric mean of error over the smallest one reached; 1 is best."""
        ratios = [self.of[name] / best[name] for name in self.of if best[name] > 0]
        if not ratios:
            return 1.0 if self.of else None
        return float(np.exp(np.mean(np.log(ratios))))


def _standings(
    scenario: str,
    outcomes: Mapping[str, RoundTrip | str],
    rows: list[dict[str, Any]],
    seeds: int,
) -> list[dict[str, Any]]:
    errors = {
        who: _Errors(of={row["quantity"]: row["rmse"] for row in rows if row["solver"] == who})
        for who in outcomes
    }
    wanted = {row["quantity"] for row in rows}
    best = {name: min(e.of[name] for e in errors.values() if name in e.of) for name in wanted}
    standings = [
        {
            "scenario": scenario,
            "solver": who,
            "relative_error": errors[who].relative(best),
            "lacking": sorted(wanted - errors[who].of.keys()),
            **_completion(outcome, seeds),
        }
        for who, outcome in outcomes.items()
    ]
    return sorted(standings, key=_place)


def _place(row: dict[str, Any]) -> tuple[bool, int, int, float, str]:
    """Who estimates nothing comes last; then who lacks quantities, then who failed more often."""
    error = row["relative_error"]
    return error is None, len(row["lacking"]), row["failed"], error or 0.0, row["solver"]


def _completion(outcome: RoundTrip | str, seeds: int) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"cases": 0, "failed": seeds, "reason": outcome, "seconds": None}
    times = [case["timings"].get("solve") for case in outcome.cases.values()]
    known = [seconds for seconds in times if seconds is not None]
    why = next(iter(outcome.failures.items()), None)
    return {
        "cases": len(outcome.cases),
        "failed": len(outcome.failures),
        "reason": None if why is None else f"seed {why[0]}: {why[1]}",
        "seconds": float(np.median(known)) if known else None,
    }
