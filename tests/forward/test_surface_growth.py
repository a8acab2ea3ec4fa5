"""Growth of the damaged layer: limits, slopes, and exposures that add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from echolith.errors import BadInputError
from echolith.forward.surface_growth import GrowthLaw, SurfaceGrowth, depths_of_exposures
from echolith.validation.distortion_strategies import surface_growths

DOSES = st.lists(st.floats(1e3, 1e6), min_size=1, max_size=5)


@given(surface_growths(), DOSES, st.floats(0, 1))
def test_layers_only_grow_and_depend_on_what_was_taken(
    growth: SurfaceGrowth, doses: list[float], share: float
) -> None:
    depths = depths_of_exposures(doses, growth, share=share)
    assert (np.diff(depths) >= 0).all()
    assert (depths >= growth.initial - 1e-12).all()
    if growth.law is GrowthLaw.SATURATING:
        assert (depths <= growth.final + 1e-9).all()
    # How the dose was shared out between exposures before does not matter.
    one = depths_of_exposures([sum(doses), 1e4], growth)[-1]
    other = depths_of_exposures([*doses, 1e4], growth)[-1]
    np.testing.assert_allclose(one, other, rtol=1e-9)


@given(surface_growths(), DOSES)
def test_the_end_of_one_exposure_is_the_start_of_the_next(
    growth: SurfaceGrowth, doses: list[float]
) -> None:
    start, end = (depths_of_exposures(doses, growth, share=s) for s in (0, 1))
    assert start[0] == growth.initial
    np.testing.assert_allclose(start[1:], end[:-1], rtol=1e-9)


@given(surface_growths())
def test_the_depth_solves_its_equation_of_growth(growth: SurfaceGrowth) -> None:
    dose = 2e5

    def slope(_: float, depth: np.ndarray) -> np.ndarray:
        if growth.law is GrowthLaw.LINEAR:
            return np.array([growth.rate])
        return growth.rate * (growth.final - depth) / (growth.final - growth.initial)

    solved = solve_ivp(slope, (0, dose), [growth.initial], rtol=1e-8, atol=1e-9, method="LSODA")
    np.testing.assert_allclose(growth.depth(dose), solved.y[0, -1], rtol=1e-5, atol=1e-6)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValidationError, match="not beyond initial"):
        SurfaceGrowth(initial=50.0)
    assert SurfaceGrowth(law=GrowthLaw.LINEAR, initial=50.0).depth(0.0) == 50
    with pytest.raises(BadInputError, match="expected finite doses"):
        SurfaceGrowth().depth(-1.0)
    for doses in ([], [1e4, 0.0], [np.nan]):
        with pytest.raises(BadInputError, match="one positive dose"):
            depths_of_exposures(doses, SurfaceGrowth())
    with pytest.raises(BadInputError, match="share = 2"):
        depths_of_exposures([1e4], SurfaceGrowth(), share=2)
