"""Whiskers: laws as differential equations, fluctuations, the hexagon, the shell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import cumulative_trapezoid
from scipy.spatial import ConvexHull

from echolith.structures.whiskers import Whisker, WhiskerGrowth, hexagon_corners, whisker_truth

TIMES = np.linspace(0, 5, 101)


@given(
    growth=st.sampled_from(WhiskerGrowth),
    acceleration=st.floats(1, 100),
    velocity=st.floats(1, 1000),
    first=st.floats(0, 100),
    change=st.floats(0.1, 4.9),
    start=st.floats(0, 500),
)
def test_lengths_solve_their_equation_of_growth(
    growth: WhiskerGrowth,
    acceleration: float,
    velocity: float,
    first: float,
    change: float,
    start: float,
) -> None:
    whisker = Whisker(
        growth=growth,
        acceleration=acceleration,
        velocity=velocity,
        first_velocity=first,
        change_time=change,
        delay=0.6,
        start_length=start,
    )

    times = np.linspace(0, 5, 5001)
    speeds = {
        WhiskerGrowth.ACCELERATED: acceleration * (times + 0.6),
        WhiskerGrowth.STEADY: np.full_like(times, velocity),
        WhiskerGrowth.SWITCHED: np.where(times < change, first, velocity),
    }[growth]
    grown = cumulative_trapezoid(speeds, times, initial=0)
    # Where the speed jumps a step is off by at most itself.
    away = whisker.length(times) - whisker.length(0.0) - grown
    assert np.abs(away).max() <= 1e-3 * (velocity + first) + 1e-9


def test_fluctuations_have_the_variance_and_memory_that_were_asked_for() -> None:
    whisker = Whisker(growth=WhiskerGrowth.STEADY, fluctuation=7.0, fluctuation_time=0.2)
    times = np.arange(0, 2000, 0.1)
    away = [
        one.length(times) - one.law_length(times)
        for one in (
            whisker.model_copy(update={"seed": seed, "start_length": 1e4}) for seed in (1, 2)
        )
    ]
    independent = len(times) * 0.1 / 0.4
    for one in away:
        assert one.std() == pytest.approx(7, abs=4 * 7 / np.sqrt(2 * independent))
        kept = np.corrcoef(one[:-2], one[2:])[0, 1]
        assert kept == pytest.approx(np.exp(-1), abs=4 / np.sqrt(independent))
    assert abs(np.corrcoef(away[0], away[1])[0, 1]) < 4 / np.sqrt(independent)
    # A longer look at the same whisker changes nothing.
    assert (whisker.length(times[:50]) == whisker.length(times)[:50]).all()


@given(width=st.floats(20, 1000), roll=st.floats(-180, 180))
def test_the_cross_section_is_a_regular_hexagon(width: float, roll: float) -> None:
    corners = hexagon_corners(width, roll)
    hull = ConvexHull(corners)
    assert len(hull.vertices) == 6
    np.testing.assert_allclose(-hull.equations[:, 2], width / 2, rtol=1e-9)
    assert hull.volume == pytest.approx(np.sqrt(3) / 2 * width**2)
    again = hexagon_corners(width, roll + 60)
    np.testing.assert_allclose(np.roll(corners, -1, axis=0), again, atol=1e-9 * width)


@given(shell=st.floats(0, 100), rate=st.floats(0.1, 1000))
def test_the_shell_thickens_the_slower_the_thicker_it_is(shell: float, rate: float) -> None:
    whisker = Whisker(shell=shell, shell_growth=rate)
    thick = whisker.shell_thickness(TIMES)
    # s ds/dt = k / 2 of a layer that its metal must cross.
    np.testing.assert_allclose(np.diff(thick**2) / np.diff(TIMES), rate, rtol=1e-6)
    assert thick[0] == pytest.approx(shell)
    truth = whisker_truth(whisker, TIMES)
    np.testing.assert_allclose(truth["width"], whisker.width + 2 * thick)
