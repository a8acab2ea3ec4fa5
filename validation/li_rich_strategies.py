"""Strategies for the specimens of Li-rich oxide: states, redox models, migration, surfaces.

Specimens are small, so that a test can draw many; they shrink to the pristine crystal.
"""

from typing import Any

from ase import Atoms
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.column_stack import B
from echolith.structures.delithiation import delithiated
from echolith.structures.li_rich_oxide import field_specimen
from echolith.structures.li_rich_states import ChargeState, Region, state_parameters
from echolith.structures.redox_cells import redox_specimen, redox_supercell
from echolith.structures.redox_models import RedoxModel
from echolith.structures.spinel_sites import SurfacePhase
from echolith.structures.surface_layers import surface_specimen
from echolith.structures.tm_migration import in_plane_migration, out_of_plane_migration
from echolith.validation.plain_numbers import at_least, near

LEAST_FIELD = 12.0
"""Å; holds a few columns of every kind."""


def charge_states() -> st.SearchStrategy[ChargeState]:
    """Draw a state of charge; it shrinks to the pristine one.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(charge_states(), lambda found: True)
    <ChargeState.PRISTINE: 'pristine'>
    """
    return st.sampled_from(ChargeState)


def redox_models() -> st.SearchStrategy[RedoxModel]:
    """Draw a calculated model; it shrinks to the pristine one.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(redox_models(), lambda model: model.charged)
    <RedoxModel.O2: 'o2'>
    """
    return st.sampled_from(RedoxModel)


def surface_phases() -> st.SearchStrategy[SurfacePhase]:
    """Draw what a surface has turned into; it shrinks to the layered oxide.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(surface_phases(), lambda found: True)
    <SurfacePhase.LAYERED: 'layered'>
    """
    return st.sampled_from(SurfacePhase)


def _shapes(largest: float) -> dict[str, st.SearchStrategy[Any]]:
    at_least("largest", largest, LEAST_FIELD, " Å")
    side = near(LEAST_FIELD, low=LEAST_FIELD, high=largest, step=0.5)
    return {
        "field": st.tuples(side, side),
        "thickness": near(B, low=B, high=3 * B, step=1.0),
        "seed": st.integers(0, 2**16),
    }


def migrated_specimens(*, largest: float = 18.0, most: float = 0.1) -> st.SearchStrategy[Atoms]:
    """Draw fields of a charge state, delithiated, with transition metals migrated.

    Parameters
    ----------
    largest : float
        Side of the largest field, Å.
    most : float
        Largest part of the transition metals that migrates each way, up to 0.1.

    Raises
    ------
    BadInputError
        If the field is too small or the part outside 0 to 0.1.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(migrated_specimens(), lambda atoms: True).get_chemical_formula()[:2]
    'Co'
    """
    if not 0 <= most <= 0.1:
        raise BadInputError(f"most = {most:g}; expected a fraction of 0 to 0.1")
    part = st.floats(0, most)

    def build(
        state: ChargeState, left: float, inside: float, outside: float, **shape: Any
    ) -> Atoms:
        seed = shape["seed"]
        whole = field_specimen(state_parameters(state), **shape)
        # In the plane first: vacancies or lithium of the layer take part.
        atoms = in_plane_migration(whole, fraction=inside, seed=seed)
        atoms = delithiated(atoms, alkali_layer=left, metal_layer=left, seed=seed)
        return out_of_plane_migration(atoms, fraction=outside, seed=seed)

    left = st.floats(0.2, 1).map(lambda taken: 1.2 - taken)
    return st.builds(
        build, state=charge_states(), left=left, inside=part, outside=part, **_shapes(largest)
    )


def redox_specimens(*, largest: float = 18.0) -> st.SearchStrategy[Atoms]:
    """Draw the supercell or a field of a redox model.

    Parameters
    ----------
    largest : float
        Side of the largest field, Å.

    Raises
    ------
    BadInputError
        If the field is too small.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(redox_specimens(), lambda atoms: True).get_chemical_formula()
    'Co3Li29Mn13Ni3O48'
    """
    cells = st.builds(redox_supercell, redox_models(), seed=st.integers(0, 2**16))
    fields = st.builds(redox_specimen, redox_models(), **_shapes(largest))
    return st.one_of(cells, fields)


def surface_specimens(
    *, phases: st.SearchStrategy[SurfacePhase] | None = None, largest: float = 24.0
) -> st.SearchStrategy[Atoms]:
    """Draw crystals of a charge state with a reconstructed surface, from any side.

    Parameters
    ----------
    phases : strategy, optional
        Of the surface; `surface_phases` by default.
    largest : float
        Side of the largest field, Å.

    Raises
    ------
    BadInputError
        If the field is too small.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(surface_specimens(), lambda atoms: True).info["surface_phase"]
    'layered'
    """

    def build(state: ChargeState, **rest: Any) -> Atoms:
        surface = state_parameters(state, Region.SURFACE)
        return surface_specimen(state_parameters(state), surface_parameters=surface, **rest)

    return st.builds(
        build,
        state=charge_states(),
        phase=phases if phases is not None else surface_phases(),
        depth=near(0.0, low=0.0, high=40.0, step=1.0),
        interface_width=near(2.0, low=0.5, high=6.0, step=0.5),
        direction=st.sampled_from([0.0, 90.0, 180.0, 270.0, 30.0]),
        **_shapes(largest),
    )
