"""What keeps a measurement from being better: said where the bound tells it, and where not."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from echolith.validation.bounds import bound_of
from echolith.validation.damage import OPTIMUM, share_left, tolerance_of
from echolith.validation.information import Information
from echolith.validation.plan import Plan
from echolith.validation.plan_search import PlanPoint
from echolith.validation.settings import setting_names

MOST_PARAMETERS = 1200
"""Beyond these the bounds with some of them known take minutes."""
SLIGHT = 0.01
"""Relative change of the spread that is not worth a line."""
CAUSES = {
    "sampling": {"step", "pixel", "pixel_size", "voxel_size"},
    "thickness": {"thickness", "size"},
    "drift": {"drift"},
    "missing wedge": {"angles"},
}
"""What may limit besides counts, and what settings are called that decide it."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One cause.

    Attributes
    ----------
    cause : str
    text : str
        In words.
    gain : float, optional
        Part of the spread that goes with it; None: this plan does not tell.
    """

    cause: str
    text: str
    gain: float | None = None


def limits(found: Plan) -> list[Limit]:
    """Return what limits the settings a plan recommends, what matters most first.

    Takes as long as another bound or two.

    Parameters
    ----------
    found : Plan
    """
    point = found.recommended or found.nearest
    if point is None:
        return []
    information = found.information_at(point)
    known = [*_counts(found, point), *_unknowns(found, point, information), *_refused(found, point)]
    known.sort(key=lambda limit: -(limit.gain or 0.0))
    model = [Limit(cause="model", text=note) for note in information.notes]
    return [*known, *_untold(found), *model]


def _counts(found: Plan, point: PlanPoint) -> list[Limit]:
    exposure = point.bound.exposure
    if exposure is None or not exposure.proportional:
        return [Limit(cause="counts", text="not told: the counts are not proportional to a dose")]
    dose, critical = exposure.dose, found.budget.critical
    twice = 2 * share_left(2 * dose, critical=critical) / point.bound.useful
    gain = 1 - 1 / np.sqrt(twice)
    limit = found.budget.most_dose(exposure)
    most = ", but no more dose is allowed" if dose > limit * (1 - SLIGHT) else ""
    change = f"narrow the spread by {gain:.0%}" if gain > 0 else f"widen it by {-gain:.0%}"
    told = [Limit(cause="counts", text=f"twice the dose would {change}{most}", gain=gain)]
    if np.isfinite(critical):
        damage = 1 - np.sqrt(point.bound.useful)
        text = (
            f"fading takes {damage:.0%} of the precision; beyond "
            f"{OPTIMUM * critical:.3g} {exposure.dose_unit} more dose tells less"
        )
        told.append(Limit(cause="damage", text=text, gain=damage))
    return [*told, *_dose_rate(found, point)]


def _dose_rate(found: Plan, point: PlanPoint) -> list[Limit]:
    """Say where a specimen receives more in a second than is known to do no harm."""
    known, exposure = tolerance_of(found.scenario.name), point.bound.exposure
    if known is None or known.dose_rate is None or exposure is None:
        return []
    if not exposure.dose > known.dose_rate * exposure.seconds:
        return []
    rate = exposure.dose / exposure.seconds
    return [Limit(cause="damage", text=f"{rate:.3g} {exposure.dose_unit}/s; {known.source}")]


def _unknowns(found: Plan, point: PlanPoint, information: Information) -> list[Limit]:
    """Return what it costs not to know the other parameters, kind by kind."""
    bounds = point.bound.bounds
    name = max(found.target.errors, key=lambda n: bounds.get(n, 0) / found.target.spread(n))
    gradient = np.atleast_2d(information.gradients.get(name, np.zeros((1, 0))))
    if not gradient.size:
        return []
    if len(information.names) > MOST_PARAMETERS:
        text = f"not told: {len(information.names)} other parameters are too many to go through"
        return [Limit(cause="unknowns", text=text)]
    own = replace(information, gradients={name: gradient})
    whole = float(bound_of(own)[name])
    told = []
    for kind, members in kinds(information.names).items():
        if not np.isfinite(whole) or np.any(gradient[:, members]):
            continue
        gain = 1 - float(bound_of(_with_known(own, name, members))[name]) / whole
        if gain > SLIGHT:
            text = f"not knowing '{kind}' widens the spread of {name} by {1 / (1 - gain) - 1:.0%}"
            told.append(Limit(cause="unknowns", text=text, gain=gain))
    return told


def kinds(names: Iterable[str]) -> dict[str, list[int]]:
    """Return the places of the parameters of each kind: names alike but for their numbers.

    Examples
    --------
    >>> kinds(["x of column 1", "x of column 2", "O+(0,1).x", "background_3"])
    {'x of column': [0, 1], 'O.x': [2], 'background': [3]}
    """
    found: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        kind = re.sub(r"[+-]?\([^)]*\)|(?<![A-Za-z\d])\d+", "", name)
        kind = re.sub(r"[\s,_]+", " ", kind).strip()
        found.setdefault(kind.removesuffix(" of"), []).append(n)
    return found


def _with_known(information: Information, name: str, known: list[int]) -> Information:
    left = [n for n in range(len(information.names)) if n not in set(known)]
    return replace(
        information,
        names=tuple(information.names[n] for n in left),
        matrix=information.matrix[np.ix_(left, left)],
        gradients={name: information.gradients[name][:, left]},
    )


def _refused(found: Plan, point: PlanPoint) -> list[Limit]:
    """Return why points that would be more precise at the same price cannot be used."""
    better: Mapping[str, float] = {
        reason: 1 - p.excess / point.excess
        for p in found.points
        if p.excess < point.excess * (1 - SLIGHT)
        for reason in p.bound.unfit
    }
    return [Limit(cause="settings", text=text, gain=gain) for text, gain in better.items()]


def _untold(found: Plan) -> list[Limit]:
    """Name the causes that the scenario has settings for, none of which was gone through."""
    plain = found.scenario.settings.model_dump()
    names = setting_names({k: v for k, v in plain.items() if k not in ("solver", "simulation")})
    told = []
    for cause, words in CAUSES.items():
        settings = [name for name in names if name.rpartition(".")[2] in words]
        if settings and not set(settings) & set(found.axes.names):
            text = f"not told: the plan does not go through {' or '.join(settings)}"
            told.append(Limit(cause=cause, text=text))
    return told
