"""Lines added up to a pattern with its derivatives, compiled.

A line is a pseudo-Voigt, convolved with axial divergence of equal heights of sample and slit:
shifts are u times the mean one, u = t², t the sum of two equal uniform heights over its
root-mean-square.
"""

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
LN2 = float(np.log(2))


def divergence_nodes(count: int = 5) -> tuple[Array, Array]:
    """Return shifts in units of the mean, and weights, of axial divergence of equal heights.

    The sum of two heights that are uniform between -1 and 1 has the density (2 - |s|) / 4, and the
    shift goes with its square, whose mean is 2/3.
    """
    nodes, weights = np.polynomial.legendre.leggauss(count)
    height = nodes + 1  # 0 to 2
    weights = weights * (2 - height)
    weights = weights / weights.sum()
    shifts = height**2
    return np.asarray(shifts / (shifts @ weights)), np.asarray(weights)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def add_lines(
    start: float,
    step: float,
    table: Array,
    slopes: Array,
    nodes: Array,
    weights: Array,
    pattern: Array,
    jacobian: Array,
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
    nodes, weights : array
        As from `divergence_nodes`.
    pattern : array, (points,)
        Added to.
    jacobian : array, (points, parameters)
        Added to. In the tails of a line the derivative by its position is left out.
    """
    count, parameters = jacobian.shape
    knots = (count - 1) // KNOT + 2
    tails = np.zeros((knots, parameters + 1))
    slope = np.empty(parameters + 1)
    for h in range(len(table)):
        centre, strength, width, mixing, asymmetry = table[h]
        slope[0] = strength
        for p in range(parameters):
            slope[p + 1] = slopes[h, p, 1] + strength * (
                slopes[h, p, 2] / width + slopes[h, p, 3] / mixing
            )
        middle = centre + asymmetry - start
        close, far = NEAR * width + 4 * abs(asymmetry), FAR * width
        # Knots up to `left` and from `right` on are tails; the points between are exact.
        left = min(int(np.floor((middle - close) / step / KNOT)), knots - 1)
        right = max(int(np.ceil((middle + close) / step / KNOT)), 0)
        for ends in (
            (max(0, int((middle - far) / step / KNOT)), left + 1),
            (right, min(knots, int((middle + far) / step / KNOT) + 1)),
        ):
            for j in range(ends[0], ends[1]):
                tails[j] += _tail(j * KNOT * step - middle, width, mixing) * slope
        at_left = _tail(left * KNOT * step - middle, width, mixing) if left >= 0 else 0.0
        at_right = _tail(right * KNOT * step - middle, width, mixing) if right < knots else 0.0
        for i in range(max(0, left * KNOT + 1), min(count, right * KNOT)):
            x = start + i * step - centre
            value, by_x, by_width, by_mixing, by_asymmetry = 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(len(nodes)):
                v, dx, dw, dm = _profile(x - asymmetry * nodes[k], width, mixing)
                value += weights[k] * v
                by_x += weights[k] * dx
                by_width += weights[k] * dw
                by_mixing += weights[k] * dm
                by_asymmetry -= weights[k] * nodes[k] * dx
            # The knots at both ends are interpolated into here, which they must not be.
            excess = at_left * max(0.0, 1 - i / KNOT + left)
            excess += at_right * max(0.0, 1 - right + i / KNOT)
            pattern[i] += strength * value - excess * strength
            for p in range(parameters):
                jacobian[i, p] += (
                    slopes[h, p, 1] * value
                    + strength
                    * (
                        by_width * slopes[h, p, 2]
                        + by_mixing * slopes[h, p, 3]
                        + by_asymmetry * slopes[h, p, 4]
                        - by_x * slopes[h, p, 0]
                    )
                    - excess * slope[p + 1]
                )
    for i in range(count):
        j, part = i // KNOT, (i % KNOT) / KNOT
        pattern[i] += (1 - part) * tails[j, 0] + part * tails[j + 1, 0]
        for p in range(parameters):
            jacobian[i, p] += (1 - part) * tails[j, p + 1] + part * tails[j + 1, p + 1]


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _tail(x: float, width: float, mixing: float) -> float:
    return mixing * width / (2 * np.pi * (x * x + 0.25 * width * width))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _profile(x: float, width: float, mixing: float) -> tuple[float, float, float, float]:
    """Return a pseudo-Voigt of unit area and its derivatives by x, width and mixing."""
    ratio = x / width
    square = ratio * ratio
    gauss = 0.0
    if square < 8:
        gauss = 2 * np.sqrt(LN2 / np.pi) / width * np.exp(-4 * LN2 * square)
    below = 1 + 4 * square
    lorentz = 2 / (np.pi * width * below)
    gauss_x = -8 * LN2 * ratio / width * gauss
    lorentz_x = -8 * ratio / (width * below) * lorentz
    gauss_w = (8 * LN2 * square - 1) / width * gauss
    lorentz_w = (8 * square / below - 1) / width * lorentz
    return (
        mixing * lorentz + (1 - mixing) * gauss,
        mixing * lorentz_x + (1 - mixing) * gauss_x,
        mixing * lorentz_w + (1 - mixing) * gauss_w,
        lorentz - gauss,
    )
