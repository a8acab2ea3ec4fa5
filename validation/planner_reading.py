"""From the texts of the planner's page to what a plan takes, and every mistake beside its field.

The texts are read by the functions that read the command line, so the messages are the same.
"""

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from echolith.cli_plan import known_budget, numbers
from echolith.errors import BadInputError
from echolith.validation.catalogue import Entry, entry
from echolith.validation.plan import Budget
from echolith.validation.plan_axes import Choice, Point, Range, axes, parse_axes
from echolith.validation.plan_target import Target
from echolith.validation.planner_requests import Asked
from echolith.validation.scenario import Scenario
from echolith.validation.settings import (
    explanations,
    merge,
    parse_assignments,
    resolve,
    setting_value,
)

LONGEST_TRIAL = 1000


class Refused(Exception):
    """Input that cannot be used.

    Attributes
    ----------
    errors : dict
        What is wrong, by field: ``settings.<name>``, ``over.<name>``, ``target.<quantity>``,
        ``budget.<name>``, ``share``, ``factor``, ``trial``, or ``form`` for what concerns several.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = dict(errors)


@dataclass(frozen=True)
class Mistakes:
    """Collects what is wrong, field by field."""

    errors: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Keep bad input inside as the mistake of a field."""
        try:
            yield
        except BadInputError as error:
            self.errors.setdefault(place, str(error))

    def check(self) -> None:
        """Raise `Refused` where something was wrong."""
        if self.errors:
            raise Refused(self.errors)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A request that was read.

    Attributes
    ----------
    scenario : Scenario
        With the changed settings, but those gone through as they are by default: the base of plan
        and bounds.
    over : dict
    point : dict
        Present values of the settings gone through.
    target : Target, optional
    budget : Budget
    factor : float
    trial : int, optional
    """

    scenario: Scenario
    over: dict[str, Choice | Range]
    point: Point
    target: Target | None
    budget: Budget
    factor: float
    trial: int | None


def read(asked: Asked) -> Wish:
    """Read a request.

    Raises
    ------
    Refused
        With every mistake at its field.
    """
    mistakes = Mistakes()
    with mistakes.at("form"):
        chosen = entry(asked.scenario)
    mistakes.check()
    own = {name: text for name, text in asked.settings.items() if name not in asked.over}
    scenario = _scenario(chosen, own, mistakes)
    _scenario(chosen, {**own, **asked.point}, mistakes)
    over, point, target = _over(asked, mistakes), {}, _target(asked, mistakes)
    if scenario is not None:
        plain = scenario.settings.model_dump()
        for name in over:
            with mistakes.at(f"over.{name}"):
                setting_value(plain, name)
    budget, factor, trial = _budget(asked, mistakes), _factor(asked, mistakes), None
    with mistakes.at("trial"):
        trial = _trial(asked.trial)
    mistakes.check()
    assert scenario is not None
    for name, text in asked.point.items():
        point[name] = setting_value(parse_assignments([f"{name}={text}"]), name)
    if target is not None:
        many = frozenset(target.errors) - frozenset(scenario.quantities)
        target = replace(target, many=many)
    return Wish(
        scenario=scenario,
        over=over,
        point=point,
        target=target,
        budget=budget,
        factor=factor,
        trial=trial,
    )


def command(asked: Asked) -> str:
    """Return what to type for the same plan."""
    words = ["echolith", "plan", asked.scenario]
    words += _options("--over", asked.over) + _options("--target", asked.target)
    changed = {name: text for name, text in asked.settings.items() if name not in asked.over}
    words += _options("--set", changed) + _options("--budget", asked.budget)
    plain = Asked(page="", scenario="")
    for name in ("share", "least", "factor", "trial", "seed"):
        value = getattr(asked, name)
        if value != getattr(plain, name):
            words += [f"--{name}", str(getattr(value, "value", value))]
    return shlex.join([*words, "--out", "out/plan"])


def _options(option: str, texts: Mapping[str, str]) -> list[str]:
    return [word for name, text in texts.items() for word in (option, f"{name}={text}")]


def _scenario(chosen: Entry, typed: Mapping[str, str], mistakes: Mistakes) -> Scenario | None:
    """Return the scenario with the settings typed, None where there is a mistake among them."""
    changed: dict[str, Any] = {}
    for name, text in typed.items():
        with mistakes.at(f"settings.{name}"):
            changed = merge(changed, parse_assignments([f"{name}={text}"]))
    try:
        return chosen.make(resolve(chosen.settings, changed))
    except BadInputError as error:
        cause = error.__cause__
        wrong = [("", str(error))]
        if isinstance(cause, ValidationError):
            wrong = explanations(chosen.settings, cause)
        for name, message in wrong:
            mistakes.errors.setdefault(_place(name, typed), message)
    return None


def _place(name: str, typed: Mapping[str, str]) -> str:
    """Return the field of a wrong entry: the one typed that holds it, else its group's."""
    for known in typed:
        if f"{name}.".startswith(f"{known}."):
            return f"settings.{known}"
    return f"settings.{name}" if name else "form"


def _over(asked: Asked, mistakes: Mistakes) -> dict[str, Choice | Range]:
    found: dict[str, Choice | Range] = {}
    for name, text in asked.over.items():
        with mistakes.at(f"over.{name}"):
            ((_, wanted),) = parse_axes([f"{name}={text}"]).items()
            axes({name: wanted}, proportional=())
            found[name] = wanted
    return found


def _target(asked: Asked, mistakes: Mistakes) -> Target | None:
    share = 0.9
    errors: dict[str, float] = {}
    with mistakes.at("share"):
        share = numbers([f"share={asked.share}"])["share"]
        Target(errors={"any": 1.0}, share=share)
    for name, text in asked.target.items():
        with mistakes.at(f"target.{name}"):
            errors.update(Target(errors=numbers([f"{name}={text}"])).errors)
    return Target(errors=errors, share=share) if errors and not mistakes.errors else None


def _budget(asked: Asked, mistakes: Mistakes) -> Budget:
    allowed: dict[str, float] = {}
    for name, text in asked.budget.items():
        with mistakes.at(f"budget.{name}"):
            one = known_budget([f"{name}={text}"])
            Budget(**one)
            allowed.update(one)
    return Budget(**allowed)


def _factor(asked: Asked, mistakes: Mistakes) -> float:
    factor = 1.0
    with mistakes.at("factor"):
        factor = numbers([f"factor={asked.factor}"])["factor"]
        if not 0 < factor < math.inf:
            raise BadInputError(f"factor = {factor:g}; expected more than 0; 1: an ideal solver")
    return factor


def _trial(text: str) -> int | None:
    if not text.strip():
        return None
    count = numbers([f"trial={text}"])["trial"]
    if not 5 <= count <= LONGEST_TRIAL or count % 1:
        raise BadInputError(
            f"trial = {count:g}; expected a whole number from 5 to {LONGEST_TRIAL} of measurements"
        )
    return int(count)
