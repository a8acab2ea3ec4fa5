"""Where the settings of generated samples come from: distributions a prior is declared by."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from echolith.errors import BadInputError, near_match
from echolith.validation.settings import number_or


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A distribution of the values of one setting.

    Attributes
    ----------
    text : str
        As it is written on the command line; goes into the manifest.
    draw : callable
        ``draw(generator) -> value``.
    extremes : tuple
        Values at the ends of what can be drawn: settings have to take them all.
    """

    text: str
    draw: Callable[[np.random.Generator], Any]
    extremes: tuple[Any, ...]

    def __repr__(self) -> str:
        return self.text


def uniform(low: float, high: float) -> Prior:
    """Return the distribution of equal density from `low` to `high`."""
    _ordered("uniform", low, high)
    return Prior(
        text=f"uniform({low:g}, {high:g})",
        draw=lambda rng: float(rng.uniform(low, high)),
        extremes=(low, high),
    )


def log_uniform(low: float, high: float) -> Prior:
    """Return the distribution whose logarithm has equal density from `low` to `high`."""
    _ordered("log_uniform", low, high)
    if low <= 0:
        raise BadInputError(f"log_uniform({low:g}, {high:g}): expected limits above 0")
    ends = math.log(low), math.log(high)
    return Prior(
        text=f"log_uniform({low:g}, {high:g})",
        draw=lambda rng: float(np.clip(np.exp(rng.uniform(*ends)), low, high)),
        extremes=(low, high),
    )


def normal(mean: float, std: float) -> Prior:
    """Return the normal distribution, cut off at four standard deviations."""
    if not (math.isfinite(mean) and 0 < std < math.inf):
        raise BadInputError(
            f"normal({mean:g}, {std:g}): expected a mean, and a standard deviation above 0"
        )
    ends = mean - 4 * std, mean + 4 * std

    def draw(rng: np.random.Generator) -> float:
        while not ends[0] <= (value := rng.normal(mean, std)) <= ends[1]:
            pass
        return float(value)

    return Prior(text=f"normal({mean:g}, {std:g})", draw=draw, extremes=ends)


def choice(values: Sequence[Any], *, weights: Sequence[float] | None = None) -> Prior:
    """Return the distribution over listed values, equally likely or by weight."""
    if isinstance(values, str) or not len(values):
        raise BadInputError(f"choice of {values!r}; expected a list of values")
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    if shares.shape != (len(values),) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise BadInputError(
            f"weights {weights!r}; expected one of 0 or more for each of {len(values)} values"
        )
    listed = list(values)
    told = "" if weights is None else f", weights={list(weights)}"
    return Prior(
        text=f"{listed}{told}",
        draw=lambda rng: listed[int(rng.choice(len(listed), p=shares / shares.sum()))],
        extremes=tuple(value for value, share in zip(listed, shares, strict=True) if share),
    )


DISTRIBUTIONS: Mapping[str, Callable[..., Prior]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
    "normal": normal,
}


def _ordered(name: str, low: float, high: float) -> None:
    if not -math.inf < low < high < math.inf:
        raise BadInputError(f"{name}({low:g}, {high:g}): expected low below high")


def parse_priors(texts: Iterable[str]) -> dict[str, Prior]:
    """Read ``name=uniform(low, high)``, ``log_uniform``, ``normal(mean, std)``, ``[a, b]``.

    Raises
    ------
    BadInputError
        If a text is of none of these forms.

    Examples
    --------
    >>> parse_priors(["dose=log_uniform(1e3, 1e5)", "state=[pristine, charged]"])
    {'dose': log_uniform(1000, 100000), 'state': ['pristine', 'charged']}
    """
    return dict(_prior(text) for text in texts)


def _prior(text: str) -> tuple[str, Prior]:
    name, equals, value = (part.strip() for part in text.partition("="))
    called = re.fullmatch(r"(\w+)\((.*)\)", value)
    if called and called[1] not in DISTRIBUTIONS:
        raise BadInputError(
            f"unknown distribution in '{text}'; {near_match(called[1], DISTRIBUTIONS)}"
        )
    numbers = _numbers(called[2]) if called else None
    if called and name and numbers is not None:
        return name, DISTRIBUTIONS[called[1]](*numbers)
    try:
        read = None if called else yaml.safe_load(value)
    except yaml.YAMLError:
        read = None
    if not (equals and name) or not isinstance(read, list):
        raise BadInputError(
            f"'{text}' is no prior; expected name=uniform(low, high), log_uniform(low, high), "
            "normal(mean, std) or [value, value], e.g. dose=log_uniform(1e3, 1e5)"
        )
    return name, choice([number_or(item) for item in read])


def _numbers(text: str) -> tuple[float, float] | None:
    try:
        first, second = (float(number) for number in text.split(","))
    except ValueError:
        return None
    return first, second
