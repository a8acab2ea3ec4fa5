"""What the planner computes in processes of their own: bounds, plans, simulated previews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.validation.catalogue import entry
from echolith.validation.exposure import PreparedInformation
from echolith.validation.information import Information
from echolith.validation.plan import Plan, plan
from echolith.validation.plan_axes import Point
from echolith.validation.plan_limits import limits
from echolith.validation.plan_page import render
from echolith.validation.plan_points import Bounds
from echolith.validation.plan_summary import plan_summary
from echolith.validation.plan_text import effect_line, left_out
from echolith.validation.plan_trial import planned_and_tried
from echolith.validation.plan_work import TrialClock, work_line
from echolith.validation.planner_jobs import Tell
from echolith.validation.report import ReportContent, pictures, render_report
from echolith.validation.run import run_once
from echolith.validation.scenario import Scenario

OF_MANY = ("errors", "bound", "pulls", "values", "histograms")
"""Figures of a report that a single preview says little by."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What bounds and plans start from: a scenario by name and settings, and where bounds are kept.

    Attributes
    ----------
    name : str
    settings : Settings
    seed : int
    critical_dose : float
    store : Path
    """

    name: str
    settings: Settings = field(compare=False)
    seed: int
    critical_dose: float
    store: Path
    key: str = ""
    """The settings as text, by which bases are told apart."""

    def scenario(self) -> Scenario:
        """Make the scenario."""
        return entry(self.name).make(self.settings)

    def bounds(self, units: dict[str, str] | None = None) -> Bounds:
        """Return the bounds at other settings; units of what is computed are put into ``units``."""
        make = entry(self.name).make
        return Bounds(
            make=make if units is None else partial(_with_units, make, units),
            base=self.scenario(),
            seed=self.seed,
            store=self.store,
            critical_dose=self.critical_dose,
        )


def _with_units(
    make: Callable[[Any], Scenario], units: dict[str, str], settings: Settings
) -> Scenario:
    """Make a scenario whose information leaves its units behind."""
    scenario = make(settings)
    given = scenario.information
    if given is None:
        return scenario

    def kept(found: Information) -> Information:
        units.update({name: found.units.get(name, "1") for name in found.gradients})
        return found

    if isinstance(given, PreparedInformation):
        finish = given.finish
        told: Callable[[Any], Information] = replace(
            given, finish=lambda prepared, specimen: kept(finish(prepared, specimen))
        )
    else:
        told = lambda specimen: kept(given(specimen))  # noqa: E731
    return replace(scenario, information=told)


def bounds_at(tell: Tell, base: Base, points: list[Point]) -> dict[str, Any]:
    """Compute bounds into the store.

    Returns
    -------
    dict
        ``units`` of the quantities, and why points are ``unfit``, one by one.
    """
    units: dict[str, str] = {}
    bounds, unfit = base.bounds(units), []
    for n, point in enumerate(points):
        tell("bound", n, len(points))
        found = bounds.at(point)
        unfit.append([] if found.bounds else list(found.unfit))
    return {"units": units, "unfit": unfit}


def plan_of(tell: Tell, base: Base, wanted: Mapping[str, Any], trial: int | None) -> dict[str, Any]:
    """Plan, and where asked try it.

    Parameters
    ----------
    tell : callable
    base : Base
    wanted : mapping
        Arguments of `echolith.validation.plan.plan`.
    trial : int, optional
        Measurements to simulate at the result.

    Returns
    -------
    dict
        ``summary`` for machines, ``lines`` for people, and the ``page`` that goes with a plan.
    """
    said = "bounds"

    def say(line: str) -> None:
        nonlocal said
        said = line
        tell(line, 0, 0)

    def make(times: float) -> Plan:
        return plan(
            base.scenario(),
            **{**wanted, "factor": times},
            seed=base.seed,
            store=base.store,
            announce=lambda done, total: tell(said, done, total),
            tell=lambda work: say(work_line(work)),
        )

    clock = TrialClock(
        announce=lambda stage: tell(stage, 0, 0),
        cases=trial or 0,
        budget=wanted["budget"],
        tell=say,
    )
    if trial is None:
        found, tried = make(wanted["factor"]), None
    else:
        found, tried = planned_and_tried(
            make,
            factor=wanted["factor"],
            seeds=range(base.seed, base.seed + trial),
            announce=clock,
        )
    tell("what limits it", 0, 0)
    summary = plan_summary(
        found, tried=tried, limits=limits(found), case_seconds=clock.case_seconds
    )
    return {"summary": summary, "lines": plan_lines(summary), "page": render(summary)}


def plan_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return what a plan tells besides its verdict and points, sentence by sentence."""
    effects = [line for effect in summary["effects"] if (line := effect_line(effect))]
    causes = [f"{limit['cause']}: {limit['text']}" for limit in summary["limits"]]
    return [summary["confidence"], *effects, *causes, *left_out(summary)]


def preview(tell: Tell, base: Base, point: Point) -> dict[str, Any]:
    """Simulate one measurement at a point, solve it and draw both.

    Returns
    -------
    dict
        ``pictures`` (heading, caption, alternative, svg), ``quantities``, ``seconds`` and the
        ``page``, a whole report.
    """
    scenario = base.bounds().scenario(point)
    result = run_once(scenario, seed=base.seed, announce=lambda stage: tell(stage, 0, 0))
    tell("draw", 0, 0)
    if result.truth is None:
        raise BadInputError(f"scenario {scenario.name!r} has no truth to show")
    content = ReportContent(
        title=f"{scenario.name}: preview",
        scenario=scenario.name,
        settings=result.summary["settings"],
        summary=result.summary,
        measurement=result.measurement,
        estimate=result.estimate,
        truth=result.truth,
        notes=list(scenario.notes),
    )
    drawn = {name: one for name, one in pictures(content).items() if name not in OF_MANY}
    return {
        "pictures": [
            {
                "heading": one.heading,
                "caption": one.caption,
                "alternative": one.alternative,
                "svg": str(one.svg),
            }
            for one in drawn.values()
        ],
        "quantities": result.summary["quantities"],
        "seconds": sum(result.summary["timings"].values()),
        "page": render_report(content),
    }
