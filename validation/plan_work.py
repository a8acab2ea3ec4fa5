"""What it takes to compute a plan, told and held to a budget before it is spent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echolith.errors import BadInputError
from echolith.validation.plan_budget import Budget
from echolith.validation.plan_points import Spent
from echolith.validation.run import peak_memory

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
        For all that; None: not known before a bound of each kind was computed.
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
        seconds = None if self.seconds is None else used + self.seconds
        refuse("compute_seconds", seconds, budget, "try fewer values")
        refuse("memory", self.memory, budget, "make the detector or the field smaller")
        refuse("disk", self.disk, budget, "try fewer values")


def refuse(name: str, value: float | None, budget: Budget, advice: str) -> None:
    """Raise where a computation would take more than a budget has of something."""
    limit: float | None = getattr(budget, name)
    if value is not None and limit is not None and value > limit:
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
        known = [one.seconds for one in spent if one.dear is dear]
        if count and not known:
            return None
        total += count * float(np.mean(known)) if count else 0.0
    return total


def work_line(work: Work) -> str:
    """Return what is left in a sentence.

    Examples
    --------
    >>> work_line(Work(points=8, bounds=2, refinements=0, seconds=9.0, memory=2e8, disk=0.0))
    '8 points, 2 bounds to compute: about 9 s, 0.2 GB of memory'
    """
    narrowed = f" and at most {work.refinements} to narrow ranges" if work.refinements else ""
    time = "the first ones tell the time" if work.seconds is None else f"about {work.seconds:.3g} s"
    disk = f", {work.disk / 1e6:.2g} MB on disk" if work.disk else ""
    return (
        f"{work.points} points, {work.bounds} bounds to compute{narrowed}: {time}, "
        f"{work.memory / 1e9:.2g} GB of memory{disk}"
    )
