"""The classic fit of one Gaussian a column: exact on Gaussians, with its known weakness."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.column_profiles import Profile
from echolith.inverse.distances import measure_distances
from tests.inverse.weak_phase import Cell, Field, reconstruction, true_columns

Array = npt.NDArray[np.float64]
SHAPE, STEP = (60, 50), (0.15, 0.2)
PLACES = np.array([[2.0, 2.0], [5.0, 2.3], [8.1, 2.1], [2.2, 6.0], [5.1, 6.6], [7.7, 6.2]])


def columns_at(xy: Array) -> xr.Dataset:
    return xr.Dataset(
        {
            "x": ("column", xy[:, 0]),
            "y": ("column", xy[:, 1]),
            "species": ("column", np.full(len(xy), "O")),
        }
    )


def gaussians(
    xy: Array,
    *,
    height: Array,
    width: Array,
    background: float = 0.0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> xr.Dataset:
    """Peaks more than 2.5 Å apart, pixel (0, 0) at `origin` = (x, y)."""
    y, x = (o + np.arange(n) * d for o, n, d in zip(origin[::-1], SHAPE, STEP, strict=True))
    r2 = (x[None, None] - xy[:, 0, None, None]) ** 2 + (
        y[None, :, None] - xy[:, 1, None, None]
    ) ** 2
    peaks = height[:, None, None] * np.exp(-r2 / (2 * width[:, None, None] ** 2))
    image = xr.DataArray(
        background + peaks.sum(axis=0),
        dims=("scan_y", "scan_x"),
        coords={"scan_y": y, "scan_x": x},
        attrs={"units": "rad"},
    )
    return xr.Dataset({"phase": image})


def fit(data: xr.Dataset, start: xr.Dataset) -> xr.Dataset:
    return fit_columns(data, start, profile=Profile.GAUSSIAN)


# --- exact on Gaussians ---------------------------------------------------------------------


@given(
    st.integers(0, 2**32),
    st.floats(1e-4, 1e3),
    st.floats(-2, 2),
    st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
)
def test_gaussians_are_recovered(
    seed: int, scale: float, background: float, origin: tuple[float, float]
) -> None:
    """At any place between pixels, of any height and width, on any background."""
    rng = np.random.default_rng(seed)
    xy = PLACES + rng.uniform(-0.1, 0.1, PLACES.shape) + origin
    height = scale * rng.uniform(0.5, 2, len(xy))
    width = rng.uniform(0.2, 0.35, len(xy))
    data = gaussians(xy, height=height, width=width, background=background * scale, origin=origin)
    found = fit(data, columns_at(xy + rng.uniform(-0.15, 0.15, xy.shape)))
    # Priors of a millionth of the signal: 1e-3 pm in position; tails of neighbours 2.5 Å away.
    np.testing.assert_allclose(found["x"], xy[:, 0], atol=2e-5)
    np.testing.assert_allclose(found["y"], xy[:, 1], atol=2e-5)
    np.testing.assert_allclose(found["width"], width, atol=1e-4)
    np.testing.assert_allclose(found["amplitude"], height, rtol=1e-3)
    np.testing.assert_allclose(found["background"], background * scale, atol=1e-3 * scale)
    assert found["x"].attrs["units"] == "Å"


def test_the_fit_turns_with_the_image() -> None:
    spec = Field(shape=(64, 64))
    data = reconstruction(spec, seed=1)
    start = near(spec)
    turned = data["phase"].copy(data=data["phase"].values.T)
    weight = data["weight"].copy(data=data["weight"].values.T)
    ours = fit(data, start)
    other = fit(data.assign(phase=turned, weight=weight), start.assign(x=start["y"], y=start["x"]))
    inner = ~ours["edge"].values
    for one, two in (("x", "y"), ("y", "x"), ("x_std", "y_std"), ("amplitude", "amplitude")):
        np.testing.assert_allclose(ours[one].values[inner], other[two].values[inner], atol=1e-6)


# --- stated errors --------------------------------------------------------------------------


def near(spec: Field) -> xr.Dataset:
    columns = true_columns(spec)
    return columns[["x", "y", "species"]].isel(column=~columns["edge"].values)


@cache
def repeated(runs: int = 30) -> list[xr.Dataset]:
    spec = Field(shape=(72, 76))
    fits = [fit(reconstruction(spec, seed=seed), near(spec)) for seed in range(runs)]
    inner = ~fits[0]["edge"].values
    return [f.isel(column=inner) for f in fits]


def test_stated_covariances_are_those_of_repeated_experiments() -> None:
    """The noise of neighbouring pixels is correlated; taken as independent, errors halve."""
    fits = repeated()
    runs = len(fits)
    bright = fits[0]["species"].values != "Li"
    xy = np.stack([np.stack([f["x"].values, f["y"].values], axis=-1) for f in fits])[:, bright]
    inverse = np.linalg.inv([f["xy_covariance"].values[bright] for f in fits])
    left = xy - xy.mean(axis=0)
    squares = np.einsum("ski,skij,skj->k", left, inverse, left) / (2 * (runs - 1))
    # Chi squared of 2 (runs - 1) numbers a column, 4.5 sigma as if columns were independent, and
    # 10 % for the curvature of the model (Li, faint, is left out for it).
    sigma = np.sqrt(2 / (2 * (runs - 1) * bright.sum()))
    assert squares.mean() == pytest.approx(1, abs=4.5 * sigma + 0.1)
    # Amplitude, width and background of columns fainter than M trade off beyond linear errors.
    metal = fits[0]["species"].values == "M"
    amplitude = np.stack([f["amplitude"].values for f in fits])[:, metal]
    std = np.stack([f["amplitude_std"].values for f in fits])[:, metal]
    ratio = (amplitude.var(axis=0, ddof=1) / (std**2).mean(axis=0)).mean()
    assert ratio == pytest.approx(1, abs=4.5 * np.sqrt(2 / ((runs - 1) * metal.sum())) + 0.1)


def test_unknown_noise_is_read_from_the_residual() -> None:
    """White noise: the textbook's covariance of a fit, against repeated ones."""
    rng = np.random.default_rng(0)
    clean = gaussians(PLACES, height=np.ones(6), width=np.full(6, 0.3))
    fits = [fit(clean + 0.03 * rng.normal(size=SHAPE), columns_at(PLACES)) for _ in range(60)]
    for name in ("x", "y", "amplitude"):
        spread = np.std([f[name].values for f in fits], axis=0, ddof=1)
        stated = np.mean([f[f"{name}_std"].values for f in fits], axis=0)
        # 6 x 59 numbers: 3.8 %, 4.5 sigma.
        assert np.mean(spread / stated) == pytest.approx(1, abs=4.5 * 0.038)
    assert fits[0].attrs["noise"] == "residual"
    # 30 mrad less what five parameters take of some 37 pixels.
    assert np.mean([f.attrs["residual_rms"] for f in fits]) == pytest.approx(0.028, rel=0.05)


# --- the known weakness ---------------------------------------------------------------------


def test_neighbours_pull_columns_as_is_known_of_this_fit() -> None:
    """A few picometres on O-O, none on M-M, where neighbours are symmetric (and none of it in the
    joint fit of form factors)."""
    spec = Field(cell=Cell(split=False))
    data, start = reconstruction(spec), near(spec)
    truth = spec.cell.distances()
    gaussian, joint = (
        measure_distances(fit(data, start)),
        measure_distances(fit_columns(data, start)),
    )

    def error(measured: xr.Dataset, *names: str) -> float:
        return max(abs(float(measured[n]) - truth[n]) for n in names)

    oxygen = ("o_o_m", "o_o_li", "o_o_2m", "o_o_2li")
    assert 0.003 < error(gaussian, *oxygen) < 0.05
    assert error(gaussian, "m_m", "m_m_olio", "m_m_li") < 0.001
    assert error(joint, *oxygen) < 0.001


# --- bad input ------------------------------------------------------------------------------


def test_too_coarse_a_scan_is_refused() -> None:
    step = 0.5
    image = xr.DataArray(
        np.zeros((20, 20)),
        dims=("scan_y", "scan_x"),
        coords={"scan_y": np.arange(20) * step, "scan_x": np.arange(20) * step},
    )
    with pytest.raises(BadInputError, match="expected 9 or more for a Gaussian"):
        fit(xr.Dataset({"phase": image}), columns_at(PLACES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d * np.nan, "values of phase are not finite"),
        (lambda d: d.rename(phase="image"), "but no 'phase'"),
    ],
)
def test_bad_images_are_refused(change: Any, message: str) -> None:
    data = gaussians(PLACES, height=np.ones(6), width=np.full(6, 0.3))
    with pytest.raises(BadInputError, match=message):
        fit(change(data), columns_at(PLACES))


def test_columns_at_the_border_are_flagged_and_finite() -> None:
    xy = np.concatenate([PLACES + 0.05, [[0.05, 4.0], [9.79, 8.8], [12.0, 3.0]]])
    data = gaussians(PLACES + 0.05, height=np.ones(6), width=np.full(6, 0.3))
    found = fit(data, columns_at(xy))
    assert found["edge"].values.tolist() == ((xy < 2) | (xy > [7.8, 6.85])).any(axis=1).tolist()
    for name in found.data_vars:
        if name != "species":
            assert np.isfinite(found[name].values).all()
