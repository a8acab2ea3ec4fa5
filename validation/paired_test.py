"""Paired one-sided tests of two lists of results on the same seeds, and Holm's adjustment."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

LEAST_SEEDS = 3
"""Fewer do not tell the scatter of their differences."""
LEAST_ERRORS = 10
"""Seeds are joined until a block pools this many errors: its logarithm is then near normal …"""
LEAST_BLOCKS = 20
"""… as long as this many blocks are left."""


class PValues(NamedTuple):
    """Of the two one-sided tests: is the current worse, is it better?"""

    worse: float = 1.0
    better: float = 1.0


def mean_square_test(
    before: Array, after: Array, *, count: Array, margin: float, about_own_mean: bool = False
) -> PValues:
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
    about_own_mean : bool
        The mean squares are about means over the seeds, which makes them depend on each other; see
        `widening`.

    Returns
    -------
    PValues
    """
    known = np.isfinite(before) & np.isfinite(after) & (count > 0)
    seeds = int(known.sum())
    if seeds < LEAST_SEEDS:
        return PValues()
    size = block_size(seeds, float(count[known].mean()))
    blocks = np.array_split(np.flatnonzero(known), seeds // size)
    d = np.array(
        [
            np.log(np.average(after[b], weights=count[b]) / np.average(before[b], weights=count[b]))
            for b in blocks
        ]
    )
    factor = widening(seeds) if about_own_mean else 1.0
    allowed = 2 * np.log1p(margin)
    return PValues(t_test(d, allowed, factor=factor), t_test(-d, allowed, factor=factor))


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


def widening(seeds: int) -> float:
    """Return the factor √((n - 1) / (n - 2)) on the standard error for squares about own means.

    Deviations of n seeds from their common mean correlate by -1/(n - 1), their squares by
    ρ = 1/(n - 1)² (normal errors). The variance of the mean of the squares is then
    (1 + (n - 1) ρ) / (1 - ρ) = (n - 1) / (n - 2) times what their scatter tells.
    """
    return float(np.sqrt((seeds - 1) / (seeds - 2)))


def t_test(values: Array, threshold: float, *, factor: float = 1.0) -> float:
    """Return the p-value of 'the mean is above the threshold'; ``factor`` widens its error."""
    excess = float(values.mean()) - threshold
    error = factor * float(values.std(ddof=1)) / np.sqrt(len(values))
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(stats.t.sf(excess / error, len(values) - 1))


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
    return float(stats.binom.sf(more - 1, total, 0.5)) if total else 1.0


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
