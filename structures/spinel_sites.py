"""Spinel, lithiated spinel and rock salt on the close-packed oxygen of the layered oxide.

All of these phases stack oxygen as the layered one does (ABC) and differ in the cations between.
With ``a`` the cubic edge of the spinel, the frame of the house maps onto cubic directions,

    A = (1, 1, -2) a/8,  C = (1, 1, 2) a/4,  O = (1, 1, 0) a/8,  one layer b/3 = (1, -1, 0) a/4,

each vector but the last without its part along the beam (half a layer for odd lattice index i,
and between M and Li or O: `column_stack`). So the beam, [010] of the monoclinic cell, is a <110>
of the cubic one, and y its <111>. In units of a/4 the octahedral sites are the integer triples of
even sum, oxygen those of odd sum, tetrahedral sites are triples of half odd integers.

In Fd-3m (origin at the inversion centre) 16d takes 3/4 of the octahedral sites in one layer and
1/4 in the next, 16c the rest; 8a takes an eighth of the tetrahedral sites, all in the layers poor
in 16d. Seen along <110>, columns of the rich layer are full and half filled with 16d in turn,
those of the poor layer half filled and empty; every second tetrahedral column is half filled.
The layer of the transition metals becomes the rich one, so that fewest atoms have to move.

Sites: International Tables for Crystallography A, No. 227.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from echolith.structures.occupation import Integers


class SurfacePhase(Enum):
    """What the surface of a layered oxide turns into; oxygen stays close packed as it was."""

    LAYERED = "layered"
    """Unchanged."""
    LT_LICOO2 = "lt-licoo2"
    """Lithiated spinel, Fd-3m: transition metals on 16d, lithium on 16c; no tetrahedral site."""
    LIMN2O4 = "limn2o4"
    """Spinel: transition metals on 16d, lithium on the tetrahedral 8a; 16c is empty."""
    MN3O4 = "mn3o4"
    """Spinel with transition metals on 16d and on the tetrahedral 8a; 16c is empty."""
    ROCK_SALT_DISORDERED = "rock-salt-disordered"
    """Every octahedral site holds a transition metal or lithium, one half each, at random."""


class Wyckoff(Enum):
    """Sites of Fd-3m; NONE is a tetrahedral site no phase here uses (8b, 48f)."""

    C16 = "16c"
    D16 = "16d"
    A8 = "8a"
    NONE = ""


@dataclass(frozen=True, kw_only=True)
class PhaseContent:
    """Probability of a transition metal and of lithium on each kind of site."""

    metal: Mapping[Wyckoff, float]
    lithium: Mapping[Wyckoff, float]


PHASES: Mapping[SurfacePhase, PhaseContent] = {
    SurfacePhase.LT_LICOO2: PhaseContent(metal={Wyckoff.D16: 1.0}, lithium={Wyckoff.C16: 1.0}),
    SurfacePhase.LIMN2O4: PhaseContent(metal={Wyckoff.D16: 1.0}, lithium={Wyckoff.A8: 1.0}),
    SurfacePhase.MN3O4: PhaseContent(metal={Wyckoff.D16: 1.0, Wyckoff.A8: 1.0}, lithium={}),
    SurfacePhase.ROCK_SALT_DISORDERED: PhaseContent(
        metal={Wyckoff.C16: 0.5, Wyckoff.D16: 0.5}, lithium={Wyckoff.C16: 0.5, Wyckoff.D16: 0.5}
    ),
}

VARIANTS = 4
"""Translations of the spinel that leave the oxygen as it is and the rich layers rich."""

# In eighths of the cubic edge: twice the units of the docstring, so that all are integers.
_A, _C, _O, _LAYER = (np.array(v) for v in ((1, 1, -2), (2, 2, 4), (1, 1, 0), (2, -2, 0)))
_SHIFTS = np.array([[0, 0, 0], [2, -2, 0], [2, 0, -2], [0, 2, -2]])
_FACES = np.array([[0, 0, 0], [0, 4, 4], [4, 0, 4], [4, 4, 0]])
_D16 = np.array([[4, 4, 4], [4, 2, 2], [2, 4, 2], [2, 2, 4]])
_A8 = np.array([[1, 1, 1], [7, 3, 3]])


def cubic_sites(
    kind: npt.NDArray[np.str_], sign: Integers, i: Integers, j: Integers, layer: Integers
) -> Integers:
    """Return the place of sites in the cubic lattice, (n, 3) in eighths of the spinel's edge.

    Parameters
    ----------
    kind : array of str, (n,)
        "M", "Li", "O", or "T" for a tetrahedral site of the alkali layer.
    sign, i, j, layer : array of int, (n,)
        Column and layer of b/3, as specimens carry them.
    """
    # Sites at 3/4 of a layer are at a whole number of steps, those at 1/4 half a step before.
    half = (np.isin(kind, ["M", "T"]) != (i % 2 == 0)).astype(int)
    lateral = i[:, None] * _A + j[:, None] * _C
    inner = np.where((kind == "T")[:, None], sign[:, None] * np.array([0, 0, 1]), 0)
    inner = inner + np.where((kind == "O")[:, None], sign[:, None] * _O, 0)
    offset = np.isin(kind, ["Li", "T"])[:, None] * (_C // 2)
    return np.asarray(lateral + offset + inner + (2 * layer - half)[:, None] * _LAYER // 2)


def wyckoff_sites(
    kind: npt.NDArray[np.str_],
    sign: Integers,
    i: Integers,
    j: Integers,
    layer: Integers,
    *,
    variant: int = 0,
) -> npt.NDArray[np.object_]:
    """Return which site of Fd-3m each cation site is, an array of `Wyckoff`.

    Parameters
    ----------
    kind, sign, i, j, layer : arrays, (n,)
        As for `cubic_sites`; no oxygen.
    variant : int
        Which of the four translations, 0 to 3.
    """
    cubic = (cubic_sites(kind, sign, i, j, layer) + _SHIFTS[variant]) % 8
    marked = np.where(kind == "T", 2 + _at(_A8, cubic), _at(_D16, cubic))
    names = np.array([Wyckoff.C16, Wyckoff.D16, Wyckoff.NONE, Wyckoff.A8], dtype=object)
    return np.asarray(names[marked])


def _at(sites: Integers, cubic: Integers) -> Integers:
    """Say by 1 which places in the cubic cell are these sites or a face-centred translation."""
    x, y, z = cubic.T
    return np.asarray(_member(sites)[x, y, z].astype(np.intp))


def _member(sites: Integers) -> npt.NDArray[np.bool_]:
    """Mark the sites and their face-centred translations in one cell, (8, 8, 8)."""
    marked = np.zeros((8, 8, 8), dtype=bool)
    x, y, z = ((sites[:, None] + _FACES).reshape(-1, 3) % 8).T
    marked[x, y, z] = True
    return marked
