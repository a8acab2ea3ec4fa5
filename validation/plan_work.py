"""What it takes to compute a plan, told and held to a budget before it is spent."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from echolith.errors import BadInputError
from echolith.forward.cost import CostEstimate, estimate_cost
from echolith.forward.stem import stem_mean
from echolith.validation.plan_budget import Budget
from echolith.validation.plan_points import Spent
from echolith.validation.plan_text import size_text
from echolith.validation.run import peak_memory
from echolith.validation.scenario import Scenario

BLOCK = 4096
"""Bytes a small file takes on disk."""
DOUBLE = 8
"""Bytes of an expected count."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to be computed of a plan.

    Attributes
    ----------
    points : int
        All of them.
    bounds : int
        Still to be computed; the others follow from these or are kept.
    refinements : int
        Further bounds at most, to narrow ranges.
    seconds : float, optional
        For all that; None: not known before a second bound of each kind was computed.
    memory : float
        Bytes: the largest expected measurement, and what the process has taken so far.
    disk : float
        Bytes of the bounds that are kept.
    """

    points: int
    bounds: int
    refinements: int
    seconds: float | None
    memory: float
    disk: float

    def check(self, budget: Budget, *, used: float = 0.0) -> None:
        """Refuse what is beyond a budget (``used``: seconds so far).

        Raises
        ------
        BadInputError
            With the value, the limit and what to do.
        """
        refuse("compute_seconds", used + (self.seconds or 0.0), budget, "try fewer values")
        refuse("memory", self.memory, budget, "make the detector or the field smaller")
        refuse("disk", self.disk, budget, "try fewer values")


def refuse(name: str, value: float, budget: Budget, advice: str) -> None:
    """Raise where a computation would take more than a budget has of something."""
    limit: float | None = getattr(budget, name)
    if limit is not None and value > limit:
        unit = "s" if name == "compute_seconds" else "bytes"
        raise BadInputError(
            f"this takes {name} = {value:.3g} {unit}, more than the {limit:.3g} of the budget; "
            f"{advice}, or allow more"
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What was to be computed at first.

    Attributes
    ----------
    points : int
    bounds, dear : int
        To be computed, and those of them with a step that others share.
    refinements : int
        Further bounds at most, to narrow ranges.
    values : float
        Of the largest measurement.
    kept : bool
        Whether bounds are kept on disk.
    """

    points: int
    bounds: int
    dear: int
    refinements: int
    values: float
    kept: bool

    def left(self, spent: Sequence[Spent]) -> Work:
        """Return what is left after some bounds, from the time those took."""
        dear = sum(one.dear for one in spent)
        done = len(spent)
        left = {
            True: max(0, self.dear - dear),
            False: max(0, self.bounds + self.refinements - self.dear - (done - dear)),
        }
        return Work(
            points=self.points,
            bounds=max(0, self.bounds - done),
            refinements=self.refinements,
            seconds=_seconds(spent, left),
            memory=max(DOUBLE * self.values, peak_memory() if spent else 0.0),
            disk=BLOCK * (self.bounds + self.refinements) if self.kept else 0.0,
        )


def _seconds(spent: Sequence[Spent], left: Mapping[bool, int]) -> float | None:
    total = 0.0
    for dear, count in left.items():
        # The very first one loads and compiles what the others find ready.
        known = [one.seconds for one in spent[1:] if one.dear is dear]
        if count and not known:
            return None
        total += count * float(np.mean(known)) if count else 0.0
    return total


def work_line(work: Work) -> str:
    """Return what is left in a sentence.

    Examples
    --------
    >>> work_line(Work(points=8, bounds=2, refinements=0, seconds=9.0, memory=2e8, disk=0.0))
    '8 points, 2 bounds to compute: about 9 s, 200 MB of memory'
    """
    points, bounds = _count(work.points, "point"), _count(work.bounds, "bound")
    narrowed = f" and at most {work.refinements} to narrow ranges" if work.refinements else ""
    time = "the first ones tell the time" if work.seconds is None else f"about {work.seconds:.3g} s"
    disk = f", {size_text(work.disk)} on disk" if work.disk else ""
    return (
        f"{points}, {bounds} to compute{narrowed}: {time}, {size_text(work.memory)} of memory{disk}"
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def trial_line(
    scenario: Scenario, *, cases: int, budget: Budget, kept: bool = False, seed: int = 0
) -> str:
    """Return what a trial will take, as far as that is known before its first case.

    Parameters
    ----------
    scenario : Scenario
        With the settings to be tried.
    cases : int
    budget : Budget
    kept : bool
        Whether the expected counts of every case are kept on disk.
    seed : int

    Raises
    ------
    BadInputError
        If it would go beyond the budget.
    """
    values = 0 if scenario.exposure is None else scenario.exposure.values
    cost = _simulation(scenario, seed)
    memory = max(DOUBLE * values, 0 if cost is None else cost.memory_bytes)
    seconds = 0.0 if cost is None else cases * cost.seconds
    disk = cases * DOUBLE * values if kept else 0
    refuse("memory", memory, budget, "make the measurement smaller")
    refuse("disk", disk, budget, "try fewer cases")
    refuse("compute_seconds", seconds, budget, "try fewer cases")
    simulate = f"about {seconds:.3g} s to simulate" if seconds else "the first one tells the time"
    stored = f", at most {size_text(disk)} on disk" if disk else ""
    return (
        f"{cases} cases to simulate and solve: {simulate}, {size_text(memory)} of memory or "
        f"more{stored}"
    )


def _simulation(scenario: Scenario, seed: int) -> CostEstimate | None:
    """Return the cost of a simulation where a model of it is known: that of 4D-STEM."""
    forward = scenario.forward
    if not isinstance(forward, partial) or forward.func is not stem_mean:
        return None
    return estimate_cost(
        scenario.build(seed), forward.keywords["acquisition"], forward.keywords["simulation"]
    )


@dataclass(kw_only=True)
class TrialClock:
    """Passes on what a trial announces; its first case tells what the others will take.

    Attributes
    ----------
    announce : callable
        ``announce(name)``.
    cases : int
        Of each round.
    budget : Budget
    tell : callable
        Told a line after the first case of a round.
    """

    announce: Callable[[str], None]
    cases: int
    budget: Budget
    tell: Callable[[str], None]
    case_seconds: float | None = None
    """What the first case of the last round took, simulated and solved."""
    _start: float = field(default_factory=time.perf_counter)
    _begun: float = 0.0
    _told: bool = False

    def __call__(self, name: str) -> None:
        """Take one announcement.

        Raises
        ------
        BadInputError
            If the other cases would go beyond the budget.
        """
        self.announce(name)
        now = time.perf_counter()
        if not name.startswith("case "):
            self._begun, self._told = now, False
        elif not self._told:
            self._told = True
            self.case_seconds = now - self._begun
            left = self.case_seconds * (self.cases - 1)
            self.tell(
                f"{self.cases} cases: about {left:.3g} s more, {size_text(peak_memory())} of memory"
            )
            refuse("compute_seconds", now - self._start + left, self.budget, "try fewer cases")
            refuse("memory", peak_memory(), self.budget, "make the measurement smaller")
