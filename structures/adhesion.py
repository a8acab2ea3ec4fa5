"""Work of adhesion of an interface from energies of any ASE calculator.

``W_ad = (E_AB - E_A - E_B) / area``: an interface against its two slabs, each alone in the cell of
the interface. Below 0 the slabs hold together; published values of lithium keep this sign.

The slabs are taken as the interface holds them (unrelaxed) or relaxed by a callable. Slabs that are
periodic along the normal must be separated by vacuum: else the cell holds two interfaces.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy import constants

from echolith.errors import BadInputError

JOULE_PER_SQUARE_METRE = constants.e * 1e20
"""Of 1 eV/Å²: 16.02 J/m²."""
LEAST_VACUUM = 8.0
"""Å along the normal, below which images of a slab still feel each other."""


class PublishedAdhesion(NamedTuple):
    """A work of adhesion of the literature, J/m², and where it is from."""

    value: float
    source: str


_SOURCE = (
    "density functional theory, in 'Unravelling the room-temperature atomic structure and growth "
    "kinetics of lithium metal', Nat. Commun. (2020)"
)
PUBLISHED = MappingProxyType(
    {
        name: PublishedAdhesion(value, _SOURCE)
        for name, value in (
            ("Li110-Li110", -1.01),
            ("Li001-Li2O001, Li-Li", -1.21),
            ("Li001-Li2O001, Li-O", -6.43),
            ("Li2O-Li2O", -7.92),
        )
    }
)
"""By interface and the atoms that meet there. Reference data: nothing here computes them."""


@dataclass(frozen=True, kw_only=True)
class Adhesion:
    """What an interface holds together by.

    Attributes
    ----------
    work : float
        W_ad, J/m²; negative: bound.
    area : float
        Of the interface, Å².
    interface, first, second : float
        Energies, eV.
    atoms : (int, int)
        Of both slabs.
    relaxed : bool
        Whether the slabs alone were relaxed.
    """

    work: float
    area: float
    interface: float
    first: float
    second: float
    atoms: tuple[int, int]
    relaxed: bool


def adhesion_from_energies(interface: float, first: float, second: float, *, area: float) -> float:
    """Return W_ad, J/m², from energies, eV, and an area, Å².

    Examples
    --------
    >>> round(adhesion_from_energies(-10.0, -4.0, -5.0, area=16.02176634), 6)
    -1.0
    """
    if not area > 0:
        raise BadInputError(f"area = {area:g} Å²; expected more than 0 Å²")
    return float((interface - first - second) / area * JOULE_PER_SQUARE_METRE)


def interface_area(atoms: Atoms, *, normal: int = 2) -> float:
    """Return the area of a cell's face across one of its vectors, Å²."""
    a, b = (np.asarray(atoms.cell)[axis] for axis in range(3) if axis != normal)
    area = float(np.linalg.norm(np.cross(a, b)))
    if area == 0:
        raise BadInputError(
            f"the cell {np.asarray(atoms.cell).tolist()} Å has no area across axis {normal}; set "
            "the cell of the interface"
        )
    return area


def split_by_height(atoms: Atoms, height: float, *, normal: int = 2) -> npt.NDArray[np.bool_]:
    """Return which atoms lie below a height, Å along the normal of the interface."""
    return np.asarray(_heights(atoms, normal) < height)


def split_by_tag(atoms: Atoms, tag: int) -> npt.NDArray[np.bool_]:
    """Return which atoms carry a tag."""
    return np.asarray(atoms.get_tags() == tag)


def work_of_adhesion(
    interface: Atoms,
    first: npt.NDArray[np.bool_],
    *,
    calculator: Callable[[], Calculator] | None = None,
    relax: Callable[[Atoms], Atoms] | None = None,
    normal: int = 2,
) -> Adhesion:
    """Return the work of adhesion of an interface of two slabs.

    Parameters
    ----------
    interface : ase.Atoms
        Left as it is.
    first : array of bool, (atoms,)
        Which atoms are the first slab, as from `split_by_tag` or `split_by_height`.
    calculator : callable, optional
        ``calculator()`` returns a fresh calculator, the same for all three energies. By default
        that of the interface is used for all.
    relax : callable, optional
        ``relax(slab)`` returns a slab relaxed alone, with its cell and its atoms. By default slabs
        stay as the interface holds them.
    normal : int
        Vector of the cell across the interface.

    Raises
    ------
    BadInputError
        If there is no calculator, a slab is empty, vacuum is missing along a periodic normal, or
        relaxation changed cell, periodicity or atoms.
    """
    mask = np.asarray(first)
    _check_split(interface, mask)
    _check_vacuum(interface, normal)
    area = interface_area(interface, normal=normal)
    slabs = [interface[mask], interface[~mask]]
    if relax is not None:
        slabs = [_relaxed(slab, relax, _maker(interface, calculator)) for slab in slabs]
    energies = [_energy(atoms, _maker(interface, calculator)) for atoms in (interface, *slabs)]
    return Adhesion(
        work=adhesion_from_energies(*energies, area=area),
        area=area,
        interface=energies[0],
        first=energies[1],
        second=energies[2],
        atoms=(int(mask.sum()), int((~mask).sum())),
        relaxed=relax is not None,
    )


def _maker(
    interface: Atoms, calculator: Callable[[], Calculator] | None
) -> Callable[[], Calculator]:
    if calculator is not None:
        return calculator
    own = interface.calc
    if own is None:
        raise BadInputError(
            "the interface has no calculator and none was given; pass calculator=, e.g. "
            "calculator=EMT, or set interface.calc"
        )
    return lambda: own


def _energy(atoms: Atoms, make: Callable[[], Calculator]) -> float:
    alone = atoms.copy()
    alone.calc = make()
    energy = float(alone.get_potential_energy())
    if not np.isfinite(energy):
        raise BadInputError(f"the calculator returned {energy} eV for {len(atoms)} atoms")
    return energy


def _relaxed(slab: Atoms, relax: Callable[[Atoms], Atoms], make: Callable[[], Calculator]) -> Atoms:
    alone = slab.copy()
    alone.calc = make()
    found = relax(alone)
    if not np.array_equal(found.numbers, slab.numbers):
        raise BadInputError(
            f"relaxation turned {slab.get_chemical_formula()} into "
            f"{found.get_chemical_formula()} or changed their order; expected the same atoms"
        )
    if not np.allclose(found.cell, slab.cell, atol=1e-9) or (found.pbc != slab.pbc).any():
        raise BadInputError(
            f"relaxation changed the cell from {np.asarray(slab.cell).tolist()} Å, pbc "
            f"{slab.pbc.tolist()} to {np.asarray(found.cell).tolist()} Å, pbc "
            f"{found.pbc.tolist()}; expected the cell of the interface: relax positions only"
        )
    return found


def _check_split(interface: Atoms, mask: npt.NDArray[np.bool_]) -> None:
    if mask.dtype != bool or mask.shape != (len(interface),):
        raise BadInputError(
            f"a split of {mask.dtype} and shape {mask.shape} for {len(interface)} atoms; expected "
            "one bool for each: use split_by_tag or split_by_height"
        )
    if mask.all() or not mask.any():
        raise BadInputError(
            f"one slab holds {int(mask.sum())} of {len(interface)} atoms; expected some in both"
        )


def _heights(atoms: Atoms, normal: int) -> npt.NDArray[np.float64]:
    """Return places along the normal of the interface, Å."""
    a, b = (np.asarray(atoms.cell)[axis] for axis in range(3) if axis != normal)
    across = np.cross(a, b)
    across = across / np.linalg.norm(across) * np.sign(across @ np.asarray(atoms.cell)[normal] or 1)
    return np.asarray(atoms.positions @ across)


def _check_vacuum(interface: Atoms, normal: int) -> None:
    if not interface.pbc[normal]:
        return
    period = interface.get_volume() / interface_area(interface, normal=normal)
    heights = np.sort(_heights(interface, normal) % period)
    gap = float(np.diff(np.append(heights, heights[0] + period)).max())
    if gap < LEAST_VACUUM:
        raise BadInputError(
            f"the widest gap along the normal is {gap:.2f} Å; expected {LEAST_VACUUM:g} Å of "
            "vacuum or more, else the cell holds two interfaces; enlarge the cell with "
            "interface.center(vacuum=...) or make it open along the normal"
        )
