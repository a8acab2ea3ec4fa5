"""What a measurement costs, and along which settings its information is known without computing.

A scenario carries an `Exposure` where it can be planned by dose and time, not by precision alone.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echolith.validation.information import Information

MOST_BYTES = 1e9
"""Of what is kept for other settings."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What one measurement with the settings of a scenario takes.

    Attributes
    ----------
    dose : float
        What the specimen receives, in ``dose_unit``.
    dose_unit : str
    values : int
        Numbers measured.
    seconds : float
        Time of the exposure itself, s; NaN where the settings do not tell it.
    published : float
        Largest dose of the published measurements a scenario is after: what the material is known
        to bear, and the default limit of a plan. Infinite where none is known.
    source : str
        Where it was published.
    proportional : tuple of str
        Settings, by dotted name, to which every expected count is proportional while all else
        stays: Fisher information is proportional to them too.
    follows : mapping of str to callable
        By the dotted name of a setting, ``follow(value)`` returns the other settings that change
        with it when a plan goes through its values: a scan keeps its field when its step changes.
    limits : tuple of str
        What makes these settings unfit whatever the counts, in words; empty: nothing.
    """

    dose: float
    dose_unit: str
    values: int
    seconds: float = math.nan
    published: float = math.inf
    source: str = ""
    proportional: tuple[str, ...] = ()
    follows: Mapping[str, Callable[[Any], Mapping[str, Any]]] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A dear part of an information.

    ``work(before)`` takes what the step before it returned, the first one None; where two settings
    have the same ``key``, so has what it returns.
    """

    key: Hashable
    work: Callable[[Any], Any]


@dataclass(frozen=True)
class PreparedInformation:
    """An ``information`` in steps, the dear ones of which serve many settings.

    ``finish(prepared, specimen)`` takes what the last step returned.
    """

    steps: tuple[Step, ...]
    finish: Callable[[Any, Any], Information]

    def __call__(self, specimen: Any) -> Information:
        """Return the information about a specimen."""
        return self.known(specimen, Prepared())

    def known(self, specimen: Any, prepared: "Prepared") -> Information:
        """Return the information about a specimen; no step is done again that is still kept."""
        return self.finish(prepared.result(self.steps), specimen)


@dataclass(frozen=True)
class Prepared:
    """What steps returned, the least recently used given up beyond ``most`` bytes (``nbytes``)."""

    most: float = MOST_BYTES
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def result(self, steps: Sequence[Step]) -> Any:
        """Return what the last of some steps returns."""
        if not steps:
            return None
        *before, step = steps
        key = (len(steps), step.key)
        value = self._kept.pop(key, None)
        if value is None:
            value = step.work(self.result(before))
        self._kept[key] = value
        self._give_up()
        return value

    def _give_up(self) -> None:
        """Keep the latest of what is large."""
        held = 0.0
        for key, value in reversed(list(self._kept.items())):
            size = getattr(value, "nbytes", 0)
            if held and size and held + size > self.most:
                self._kept.pop(key, None)
            else:
                held += size
