import doctest

import pytest
from hypothesis import Phase, find, given, settings

from echolith.errors import BadInputError
from echolith.forward.phosphate_paths import View
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.validation import phosphate_strategies
from echolith.validation.phosphate_strategies import (
    phosphate_specimens,
    plate_ensembles,
    views,
)


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(phosphate_strategies).failed == 0


@given(phosphate_specimens(most=2))
def test_specimens_hold_no_more_plates_than_asked(specimen: PhosphateSpecimen) -> None:
    assert 1 <= len(specimen.plates) <= 2


@pytest.mark.parametrize(
    "holds",
    [
        lambda specimen: bool(specimen.binder),
        lambda specimen: any(specimen.overlaps),
        lambda specimen: specimen.state_of_charge > 0.6,
    ],
)
def test_specimens_vary(holds: object) -> None:
    # Shrinking would build hundreds of specimens.
    quick = settings(phases=[Phase.generate], derandomize=True, database=None, max_examples=60)
    assert find(phosphate_specimens(most=3), holds, settings=quick)  # type: ignore[arg-type]


@given(views(scale=1.0, tilt=30.0))
def test_what_is_fixed_is_not_drawn(view: View) -> None:
    assert (view.scale, view.tilt) == (1.0, 30.0)


@pytest.mark.parametrize("strategy", [plate_ensembles, phosphate_specimens])
def test_impossible_numbers_are_refused(strategy: object) -> None:
    with pytest.raises(BadInputError, match="most = 0"):
        strategy(most=0).example()  # type: ignore[operator]
