"""Named streams: stable, distinct, and of the values they had when the first data were made."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.seeds import sequence, stream

PARTS = st.lists(st.one_of(st.text(max_size=8), st.integers(0, 2**31)), max_size=4)
SEEDS = st.integers(0, 2**63)


@given(SEEDS, PARTS)
def test_same_name_same_bits(seed: int, path: list[str | int]) -> None:
    first, second = (stream(seed, *path).integers(2**63, size=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(SEEDS, PARTS, PARTS)
def test_other_name_other_bits(seed: int, one: list[str | int], other: list[str | int]) -> None:
    # 128 bits agree by chance once in 1e38; names are hashed to 32 bits, so two different short
    # names clash once in 4e9.
    if one != other:
        states = [sequence(seed, *path).generate_state(4).tolist() for path in (one, other)]
        assert states[0] != states[1]


@given(SEEDS, SEEDS, PARTS)
def test_other_seed_other_bits(one: int, other: int, path: list[str | int]) -> None:
    if one != other:
        states = [sequence(seed, *path).generate_state(4).tolist() for seed in (one, other)]
        assert states[0] != states[1]


def test_streams_are_the_same_for_ever() -> None:
    """Recorded once: changing them would change every data set made from a seed."""
    assert sequence(7, "counts", "haadf").generate_state(2).tolist() == [3996433751, 1807407307]
    assert stream(7, "counts", 3).integers(1000, size=3).tolist() == [552, 937, 245]


def test_streams_do_not_depend_on_the_process() -> None:
    """Python's own hash of text differs from process to process; ours must not."""
    code = "from echolith.seeds import stream; print(stream(5, 'phonons', 2).integers(2**62))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == stream(5, "phonons", 2).integers(2**62)


def test_streams_are_independent() -> None:
    """Neighbouring streams are uncorrelated."""
    drawn = np.stack([stream(1, "x", index).normal(size=2000) for index in range(20)])
    correlation = np.asarray(np.corrcoef(drawn))[np.triu_indices(20, 1)]
    # 190 coefficients of standard deviation 1/sqrt(2000); 5 sigma of one: chance 1e-4 in all.
    assert abs(correlation).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize(("seed", "path"), [(-1, ()), (0, (-3,))])
def test_negative_numbers_are_refused(seed: int, path: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="negative"):
        sequence(seed, *path)
