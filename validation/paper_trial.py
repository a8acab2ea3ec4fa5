"""What published settings could have given: bounds, and errors of simulated round trips."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echolith import __version__
from echolith.validation.bounds import bound_summary
from echolith.validation.case_store import CaseStore
from echolith.validation.catalogue import scenario
from echolith.validation.papers import Condition, Paper, Printed
from echolith.validation.round_trip import RoundTrip, round_trip

FACTORS = {("1", "ppm"): 1e6}
"""From the unit of an error to that of its bound."""


def papers_tried(
    papers: Mapping[str, Paper],
    *,
    seeds: range,
    store: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> dict[str, Any]:
    """Return, for every printed error, the bound and the error of a round trip.

    Parameters
    ----------
    papers : mapping
        Some of `echolith.validation.papers.PAPERS`.
    seeds : range
        Of the cases; one specimen, that of the first seed, with the noise of each.
    store : Path, optional
        Folder for what is finished, so that a run broken off goes on where it was.
    announce : callable
        Told what begins.

    Returns
    -------
    dict
        Plain values: the object ``echolith papers --json`` prints. ``bound`` and ``error`` of a
        row are those of one value of a field or map, ``bound_whole`` and ``error_whole`` of a
        quantity of the whole measurement; None where there is none.
    """
    return {
        "version": __version__,
        "seeds": list(seeds),
        "papers": {
            name: {
                "title": paper.title,
                "source": paper.source,
                "conditions": [
                    _tried(condition, seeds=seeds, store=store, announce=announce)
                    for condition in paper.conditions
                ],
            }
            for name, paper in papers.items()
        },
    }


def seconds_needed(papers: Mapping[str, Paper], cases: int) -> float:
    """Return about how long `papers_tried` takes with nothing kept yet, s of one core."""
    parts = (c.seconds for paper in papers.values() for c in paper.conditions)
    return sum(once + cases * each for once, each in parts)


def _tried(
    condition: Condition,
    *,
    seeds: range,
    store: Path | None,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    chosen = scenario(condition.scenario, **condition.settings)
    settings = chosen.settings.model_dump(mode="json")
    decides = {
        "version": __version__,
        "scenario": chosen.name,
        "settings": settings,
        "seed": seeds[0],
    }

    def told(stage: str) -> None:
        announce(f"{condition.name}: {stage}")

    def bounds() -> dict[str, Any]:
        told("bound")
        return dict(bound_summary(chosen, seed=seeds[0])["bounds"])

    def figures() -> dict[str, Any]:
        limits = _kept(store, {**decides, "part": "bound"}, bounds)
        outcome = round_trip(chosen, seeds=seeds, bound=False, store=store, announce=told)
        return _figures(outcome, limits)

    found = _kept(store, {**decides, "part": "figures", "cases": len(seeds)}, figures)
    return {
        "name": condition.name,
        "scenario": chosen.name,
        "set": dict(condition.settings),
        "settings": settings,
        "remark": condition.remark,
        "cases": found["cases"],
        "failures": found["failures"],
        "rows": [_row(printed, found) for printed in condition.printed],
    }


def _kept(
    store: Path | None, decides: Mapping[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what the store has, or make it and keep it."""
    kept = CaseStore.open(store, decides)
    found = kept.read(0)
    if found is None:
        found = make()
        kept.write(0, found)
    return found


def _figures(outcome: RoundTrip, bounds: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that a row may ask for, by name: value and unit."""
    summary = outcome.summary
    whole = {
        name: {"value": entry["rmse"], "unit": entry["unit"]}
        for name, entry in summary["statistics"].items()
    }
    single = {
        name: {"value": _root_mean_square(found.error), "unit": found.unit}
        for name, found in outcome.residuals().items()
        if any(name in case["residuals"] for case in outcome.cases.values())
    }
    return {
        "bounds": bounds,
        "whole": {**summary["score_means"], **whole},
        "single": single,
        "cases": len(outcome.cases),
        "failures": summary["failures"],
    }


def _root_mean_square(error: np.ndarray) -> float | None:
    known = error[np.isfinite(error)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else None


def _row(printed: Printed, figures: Mapping[str, Any]) -> dict[str, Any]:
    name, bounds = printed.quantity, figures["bounds"]
    single, whole = figures["single"].get(name), figures["whole"].get(name)
    # A value of a map has its bound under its own name, one of a field beside that of the mean.
    one = bounds.get(f"{name}_single") or (bounds.get(name) if single else None)
    all_of_it = bounds.get(name) if whole else None
    known = [entry for entry in (one, all_of_it, single, whole) if entry]
    unit = known[0]["unit"] if known else ""
    return {
        "quantity": name,
        "printed": printed.error,
        "kind": printed.kind,
        "where": printed.where,
        "unit": unit,
        "bound": _value(one, unit),
        "error": _value(single, unit),
        "bound_whole": _value(all_of_it, unit),
        "error_whole": _value(whole, unit),
    }


def _value(entry: Mapping[str, Any] | None, unit: str) -> float | None:
    if entry is None or entry["value"] is None:
        return None
    factor = 1.0 if entry["unit"] == unit else FACTORS[entry["unit"], unit]
    return factor * float(entry["value"])
