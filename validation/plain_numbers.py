"""Numbers that people would write down, for Hypothesis strategies: a grid about a plain value."""

from decimal import Decimal

import numpy as np
from hypothesis import strategies as st

from echolith.errors import BadInputError


def near(plain: float, *, low: float, high: float, step: float) -> st.SearchStrategy[float]:
    """Draw ``plain + k step`` within limits, in as many decimals; it shrinks to the plain value.

    Parameters
    ----------
    plain : float
        The simplest value, e.g. a default.
    low, high : float
        Limits, both included where they are on the grid.
    step : float
        Of the grid.

    Raises
    ------
    BadInputError
        If a number is not finite, the plain value is outside the limits, or the step not positive.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(near(22.4, low=10, high=35, step=0.1), lambda value: value > 25)
    25.1
    """
    numbers = (plain, low, high, step)
    if not np.isfinite(numbers).all() or not (low <= plain <= high and step > 0):
        raise BadInputError(
            f"plain = {plain:g}, low = {low:g}, high = {high:g}, step = {step:g}; expected finite "
            "numbers, low <= plain <= high and a positive step"
        )
    start, stride = Decimal(repr(float(plain))), Decimal(repr(float(step)))
    fewest = int((Decimal(repr(float(low))) - start) / stride)
    most = int((Decimal(repr(float(high))) - start) / stride)
    return st.integers(fewest, most).map(lambda k: float(start + k * stride))


def round_step(size: float) -> float:
    """Return the power of ten that is a hundredth of a size or less, more than a thousandth.

    Examples
    --------
    >>> round_step(1500.0), round_step(20.0)
    (10.0, 0.1)
    """
    return float(10.0 ** np.floor(np.log10(size / 100)))


def at_least(name: str, value: float, least: float, unit: str = "") -> None:
    """Refuse an argument of a strategy that is too small or not finite, when it is made."""
    if not least <= value < np.inf:
        raise BadInputError(f"{name} = {value:g}{unit}; expected {least:g}{unit} or more")
