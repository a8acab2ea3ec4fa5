"""What a measurement costs, and along which settings its information is known without computing.

A scenario carries an `Exposure` where it can be planned by dose and time, not by precision alone.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echolith.validation.information import Information

MOST_BYTES = 1e9
"""Of what is kept for other settings."""
LITHIUM_DOSE = 5800.0
"""e/Å²: the largest that the published movies of lithium gave."""
LITHIUM_SOURCE = "lithium filmed for 5.8 s at 1000 e/Å²/s (Nat. Commun., 2020)"
OXIDE_DOSE = 8.7e4
"""e/Å²: the largest that the published maps of Li-rich oxide gave."""
OXIDE_SOURCE = "Song et al., Joule 6 (2022) 1049: 2.9e4 to 8.7e4 e/Å²"


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
class SameField:
    """Keeps the field of a scan when its step changes (`Exposure.follows`).

    Parameters
    ----------
    name : str
        Setting that holds the number of positions along y and x.
    extent : pair of float
        Of the field, Å.
    """

    name: str
    extent: tuple[float, float]

    def __call__(self, step: Any) -> dict[str, Any]:
        """Return the positions that a step (one number, or one along y and one along x) takes."""
        steps = np.broadcast_to(np.asarray(step, dtype=float), 2)
        shape = np.maximum(1, np.rint(np.array(self.extent) / steps))
        return {self.name: [int(n) for n in shape]}


@dataclass(frozen=True)
class SameTime:
    """Keeps how long a movie lasts when the time of a frame changes (`Exposure.follows`).

    Parameters
    ----------
    name : str
        Setting that holds the number of frames.
    seconds : float
        Of the movie.
    """

    name: str
    seconds: float

    def __call__(self, frame_time: float) -> dict[str, Any]:
        """Return the frames there is time for."""
        return {self.name: max(1, round(self.seconds / frame_time))}


@dataclass(frozen=True)
class Step:
    """A dear part of an information.

    ``work(before, specimen)`` takes what the step before it returned, the first one None; where two
    settings have the same ``key``, so has what it returns about the specimen of one seed.
    """

    key: Hashable
    work: Callable[[Any, Any], Any]


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
        return self.finish(prepared.result(self.steps, specimen), specimen)


@dataclass(frozen=True)
class Prepared:
    """What steps returned about the specimen of one seed.

    The least recently used is given up beyond ``most`` bytes (``nbytes`` of what was returned).
    """

    most: float = MOST_BYTES
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def result(self, steps: Sequence[Step], specimen: Any) -> Any:
        """Return what the last of some steps returns."""
        if not steps:
            return None
        *before, step = steps
        key = (len(steps), step.key)
        value = self._kept.pop(key, None)
        if value is None:
            value = step.work(self.result(before, specimen), specimen)
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
