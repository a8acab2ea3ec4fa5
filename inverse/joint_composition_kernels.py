"""Compiled loops of the joint inversion: variation of two channels together, amounts from 0 on.

Channels are absorptions in units in which the likelihood is as curved along both. As
`tomography_variation_kernels`, but one length is made of the differences of both channels, and what
comes out lies in the cone of amounts that are not negative.
"""

import math
from typing import Any

import numpy as np

from echolith.forward.projection_kernels import add_row
from echolith.inverse.overlap_kernels import compiled


@compiled
def nearest_in_cone(a: Any, b: Any, cone: Any) -> Any:
    """Return the point nearest to (a, b) in the cone of two directions of length 1, its columns.

    The cone is the 4-tuple of the first and the second direction, the first turned less from the
    first axis.
    """
    r, s, t, u = cone
    if a <= 0 and b <= 0:
        return a * 0, b * 0
    if r * b - s * a >= 0 and a * u - b * t >= 0:
        return a, b
    first, second = r * a + s * b, t * a + u * b
    if first >= second:
        first = max(first, a * 0)
        return first * r, first * s
    second = max(second, a * 0)
    return second * t, second * u


@compiled
def joint_primal(v: Any, dual: Any, mu: Any, cone: Any, first: int, last: int, out: Any) -> None:
    """Write what is nearest to ``v + mu div(dual)`` in the cone; v (2, a, b, c), dual (6, a, b, c).

    Components of the dual are along the axes of the first channel, then of the second.
    """
    none = np.zeros(v.shape[3], dtype=np.float32)
    for i in range(first, last):
        for j in range(v.shape[2]):
            o0, o1 = dual[0, i, j], dual[3, i, j]
            l0 = dual[0, i - 1, j] if i > 0 else none
            l1 = dual[3, i - 1, j] if i > 0 else none
            h0, h1 = dual[1, i, j], dual[4, i, j]
            u0 = dual[1, i, j - 1] if j > 0 else none
            u1 = dual[4, i, j - 1] if j > 0 else none
            k0, k1 = dual[2, i, j], dual[5, i, j]
            v0, v1, w0, w1 = v[0, i, j], v[1, i, j], out[0, i, j], out[1, i, j]
            for k in range(w0.size):
                w0[k] = v0[k] + mu * (o0[k] - l0[k] + h0[k] - u0[k] + k0[k])
                w1[k] = v1[k] + mu * (o1[k] - l1[k] + h1[k] - u1[k] + k1[k])
            for k in range(1, w0.size):
                w0[k] -= mu * k0[k - 1]
                w1[k] -= mu * k1[k - 1]
            for k in range(w0.size):
                w0[k], w1[k] = nearest_in_cone(w0[k], w1[k], cone)


@compiled
def joint_dual_step(
    u: Any, step: Any, momentum: Any, first: int, last: int, dual: Any, ahead: Any
) -> None:
    """Move the dual along the gradient of both channels; as `dual_step` with six components.

    Lines are gone through component by component: a loop over all at once is not vectorised.
    """
    moved = np.empty((6, u.shape[3]), dtype=np.float32)
    size = np.empty(u.shape[3], dtype=np.float32)
    for i in range(first, last):
        below = min(i + 1, u.shape[1] - 1)
        for j in range(u.shape[2]):
            right = min(j + 1, u.shape[2] - 1)
            for c in range(2):
                own = u[c, i, j]
                _forward(ahead[3 * c, i, j], u[c, below, j], own, step, moved[3 * c])
                _forward(ahead[3 * c + 1, i, j], u[c, i, right], own, step, moved[3 * c + 1])
                line, out = ahead[3 * c + 2, i, j], moved[3 * c + 2]
                out[-1] = line[-1]
                _forward(line[:-1], own[1:], own[:-1], step, out[:-1])
            _lengths(moved, size)
            for c in range(6):
                _look_ahead(moved[c], size, momentum, dual[c, i, j], ahead[c, i, j])


@compiled
def _forward(line: Any, following: Any, own: Any, step: Any, out: Any) -> None:
    for k in range(out.size):
        out[k] = line[k] + step * (following[k] - own[k])


@compiled
def _lengths(moved: Any, size: Any) -> None:
    """Write one over the length, where that is above 1, else 1."""
    one: Any = np.float32(1)
    size[:] = 0
    for c in range(moved.shape[0]):
        line = moved[c]
        for k in range(size.size):
            size[k] += line[k] * line[k]
    for k in range(size.size):
        size[k] = one / math.sqrt(max(one, size[k]))


@compiled
def _look_ahead(line: Any, size: Any, momentum: Any, dual: Any, ahead: Any) -> None:
    for k in range(size.size):
        short = line[k] * size[k]
        ahead[k] = short + momentum * (short - dual[k])
        dual[k] = short


@compiled
def transmitted_less(
    starts: Any, at: Any, w: Any, block: Any, counts: Any, incident: Any, line: Any, out: Any
) -> None:
    """Write ``counts - incident exp(-matrix block)``: minus the slope of the Poisson likelihood.

    ``line`` (slices) is room to work in.
    """
    for row in range(starts.size - 1):
        line[:] = 0
        add_row(starts[row], starts[row + 1], at, w, block, line)
        n, i, left = counts[row], incident[row], out[row]
        for j in range(line.size):
            left[j] = n[j] - i[j] * math.exp(-line[j])
