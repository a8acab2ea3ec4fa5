"""Specimens of the redox models: the supercell of 96 sites, and fields made of many such blocks."""

import numpy as np
from ase import Atoms

from echolith.seeds import stream
from echolith.structures.cation_sites import SiteGrid, remember_columns
from echolith.structures.column_stack import B, Floats, count_layers
from echolith.structures.li_rich_oxide import check_field
from echolith.structures.occupation import zigzag
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.redox_blocks import COLUMNS, LAYERS, Block, recentred, redox_block
from echolith.structures.redox_models import RedoxModel, model_parameters

_LABELS = {"column_kind": "kind", "lattice_i": "i", "lattice_j": "j", "sign": "sign"}


def redox_supercell(model: RedoxModel, *, b: float = B, seed: int = 0) -> Atoms:
    """Return the supercell of a model: 2a × 2b × c, 96 sites, lithium removed where charged.

    Parameters
    ----------
    model : RedoxModel
        Its content is `redox_blocks.CONTENTS`: 96 atoms pristine, 72 charged (68 where O2 is
        lost), 91 discharged.
    b : float
        Edge b, Å.
    seed : int
        Of the elements, the vacancies, the cluster and its molecules.

    Returns
    -------
    ase.Atoms
        Beam along z; cell (2a, 0, 0), (Cx, Cy, 0), (0, 0, 2b); pbc (True, True, False). Atoms name
        their column; the array ``in_molecule`` marks the oxygen of O2. The mean position of the
        columns M, Li, +O and -O is that of `model_parameters`.

    Examples
    --------
    >>> redox_supercell(RedoxModel.O2).get_chemical_formula()
    'Co3Li5Mn13Ni3O48'
    """
    parameters = model_parameters(model)
    block = redox_block(model, parameters, b=b, draw=stream(seed, "redox supercell"))
    atoms = _atoms(block, parameters)
    lateral = np.array([[COLUMNS * parameters.A, 0.0], [parameters.Cx, parameters.Cy]])
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = lateral, LAYERS * b / 3
    atoms.cell, atoms.pbc = cell, (True, True, False)
    # One turn of the cell moves a column by COLUMNS in i and by 1 in j.
    fraction = atoms.positions[:, :2] @ np.linalg.inv(lateral) + [0.5 / COLUMNS, 0.5]
    turns = _turns_of_columns(fraction)
    atoms.positions[:, :2] = (fraction - turns) @ lateral
    atoms.arrays["lattice_i"] -= COLUMNS * turns[:, 0]
    atoms.arrays["lattice_j"] -= turns[:, 1]
    _describe(atoms, model, b, LAYERS, 2 * b)
    return _occupied(atoms)


def _turns_of_columns(fraction: Floats) -> np.ndarray:
    """Whole cells to go back by, the same for every atom of a column."""
    columns = fraction.reshape(-1, LAYERS, 2).mean(axis=1)
    return np.repeat(np.floor(columns + 1e-9).astype(int), LAYERS, axis=0)


def redox_specimen(
    model: RedoxModel,
    *,
    field: tuple[float, float],
    thickness: float,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return a field of blocks of a model, each with a cluster and molecules of its own.

    Parameters
    ----------
    model : RedoxModel
    field : (float, float)
        Height (y) and width (x), Å.
    thickness : float
        Å; cut into whole layers of b/3.
    b : float
        Edge b, Å.
    seed : int
        A block depends on it and on where it is, not on the size of the field.

    Returns
    -------
    ase.Atoms
        As from `field_specimen`: cell (width, height, thickness), no periodicity, columns of
        which an atom would lie outside left out. Over the whole field the mean positions of +O
        and -O about their lattice points are those of `model_parameters`; for that all oxygen
        outside molecules moves alike, because edges and faces cut blocks: at 20 Å of thickness
        up to 2 pm in a field of 14 Å, 0.7 pm from 40 Å on; more in thinner specimens.

    Raises
    ------
    BadInputError
        If the thickness is below one layer or the field is none.

    Examples
    --------
    >>> len(redox_specimen(RedoxModel.HOLE, field=(12, 12), thickness=8.532)) > 100
    True
    """
    height, width = check_field(field)
    box, layers = np.array([width, height]), count_layers(thickness, b)
    parameters = model_parameters(model)
    blocks = [
        _moved(redox_block(model, parameters, b=b, draw=_stream(seed, place)), parameters, place, b)
        for place in _places(parameters, box, layers)
    ]
    whole = _recentred_inside(_joined(blocks), parameters, box, layers)
    atoms = _atoms(whole, parameters)
    atoms.positions[:, :2] += box / 2
    atoms.cell = np.diag([width, height, thickness])
    _describe(atoms, model, b, layers, thickness)
    return _occupied(atoms)


Place = tuple[int, int, int]


def _stream(seed: int, place: Place) -> np.random.Generator:
    along, up, deep = place
    return stream(seed, "redox block", zigzag(along), zigzag(up), deep)


def _places(parameters: ProjectedParameters, box: Floats, layers: int) -> list[Place]:
    """Every block that may reach into a box (width, height) around (0, 0)."""
    rows = int(np.ceil(box[1] / 2 / parameters.Cy)) + 1
    length = COLUMNS * parameters.A
    found = []
    for j in range(-rows, rows + 1):
        start = -j * parameters.Cx / length
        reach = (box[0] / 2 + 2 * parameters.A) / length
        # A block reaches from its corner almost its own length to the right.
        first, last = int(np.floor(start - reach - 1)), int(np.ceil(start + reach))
        found += [
            (n, j, deep) for n in range(first, last + 1) for deep in range(-(-layers // LAYERS))
        ]
    return found


def _moved(block: Block, parameters: ProjectedParameters, place: Place, b: float) -> Block:
    along, up, deep = place
    i, j = COLUMNS * along, up
    shift = [i * parameters.A + j * parameters.Cx, j * parameters.Cy, deep * LAYERS * b / 3]
    return _replaced(
        block,
        positions=block.positions + shift,
        i=block.i + i,
        j=block.j + j,
        layer=block.layer + LAYERS * deep,
    )


def _replaced(block: Block, **changes: np.ndarray) -> Block:
    return Block(**({name: getattr(block, name) for name in _FIELDS} | changes))


_FIELDS = tuple(Block.__dataclass_fields__)


def _joined(blocks: list[Block]) -> Block:
    return Block(**{n: np.concatenate([getattr(block, n) for block in blocks]) for n in _FIELDS})


def _recentred_inside(
    block: Block, parameters: ProjectedParameters, box: Floats, layers: int
) -> Block:
    """Clip and recentre until recentring moves no further column out of the box."""
    inside = _clipped(block, box, layers)
    while True:
        moved = recentred(inside, parameters)
        inside = _clipped(moved, box, layers)
        if len(inside.number) == len(moved.number):
            return inside


def _clipped(block: Block, box: Floats, layers: int) -> Block:
    """Keep the layers asked for, and the columns with all their atoms in the box."""
    shallow = _selected(block, block.layer < layers)
    xy = shallow.positions[:, :2] + box / 2
    outside = ((xy < 0) | (xy >= box)).any(axis=1)
    kind = np.unique(shallow.kind, return_inverse=True)[1]
    names = np.column_stack([kind, shallow.sign, shallow.i, shallow.j])
    column = np.asarray(np.unique(names, axis=0, return_inverse=True)[1]).reshape(-1)
    return _selected(shallow, np.bincount(column, weights=outside)[column] == 0)


def _selected(block: Block, keep: np.ndarray) -> Block:
    return Block(**{name: getattr(block, name)[keep] for name in _FIELDS})


def _atoms(block: Block, parameters: ProjectedParameters) -> Atoms:
    atoms = Atoms(numbers=block.number, positions=block.positions)
    for name, field in _LABELS.items():
        atoms.arrays[name] = np.array(getattr(block, field))
    atoms.arrays["in_molecule"] = block.in_molecule.copy()
    atoms.info["projected_lattice"] = np.array([parameters.A, 0.0, parameters.Cx, parameters.Cy])
    return atoms


def _describe(atoms: Atoms, model: RedoxModel, b: float, layers: int, thickness: float) -> None:
    atoms.info["redox_model"] = model.value
    remember_columns(atoms)
    grid = SiteGrid(layer=b / 3, entrance=0.0, layers=layers, exit=(thickness + b, 0.0, 0.0))
    grid.keep(atoms)


def _occupied(atoms: Atoms) -> Atoms:
    del atoms[np.flatnonzero(np.asarray(atoms.numbers) == 0)]
    return atoms
