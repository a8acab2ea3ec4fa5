"""What a measurement costs, and along which settings its information is known without computing.

A scenario carries an `Exposure` where it can be planned by dose and time, not by precision alone.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from echolith.validation.information import Information


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
class PreparedInformation:
    """An ``information`` in two steps, the dear one of which serves many settings.

    ``information(specimen)`` is ``finish(prepare(), specimen)``; where two settings have the same
    ``key``, so has what ``prepare`` returns.
    """

    key: Hashable
    prepare: Callable[[], Any]
    finish: Callable[[Any, Any], Information]

    def __call__(self, specimen: Any) -> Information:
        """Return the information about a specimen."""
        return self.finish(self.prepare(), specimen)
