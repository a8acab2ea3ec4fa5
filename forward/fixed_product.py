"""Matrix products whose bits depend on nothing but the numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

COLUMNS_AT_ONCE = 512
"""They stay in the cache while the rows of a product pass."""


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _multiply(left: Any, right: Any, result: Any) -> None:
    for start in range(0, right.shape[1], COLUMNS_AT_ONCE):
        stop = min(start + COLUMNS_AT_ONCE, right.shape[1])
        for i in range(left.shape[0]):
            for k in range(left.shape[1]):
                weight = left[i, k]
                for j in range(start, stop):
                    result[i, j] += weight * right[k, j]


def fixed_product(
    left: npt.NDArray[np.complex64], right: npt.NDArray[np.complex64]
) -> npt.NDArray[np.complex64]:
    """Multiply two matrices row by row, each sum in the same order.

    The bits of a product by BLAS depend on its shape, on the number of BLAS threads and on what
    other threads do at the same time.
    """
    result = np.zeros((left.shape[0], right.shape[1]), dtype=np.complex64)
    _multiply(left, right, result)
    return result


@njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator, unused-ignore]
def _add_rows(left: Any, right: Any, result: Any) -> None:
    # Four rows at once, or storing the sums takes most of the time.
    whole = left.shape[1] // 4 * 4
    for i in range(left.shape[0]):
        row = result[i]
        for k in range(0, whole, 4):
            a, b, c, d = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            ra, rb, rc, rd = right[k], right[k + 1], right[k + 2], right[k + 3]
            for j in range(row.size):
                row[j] += a * ra[j] + b * rb[j] + c * rc[j] + d * rd[j]
        for k in range(whole, left.shape[1]):
            weight, one = left[i, k], right[k]
            for j in range(row.size):
                row[j] += weight * one[j]


def fixed_real_product(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.complex64]
) -> npt.NDArray[np.complex64]:
    """Multiply a real with a complex matrix as `fixed_product`, ten times faster."""
    result = np.zeros((left.shape[0], right.shape[1]), dtype=np.complex64)
    _add_rows(left, np.ascontiguousarray(right).view(np.float32), result.view(np.float32))
    return result
