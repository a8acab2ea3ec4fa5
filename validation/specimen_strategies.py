"""Strategies for specimens and their truth: crystals, projected cells, lattices of columns."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from ase import Atoms
from hypothesis import strategies as st

from echolith.errors import BadInputError, near_match
from echolith.structures.column_stack import B
from echolith.structures.columns import true_columns, true_distances, true_pairs
from echolith.structures.crystals import crystal, crystal_names
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    Occupation,
    ProjectedParameters,
    field_specimen,
    named_distances,
)
from echolith.validation.plain_numbers import at_least, near

BORDER = 2.0
"""Å; columns nearer to the border of the field are flagged ``edge``."""
LEAST_FIELD = 16.0
"""Å; holds every one of the eight distances off the border, in a cell up to a fifth larger."""


def crystals(*, names: Iterable[str] | None = None) -> st.SearchStrategy[Atoms]:
    """Draw the conventional cell of a crystal by name; it shrinks to the one of fewest atoms.

    Parameters
    ----------
    names : iterable of str, optional
        Which ones; all by default.

    Raises
    ------
    BadInputError
        If a name is unknown, or there is none.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(crystals(names=["LiFePO4", "LiF"]), lambda atoms: True).get_chemical_formula()
    'F4Li4'
    """
    known = crystal_names()
    chosen = list(known if names is None else names)
    for name in chosen:
        if name not in known:
            raise BadInputError(f"there is no crystal '{name}'; {near_match(name, known)}")
    if not chosen:
        raise BadInputError("names is empty; expected at least one crystal")
    ordered = sorted(chosen, key=lambda name: (len(crystal(name)), name))
    return st.sampled_from(ordered).map(crystal)


def occupations() -> st.SearchStrategy[Occupation]:
    """Draw how the transition-metal layer is filled; it shrinks to the ordered one.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(occupations(), lambda found: True)
    <Occupation.ORDERED: 'ordered'>
    """
    return st.sampled_from(Occupation)


def projected_parameters(*, spread: float = 0.05) -> st.SearchStrategy[ProjectedParameters]:
    """Draw projected cells of Li-rich oxide about the literature's; they shrink to it.

    Parameters
    ----------
    spread : float
        Largest relative change of each parameter, up to 0.3.

    Raises
    ------
    BadInputError
        If the spread is outside 0 to 0.3: beyond, oxygen could leave its place between the rows.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(projected_parameters(), lambda cell: cell.A > 2.5)
    ProjectedParameters(A=2.501, Cx=-1.676, Cy=4.743, Ox=0.82, Oy=1.065)
    """
    at_least("spread", spread, 0)
    if spread > 0.3:
        raise BadInputError(f"spread = {spread:g}; expected at most 0.3")

    def around(name: str) -> st.SearchStrategy[float]:
        plain = round(float(getattr(PRISTINE, name)), 3)
        low, high = sorted((plain * (1 - spread), plain * (1 + spread)))
        return near(plain, low=low, high=high, step=0.001)

    return st.builds(
        ProjectedParameters, **{name: around(name) for name in ProjectedParameters.model_fields}
    )


def column_lattice(
    parameters: ProjectedParameters = PRISTINE, *, field: tuple[float, float] = (16.0, 16.0)
) -> xr.Dataset:
    """Return the true columns of a field of Li-rich oxide, its pairs and its eight distances.

    Parameters
    ----------
    parameters : ProjectedParameters
    field : (float, float)
        Height and width, Å.

    Returns
    -------
    xarray.Dataset
        As from `true_columns`, `true_pairs` and `true_distances`, with ``edge`` for the columns
        within 2 Å of the border; the origin is a corner of the field.

    Raises
    ------
    BadInputError
        If the field is too small to hold all eight distances off its border.
    """
    for length in field:
        at_least("field", length, LEAST_FIELD, " Å")
    columns = true_columns(field_specimen(parameters, field=field, thickness=B))
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    inset = np.minimum(xy, np.array([field[1], field[0]]) - xy).min(axis=1)
    columns = columns.assign(edge=("column", inset < BORDER))
    distances = true_distances(columns, within=~columns["edge"].values)
    missing = [name for name in named_distances(parameters) if name not in distances]
    if missing:
        raise BadInputError(f"field = {field} Å holds no {', '.join(missing)} off its border")
    return xr.merge([columns, true_pairs(columns), distances])


def column_lattices(
    *,
    parameters: st.SearchStrategy[ProjectedParameters] | None = None,
    largest: float = 24.0,
) -> st.SearchStrategy[xr.Dataset]:
    """Draw lattices of columns: the truth of a field of Li-rich oxide, without any specimen.

    Parameters
    ----------
    parameters : strategy, optional
        Of the crystal; `projected_parameters` by default.
    largest : float
        Side of the largest field, Å; the smallest one is 16 Å.

    Returns
    -------
    strategy
        Of `column_lattice`; it shrinks to a small field of the literature's cell.

    Raises
    ------
    BadInputError
        If the largest field is smaller than the smallest.

    Examples
    --------
    >>> from hypothesis import find
    >>> found = find(column_lattices(), lambda columns: True)
    >>> sorted(set(found["species"].values.tolist())), round(float(found["m_m"]), 3)
    (['Li', 'M', 'O'], 2.469)
    """
    at_least("largest", largest, LEAST_FIELD, " Å")
    side = near(LEAST_FIELD, low=LEAST_FIELD, high=largest, step=0.5)
    return st.builds(
        lambda cell, height, width: column_lattice(cell, field=(height, width)),
        parameters if parameters is not None else projected_parameters(),
        side,
        side,
    )
