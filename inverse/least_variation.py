"""Accelerated steps (FISTA), and the volume of less variation near a given one, from its dual.

References
----------
Beck, Teboulle, SIAM J. Imaging Sci. 2 (2009) 183 (FISTA); IEEE Trans. Image Process. 18 (2009) 2419
(FGP).
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Spread = Callable[[Callable[[Any], object], list[Any]], object]
"""Calls a function with every entry of a list, on several threads."""
Primal = Callable[[Array, Array, int, int, Array], object]
"""Writes rows start to stop of the volume that is nearest to the first array, given the dual, into
the last."""
DualStep = Callable[[Array, np.float32, np.float32, int, int, Array, Array], object]
"""Moves rows of dual and ahead, the last two, along the gradient of the volume that comes first, by
a step and a momentum, in place."""

NORM = 12.0
"""Bound of the squared norm of the gradient in 3D."""
ROWS = 8
"""Planes of the volume in one piece of work."""


@contextmanager
def spreading(workers: int) -> Iterator[Spread]:
    """Give a `Spread` over so many threads."""
    with ThreadPoolExecutor(workers) as pool:

        def spread(work: Callable[[Any], object], parts: list[Any]) -> None:
            list(pool.map(work, parts))

        yield spread


def momentum(t: float) -> tuple[np.float32, float]:
    """Return how far to go on along the last change, and the t of the next step (first 1)."""
    following = (1 + math.sqrt(1 + 4 * t**2)) / 2
    return np.float32((t - 1) / following), following


def less_varied(
    near: Array,
    *,
    size: float,
    dual: Array,
    inner: int,
    primal: Primal,
    dual_step: DualStep,
    spread: Spread,
) -> Array:
    """Return the minimum of ``|u - near|² / 2 + size TV(u)`` where `primal` allows u to be.

    Parameters
    ----------
    near : array (..., rows, columns, slices)
    size : float
    dual : array
        Of the last call, zeros first; improved in place.
    inner : int
        Steps.
    primal : Primal
    dual_step : DualStep
    spread : Spread
    """
    ahead, u, t = dual.copy(), np.empty_like(near), 1.0
    step = np.float32(1 / (NORM * size))
    count = near.shape[-3]
    rows = [(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]

    def towards(part: tuple[int, int], by: np.float32) -> None:
        dual_step(u, step, by, part[0], part[1], dual, ahead)

    for _ in range(inner):
        spread(lambda part: primal(near, ahead, part[0], part[1], u), rows)
        further, t = momentum(t)
        spread(partial(towards, by=further), rows)
    spread(lambda part: primal(near, dual, part[0], part[1], u), rows)
    return u
