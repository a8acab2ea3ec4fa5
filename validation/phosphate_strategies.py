"""Strategies for specimens of LiFePO4 plates, and for how their projections are seen."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.phosphate_paths import View
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.delithiation_fields import Delithiation
from echolith.structures.phosphate_ensemble import (
    PlateEnsemble,
    charge_limits,
    phosphate_ensemble,
)
from echolith.structures.phosphate_plates import PhosphateSpecimen, plate_body
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.plain_numbers import near


def delithiations() -> st.SearchStrategy[Delithiation]:
    """Draw how particles react; it shrinks to the solid solution.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(delithiations(), lambda found: True)
    <Delithiation.SOLID_SOLUTION: 'solid solution'>
    """
    return st.sampled_from(Delithiation)


def plate_bodies() -> st.SearchStrategy[ConvexBody]:
    """Draw plates of the published sizes; they shrink to a plain box of 100 x 80 x 20 nm.

    Examples
    --------
    >>> from hypothesis import find
    >>> round(find(plate_bodies(), lambda body: True).volume)
    160000000
    """
    return st.builds(
        plate_body,
        length=near(1000.0, low=500, high=2000, step=10),
        width=near(800.0, low=500, high=2000, step=10),
        thickness=near(200.0, low=100, high=300, step=5),
        corner=near(0.0, low=0, high=0.2, step=0.01),
        bevel=near(0.0, low=0, high=0.5, step=0.01),
    )


def plate_ensembles(*, most: int = 4) -> st.SearchStrategy[PlateEnsemble]:
    """Draw what small ensembles are like, with a state of charge left to the default.

    Parameters
    ----------
    most : int
        Plates, 1 to 6.

    Raises
    ------
    BadInputError
        If the number is outside 1 to 6.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(plate_ensembles(), lambda ensemble: True).count
    1
    """
    if not 1 <= most <= 6:
        raise BadInputError(f"most = {most}; expected 1 to 6 plates")
    return st.builds(
        PlateEnsemble,
        count=st.integers(1, most),
        region=st.just(PackingRegion(height=4800.0, width=4800.0, depth=4000.0)),
        facet_area=near(7.5e5, low=4e5, high=8e5, step=1e4),
        facet_spread=st.just(0.3),
        orientation_spread=st.sampled_from([None, 0.0, 20.0]),
        touching=st.sampled_from([0.0, 1.0]),
        gap=st.sampled_from([0.0, -60.0, 20.0, -150.0]),
        active_fraction=st.sampled_from([1.0, 0.5, 0.3, 0.0]),
        facet_correlation=near(0.0, low=-1, high=1, step=0.1),
        kinds=st.lists(delithiations(), min_size=1, max_size=6, unique=True).map(tuple),
        interface=near(60.0, low=30, high=150, step=10),
        binder=st.integers(0, 2),
    )


def phosphate_specimens(*, most: int = 4) -> st.SearchStrategy[PhosphateSpecimen]:
    """Draw small specimens of plates, of any state of charge that their active fraction allows.

    Parameters
    ----------
    most : int
        Plates, 1 to 6.

    Raises
    ------
    BadInputError
        If the number is outside 1 to 6.
    """

    def build(ensemble: PlateEnsemble, part: float, seed: int) -> PhosphateSpecimen:
        least, largest = charge_limits(ensemble, seed=seed)
        charged = replace(ensemble, state_of_charge=least + part * (largest - least))
        return phosphate_ensemble(charged, seed=seed)

    parts = near(0.5, low=0.02, high=0.98, step=0.02)
    return st.builds(build, plate_ensembles(most=most), parts, st.integers(0, 2**16))


def views(**fixed: Any) -> st.SearchStrategy[View]:
    """Draw how a projection is seen; it shrinks to tilt 0 without jitter.

    Parameters
    ----------
    **fixed : float
        What is not to be drawn, e.g. ``scale=1.0``.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(views(), lambda view: view.tilt > 10.5).tilt
    11.0
    """
    drawn: dict[str, st.SearchStrategy[float]] = {
        "tilt": near(0.0, low=-90, high=90, step=1.0),
        "axis_tilt": near(0.0, low=-2, high=2, step=0.1),
        "axis_offset": near(0.0, low=-200, high=200, step=10),
        "rotation": near(0.0, low=-5, high=5, step=0.1),
        "scale": near(1.0, low=0.95, high=1.05, step=0.01),
        "shift_x": near(0.0, low=-300, high=300, step=10),
        "shift_y": near(0.0, low=-300, high=300, step=10),
    }
    drawn.update({name: st.just(value) for name, value in fixed.items()})
    return st.builds(View, **drawn)
