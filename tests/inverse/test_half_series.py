"""Halves of a tilt series, and the width of edges."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from echolith.errors import BadInputError
from echolith.forward.tilts import centres
from echolith.inverse.half_series import half_series, half_series_resolution
from echolith.inverse.line_cut_resolution import line_cut_resolution
from echolith.validation.true_resolution import half_period_of_truth

AXES = ("z", "y", "x")


def blurred_noise(n: int, width: float, seed: int, stretch: float = 1.0) -> xr.DataArray:
    """A field whose spectrum falls as a Gaussian, faster along z where stretched."""
    rng = np.random.default_rng(seed)
    frequency = np.stack(np.meshgrid(*[np.fft.fftfreq(n)] * 3, indexing="ij"))
    frequency[0] *= stretch
    transfer = np.exp(-2 * (np.pi * width) ** 2 * (frequency**2).sum(axis=0))
    field = np.fft.ifftn(np.fft.fftn(rng.standard_normal((n, n, n))) * transfer).real
    at = centres(n, 10.0)
    return xr.DataArray(field / field.std(), coords=dict.fromkeys(AXES, at), dims=AXES)


def views(field: xr.DataArray, noise: float, seed: int) -> xr.Dataset:
    """Ten noisy copies of a volume in the place of tilts: their mean is the reconstruction."""
    rng = np.random.default_rng(seed)
    copies = field.values + noise * rng.standard_normal((10, *field.shape))
    tilted = xr.DataArray(copies, dims=("tilt", *AXES), coords={"tilt": range(10), **field.coords})
    return xr.Dataset({"copies": tilted})


def mean_volume(measurement: xr.Dataset) -> xr.DataArray:
    return measurement["copies"].mean("tilt")


@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0.3, 3))
def test_halves_see_as_far_as_the_truth(seed: int, noise: float) -> None:
    """White noise, one Gaussian spectrum: both resolutions are of the same crossing.

    The steep spectrum moves it by 3 % where a correlation is off by its scatter.
    """
    truth = blurred_noise(32, 1.2, seed)
    data = views(truth, noise, seed)
    halves = half_series_resolution(data, mean_volume).sel(direction="all")
    with_truth = half_period_of_truth(mean_volume(data), truth)
    assert float(halves.half_period) == pytest.approx(with_truth, rel=0.1)


def test_directions_are_told_apart() -> None:
    data = views(blurred_noise(32, 1.0, 1, stretch=1.6), 1.0, 1)
    found = half_series_resolution(data, mean_volume).half_period
    assert float(found.sel(direction="z")) > 1.3 * float(found.sel(direction="x"))
    assert float(found.sel(direction="y")) == pytest.approx(
        float(found.sel(direction="x")), rel=0.1
    )


def test_halves_share_no_tilt() -> None:
    data = views(blurred_noise(8, 1.0, 1), 1.0, 1).isel(tilt=[3, 1, 4, 0, 5, 9, 2, 6, 8])
    first, second = half_series(data)
    assert sorted(first.tilt.values) == [0, 2, 4, 6, 9]
    assert sorted(second.tilt.values) == [1, 3, 5, 8]
    with pytest.raises(BadInputError, match="7 tilts; expected 8"):
        half_series(data.isel(tilt=slice(7)))


def edge(sigma: float, noise: float, seed: int) -> xr.DataArray:
    """A face across x at 3 Å."""
    at = centres(40, 10.0)
    profile = 0.2 + 0.7 * (1 + erf((at - 3) / (sigma * 2**0.5))) / 2
    field = np.tile(profile, (9, 1)) + noise * np.random.default_rng(seed).standard_normal((9, 40))
    return xr.DataArray(field, dims=("y", "x"), coords={"y": centres(9, 10.0), "x": at})


@given(sigma=st.floats(10, 40), seed=st.integers(0, 2**32 - 1))
def test_width_of_an_edge(sigma: float, seed: int) -> None:
    """On a row of pixels, where nothing is interpolated; steep edges are broadened by 3 %."""
    cut = line_cut_resolution(edge(sigma, 0.01, seed), (0.0, -150.0), (0.0, 150.0))
    for width, steps in (("10_90", 2.5631), ("25_75", 1.34898)):
        std = float(cut[f"edge_{width}_std"])
        assert abs(float(cut[f"edge_{width}"]) - steps * sigma) < 5 * std + 0.06 * steps * sigma
        assert 0 < std < 0.2 * steps * sigma
    assert float(cut.position) == pytest.approx(153, abs=5 * float(cut.position_std) + 0.5)


def test_stated_widths_scatter_as_stated() -> None:
    cuts = [line_cut_resolution(edge(25, 0.03, n), (0.0, -150.0), (0.0, 150.0)) for n in range(60)]
    widths = np.array([float(cut.edge_10_90) for cut in cuts])
    stated = np.sqrt(np.mean([float(cut.edge_10_90_std) ** 2 for cut in cuts]))
    # Of 60 widths the standard deviation is known to 9 %.
    assert widths.std() == pytest.approx(stated, rel=0.35)


def test_lines_without_an_edge() -> None:
    field = edge(20, 0.02, 0)
    with pytest.raises(BadInputError, match="no single edge"):
        line_cut_resolution(field, (0.0, 100.0), (0.0, 190.0))
    with pytest.raises(BadInputError, match="inside the field"):
        line_cut_resolution(field, (0.0, -150.0), (0.0, 250.0))
    with pytest.raises(BadInputError, match="3 pixels or more"):
        line_cut_resolution(field, (0.0, 0.0), (0.0, 20.0))
    with pytest.raises(BadInputError, match="2 dims"):
        line_cut_resolution(field, (0.0,), (0.0,))
