"""Which elements stand on the sites of the transition-metal layer of Li-rich oxide.

Li1.2Ni0.13Mn0.54Co0.13O2 holds Li.2 Mn.54 Ni.13 Co.13 in this layer on average.
"""

from collections.abc import Mapping
from enum import Enum

import numpy as np
import numpy.typing as npt

from echolith.seeds import stream
from echolith.structures.site_occupancy import uniform_to_symbols

Integers = npt.NDArray[np.intp]

_M = {"Mn": 0.675, "Ni": 0.1625, "Co": 0.1625}


class Occupation(Enum):
    """How the transition-metal layer is filled."""

    ORDERED = "ordered"
    """Li2MnO3: Mn on 4g and Li on 2b; every column the same up to a shift along b."""
    RANDOM = "random"
    """4g holds M, 2b Li.6 M.4, with M = Mn.675 Ni.1625 Co.1625 drawn site by site."""
    DISORDERED = "disordered"
    """Every site drawn from Li.2 Mn.54 Ni.13 Co.13."""

    def content(self, *, minority: bool) -> Mapping[str, float]:
        """Return the probability of each element on a site.

        Parameters
        ----------
        minority : bool
            True for 2b (one third of the sites), False for 4g.
        """
        if self is Occupation.ORDERED:
            return {"Li": 1.0} if minority else {"Mn": 1.0}
        if self is Occupation.RANDOM:
            return {"Li": 0.6, **{e: 0.4 * p for e, p in _M.items()}} if minority else dict(_M)
        return {"Li": 0.2, "Mn": 0.54, "Ni": 0.13, "Co": 0.13}


def zigzag(index: int) -> int:
    """Return the place of an integer in 0, -1, 1, -2, 2 ..., which can name a random stream."""
    return 2 * index if index >= 0 else -2 * index - 1


def draw_column(
    occupation: Occupation, minority: npt.NDArray[np.bool_], *, i: int, j: int, seed: int
) -> npt.NDArray[np.str_]:
    """Draw the elements of one M column, which depend on the seed and on (i, j) alone.

    Parameters
    ----------
    occupation : Occupation
    minority : array of bool, (layers,)
        True for 2b, False for 4g, along the beam.
    i, j : int
        Lattice index of the column, so that a larger field or thickness keeps what it held.
    seed : int

    Returns
    -------
    array of str, (layers,)
    """
    if occupation is Occupation.ORDERED:
        return np.where(minority, "Li", "Mn")
    uniform = stream(seed, "occupation", zigzag(i), zigzag(j)).random(len(minority))
    return np.where(
        minority,
        uniform_to_symbols(uniform, occupation.content(minority=True)),
        uniform_to_symbols(uniform, occupation.content(minority=False)),
    )
