"""Turn a crystal so that the beam sees it along a zone axis, and cut a box from it.

A zone axis points towards the electron source, against the beam (Williams and Carter,
*Transmission Electron Microscopy*, 2nd ed., section 18.4): it lies along -z. So [010] of Li2MnO3
gives the frame of the built-in specimens, x along a and C with Cy > 0; [0-10] its mirror image.
"""

from math import gcd

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.structures.li_rich_oxide import check_field
from echolith.structures.occupation import zigzag
from echolith.structures.site_occupancy import is_fractional, site_contents, uniform_to_symbols

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_LARGEST = 5_000_000
"""Atoms; beyond this the box is surely not what was meant."""


def project_structure(
    atoms: Atoms,
    *,
    zone_axis: tuple[int, int, int] = (0, 1, 0),
    field: tuple[float, float],
    thickness: float,
    seed: int = 0,
) -> Atoms:
    """Cut a box from a crystal seen along a zone axis.

    The box is centred on the origin of the crystal's cell. x lies along the projection of a (of
    b where a is the zone axis). The entrance face is put in the middle of the widest gap between
    planes of atoms, so that it splits none.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal with a cell of three vectors. Shared or partly empty sites
        (``info["occupancy"]``) are drawn site by site, independently: a larger box keeps what a
        smaller one held. Sites that exclude each other may both be filled.
    zone_axis : (int, int, int)
        Direction [uvw] that points to the electron source.
    field : (float, float)
        Height (y) and width (x), Å.
    thickness : float
        Å.
    seed : int
        Of the occupancies.

    Returns
    -------
    ase.Atoms
        Cell (width, height, thickness), no periodicity, 0 <= position < cell.

    Raises
    ------
    BadInputError
        If there are no atoms or no cell, the zone axis is zero or not of integers, the field or
        thickness is none, or no atom lies in the box.
    """
    _check(atoms, zone_axis, thickness)
    height, width = check_field(field)
    axis = np.array(zone_axis) // gcd(*(int(n) for n in zone_axis))
    crystal = np.asarray(atoms.cell)
    cell = crystal @ _rotation(crystal, axis).T
    fraction = np.asarray(atoms.positions) @ np.linalg.inv(crystal) % 1.0
    box = np.array([width, height, thickness])
    _check_size(atoms, box)
    entrance = _entrance(fraction @ cell, abs(float((axis @ cell)[2])))
    offset = np.array([width / 2, height / 2, -entrance])
    shifts = _cells(cell, box, offset)
    return _fill(atoms, fraction, cell, shifts, box, offset, seed)


def _check(atoms: Atoms, zone_axis: tuple[int, int, int], thickness: float) -> None:
    if not len(atoms):
        raise BadInputError("the structure has no atoms; expected a crystal")
    if atoms.cell.rank < 3 or _volume(atoms) < 1e-3:
        raise BadInputError(
            "the structure has no cell of three independent vectors, so it cannot be repeated; "
            "give a crystal (CIF, POSCAR, or extended XYZ with a Lattice)"
        )
    if len(zone_axis) != 3 or not all(float(n).is_integer() for n in zone_axis):
        raise BadInputError(f"zone_axis = {tuple(zone_axis)}; expected three integers [u v w]")
    if not any(zone_axis):
        raise BadInputError("zone_axis = (0, 0, 0) has no direction; expected e.g. (0, 1, 0)")
    if not (np.isfinite(thickness) and 0 < thickness <= 1e4):
        raise BadInputError(
            f"thickness = {thickness:g} Å; expected above 0 and at most 10000 Å; give it in Å"
        )


def _check_size(atoms: Atoms, box: Floats) -> None:
    expected = np.prod(box) / _volume(atoms) * len(atoms)
    if expected > _LARGEST:
        width, height, thickness = box
        raise BadInputError(
            f"a box of {width:g} × {height:g} × {thickness:g} Å would hold {expected:.2g} atoms; "
            f"expected at most {_LARGEST:.2g}; use a smaller field or thickness (Å)"
        )


def _volume(atoms: Atoms) -> float:
    return float(abs(np.linalg.det(np.asarray(atoms.cell))))


def _rotation(cell: Floats, axis: Integers) -> Floats:
    """Return the proper rotation that takes the axis to -z and the projection of a to +x."""
    z = -_unit(axis @ cell)
    for edge in cell:
        x = edge - (edge @ z) * z
        # An edge along the axis has no projection.
        if np.linalg.norm(x) > 1e-6 * np.linalg.norm(edge):
            break
    x = _unit(x)
    return np.array([x, np.cross(z, x), z])


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


def _entrance(positions: Floats, period: float) -> float:
    """Height below z = 0, in the middle of the widest gap between planes of atoms nearest to it."""
    heights = positions[:, 2] % period
    # Rounding may put a plane at z = 0 one period up.
    heights = np.sort(np.where(heights > period - 1e-6, 0.0, heights))
    gaps = np.diff(np.append(heights, heights[0] + period))
    # The last of the widest, whatever the rounding.
    widest = int(np.flatnonzero(gaps > gaps.max() - 1e-6)[-1])
    return float((heights[widest] + gaps[widest] / 2) % period) - period


def _cells(cell: Floats, box: Floats, offset: Floats) -> Integers:
    """Every lattice translation that may bring atoms of one cell into the box, (n, 3)."""
    corners = np.stack(np.meshgrid(*([0.0, length] for length in box)), axis=-1).reshape(-1, 3)
    wanted = (corners - offset) @ np.linalg.inv(cell)
    low = np.floor(wanted.min(axis=0)).astype(int) - 1
    high = np.ceil(wanted.max(axis=0)).astype(int)
    axes = [np.arange(first, last + 1) for first, last in zip(low, high, strict=True)]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # Drop cells that surely miss the box: most of them where the cell is skewed.
    reach = np.abs(cell).sum(axis=0)
    origin = shifts @ cell + offset
    return np.asarray(shifts[((origin > -reach) & (origin < box + reach)).all(axis=1)])


def _fill(
    atoms: Atoms,
    fraction: Floats,
    cell: Floats,
    shifts: Integers,
    box: Floats,
    offset: Floats,
    seed: int,
) -> Atoms:
    positions = (fraction[None] + shifts[:, None]) @ cell + offset
    # The slack keeps atoms that stand exactly on the near faces.
    inside: npt.NDArray[np.bool_] = np.all((positions > -1e-6) & (positions < box - 1e-6), axis=2)
    if is_fractional(atoms):
        symbols = _draw(atoms, shifts, inside, seed)
        inside = inside & (symbols != "")
    else:
        symbols = np.broadcast_to(np.array(list(atoms.symbols)), inside.shape)
    if not inside.any():
        raise BadInputError(
            f"no atom lies in the box of {box[0]:g} × {box[1]:g} × {box[2]:g} Å; "
            "use a larger field or thickness (Å)"
        )
    return Atoms(
        symbols[inside].tolist(),
        positions=np.maximum(positions[inside], 0.0),
        cell=box,
        pbc=False,
    )


def _draw(
    atoms: Atoms, shifts: Integers, inside: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.str_]:
    """Draw elements site by site: those of one cell depend on the seed and its translation."""
    contents = site_contents(atoms)
    uniform = np.zeros(inside.shape)
    for row in np.flatnonzero(inside.any(axis=1)):
        name = [zigzag(int(n)) for n in shifts[row]]
        uniform[row] = stream(seed, "occupancy", *name).random(len(atoms))
    return np.stack(
        [uniform_to_symbols(uniform[:, n], content) for n, content in enumerate(contents)], axis=1
    )
