"""Edges of facets: likelihood and supports against slow ones, drift, pulls, what is not told."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from echolith.errors import BadInputError
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.facet_drift import Reflections, tracked
from echolith.inverse.facet_edges import EdgeTracking, Reason, recover_edges
from echolith.inverse.facet_outline import (
    APART,
    FINE,
    WAYS,
    facet_likelihood,
    facet_posterior,
    support,
)
from echolith.inverse.lattice import LatticeSearch
from tests.inverse.column_movies import column_movie

Array = npt.NDArray[np.float64]

TAKEN = HrtemAcquisition(shape=(128, 136), pixel=0.6, dose_rate=2500.0)
OPTIONS = EdgeTracking(search=LatticeSearch(zone_axes=((1, 1, 1),)), first=4)
FLAT = ("(10-1)", "(1-10)", "(0-11)", "(-101)", "(-110)", "(01-1)")
REST = {name: np.full(6, 9.0) for name in FLAT}


def movie(**changes: Any) -> tuple[xr.Dataset, xr.DataArray]:
    """Return a small crystal whose first facet grows by two rows, under drift."""
    edges = REST | {"(10-1)": np.array([9.0, 9, 10, 10, 11, 11])}
    shifts = np.outer(np.arange(6), [0.7, -0.4])
    given: dict[str, Any] = {"edges": edges, "rotation": 13.0, "shifts": shifts, **changes}
    return column_movie(TAKEN, **given)


@given(
    edge=st.integers(3, 9),
    signal=st.floats(1, 8),
    seed=st.integers(0, 1000),
    shares=st.lists(st.floats(-0.04, 0.06), min_size=APART, max_size=APART),
)
def test_the_posterior_is_that_of_a_least_squares_fit_of_all_rows(
    edge: int, signal: float, seed: int, shares: list[float]
) -> None:
    rows, first = 12, 1
    own = 1 - 2 * sum(shares)
    profile = np.array([own, *shares, *np.zeros(40)])
    number = np.arange(-rows, rows + 1)  # rows far below are there too
    overlap = profile[np.abs(number[:, None] - number)]
    draw = np.random.default_rng(seed)
    noise = np.linalg.cholesky(overlap) @ draw.standard_normal(len(number))
    values = overlap @ (signal * (number <= edge)) + noise

    def log(place: float, way: int) -> float:
        # Of a steady way, a row is there for the time since the edge has passed it.
        moments = place + way * ((np.arange(2000) + 0.5) / 2000 - 0.5)
        there = signal * (moments[:, None] >= number - 0.5).mean(axis=0)
        rest = np.linalg.solve(overlap, values) - there
        return float(-0.5 * rest @ overlap @ rest)

    low, high = first + APART, rows - 1
    grid = low + np.arange((high - low) * FINE + 1) / FINE
    logs = np.array([[log(place, way) for place in grid] for way in WAYS])
    weight = np.exp(logs - logs.max()).mean(axis=0)
    mean = weight @ grid / weight.sum()
    std = np.sqrt(weight @ (grid - mean) ** 2 / weight.sum() + 1 / 12 / FINE**2)
    kept = values[number >= first]
    found = facet_likelihood(
        signal * kept, np.full(len(kept), signal**2), profile[: APART + 1], first, low, high
    )
    assert facet_posterior(found, low) == pytest.approx((mean, std), rel=2e-3, abs=2e-3)


@given(edges=st.lists(st.floats(5, 30), min_size=8, max_size=8), facet=st.integers(0, 7))
def test_a_corner_is_where_linear_programming_finds_it(edges: list[float], facet: int) -> None:
    angles = np.radians(45.0 * np.arange(8) + 3)
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    others = np.arange(8) != facet
    best = linprog(
        -normals[facet], A_ub=normals[others], b_ub=np.array(edges)[others], bounds=(None, None)
    )
    assert support(facet, np.array(edges), angles) == pytest.approx(-best.fun, rel=1e-6)


def test_a_lattice_is_followed_and_its_errors_fit_their_uncertainty() -> None:
    draw = np.random.default_rng(5)
    places = np.array([[0.4, 0.0], [0.2, 0.346], [-0.2, 0.346]])
    shift = np.cumsum(draw.normal(0.3, 0.2, (300, 2)), axis=0)
    reflections = Reflections(
        places=places,
        weights=np.ones(3),
        noise=np.full(3, 1.0),
        cell=np.linalg.inv(places[:2]).T,
    )
    waves = 12 * np.exp(-2j * np.pi * shift @ places.T)
    waves += draw.standard_normal(waves.shape) + 1j * draw.standard_normal(waves.shape)
    found = tracked(waves, np.arange(300) / 25, reflections=reflections)
    error = found.shift - shift
    # The first place is known up to a vector of the lattice only.
    error -= np.rint(error[0] @ np.linalg.inv(reflections.cell)) @ reflections.cell
    pulls = error / found.shift_std
    assert np.abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert abs(np.mean(pulls**2) - 1) < 4 * np.sqrt(2 / pulls.size) + 0.05  # curvature has noise


def test_edges_fit_the_truth_and_the_drift_is_followed() -> None:
    errors, stds = [], []
    for seed in range(4):
        data, truth = movie(seed=seed)
        found = recover_edges(data, options=OPTIONS)
        assert found["drift"].values[-1] == pytest.approx([3.5, -2.0], abs=0.4)
        kept = found.sel(facet=list(FLAT))
        away = (kept["edge"] - truth.sel(facet=list(FLAT))).values
        normals = np.radians(kept["angle"].values)
        middle = np.stack([np.cos(normals), np.sin(normals)], axis=1)
        # A row more or less on both sides is a matter of where the middle is.
        shift = np.linalg.lstsq(np.repeat(middle, 6, axis=0), away.ravel(), rcond=None)[0]
        errors.append(away - (middle @ shift)[:, None])
        stds.append(kept["edge_std"].values)
        assert (found["reason"].sel(facet=list(FLAT)) == Reason.NONE.value).all()
        corners = found["reason"].drop_sel(facet=list(FLAT))
        assert (corners == Reason.NO_FACET.value).mean() > 0.9
    pulls = np.array(errors) / np.array(stds)
    # Whole rows are the best case for a prior in which any part of a row is as likely.
    assert np.mean(pulls**2) < 1 + 4 * np.sqrt(2 / pulls.size)
    assert np.mean(pulls**2) > 0.3
    assert np.abs(np.mean(pulls)) < 4 / np.sqrt(pulls.size)


def test_frames_without_electrons_and_gaps_are_told_and_the_rest_holds() -> None:
    data, _ = movie()
    counts = data["counts"].copy()
    counts[2] = 0
    found = recover_edges(data.assign(counts=counts).isel(frame=[0, 1, 2, 3, 5]), options=OPTIONS)
    assert (found["reason"][:, 2] == Reason.NO_ELECTRONS.value).all()
    assert found["edge"][:, 2].isnull().all()
    last = found["edge"].sel(facet="(10-1)")[-1] - found["edge"].sel(facet="(10-1)")[0]
    std = float(found["edge_std"].sel(facet="(10-1)").max())
    assert float(last) == pytest.approx(2 * 2.4814, abs=4 * np.sqrt(2) * std)


def test_a_particle_that_leaves_the_field_is_told() -> None:
    shifts = np.tile([28.0, 0.0], (6, 1))
    found = recover_edges(movie(shifts=shifts)[0], options=OPTIONS)
    right = found.sel(facet="(10-1)")
    assert (right["reason"] == Reason.OUTSIDE.value).all()
    assert right["edge"].isnull().all()
    assert found["edge"].sel(facet="(-101)").notnull().all()


def test_noise_alone_has_no_edges() -> None:
    data, _ = movie(strength=0.0)
    found = recover_edges(data, options=OPTIONS)
    assert "edge" not in found
    assert (found["reason"] == Reason.NO_LATTICE.value).all()
    assert "noise alone" in found.attrs["undetermined"]
    dark = recover_edges(data.assign(counts=0 * data["counts"]), options=OPTIONS)
    assert (dark["reason"] == Reason.NO_ELECTRONS.value).all()


def test_what_is_no_movie_is_refused() -> None:
    data, _ = movie()
    with pytest.raises(BadInputError, match="no counts"):
        recover_edges(data.drop_vars("counts"))
    with pytest.raises(BadInputError, match="times"):
        recover_edges(data.isel(frame=[1, 0]))
    broken = data["counts"].astype(float)
    broken[4, 3, 3] = np.nan
    with pytest.raises(BadInputError, match="frame 4 holds pixels that are not finite"):
        recover_edges(data.assign(counts=broken), options=OPTIONS)
