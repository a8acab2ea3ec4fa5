"""Strategies of nano-beam diffraction: what they draw can be scanned and has a truth."""

import doctest

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.rocking_curve import rocking_curve_mean
from echolith.structures.strained_crystals import StrainedMap
from echolith.validation import diffraction_strategies
from echolith.validation.diffraction_strategies import rocking_curves, strained_maps
from echolith.validation.diffraction_truth import map_truth


def test_the_examples_run() -> None:
    found = doctest.testmod(diffraction_strategies)
    assert found.attempted > 5
    assert found.failed == 0


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_what_is_drawn_can_be_scanned_and_has_a_truth(data: st.DataObject) -> None:
    specimen = data.draw(strained_maps(largest=40))
    assert (specimen.intensity > 0).sum() == (specimen.domain > 0).sum() > 0
    curve = data.draw(rocking_curves(specimen))
    mean = rocking_curve_mean(specimen, settings=curve)["counts"].compute()
    assert mean.shape == (*curve.scan, curve.etas, *curve.pixels)
    assert float(mean.min()) >= 0
    truth = map_truth(specimen, curve=curve)
    known = np.isfinite(truth["strain"].values)
    assert (truth["label"].values[known] > 0).all()
    # 1 % of the gradients, twice over to the corners, and what is drawn beside them.
    assert np.abs(truth["strain"].values[known]).max(initial=0) < 0.06


@pytest.mark.parametrize(
    "holds",
    [
        lambda found: len(np.unique(found.domain)) > 4,
        lambda found: np.degrees(np.abs(found.tilt)).max() > 10,
        lambda found: found.domain.shape[0] > found.domain.shape[1],
    ],
)
def test_maps_vary(holds: object) -> None:
    quick = settings(phases=[Phase.generate], derandomize=True, database=None, max_examples=100)
    assert isinstance(find(strained_maps(largest=40), holds, settings=quick), StrainedMap)  # type: ignore[arg-type]


def test_bad_arguments_are_refused_when_the_strategy_is_made() -> None:
    with pytest.raises(BadInputError, match="largest = 10;"):
        strained_maps(largest=10)
