import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.validation.gauge import remove_shift
from echolith.validation.matching import match_columns
from echolith.validation.metrics import column_rms, false_columns, found_fraction

GRID = np.stack(np.meshgrid(np.arange(5) * 1.5, np.arange(4) * 1.5), axis=-1).reshape(-1, 2)


def columns(xy: np.ndarray, species: str = "O") -> xr.Dataset:
    return xr.Dataset(
        {
            "x": ("column", xy[:, 0], {"units": "Å"}),
            "y": ("column", xy[:, 1], {"units": "Å"}),
            "species": ("column", np.full(len(xy), species)),
        }
    )


@given(st.permutations(range(len(GRID))))
def test_matching_does_not_depend_on_the_order(order: list[int]) -> None:
    match = match_columns(columns(GRID[order]), columns(GRID))
    assert np.array_equal(np.asarray(order)[match.estimate], match.truth)
    assert (match.expected, match.unmatched) == (len(GRID), 0)


@given(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7))
def test_the_gauge_takes_any_common_shift_out(dx: float, dy: float) -> None:
    truth = columns(GRID)
    aligned = remove_shift(columns(GRID + np.array([dx, dy])), truth)
    assert column_rms("O").score(aligned, truth) < 1e-9


def test_a_missing_and_a_false_column_are_counted() -> None:
    truth = columns(GRID)
    estimate = columns(np.concatenate([GRID[1:], [[0.75, 0.75], [20.0, 20.0]]]))
    assert found_fraction("O").score(estimate, truth) == (len(GRID) - 1) / len(GRID)
    assert false_columns().score(estimate, truth) == 2


def test_a_column_of_the_wrong_species_is_not_found() -> None:
    assert found_fraction("O").score(columns(GRID, "Li"), columns(GRID, "O")) == 0


def test_a_column_at_the_border_of_the_scored_field_is_neither_missed_nor_false() -> None:
    inside = np.arange(len(GRID)) > 0
    truth = columns(GRID).assign(edge=("column", ~inside))
    match = match_columns(columns(GRID), truth)
    assert (match.expected, match.unmatched) == (len(GRID) - 1, 0)


def test_an_estimate_without_columns_scores_as_nothing_found() -> None:
    empty = columns(np.empty((0, 2)))
    assert found_fraction("O").score(empty, columns(GRID)) == 0
    assert np.isnan(column_rms("O").score(empty, columns(GRID)))


@given(st.floats(0.001, 0.05))
def test_rms_is_per_axis_in_picometres(size: float) -> None:
    sign = np.where(np.arange(len(GRID)) % 2, 1.0, -1.0)[:, None]
    score = column_rms("O").score(columns(GRID + sign * size), columns(GRID))
    assert np.isclose(score, 100 * size)
