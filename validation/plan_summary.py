"""A plan as plain values: what ``echolith plan --json`` prints and ``plan.json`` holds."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from echolith.errors import BadInputError
from echolith.validation.damage import OPTIMUM, tolerance_of
from echolith.validation.plan import Plan, PlanPoint, best_points
from echolith.validation.plan_effects import Effect, effects
from echolith.validation.plan_limits import Limit
from echolith.validation.plan_trial import Trial
from echolith.validation.settings import with_values

STORED = 4
"""Bytes of a count on disk at most, before it is compressed."""


def plan_summary(
    found: Plan,
    *,
    tried: Trial | None = None,
    limits: Sequence[Limit] = (),
    case_seconds: float | None = None,
) -> dict[str, Any]:
    """Return a plan as plain values.

    Parameters
    ----------
    found : Plan
    tried : Trial, optional
        Cases run at its recommendation.
    limits : sequence of Limit
        As from `echolith.validation.plan_limits.limits`.
    case_seconds : float, optional
        That one case of the trial took.
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
        "confidence": confidence(found, tried),
        "effects": [] if chosen is None else [_effect(e) for e in effects(found, chosen)],
        "points": [_row(found, p) for p in points],
        "solved": [[name, r.low, r.high] for name, r in found.axes.free.items()],
        "best": [points.index(p) for p in best],
        "trial": None if tried is None else _trial(tried) | {"case_seconds": case_seconds},
        "limits": [asdict(limit) for limit in limits],
        "damage": _damage(found),
        "budget": asdict(found.budget),
        "work": asdict(found.work),
    }


def confidence(found: Plan, tried: Trial | None) -> str:
    """Return in a sentence how sure it is that the target is met."""
    if tried is not None:
        low, high = tried.share
        return (
            f"{tried.kept} of {tried.cases} measurements simulated with these settings keep to it "
            f"({low:.0%} to {high:.0%} with 95 % confidence; promised {found.target.share:.0%}); "
            f"the solver's errors are {tried.factor:.2f} times the bound"
        )
    solver = "an ideal solver" if found.factor == 1 else f"a solver {found.factor:g} times behind"
    return f"nothing was simulated: this is what {solver} would reach"


def _damage(found: Plan) -> dict[str, Any]:
    known, critical = tolerance_of(found.scenario.name), found.budget.critical_dose
    exposure = found.scenario.exposure
    return {
        "critical_dose": critical,
        "optimum_dose": None if critical is None else OPTIMUM * critical,
        "published_dose": None if exposure is None else _number(exposure.published),
        "source": None if exposure is None or not exposure.source else exposure.source,
        "known": None if known is None else asdict(known),
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
        "bytes": None if exposure is None else STORED * exposure.values,
        "useful": point.bound.useful,
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
        "power": None if effect.power is None else _number(effect.power),
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
        "confidence": tried.confidence,
        "factor": tried.factor,
        "doses": [
            {"dose": t.dose, "kept": t.kept, "excess": _number(t.excess)} for t in tried.doses
        ],
    }


def planned_settings(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a kept plan: the name of its scenario, and the settings it recommends.

    Raises
    ------
    BadInputError
        If the file is no plan, or recommends nothing.
    """
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
    return str(name), with_values(settings, chosen["settings"])
