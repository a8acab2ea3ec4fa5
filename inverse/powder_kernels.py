"""Lines added up to a pattern with its derivatives, compiled.

A line is a pseudo-Voigt, convolved with axial divergence of equal heights of sample and slit:
shifts are u times the mean one, u = t², t the sum of two equal uniform heights over its
root-mean-square.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

NEAR = 4.0
"""Full widths from the middle beyond which a line is a Lorentzian tail."""
FAR = 60.0
"""Full widths beyond which a line is left out; 0.5 % of a Lorentzian's area is there."""
KNOT = 4
"""Points between knots of the tails, which are interpolated: to 1e-4 of the line's height."""
GAUSSIAN = 2.8
"""Full widths beyond which the Gaussian part is 0; there it is 4e-10 of its height."""
SKEW = 0.04
"""Mean shift by axial divergence in full widths, up to which two nodes meet a line to 1e-4."""
LN2 = float(np.log(2))


@cache
def divergence_nodes(count: int) -> tuple[Array, Array]:
    """Return shifts in units of the mean, and weights, of axial divergence of equal heights.

    The sum of two heights that are uniform between -1 and 1 has the density (2 - |s|) / 4, and the
    shift goes with its square. Gauss's quadrature for it: nodes are the eigenvalues of the shift
    among its orthonormal polynomials (Golub and Welsch, Math. Comput. 23 (1969) 221).
    """
    height, density = np.polynomial.legendre.leggauss(32)
    height, density = height + 1, density * (1 - height)  # 0 to 2
    density, shift = density / density.sum(), height**2
    shift = shift / (shift @ density)
    basis = np.linalg.qr(np.vander(shift, count) * np.sqrt(density)[:, None])[0]
    nodes, vectors = np.linalg.eigh(basis.T @ (shift[:, None] * basis))
    return np.asarray(nodes), np.asarray((np.sqrt(density) @ basis @ vectors) ** 2)


FEW, MANY = divergence_nodes(2), divergence_nodes(8)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def add_lines(
    start: float, step: float, table: Array, slopes: Array, pattern: Array, jacobian: Array
) -> None:
    """Add lines to a pattern and to its derivatives.

    Parameters
    ----------
    start, step : float
        2 theta of the first point and between points, degree.
    table : array, (lines, 5)
        As `echolith.inverse.powder_lines.COLUMNS` says.
    slopes : array, (lines, parameters, 5)
        Derivatives of the table.
    pattern : array, (points,)
        Added to.
    jacobian : array, (parameters, points)
        Added to. In the tails of a line the derivative by its position is left out.
    """
    parameters, count = jacobian.shape
    knots = (count - 1) // KNOT + 2
    tails = np.zeros((parameters + 1, knots))
    slope = np.empty(parameters + 1)
    basis, buffer = np.empty((5, count)), np.empty(max(count, knots))
    for h in range(len(table)):
        centre, strength, width, mixing, asymmetry = table[h]
        middle = centre + asymmetry - start
        close, far = NEAR * width + 4 * abs(asymmetry), FAR * width
        # Knots up to `left` and from `right` on are tails; the points between are exact.
        left = min(int(np.floor((middle - close) / step / KNOT)), knots - 1)
        right = max(int(np.ceil((middle + close) / step / KNOT)), 0)
        slope[0] = strength
        for p in range(parameters):
            slope[p + 1] = slopes[h, p, 1] + strength * (
                slopes[h, p, 2] / width + slopes[h, p, 3] / mixing
            )
        first = max(0, int((middle - far) / step / KNOT))
        last = min(knots, int((middle + far) / step / KNOT) + 1)
        for begin, end in ((first, left + 1), (right, last)):
            for j in range(begin, end):
                buffer[j] = _tail(j * KNOT * step - middle, width, mixing)
            for p in range(parameters + 1):
                for j in range(begin, end):
                    tails[p, j] += slope[p] * buffer[j]
        first, last = max(0, left * KNOT + 1), min(count, right * KNOT)
        if first >= last:
            continue
        _profile(start + first * step - centre, step, table[h], basis[:, : last - first], buffer)
        # The knots at both ends are interpolated into here, which they must not be.
        if left >= 0:
            excess = _tail(left * KNOT * step - middle, width, mixing)
            for i in range(first, min(last, (left + 1) * KNOT)):
                _take(basis, i - first, excess * (1 - i / KNOT + left), width, mixing)
        if right < knots:
            excess = _tail(right * KNOT * step - middle, width, mixing)
            for i in range(max(first, (right - 1) * KNOT), last):
                _take(basis, i - first, excess * (1 - right + i / KNOT), width, mixing)
        for i in range(last - first):
            pattern[first + i] += strength * basis[0, i]
        for p in range(parameters):
            a, b = slopes[h, p, 1], strength * slopes[h, p, 0]
            c, d, e = strength * slopes[h, p, 2], strength * slopes[h, p, 3], slopes[h, p, 4]
            e *= strength
            for i in range(last - first):
                jacobian[p, first + i] += (
                    a * basis[0, i] + b * basis[1, i] + c * basis[2, i] + d * basis[3, i]
                    + e * basis[4, i]
                )  # fmt: skip
    _interpolate(tails[0], pattern)
    for p in range(parameters):
        _interpolate(tails[p + 1], jacobian[p])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _profile(x: float, step: float, line: Array, basis: Array, gaussian: Array) -> None:
    """Fill a line of unit area and its derivatives by all but the strength, (5, points).

    ``x`` is of the first point, from the centre.
    """
    _, _, width, mixing, asymmetry = line
    nodes, weights = FEW if abs(asymmetry) < SKEW * width else MANY
    quarter, twice = 0.25 * width * width, 8 * LN2 / (width * width)
    basis[:] = 0
    for k in range(len(nodes)):
        from_middle = x - asymmetry * nodes[k]
        _gaussian(from_middle, step, width, gaussian[: basis.shape[1]])
        for i in range(basis.shape[1]):
            away = from_middle + i * step
            below = 1 / (away * away + quarter)
            lorentz = weights[k] * width / (2 * np.pi) * below
            gauss = weights[k] * gaussian[i]
            value = mixing * lorentz + (1 - mixing) * gauss
            # By the position; a width scales both axes of a line of unit area.
            moved = away * (2 * below * mixing * lorentz + twice * (1 - mixing) * gauss)
            basis[0, i] += value
            basis[1, i] += moved
            basis[2, i] += (away * moved - value) / width
            basis[3, i] += lorentz - gauss
            basis[4, i] += nodes[k] * moved


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _gaussian(x: float, step: float, width: float, values: Array) -> None:
    """Fill a Gaussian of unit area at equal steps: ratios of neighbours have a constant ratio."""
    sharp = 4 * LN2 / (width * width)
    first = min(max(0, int(np.ceil((-GAUSSIAN * width - x) / step))), len(values))
    last = max(first, min(len(values), int((GAUSSIAN * width - x) / step) + 1))
    x += first * step
    value = 2 * np.sqrt(LN2 / np.pi) / width * np.exp(-sharp * x * x)
    ratio, change = np.exp(-sharp * step * (2 * x + step)), np.exp(-2 * sharp * step * step)
    values[:first] = 0
    for i in range(first, last):
        values[i] = value
        value *= ratio
        ratio *= change
    values[last:] = 0


@njit(cache=True, nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _tail(x: float, width: float, mixing: float) -> float:
    return mixing * width / (2 * np.pi) / (x * x + 0.25 * width * width)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _take(basis: Array, i: int, excess: float, width: float, mixing: float) -> None:
    """Take a tail off a line and its derivatives at one point."""
    basis[0, i] -= excess
    basis[2, i] -= excess / width
    basis[3, i] -= excess / mixing


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _interpolate(knots: Array, values: Array) -> None:
    """Add what is given at knots to values between them."""
    for i in range(len(values)):
        part = (i % KNOT) / KNOT
        values[i] += (1 - part) * knots[i // KNOT] + part * knots[i // KNOT + 1]
