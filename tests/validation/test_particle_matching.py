"""Matching of particles: every kind of mistake is counted once and named."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.validation.particle_matching import match_particles


def labels(*numbers: int, each: int = 30) -> xr.DataArray:
    """Return runs of voxels, one run for each number."""
    return xr.DataArray(np.repeat(numbers, each)[None, None], dims=("z", "y", "x"))


@given(st.permutations(range(1, 8)))
def test_numbers_do_not_matter(numbers: list[int]) -> None:
    truth = labels(1, 0, 2, 3, 4, 0, 5, 6, 7)
    renumbered = xr.DataArray(np.array([0, *numbers])[truth.values], dims=truth.dims)
    match = match_particles(renumbered, truth)
    np.testing.assert_array_equal(match.truth, np.arange(1, 8))
    np.testing.assert_array_equal(match.estimate, numbers)
    assert (match.overlap == 1).all()
    assert match.expected == 7
    assert not any(len(n) for n in (match.missed, match.merged, match.split, match.false))


def test_mistakes_have_names() -> None:
    #             whole  merged    split       missed  false
    truth = labels(1, 0, 2, 3, 0, 4, 4, 4, 4, 0, 5, 0, 0)
    found = labels(3, 0, 1, 1, 0, 2, 2, 5, 5, 0, 0, 0, 4)
    match = match_particles(found, truth)
    assert (match.truth.tolist(), match.estimate.tolist()) == ([1], [3])
    assert match.missed.tolist() == [5]
    assert match.merged.tolist() == [1]
    assert match.split.tolist() == [4]
    assert match.false.tolist() == [4]
    assert match.expected == 5


@given(lost=st.floats(0, 1), gained=st.floats(0, 2))
def test_overlap_is_common_over_either(lost: float, gained: float) -> None:
    truth = labels(0, 1, 0, 0, each=100)
    found = truth.copy(data=np.zeros_like(truth.values))
    start, end = 100 + round(100 * lost), 200 + round(100 * gained)
    found[0, 0, start:end] = 1
    overlap = (200 - start) / (end - 100)
    match = match_particles(found, truth)
    assert match.overlap.tolist() == ([pytest.approx(overlap)] if overlap > 0.5 else [])
    assert match.missed.tolist() == ([] if 200 - start > 20 else [1])


def test_other_voxels_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"'x': 60.*'x': 90"):
        match_particles(labels(1, 2), labels(1, 2, 3))
