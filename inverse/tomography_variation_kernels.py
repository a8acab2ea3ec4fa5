"""Compiled loops of total variation in 3D: forward differences that vanish at the far faces.

Both write planes ``first`` to ``last`` of the first axis alone, so that planes can be dealt out to
threads. They release the interpreter lock.
"""

import math
from typing import Any

import numpy as np

from echolith.inverse.overlap_kernels import compiled


@compiled
def primal(v: Any, dual: Any, mu: Any, lowest: Any, first: int, last: int, u: Any) -> None:
    """Write ``max(v + mu div(dual), lowest)``, all (a, b, c), the dual (3, a, b, c)."""
    none = np.zeros(v.shape[2], dtype=np.float32)
    for i in range(first, last):
        for j in range(v.shape[1]):
            own, left = dual[0, i, j], dual[0, i - 1, j] if i > 0 else none
            here, up = dual[1, i, j], dual[1, i, j - 1] if j > 0 else none
            line, given, out = dual[2, i, j], v[i, j], u[i, j]
            out[0] = max(given[0] + mu * (own[0] - left[0] + here[0] - up[0] + line[0]), lowest)
            for k in range(1, v.shape[2]):
                spread = own[k] - left[k] + here[k] - up[k] + line[k] - line[k - 1]
                out[k] = max(given[k] + mu * spread, lowest)


@compiled
def dual_step(
    u: Any, step: Any, momentum: Any, first: int, last: int, dual: Any, ahead: Any
) -> None:
    """Move the dual along the gradient of ``u``, back to lengths of 1 or less, and look ahead.

    ``dual <- P(ahead + step grad u)``, ``ahead <- dual + momentum (dual - dual before)``.
    """
    one: Any = np.float32(1)
    end = u.shape[2] - 1
    for i in range(first, last):
        for j in range(u.shape[1]):
            own = u[i, j]
            below = u[i + 1, j] if i + 1 < u.shape[0] else own
            right = u[i, j + 1] if j + 1 < u.shape[1] else own
            p0, p1, p2 = dual[0, i, j], dual[1, i, j], dual[2, i, j]
            r0, r1, r2 = ahead[0, i, j], ahead[1, i, j], ahead[2, i, j]
            for k in range(end + 1):
                following = own[k + 1] if k < end else own[k]
                a = r0[k] + step * (below[k] - own[k])
                b = r1[k] + step * (right[k] - own[k])
                c = r2[k] + step * (following - own[k])
                size = one / max(one, math.sqrt(a * a + b * b + c * c))
                a, b, c = a * size, b * size, c * size
                r0[k] = a + momentum * (a - p0[k])
                r1[k] = b + momentum * (b - p1[k])
                r2[k] = c + momentum * (c - p2[k])
                p0[k], p1[k], p2[k] = a, b, c
