"""Compiled: normal equations of many designs at once, with errors that remember."""

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def normal_equations(
    columns: Array, lengths: Array, std: Array, gaps: Array, share: Array, correlation: Array
) -> tuple[Array, Array, Array, Array]:
    """Return ``X' S^-1 X``, ``X' S^-1 y``, ``y' S^-1 y`` and ``log det S`` of every design.

    Error i is ``std_i (r_i + w_i)``: w white, of variance 1 - share; r a first-order
    autoregression of variance share that keeps ``correlation ** gap`` of itself from one length
    to the next. Its innovations come from a Kalman filter in time linear in the lengths.

    Parameters
    ----------
    columns : array (designs, lengths, terms)
    lengths, std, gaps : array (lengths,)
        Gaps in frames before each length.
    share, correlation : array (designs,)

    References
    ----------
    Durbin and Koopman, *Time Series Analysis by State Space Methods* (2012), section 4.3.
    """
    designs, n, terms = columns.shape
    normal = np.zeros((designs, terms, terms))
    projected = np.zeros((designs, terms))
    square = np.zeros(designs)
    log_determinant = np.zeros(designs)
    state = np.empty(terms + 1)
    innovation = np.empty(terms + 1)
    for m in range(designs):
        state[:] = 0.0
        variance = share[m]
        for i in range(n):
            kept = correlation[m] ** gaps[i] if i else 1.0
            variance = kept * kept * variance + share[m] * (1.0 - kept * kept)
            total = variance + 1.0 - share[m]
            gain = variance / total
            root = 1.0 / np.sqrt(total)
            for k in range(terms + 1):
                value = columns[m, i, k] if k < terms else lengths[i]
                expected = kept * state[k]
                away = value / std[i] - expected
                innovation[k] = away * root
                state[k] = expected + gain * away
            variance *= 1.0 - gain
            log_determinant[m] += np.log(total) + 2.0 * np.log(std[i])
            for k in range(terms):
                for j in range(k + 1):
                    normal[m, k, j] += innovation[k] * innovation[j]
                projected[m, k] += innovation[k] * innovation[terms]
            square[m] += innovation[terms] * innovation[terms]
        for k in range(terms):
            for j in range(k):
                normal[m, j, k] = normal[m, k, j]
    return normal, projected, square, log_determinant
