"""Optical density from counts: unbiased, with the spread it reports."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.transmission import optical_density


@given(mean=st.floats(5.0, 1e4), seed=st.integers(0, 2**32 - 1))
def test_pulls_of_poisson_counts(mean: float, seed: int) -> None:
    draws = np.random.default_rng(seed).poisson(mean, 4000)
    found = optical_density(xr.DataArray(draws, dims="x"), 2 * mean)
    error = found.optical_density.values - np.log(2)
    # ln(n + 1/2) is biased by -1/(24 mean²); the rest of the tolerance is five standard errors.
    assert abs(error.mean()) < 1 / (20 * mean**2) + 5 * error.std() / np.sqrt(4000)
    assert error.std() / np.sqrt((found.optical_density_std.values**2).mean()) == pytest.approx(
        1, abs=0.15
    )


def test_incident_by_energy_keeps_the_order_of_axes() -> None:
    counts = xr.DataArray(np.full((2, 3, 4), 99.5), dims=("energy", "y", "x"))
    incident = xr.DataArray([100.0, 200.0], dims="energy")
    found = optical_density(counts, incident)
    assert found.optical_density.dims == ("energy", "y", "x")
    assert found.optical_density.values[1] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("counts", "incident", "full_scale", "message"),
    [
        ([1.0, -2.0], 10.0, None, "-2 photons"),
        ([1.0, np.nan], 10.0, None, "not finite"),
        ([1.0, 2.0], 0.0, None, "more than 0"),
        ([1.0, 60.0], 100.0, 60.0, "saturated"),
    ],
)
def test_bad_counts_are_refused(
    counts: list[float], incident: float, full_scale: float | None, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        optical_density(xr.DataArray(counts, dims="x"), incident, full_scale=full_scale)
