"""Specimens of Li-rich layered oxide along monoclinic [010], from five projected parameters.

Frame of every specimen: the beam along z = -b, x along a (so A = (a/2, 0)), y such that C has
Cy > 0. An M column, lattice index (0, 0), stands at the lateral centre of the cell. Atoms carry
``column_kind``, ``lattice_i``, ``lattice_j``, ``sign``: the column each one belongs to, so that
the truth needs no search.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.spacegroup import crystal

from echolith.errors import BadInputError
from echolith.structures.column_stack import (
    SPLIT_4I,
    SPLIT_8J,
    Y_4G,
    Y_4H,
    Y_8J,
    B,
    Columns,
    columns_at,
    count_layers,
    lattice_points,
    stack,
    translations,
    wholly_inside,
)
from echolith.structures.occupation import Occupation
from echolith.structures.projected_cell import (
    PRISTINE,
    PRISTINE_MEASURED,
    ProjectedParameters,
    commensurate,
    named_distances,
    parameters_from_distances,
)

__all__ = [
    "PRISTINE",
    "PRISTINE_MEASURED",
    "Occupation",
    "ProjectedParameters",
    "commensurate",
    "field_specimen",
    "named_distances",
    "orthogonal_specimen",
    "parameters_from_distances",
    "periodic_specimen",
    "unit_cell",
]


def unit_cell(
    parameters: ProjectedParameters = PRISTINE,
    *,
    b: float = B,
    occupation: Occupation = Occupation.ORDERED,
) -> Atoms:
    """Return the conventional C2/m cell of 24 atoms, axes a, b, c.

    Parameters
    ----------
    parameters : ProjectedParameters
    b : float
        Edge b, Å.
    occupation : Occupation
        Other than ORDERED keeps the shared sites as fractional occupancies
        (``info["occupancy"]``).

    Returns
    -------
    ase.Atoms
        Sites Li 2b, Li 2c, Li 4h, M 4g, O 4i, O 8j; a along x, b along y.
    """
    _check_b(b)
    cell = parameters.to_cell()
    mean = np.array([cell["x"], cell["z"]])
    (xi, zi), (xj, zj) = mean + SPLIT_4I, mean + SPLIT_8J
    sites: list[tuple[dict[str, float], tuple[float, float, float]]] = [
        (dict(occupation.content(minority=True)), (0, 0.5, 0)),
        ({"Li": 1.0}, (0, 0, 0.5)),
        ({"Li": 1.0}, (0, Y_4H, 0.5)),
        (dict(occupation.content(minority=False)), (0, Y_4G, 0)),
        ({"O": 1.0}, (xi, 0, zi)),
        ({"O": 1.0}, (xj, Y_8J, zj)),
    ]
    entries = [(e, xyz, share) for content, xyz in sites for e, share in content.items()]
    shared: dict[str, Any] = {}
    if occupation is not Occupation.ORDERED:
        shared = {"occupancies": [share for *_, share in entries], "onduplicates": "keep"}
    return crystal(
        [element for element, *_ in entries],
        [xyz for _, xyz, _ in entries],
        spacegroup=12,
        cellpar=[cell["a"], b, cell["c"], 90, cell["beta"], 90],
        **shared,
    )


def periodic_specimen(
    parameters: ProjectedParameters = PRISTINE,
    *,
    thickness: float,
    occupation: Occupation = Occupation.ORDERED,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return one laterally periodic projected cell, a × C (oblique), along the beam.

    Parameters
    ----------
    parameters : ProjectedParameters
    thickness : float
        Å; cut into whole layers of b/3 counted from the entrance face, the rest is vacuum.
    occupation : Occupation
    b : float
        Edge b, Å.
    seed : int
        Of the occupation, where it is drawn.

    Returns
    -------
    ase.Atoms
        Cell (2A, 0, 0), (Cx, Cy, 0), (0, 0, thickness); 8 atoms a layer; pbc (True, True, False).

    Raises
    ------
    BadInputError
        If the thickness is below one layer.

    Examples
    --------
    >>> len(periodic_specimen(thickness=8.532))
    24
    """
    columns = columns_at(np.array([0, 1]), np.array([0, 0]))
    lateral = np.array([[2 * parameters.A, 0.0], [parameters.Cx, parameters.Cy]])
    return _laterally_periodic(columns, parameters, lateral, thickness, b, occupation, seed)


def orthogonal_specimen(
    parameters: ProjectedParameters = PRISTINE,
    *,
    thickness: float,
    occupation: Occupation = Occupation.ORDERED,
    repeats: tuple[int, int] = (1, 1),
    tolerance: float = 0.01,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return a laterally periodic specimen with an orthogonal cell.

    The crystal is sheared by the least amount that makes ``n C + m A`` perpendicular to A (see
    `commensurate`); the truth is that of the sheared parameters.

    Parameters
    ----------
    parameters : ProjectedParameters
    thickness : float
        Å; cut into whole layers of b/3.
    occupation : Occupation
    repeats : (int, int)
        Cells along y and along x (2A each).
    tolerance : float
        Largest shear allowed.
    b : float
        Edge b, Å.
    seed : int
        Of the occupation, where it is drawn.

    Returns
    -------
    ase.Atoms
        Cell (2A repeats[1], n Cy repeats[0], thickness); pbc (True, True, False).

    Raises
    ------
    BadInputError
        If the thickness is below one layer, or no cell meets the tolerance.
    """
    if min(repeats) < 1:
        raise BadInputError(f"repeats = {repeats}; expected two integers of 1 or more")
    n, _, sheared = commensurate(parameters, tolerance=tolerance)
    i, j = np.meshgrid(np.arange(2 * repeats[1]), np.arange(n * repeats[0]))
    columns = columns_at(i.ravel(), j.ravel())
    lateral = np.diag([2 * sheared.A * repeats[1], n * sheared.Cy * repeats[0]])
    return _laterally_periodic(columns, sheared, lateral, thickness, b, occupation, seed)


def field_specimen(
    parameters: ProjectedParameters = PRISTINE,
    *,
    field: tuple[float, float],
    thickness: float,
    occupation: Occupation = Occupation.RANDOM,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return a crystal that fills an orthogonal box, vacuum outside.

    Positions and elements relative to the centre of the box do not depend on the size of the
    field: a larger one only adds columns. Every column is complete; those of which an atom would
    lie outside the box are left out.

    Parameters
    ----------
    parameters : ProjectedParameters
    field : (float, float)
        Height (y) and width (x), Å.
    thickness : float
        Å; cut into whole layers of b/3.
    occupation : Occupation
    b : float
        Edge b, Å.
    seed : int
        Of the occupation, where it is drawn.

    Returns
    -------
    ase.Atoms
        Cell (width, height, thickness), no periodicity.

    Raises
    ------
    BadInputError
        If the thickness is below one layer or the field holds no column.
    """
    _check_b(b)
    height, width = check_field(field)
    box = np.array([width, height])
    columns = columns_at(*lattice_points(parameters, box))
    columns = columns.select(wholly_inside(columns, parameters, box))
    layers = count_layers(thickness, b)
    atoms = stack(columns, parameters, layers=layers, b=b, occupation=occupation, seed=seed)
    atoms.positions[:, :2] += box / 2
    atoms.cell = np.diag([width, height, thickness])
    return atoms


def check_field(field: tuple[float, float]) -> tuple[float, float]:
    """Return height and width of a field, Å; refuse what cannot be one."""
    if len(field) != 2 or not all(np.isfinite(s) and 1 <= s <= 1e4 for s in field):
        raise BadInputError(
            f"field = {field} Å; expected (height, width), each from 1 to 10000 Å; give it in Å"
        )
    return float(field[0]), float(field[1])


def _check_b(b: float) -> None:
    if not 5 <= b <= 15:
        raise BadInputError(f"b = {b:g} Å; expected 5 to 15 Å (8.532 in Li2MnO3); give it in Å")


def _laterally_periodic(
    columns: Columns,
    parameters: ProjectedParameters,
    lateral: npt.NDArray[np.float64],
    thickness: float,
    b: float,
    occupation: Occupation,
    seed: int,
) -> Atoms:
    _check_b(b)
    atoms = stack(
        columns,
        parameters,
        layers=count_layers(thickness, b),
        b=b,
        occupation=occupation,
        seed=seed,
    )
    _wrap(atoms, lateral)
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = lateral, thickness
    atoms.cell = cell
    atoms.pbc = (True, True, False)
    return atoms


def _wrap(atoms: Atoms, lateral: npt.NDArray[np.float64]) -> None:
    """Centre on lattice point (0, 0), wrap into the cell; the lattice indices follow."""
    fraction = atoms.positions[:, :2] @ np.linalg.inv(lateral) + 0.5
    # The slack takes columns that stand exactly on the far edge to the near one.
    shift = np.floor(fraction + 1e-9)
    atoms.positions[:, :2] = np.maximum(fraction - shift, 0.0) @ lateral
    move = shift.astype(int) @ translations(atoms, lateral)
    atoms.arrays["lattice_i"] -= move[:, 0]
    atoms.arrays["lattice_j"] -= move[:, 1]
