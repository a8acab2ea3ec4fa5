"""Species of atom columns from brightness alone.

Columns fall into three clusters of phase: M, O, Li from bright to faint. The first cut is the
optimal one-dimensional clustering of the logarithm (Fisher 1958); with a simultaneous dark field,
clusters of both brightnesses are then refined together by classification expectation-maximisation
(Celeux and Govaert 1992) with one Gaussian per species.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_RATIO = 1.3
"""Clusters whose mean brightnesses differ by less are taken for one."""

LEAST_STD = 0.1
"""Smallest relative scatter assumed of a brightness within a species: columns of one species
differ by more than that through thickness, occupation and neighbours."""


def assign_species(
    amplitude: Array, brightness: Array | None, *, sure: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.str_]:
    """Name the species of every column.

    Parameters
    ----------
    amplitude : array, (columns,)
        Height in the phase image, > 0.
    brightness : array, (columns,), optional
        Height in the simultaneous annular dark field, above its background. Disordered columns of
        M scatter widely there (some as weakly as O), which is why it refines the clusters of
        phase instead of deciding alone.
    sure : array of bool, (columns,), optional
        Columns from which the clusters are learned (those away from the border); default all.

    Returns
    -------
    array of str, (columns,)
        "M", "O" or "Li". Where only two brightnesses are distinct, M and O; where one, all O.

    Examples
    --------
    >>> assign_species(np.array([9.0, 3.0, 3.1, 1.0, 8.5, 1.1]), None).tolist()
    ['M', 'O', 'O', 'Li', 'M', 'Li']
    """
    sure = np.ones(len(amplitude), dtype=bool) if sure is None or sure.sum() < 4 else sure
    phase = np.log(np.maximum(amplitude, 1e-12 * amplitude.max()))
    lower, upper = _two_cuts(phase[sure])
    result = np.full(len(amplitude), "O", dtype="<U2")
    if np.isfinite(upper):
        result[phase > upper] = "M"
    result[phase <= lower] = "Li"
    if brightness is None:
        return result
    # A dark field of a few counts can be zero or less above background: hold it at 1 % of the
    # brightest columns.
    floor = max(0.01 * float(np.quantile(brightness, 0.95)), 1e-12)
    return _refined(result, np.stack([phase, np.log(np.maximum(brightness, floor))]), sure)


def _refined(
    species: npt.NDArray[np.str_], features: Array, sure: npt.NDArray[np.bool_]
) -> npt.NDArray[np.str_]:
    """Give every column the species under whose Gaussian it is likeliest, until none changes."""
    names = np.unique(species[sure])
    for _ in range(20):
        before = species
        likelihood = np.stack([_log_likelihood(features, sure & (species == n)) for n in names])
        species = names[likelihood.argmax(axis=0)]
        if (species == before).all() or set(species[sure]) != set(names):
            return before
    return species


def _log_likelihood(features: Array, members: npt.NDArray[np.bool_]) -> Array:
    mean = features[:, members].mean(axis=1, keepdims=True)
    std = np.maximum(features[:, members].std(axis=1, keepdims=True), LEAST_STD)
    return np.asarray((-(((features - mean) / std) ** 2) / 2 - np.log(std)).sum(axis=0))


def _one_cut(values: Array) -> float:
    """Best cut into two clusters; -inf where they are not distinct."""
    ordered = np.sort(values)
    if len(ordered) < 2:
        return -np.inf
    inside = _within(ordered)
    count = len(ordered)
    cost = np.array([inside(0, k) + inside(k, count) for k in range(1, count)])
    return _cut_at(ordered, 0, int(cost.argmin()) + 1, count)


def _two_cuts(values: Array) -> tuple[float, float]:
    """Best cuts into three clusters; a cut is -inf where its clusters are not distinct."""
    ordered = np.sort(values)
    count = len(ordered)
    if count < 3:
        return -np.inf, _one_cut(values)
    inside = _within(ordered)
    first, second = np.triu_indices(count - 1, k=1)
    first, second = first + 1, second + 1
    cost = inside(0, first) + inside(first, second) + inside(second, count)
    best = int(cost.argmin())
    low, high = int(first[best]), int(second[best])
    lower, upper = _cut_at(ordered, 0, low, high), _cut_at(ordered, low, high, count)
    if np.isinf(lower) or np.isinf(upper):
        return -np.inf, _one_cut(values)
    return lower, upper


def _within(ordered: Array) -> Callable[[Any, Any], Any]:
    """Return the sum of squares about the mean of ordered[start:end], as a function."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])

    def inside(start: Any, end: Any) -> Any:
        total = sums[end] - sums[start]
        return squares[end] - squares[start] - total**2 / (end - start)

    return inside


def _cut_at(ordered: Array, start: int, middle: int, end: int) -> float:
    apart = ordered[middle:end].mean() - ordered[start:middle].mean()
    if apart < np.log(LEAST_RATIO):
        return -np.inf
    return float((ordered[middle - 1] + ordered[middle]) / 2)
