"""A plan as plain values for machines, and as text for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echolith.errors import BadInputError
from echolith.validation.plan import Plan, PlanPoint, best_points
from echolith.validation.plan_effects import Effect, effects
from echolith.validation.plan_trial import Trial

SHOWN = 12
"""Best points that a table shows."""


def plan_summary(found: Plan, *, tried: Trial | None = None) -> dict[str, Any]:
    """Return a plan as plain values: the object ``echolith plan --json`` prints.

    Parameters
    ----------
    found : Plan
    tried : Trial, optional
        Cases run at its recommendation.
    """
    chosen = found.recommended or found.nearest
    points = list(found.points)
    best = best_points(found)
    return {
        "scenario": found.scenario.name,
        "settings": found.scenario.settings.model_dump(mode="json"),
        "target": dict(found.target.errors),
        "share": found.target.share,
        "least": found.least.value,
        "factor": found.factor,
        "over": list(found.axes.names),
        "recommended": None if found.recommended is None else _row(found, found.recommended),
        "nearest": None if found.nearest is None else _row(found, found.nearest),
        "verdict": verdict(found),
        "effects": [] if chosen is None else [_effect(e) for e in effects(found, chosen)],
        "points": [_row(found, p) for p in points],
        "solved": [[name, r.low, r.high] for name, r in found.axes.free.items()],
        "best": [points.index(p) for p in best],
        "trial": None if tried is None else _trial(tried),
    }


def verdict(found: Plan) -> str:
    """Return what a plan comes to in a sentence."""
    wanted = ", ".join(f"{name} to {error:g}" for name, error in found.target.errors.items())
    if found.recommended is not None:
        return f"{wanted}, in {found.target.share:.0%} of measurements: {_where(found.recommended)}"
    if found.nearest is None:
        reasons = dict.fromkeys(reason for p in found.points for reason in p.reasons)
        return f"{wanted} cannot be reached: {'; '.join(list(reasons)[:3])}"
    reached = ", ".join(
        f"{name} to {error * found.nearest.excess:.3g}"
        for name, error in found.target.errors.items()
    )
    return (
        f"{wanted} cannot be reached within the budget; the best of it is {reached}, "
        f"at {_where(found.nearest)}"
    )


def _where(point: PlanPoint) -> str:
    settings = ", ".join(f"{name} = {_short(value)}" for name, value in point.bound.point.items())
    exposure = point.bound.exposure
    if exposure is None:
        return settings
    time = "" if np.isnan(exposure.seconds) else f", {exposure.seconds:.3g} s"
    return f"{settings} (dose {exposure.dose:.3g} {exposure.dose_unit}{time})"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(found: Plan, point: PlanPoint) -> dict[str, Any]:
    exposure = point.bound.exposure
    return {
        "settings": {name: _plain(value) for name, value in point.bound.point.items()},
        "spread": {
            name: _number(found.factor * point.bound.bounds[name])
            for name in found.target.errors
            if name in point.bound.bounds
        },
        "excess": _number(point.excess),
        "dose": None if exposure is None else _number(exposure.dose),
        "dose_unit": None if exposure is None else exposure.dose_unit,
        "seconds": None if exposure is None else _number(exposure.seconds),
        "values": None if exposure is None else exposure.values,
        "fit": point.fit,
        "reasons": list(point.reasons),
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "name": effect.name,
        "felt": effect.felt,
        "spreads": [
            {"value": _plain(value), "spread": _number(spread)}
            for value, spread in effect.spreads.items()
        ],
    }


def _trial(tried: Trial) -> dict[str, Any]:
    return {
        "kept": tried.kept,
        "cases": tried.cases,
        "share_ci95": list(tried.share),
        "factor": tried.factor,
    }


def plan_table(summary: Mapping[str, Any]) -> str:
    """Return the object of `plan_summary` as text."""
    lines = [summary["scenario"], "", summary["verdict"], ""]
    if summary["trial"]:
        lines += [_trial_line(summary["trial"], summary["share"]), ""]
    lines += [line for effect in summary["effects"] if (line := effect_line(effect))]
    names = summary["over"]
    rows = [_cells(summary["points"][n], names) for n in summary["best"][:SHOWN]]
    head = (*names, "dose", "time", "spread / allowed", "")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines += ["", "the best of them"] if rows else []
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ([head, *rows] if rows else [])
    ]
    return "\n".join([*lines, *left_out(summary)])


def left_out(summary: Mapping[str, Any]) -> list[str]:
    """Return in words why points could not be computed, each reason once."""
    reasons = dict.fromkeys(
        reason for p in summary["points"] if p["excess"] is None for reason in p["reasons"]
    )
    return [f"left out: {reason}" for reason in reasons]


def _trial_line(tried: Mapping[str, Any], share: float) -> str:
    low, high = tried["share_ci95"]
    return (
        f"tried: {tried['kept']} of {tried['cases']} simulated measurements keep to it "
        f"({low:.0%} to {high:.0%}; promised {share:.0%}); the solver's errors are "
        f"{tried['factor']:.2f} times the bound"
    )


def effect_line(effect: Mapping[str, Any]) -> str:
    """Return in words what a setting does; nothing is said of one with a single value."""
    if len(effect["spreads"]) < 2:
        return ""
    if not effect["felt"]:
        return f"{effect['name']} has no effect"
    told = ", ".join(
        f"{_short(row['value'])}: {100 * (row['spread'] - 1):+.1f} %"
        for row in effect["spreads"]
        if row["spread"] is not None
    )
    return f"{effect['name']}, spread at the same dose: {told}"


def _cells(row: Mapping[str, Any], names: list[str]) -> tuple[str, ...]:
    dose = "" if row["dose"] is None else f"{row['dose']:.3g} {row['dose_unit']}"
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.3g} s"
    excess = "–" if row["excess"] is None else f"{row['excess']:.3g}"
    values = (_short(row["settings"][name]) for name in names)
    return (*values, dose, seconds, excess, "; ".join(row["reasons"]))


def planned_settings(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a kept plan: the name of its scenario, and the settings it recommends.

    Raises
    ------
    BadInputError
        If the file is no plan, or recommends nothing.
    """
    from echolith.validation.plan_axes import with_point

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, settings, chosen = (content[key] for key in ("scenario", "settings", "recommended"))
    except OSError as error:
        raise BadInputError(f"the plan {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{path} holds no plan; expected the plan.json that 'echolith plan --out' writes"
        ) from error
    if chosen is None:
        raise BadInputError(f"the plan {path} recommends nothing: {content.get('verdict')}")
    return str(name), with_point(settings, chosen["settings"])
