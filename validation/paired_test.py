"""Paired one-sided tests of two lists of results on the same seeds, and Holm's adjustment."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

LEAST_SEEDS = 3
"""Fewer do not tell the scatter of their differences."""
LEAST_ERRORS = 10
"""Seeds are joined until a block pools this many errors: its logarithm is then near normal …"""
LEAST_BLOCKS = 20
"""… as long as this many blocks are left."""


class PValues(NamedTuple):
    """Of the two one-sided tests: the current is worse, the current is better."""

    worse: float = 1.0
    better: float = 1.0


def mean_square_test(before: Array, after: Array, *, count: Array, margin: float) -> PValues:
    """Test whether mean squares grew, or fell, by more than a factor of (1 + margin)².

    Student's t of d = log(after / before), seed by seed or block by block (see `block_size`).

    Parameters
    ----------
    before, after : array, (seeds,)
        Mean squares, positive; seeds with NaN in either are left out.
    count : array, (seeds,)
        Errors in each mean square.
    margin : float
        Relative change of the root mean square that is allowed.

    Returns
    -------
    PValues
    """
    known = np.isfinite(before) & np.isfinite(after) & (count > 0)
    seeds = int(known.sum())
    if seeds < LEAST_SEEDS:
        return PValues()
    blocks = seeds // block_size(seeds, float(count[known].mean()))
    starts = np.arange(blocks) * seeds // blocks
    old, new = (np.add.reduceat((x * count)[known], starts) for x in (before, after))
    d, allowed = np.log(new / old), 2 * np.log1p(margin)
    return PValues(t_test(d, allowed), t_test(-d, allowed))


def block_size(seeds: int, errors: float) -> int:
    """Return how many seeds are joined, given the errors pooled in each.

    The logarithm of a mean square of few errors has a long tail towards zero and wastes what the
    data tell.

    Examples
    --------
    >>> block_size(16, 400), block_size(2000, 1), block_size(60, 1)
    (1, 10, 3)
    """
    wanted = int(np.ceil(LEAST_ERRORS / max(errors, 1.0)))
    return max(1, min(wanted, seeds // LEAST_BLOCKS))


def t_test(values: Array, threshold: float) -> float:
    """Return the p-value of 'the mean is above the threshold', one-sided."""
    excess = float(values.mean()) - threshold
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(special.stdtr(len(values) - 1, -excess / error))


def count_test(before: Array, after: Array) -> PValues:
    """Test whether counts of what should not be grew, or fell.

    Two tests must agree, so that neither small counts nor counts that come in bursts alarm: the
    t-test of the differences, and the binomial test of the totals.

    Parameters
    ----------
    before, after : array, (seeds,)
        Counts; seeds with NaN in either are left out.
    """
    known = np.isfinite(before) & np.isfinite(after)
    if known.sum() < LEAST_SEEDS:
        return PValues()
    d = after[known] - before[known]
    old, new = round(before[known].sum()), round(after[known].sum())
    return PValues(
        max(t_test(d, 0.0), sign_test(new, old)), max(t_test(-d, 0.0), sign_test(old, new))
    )


def sign_test(more: int, less: int) -> float:
    """Return the chance of at least ``more`` out of ``more + less`` when both are as likely.

    Examples
    --------
    >>> sign_test(4, 0)
    0.0625
    """
    total = more + less
    return float(special.bdtrc(more - 1, total, 0.5)) if more else 1.0


def holm(p_values: Sequence[float], weight: Array) -> Array:
    """Return p-values adjusted for multiplicity by Holm's step-down method with weights.

    Parameters
    ----------
    p_values : sequence of float
    weight : array
        Positive.

    References
    ----------
    Holm, Scand. J. Stat. 6, 65 (1979).

    Examples
    --------
    >>> holm([0.01, 0.04], np.array([0.5, 0.5])).tolist()
    [0.02, 0.04]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * left / weight[order]), 1.0)
    return adjusted
