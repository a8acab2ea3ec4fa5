"""The bound on tilts: more electrons tell more, a crystal without spots tells nothing."""

import pytest

from echolith.validation.saed_orientation_bound import tilt_bound
from echolith.validation.scenarios.li_saed import LiSaedSettings, drawn_case


@pytest.mark.parametrize("seed", [2, 5])
def test_the_bound_falls_with_the_root_of_the_dose(seed: int) -> None:
    case = drawn_case(LiSaedSettings(), seed)
    quiet = case.acquisition.model_copy(update={"dark": 0.0})
    bounds = []
    for factor in (1, 4):
        taken = quiet.model_copy(update={"electrons": factor * quiet.electrons})
        bounds.append(tilt_bound(type(case)(specimen=case.specimen, acquisition=taken)))
    assert 0 < bounds[0] < 1
    assert bounds[0] / bounds[1] == pytest.approx(2, rel=1e-6)
