"""Scores of arrays: by hand, whatever is missing, however the axes are ordered."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.validation.metrics import mean_error, root_mean_square

NUMBERS = st.floats(-1e3, 1e3)


@given(
    errors=st.lists(NUMBERS, min_size=6, max_size=6),
    missing=st.sets(st.integers(0, 5), max_size=5),
    scale=st.floats(0.1, 1e6),
)
def test_errors_of_what_both_know_are_averaged(
    errors: list[float], missing: set[int], scale: float
) -> None:
    truth = xr.Dataset({"map": (("y", "x"), np.arange(6.0).reshape(2, 3))})
    error = np.array(errors)
    known = [n for n in range(6) if n not in missing]
    hole = np.where(np.isin(np.arange(6), known), error, np.nan).reshape(2, 3)
    estimate = (truth + hole).transpose("x", "y")
    wanted = scale * np.sqrt(sum(error[n] ** 2 for n in known) / len(known))
    metric = root_mean_square("map", unit="ppm", scale=scale)
    assert (metric.name, metric.unit) == ("map_rms", "ppm")
    assert metric.score(estimate, truth) == pytest.approx(wanted, abs=1e-9 * scale)
    bias = abs(sum(error[n] for n in known)) / len(known)
    assert mean_error("map").score(estimate, truth) == pytest.approx(bias, abs=1e-9)


def test_what_is_not_there_has_no_score() -> None:
    truth = xr.Dataset({"map": ("x", [1.0, 2.0])})
    for metric in (root_mean_square("map"), mean_error("map")):
        assert np.isnan(metric.score(xr.Dataset(), truth))
        assert np.isnan(metric.score(truth * np.nan, truth))


@given(order=st.permutations(range(5)), lost=st.integers(0, 4))
def test_values_are_compared_where_both_are(order: list[int], lost: int) -> None:
    place = np.array([0.1, 0.2, 0.5, 0.9, 1.0])
    truth = xr.Dataset({"map": ("x", place**2)}, coords={"x": place})
    estimate = (truth + truth.x).isel(x=[n for n in order if n != lost])
    wanted = np.sqrt((np.delete(place, lost) ** 2).mean())
    assert root_mean_square("map").score(estimate, truth) == pytest.approx(wanted)
