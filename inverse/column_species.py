"""Species of atom columns from brightness alone.

Heavy columns (M) are bright in the dark field; among the rest O is brighter in phase than Li. Both
splits are optimal one-dimensional clusterings of the logarithm: the cut, or the two cuts, with
the least variance inside the clusters (Otsu 1979; Fisher 1958).
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_RATIO = 1.3
"""Clusters whose mean brightnesses differ by less are taken for one."""


def assign_species(
    amplitude: Array, brightness: Array | None, *, sure: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.str_]:
    """Name the species of every column.

    Parameters
    ----------
    amplitude : array, (columns,)
        Height in the phase image, > 0.
    brightness : array, (columns,), optional
        Height in the simultaneous annular dark field, above its background.
    sure : array of bool, (columns,), optional
        Columns from which the cuts are learned (those away from the border); default all.

    Returns
    -------
    array of str, (columns,)
        "M", "O" or "Li". With a dark field in two steps: M is the bright cluster there, then O
        and Li the two clusters of phase amplitude of the rest. Without one, the three clusters of
        phase amplitude. Where the rest has one brightness only it is all O.

    Examples
    --------
    >>> assign_species(np.array([9.0, 3.0, 3.1, 1.0, 8.5, 1.1]), None).tolist()
    ['M', 'O', 'O', 'Li', 'M', 'Li']
    """
    sure = np.ones(len(amplitude), dtype=bool) if sure is None or sure.sum() < 4 else sure
    phase = np.log(np.maximum(amplitude, 1e-12 * amplitude.max()))
    result = np.full(len(amplitude), "O", dtype="<U2")
    if brightness is None:
        lower, upper = _two_cuts(phase[sure])
        result[phase > upper] = "M"
        result[phase <= lower] = "Li"
        return result
    # Light columns scatter down to nothing in the dark field: hold them at 1 % of the bright.
    bright = np.log(np.maximum(brightness, 0.01 * np.quantile(brightness, 0.95)))
    heavy = bright > _one_cut(bright[sure])
    result[heavy] = "M"
    light = ~heavy
    if (light & sure).sum() >= 2:
        result[light & (phase <= _one_cut(phase[light & sure]))] = "Li"
    return result


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


def _within(ordered: Array):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Return the sum of squares about the mean of ordered[start:end], as a function."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])

    def inside(start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        total = sums[end] - sums[start]
        return squares[end] - squares[start] - total**2 / (end - start)

    return inside


def _cut_at(ordered: Array, start: int, middle: int, end: int) -> float:
    apart = ordered[middle:end].mean() - ordered[start:middle].mean()
    if apart < np.log(LEAST_RATIO):
        return -np.inf
    return float((ordered[middle - 1] + ordered[middle]) / 2)
