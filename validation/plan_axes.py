"""The settings a plan goes through: lists of values, and ranges to find a value in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import yaml

from echolith.errors import BadInputError
from echolith.validation.settings import number_or

STEPS = 5
"""Values tried in a range along which the information has to be computed."""

Choice = Sequence[Any]
Point = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """All values from ``low`` to ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range that holds nothing."""
        if not -np.inf < self.low < self.high < np.inf:
            raise BadInputError(
                f"the range {self.low:g}..{self.high:g} holds no values; give low..high with low "
                "below high"
            )

    def steps(self) -> list[float]:
        """Return a few values, evenly in proportion where all are positive."""
        spaced = np.geomspace if self.low > 0 else np.linspace
        return [float(f"{value:.4g}") for value in spaced(self.low, self.high, STEPS)]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What a plan goes through.

    Attributes
    ----------
    values : mapping of str to sequence
        Values of settings by dotted name; every combination is a point.
    free : mapping of str to Range
        Settings to which the information is proportional: not tried, solved for.
    stepped : tuple of str
        Settings whose range was cut in steps, to be refined about the best of them.
    """

    values: Mapping[str, Choice]
    free: Mapping[str, Range]
    stepped: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all settings a plan goes through."""
        return (*self.values, *self.free)

    def points(self) -> list[Point]:
        """Return every combination of the listed values."""
        return [
            dict(zip(self.values, chosen, strict=True)) for chosen in product(*self.values.values())
        ]


def axes(
    over: Mapping[str, Choice | Range],
    *,
    proportional: Iterable[str],
    integers: Iterable[str] = (),
) -> Axes:
    """Tell settings to be tried from those that can be solved for.

    Parameters
    ----------
    over : mapping
        Lists of values or ranges by dotted name of a setting.
    proportional : iterable of str
        Settings to which the information is proportional.
    integers : iterable of str
        Settings that are whole numbers.

    Raises
    ------
    BadInputError
        If nothing is to be gone through, a list is empty, or there are two ranges that have the
        same effect.
    """
    if not over:
        raise BadInputError("over is empty; name a setting and its values, e.g. dose=[1e4, 3e4]")
    values: dict[str, Choice] = {}
    free: dict[str, Range] = {}
    stepped: list[str] = []
    for name, wanted in over.items():
        if isinstance(wanted, Range) and name in set(proportional):
            free[name] = wanted
        elif isinstance(wanted, Range):
            steps = wanted.steps()
            whole = name in set(integers)
            values[name] = sorted({round(step) for step in steps}) if whole else steps
            stepped.append(name)
        elif isinstance(wanted, str) or not len(wanted):
            raise BadInputError(f"{name} = {wanted!r}; expected a list of values or a range")
        else:
            values[name] = list(wanted)
    if len(free) > 1:
        raise BadInputError(
            f"{' and '.join(free)} have the same effect on the counts; give a range for one of "
            "them, and values for the others"
        )
    return Axes(values=values, free=free, stepped=tuple(stepped))


def followed(point: Point, follows: Mapping[str, Callable[[Any], Mapping[str, Any]]]) -> Point:
    """Return a point with the settings that follow from its own; its own stay."""
    others = {
        key: v for name in point if name in follows for key, v in follows[name](point[name]).items()
    }
    return {**others, **point}


def parse_axes(texts: Iterable[str]) -> dict[str, Choice | Range]:
    """Read ``name=[a, b]`` and ``name=low..high``.

    Raises
    ------
    BadInputError
        If a text is of neither form.

    Examples
    --------
    >>> parse_axes(["dose=1e3..1e5", "scan.step=[0.2, 0.4]"])
    {'dose': Range(low=1000.0, high=100000.0), 'scan.step': [0.2, 0.4]}
    """
    return dict(_axis(text) for text in texts)


def _axis(text: str) -> tuple[str, Choice | Range]:
    name, equals, value = text.partition("=")
    low, dots, high = value.partition("..")
    ends: tuple[float, float] | None = None
    read: Any = None
    try:
        ends = (float(low), float(high)) if dots else None
        read = None if dots else yaml.safe_load(value)
    except (ValueError, yaml.YAMLError):
        pass
    if equals and name.strip() and ends is not None:
        return name.strip(), Range(*ends)
    if not (equals and name.strip()) or not isinstance(read, list):
        raise BadInputError(
            f"'{text}' is neither name=[value, value] nor name=low..high, e.g. dose=1e3..1e5"
        )
    return name.strip(), [number_or(item) for item in read]
