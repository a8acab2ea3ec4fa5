"""The outcome of a comparison of two solvers, in words and for machines."""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from echolith.validation.tables import PRINTED

ALL = "all errors"
"""Name of the comparison of all groups together."""


class Measure(Enum):
    """What is compared."""

    RMS = "rms"
    """Root-mean-square error against the truth."""
    SPREAD = "spread"
    """Standard deviation of each value about its own median over the seeds."""
    MISSING = "missing"
    """Values not found, of those found in some seed, per case."""
    FALSE = "false"
    """Values without a true one, per case."""
    FAILED = "failed"
    """Cases without an estimate."""


class Outcome(Enum):
    """What a comparison says of the current solver."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "not told apart"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing compared.

    Attributes
    ----------
    group : str
        Kind of value, `ALL`, or ``cases``.
    measure : Measure
    before, after : float, optional
        Of the baseline and the current solver, in ``unit``.
    unit : str
    of : int, optional
        How many there could be, for counts.
    p_value : float, optional
        Of the direction that ``outcome`` says, adjusted for the number of comparisons.
    outcome : Outcome
    detail : str
        More to say, e.g. why a case failed.
    """

    group: str
    measure: Measure
    before: float | None
    after: float | None
    unit: str = "1"
    of: int | None = None
    p_value: float = 1.0
    outcome: Outcome = Outcome.SAME
    detail: str = ""

    def judged(self, *, worse: float, better: float, false_alarm: float) -> "Change":
        """Return the change with its outcome, from adjusted p-values."""
        outcome = Outcome.SAME
        if worse <= false_alarm:
            outcome = Outcome.WORSE
        elif better <= false_alarm:
            outcome = Outcome.BETTER
        p_value = better if outcome is Outcome.BETTER else worse
        return replace(self, outcome=outcome, p_value=float(p_value))

    @property
    def increase(self) -> float | None:
        """Relative change, ``after / before - 1``; None where it has no meaning."""
        return self.after / self.before - 1 if self.before and self.after is not None else None

    @property
    def words(self) -> str:
        """One line, e.g. ``rms of O columns 0.55 → 0.61 pm (+11 %), p = 2e-06: worse``."""
        end = f", {printed_p(self.p_value)}: {self.outcome.value}"
        return f"{self._subject} {self._values}{end}{self.detail and f' ({self.detail})'}"

    @property
    def _subject(self) -> str:
        if self.measure is Measure.FAILED:
            return "failed cases"
        if self.measure is Measure.FALSE:
            return f"{spoken(self.group)} in a case"
        if self.measure is Measure.MISSING:
            return f"missing {spoken(self.group)} in a case"
        return f"{self.measure.value} of {spoken(self.group)}"

    @property
    def _values(self) -> str:
        if self.measure in (Measure.RMS, Measure.SPREAD):
            percent = "" if self.increase is None else printed_percent(self.increase, sign="+")
            if self.group == ALL:
                return percent
            name, factor = PRINTED.get(self.unit, (self.unit, 1.0))
            values = f"{_short(self.before, factor)} → {_short(self.after, factor)}"
            return f"{values}{'' if name == '1' else f' {name}'} ({percent})"
        of = "" if self.of is None else f" of {self.of}"
        return f"{_short(self.before)} → {_short(self.after)}{of}"

    def as_dict(self) -> dict[str, Any]:
        """Return the change as plain values."""
        return {
            "group": self.group,
            "measure": self.measure.value,
            "baseline": self.before,
            "current": self.after,
            "increase": self.increase,
            "unit": self.unit,
            "p_value": self.p_value,
            "outcome": self.outcome.value,
            "words": self.words,
        }


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All comparisons of a current solver with its baseline.

    Attributes
    ----------
    changes : tuple of Change
    seeds : int
        How many were compared.
    margin, false_alarm : float
        As asked for.
    notes : tuple of str
        What else a reader must know.
    """

    changes: tuple[Change, ...]
    seeds: int
    margin: float
    false_alarm: float
    notes: tuple[str, ...] = field(default=())

    @property
    def failing(self) -> tuple[Change, ...]:
        """The changes for the worse.

        More spread counts only where the rms did not fall: a solver may give up precision for
        accuracy.
        """
        lower = {
            c.group
            for c in self.changes
            if c.measure is Measure.RMS and c.outcome is Outcome.BETTER
        }
        return tuple(
            c
            for c in self.changes
            if c.outcome is Outcome.WORSE and not (c.measure is Measure.SPREAD and c.group in lower)
        )

    @property
    def outcome(self) -> Outcome:
        """Worse if anything is; better if something is and nothing is worse."""
        if self.failing:
            return Outcome.WORSE
        better = any(c.outcome is Outcome.BETTER for c in self.changes)
        return Outcome.BETTER if better else Outcome.SAME

    @property
    def lines(self) -> list[str]:
        """The verdict, then every change told apart, the clearest first, then the notes."""
        told = sorted(
            (c for c in self.changes if c.outcome is not Outcome.SAME), key=lambda c: c.p_value
        )
        return [self.headline, *(c.words for c in told), *self.notes]

    @property
    def headline(self) -> str:
        """One line."""
        what = {
            Outcome.WORSE: "significantly worse than the baseline",
            Outcome.BETTER: "significantly better than the baseline",
            Outcome.SAME: "not told apart from the baseline",
        }[self.outcome]
        return (
            f"{what}: {self.seeds} seeds, margin {100 * self.margin:g} %, "
            f"false-alarm rate {100 * self.false_alarm:g} %"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "outcome": self.outcome.value,
            "worse": self.outcome is Outcome.WORSE,
            "seeds": self.seeds,
            "margin": self.margin,
            "false_alarm": self.false_alarm,
            "words": self.lines,
            "changes": [change.as_dict() for change in self.changes],
        }


def spoken(group: str) -> str:
    """Return the name of a group as people say it.

    Examples
    --------
    >>> spoken("column_li"), spoken("o_o_li")
    ('Li columns', 'o_o_li')
    """
    if group.startswith("column_"):
        return f"{group.removeprefix('column_').capitalize()} columns"
    return group


def printed_percent(share: float, *, sign: str = "") -> str:
    """Print a share in percent with two digits, or all of them before the point.

    Examples
    --------
    >>> printed_percent(0.0976, sign="+"), printed_percent(3.9172)
    ('+9.8 %', '392 %')
    """
    value = 100 * share
    return f"{value:{sign}.2g} %" if abs(value) < 99.5 else f"{value:{sign}.0f} %"


def printed_p(value: float) -> str:
    """Print a p-value; below 1e-16 only that it is smaller."""
    return "p < 1e-16" if value < 1e-16 else f"p = {value:.1g}"


def _short(value: float | None, factor: float = 1.0) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value * factor:.3g}"
