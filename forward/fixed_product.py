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
