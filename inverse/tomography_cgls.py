"""Conjugate gradients on the normal equations of every slice.

Low frequencies come first, noise last: the error has a minimum long before the equations are
solved, so that it needs a stopping rule.

References
----------
Björck, *Numerical Methods for Least Squares Problems* (1996), algorithm 7.4.1.
"""

import numpy as np
from scipy.sparse import csr_matrix

from echolith.forward.projection_kernels import multiply
from echolith.inverse.tomography_problem import Array, Iterates, Problem


def conjugate_gradients(task: Problem) -> Iterates:
    """Yield the volume after each iteration; every slice has steps of its own.

    Parameters
    ----------
    task : Problem
    """
    a, b = task.matrix.forward, task.matrix.backward

    def applied(matrix: csr_matrix, block: Array) -> Array:
        out = np.empty((matrix.shape[0], block.shape[1]), dtype=np.float32)
        multiply(matrix.indptr, matrix.indices, matrix.data, block, out)
        return out

    volume = task.start.copy()
    left = task.data - applied(a, volume)
    slope = applied(b, left)
    direction = slope.copy()
    size = _squares(slope)
    while True:
        seen = applied(a, direction)
        step = _ratio(size, _squares(seen))
        volume += step * direction
        left -= step * seen
        slope = applied(b, left)
        before, size = size, _squares(slope)
        direction = slope + _ratio(size, before) * direction
        yield volume


def _squares(block: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->j", block, block, dtype=np.float64))


def _ratio(above: Array, below: Array) -> Array:
    """Quotient; 0 for slices that are solved, as empty ones are from the start."""
    quotient = np.divide(above, below, where=below > 0, out=np.zeros_like(above))
    return quotient.astype(np.float32)
