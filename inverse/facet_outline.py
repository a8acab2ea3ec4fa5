"""Where each facet of a crystal ends, from the signals of its columns: a likelihood of whole rows.

Along a facet the columns form rows. While a frame is taken, an edge that moves goes by w rows,
which are there in part: with its mean at x rows, each is there by

    o_j(x) = clip((x - j) / w + (1 + 1/w) / 2, 0, 1).

w is one of `WAYS`, each as likely beforehand. Of signals z with means m inside the crystal, the log
likelihood of x is

    L(x) = k sum_j [o_j sum_c m z - sum_c m² (o_j² s_0 / 2 + sum_n o_j o_(j-n) s_n)],

sums over the columns c of a row that the other facets leave, weighed by how far they do; s_n is the
share of rows n apart in the sum of G over the lattice, and k the inverse of that sum's variance
(`echolith.inverse.facet_columns`). Facets are gone through in turn a few times. An estimate is the
posterior mean of x, its uncertainty the standard deviation.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

FINE = 8
"""Places tried within a row."""
APART = 4
"""Rows that share something with one another."""
WAYS = (1, 2, 4)
"""Rows by which a facet may move in a frame; one at rest is the end of a way of 1."""


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def presence(row: float, edge: float, way: float) -> float:
    """Return the part of a row that is there, of an edge that goes by some rows."""
    return min(max((edge - row) / way + (1.0 + 1.0 / way) / 2.0, 0.0), 1.0)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def facet_likelihood(
    gain: Array, square: Array, shares: Array, first: int, low: int, high: int
) -> Array:
    """Return the log likelihood of the edge of one facet at `FINE` places in each row.

    Parameters
    ----------
    gain, square : array, (rows,)
        ``k sum_c m z`` and ``k sum_c m²`` of each row.
    shares : array, (APART + 1,)
        s_n.
    first : int
        Number of the first of these rows; all before are there.
    low, high : int
        Rows between which the edge is.
    """
    points = (high - low) * FINE + 1
    logs = np.empty((len(WAYS), points))
    there = np.zeros(len(gain))
    for w in range(len(WAYS)):
        for p in range(points):
            edge = low + p / FINE
            total = 0.0
            for j in range(min(int(edge + (WAYS[w] + 1) / 2) - first + 1, len(gain))):
                there[j] = presence(first + j, edge, WAYS[w])
                below = 0.5 * shares[0] * there[j]
                for n in range(1, APART + 1):
                    below += shares[n] * (there[j - n] if j >= n else 1.0)
                total += there[j] * (gain[j] - square[j] * below)
            logs[w, p] = total
    found = np.empty(points)
    for p in range(points):
        top = logs[:, p].max()
        found[p] = top + np.log(np.exp(logs[:, p] - top).mean())
    return found


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def facet_posterior(logs: Array, low: int) -> tuple[float, float]:
    """Return mean and standard deviation of an edge, in rows, of likelihoods from a row on."""
    top = logs.max()
    weight = mean = second = 0.0
    for p in range(len(logs)):
        share = np.exp(logs[p] - top)
        weight += share
        mean += share * p
        second += share * p * p
    mean /= weight
    # A step of the grid is known to its width at best.
    spread = np.sqrt(max(second / weight - mean * mean, 0.0) + 1.0 / 12.0)
    return low + mean / FINE, spread / FINE


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def support(facet: int, offsets: Array, angles: Array) -> float:
    """Return how far the outline of all other facets reaches along the normal of one, Å.

    The least of ``(h_j sin b + h_k sin a) / sin(a + b)`` over facets j at -a and k at b from it.
    """
    least = np.inf
    for j in range(len(angles)):
        a = (angles[facet] - angles[j]) % (2 * np.pi)
        if j == facet or a >= np.pi - 1e-6:
            continue
        for k in range(len(angles)):
            b = (angles[k] - angles[facet]) % (2 * np.pi)
            if k == facet or a + b >= np.pi - 1e-6:
                continue
            reached = (offsets[j] * np.sin(b) + offsets[k] * np.sin(a)) / np.sin(a + b)
            least = min(least, reached)
    return least


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def outline(
    signals: Array,
    means: Array,
    rows: npt.NDArray[np.int64],
    shares: Array,
    start: Array,
    layers: Array,
    angles: Array,
    scale: float,
    width: int,
    rounds: int,
    keep: bool,
) -> tuple[Array, Array, Array, Array, npt.NDArray[np.int64], Array]:
    """Return edges, their standard deviations (both in rows), and the part of them in the field.

    And log likelihoods (facets, places), the row where they begin, and where the corner is that
    the other facets make; farther out they do not change.

    Parameters
    ----------
    signals : array, (columns,)
        NaN where a column is not in the field.
    means : array, (columns,)
        Of signals inside the crystal.
    rows : array of int, (facets, columns)
        In which row of each facet a column is.
    shares : array, (facets, APART + 1)
    start : array, (facets,)
        About where the edges are.
    layers : array, (facets,)
        Distance of rows, Å.
    angles : array, (facets,)
        Of the normals, radian.
    scale : float
        k.
    width : int
        Rows to each side of the start that are looked at.
    rounds : int
    keep : bool
        Whether each facet is fitted with the others as they are at the start.
    """
    facets, columns = rows.shape
    edges, stds, seen = start.copy(), np.zeros(facets), np.zeros(facets)
    logs = np.empty((facets, 2 * width * FINE + 1))
    lows, corners = np.zeros(facets, dtype=np.int64), np.zeros(facets)
    for _ in range(rounds):
        for i in range(facets):
            others = start if keep else edges
            middle = int(np.round(others[i]))
            low = middle - width
            # Farther out than the corner that the others make a facet cuts nothing off.
            corner = support(i, (others + 0.5) * layers, angles) / layers[i] + 0.5
            high = max(min(middle + width, int(np.ceil(corner))), low + 1)
            lows[i], corners[i] = low, max(corner, low + 1.0)
            first = low - APART
            gain, square = np.zeros(high - first + 3), np.zeros(high - first + 3)
            near = held = 0.0
            for c in range(columns):
                j = rows[i, c] - first
                if j < 0 or j >= len(gain):
                    continue
                left = 1.0
                for k in range(facets):
                    if k != i and left > 0:
                        left *= presence(rows[k, c], others[k], 1.0)
                if left <= 0:
                    continue
                about = abs(rows[i, c] - others[i]) < 3
                if about:
                    near += left
                if np.isnan(signals[c]):
                    continue
                if about:
                    held += left
                gain[j] += scale * left * means[c] * signals[c]
                square[j] += scale * left * means[c] ** 2
            found = facet_likelihood(gain, square, shares[i], first, low, high)
            edges[i], stds[i] = facet_posterior(found, low)
            logs[i, : len(found)], logs[i, len(found) :] = found, found[-1]
            seen[i] = held / near if near > 0 else 1.0
    return edges, stds, seen, logs, lows, corners


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def inner_sums(
    signals: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    edges: Array,
    depth: float,
) -> tuple[Array, Array]:
    """Return the sum of each column's signals while inside, and in how many frames that was.

    Parameters
    ----------
    signals : array of float32, (frames, columns)
    rows : array of int, (facets, columns)
    edges : array, (frames, facets)
        In rows; NaN: the frame tells nothing.
    depth : float
        Rows below every edge from where on a column is inside.
    """
    sums, counts = np.zeros(signals.shape[1]), np.zeros(signals.shape[1])
    for f in range(len(signals)):
        for c in range(signals.shape[1]):
            inside = not np.isnan(signals[f, c])
            for k in range(len(rows)):
                inside = inside and rows[k, c] + depth <= edges[f, k]
            if inside:
                sums[c] += signals[f, c]
                counts[c] += 1
    return sums, counts
