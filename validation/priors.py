"""Where the settings of generated samples come from: distributions a prior is declared by."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy.special import ndtr, ndtri

from echolith.errors import BadInputError, near_match
from echolith.validation.settings import number_or

CUT = 4.0
"""Standard deviations at which a normal distribution is cut off."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A distribution of the values of one setting.

    Attributes
    ----------
    text : str
        As it is written on the command line; goes into the manifest.
    quantile : callable
        ``quantile(share) -> value``: below it lie so many of all values, 0 to 1.
    extremes : tuple
        Values at the ends of what can be drawn: settings have to take them all.
    """

    text: str
    quantile: Callable[[float], Any]
    extremes: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """Return one value."""
        return self.quantile(generator.random())

    def __repr__(self) -> str:
        return self.text


def uniform(low: float, high: float) -> Prior:
    """Return the distribution of equal density from `low` to `high`."""
    _ordered("uniform", low, high)
    return Prior(
        text=f"uniform({low:g}, {high:g})",
        quantile=lambda share: float(np.clip(low + (high - low) * share, low, high)),
        extremes=(low, high),
    )


def log_uniform(low: float, high: float) -> Prior:
    """Return the distribution whose logarithm has equal density from `low` to `high`."""
    _ordered("log_uniform", low, high)
    if low <= 0:
        raise BadInputError(f"log_uniform({low:g}, {high:g}): expected limits above 0")
    return Prior(
        text=f"log_uniform({low:g}, {high:g})",
        quantile=lambda share: float(np.clip(low * (high / low) ** share, low, high)),
        extremes=(low, high),
    )


def normal(mean: float, std: float) -> Prior:
    """Return the normal distribution, cut off at `CUT` standard deviations."""
    if not (math.isfinite(mean) and 0 < std < math.inf):
        raise BadInputError(
            f"normal({mean:g}, {std:g}): expected a mean, and a standard deviation above 0"
        )
    beyond = ndtr(-CUT)
    return Prior(
        text=f"normal({mean:g}, {std:g})",
        quantile=lambda share: mean + std * float(ndtri(beyond + (1 - 2 * beyond) * share)),
        extremes=(mean - CUT * std, mean + CUT * std),
    )


def integers(low: float, high: float) -> Prior:
    """Return the distribution over whole numbers from `low` to `high`, all equally likely."""
    _ordered("integers", low, high)
    first, last = round(low), round(high)
    if (first, last) != (low, high):
        raise BadInputError(f"integers({low:g}, {high:g}): expected whole numbers")
    return Prior(
        text=f"integers({first}, {last})",
        quantile=lambda share: min(first + int(share * (last - first + 1)), last),
        extremes=(first, last),
    )


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
    below = np.cumsum(shares) / shares.sum()
    last = int(np.flatnonzero(shares)[-1])
    told = "" if weights is None else f", weights={list(weights)}"
    return Prior(
        text=f"{listed}{told}",
        quantile=lambda share: listed[min(int(np.searchsorted(below, share, side="right")), last)],
        extremes=tuple(value for value, share in zip(listed, shares, strict=True) if share),
    )


DISTRIBUTIONS: Mapping[str, Callable[..., Prior]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
    "normal": normal,
    "integers": integers,
}


def _ordered(name: str, low: float, high: float) -> None:
    if not -math.inf < low < high < math.inf:
        raise BadInputError(f"{name}({low:g}, {high:g}): expected low below high")


def parse_priors(texts: Iterable[str]) -> dict[str, Prior]:
    """Read ``name=uniform(low, high)``, `log_uniform`, `integers`, `normal`, ``[a, b]``.

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
            "integers(low, high), normal(mean, std) or [value, value], "
            "e.g. dose=log_uniform(1e3, 1e5)"
        )
    return name, choice([number_or(item) for item in read])


def _numbers(text: str) -> tuple[float, float] | None:
    try:
        first, second = (float(number) for number in text.split(","))
    except ValueError:
        return None
    return first, second


Pair = tuple[str, str]


def parse_correlations(texts: Iterable[str]) -> dict[Pair, float]:
    """Read rank correlations ``a,b=0.7`` of two priors.

    Raises
    ------
    BadInputError
        If a text is not of this form.

    Examples
    --------
    >>> parse_correlations(["thickness,dose=-0.5"])
    {('thickness', 'dose'): -0.5}
    """
    found = {}
    for text in texts:
        names, _, value = text.partition("=")
        parts = [name.strip() for name in names.split(",")]
        try:
            found[parts[0], parts[1]] = float(value)
            if len(parts) > 2:
                raise ValueError
        except (IndexError, ValueError) as error:
            raise BadInputError(
                f"'{text}' is no correlation; expected name,name=number, e.g. thickness,dose=0.5"
            ) from error
    return found


def joint_law(
    names: Iterable[str], correlations: Mapping[Pair, float]
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return which priors are drawn together, and the factor of their normal law's correlations.

    Ranks correlate as asked: a Gaussian copula of ``r = 2 sin(pi rho / 6)`` has Spearman's rho
    (Kruskal, J. Am. Stat. Assoc. 53 (1958) 814, of continuous laws). Each keeps its own law.

    Parameters
    ----------
    names : iterable of str
        Of all priors.
    correlations : mapping
        Spearman's rank correlation of pairs, -1 to 1.

    Raises
    ------
    BadInputError
        If one is out of range, of no prior, or they exclude each other.
    """
    known = list(names)
    together = list(dict.fromkeys(name for pair in correlations for name in pair))
    matrix: npt.NDArray[np.float64] = np.eye(len(together))
    for (one, other), rho in correlations.items():
        for name in (one, other):
            if name not in known:
                raise BadInputError(
                    f"'{name}' is correlated but has no prior: {near_match(name, known)}"
                )
        if one == other or not -1 < rho < 1:
            raise BadInputError(
                f"correlation {one},{other} = {rho:g}; expected two priors, and a number between "
                "-1 and 1"
            )
        at = together.index(one), together.index(other)
        matrix[at] = matrix[at[::-1]] = 2 * np.sin(np.pi * rho / 6)
    try:
        return together, np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise BadInputError(
            f"the correlations {dict(correlations)} exclude each other; make them smaller"
        ) from error


def drawn_together(
    priors: Mapping[str, Prior], correlations: Mapping[Pair, float], generator: np.random.Generator
) -> dict[str, Any]:
    """Return one value of each prior that is correlated."""
    names, factor = joint_law(priors, correlations)
    shares = ndtr(factor @ generator.standard_normal(len(names)))
    return {name: priors[name].quantile(float(u)) for name, u in zip(names, shares, strict=True)}
