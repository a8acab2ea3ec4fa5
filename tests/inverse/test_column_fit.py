"""The joint fit: unbiased on weak phases, honest about its errors, the same from all sides."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.column_fit import fit_columns, residual_phase
from echolith.inverse.column_problem import FitOptions
from echolith.inverse.column_profiles import Scattering
from echolith.inverse.columns import find_columns
from echolith.inverse.distances import measure_distances
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from echolith.inverse.whitening import Whitening
from echolith.validation.matching import match_columns
from tests.inverse.weak_phase import (
    Cell,
    Field,
    haadf_image,
    phase_image,
    reconstruction,
    true_columns,
)

Array = npt.NDArray[np.float64]
SKEW = FitOptions(skewness_std=5e-4)
SOLVERS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {"ssb": ssb, "wdd": wdd}

# --- weak-phase data ------------------------------------------------------------------------

# The literature's cell, and the five numbers fitted to the published bulk distances of the
# pristine and the charged state (Song et al., Joule 6 (2022), tables S1 to S3), in directions
# that no axis of the scan favours.
CELLS = {
    "literature": Cell(),
    "pristine": Cell(a=2.56, c=(-1.6557, 4.9223), o=(0.881, 1.1774), rotation=61),
    "charged": Cell(a=2.57, c=(-1.7299, 5.0622), o=(0.8664, 1.1356), rotation=113),
}


@cache
def weak_data(cell: Cell, shape: tuple[int, int] = (80, 80)) -> tuple[Field, xr.Dataset]:
    """Noise-free frames of a crystal 1/1000 as strong as 2 nm, at the dose that makes up for it.

    The crystal goes on beyond the scan, so the field does not repeat, as in a microscope.
    """
    spec = Field(cell=cell, shape=shape, layers=7e-3, dose=8.1e10, wrapped=False)
    acquisition = StemAcquisition(
        scan=Scan(shape=spec.shape, step=(spec.step, spec.step)),
        detector=PixelDetector(shape=(24, 24), pixel_size=(1.95, 1.95)),
        haadf=None,
        dose=spec.dose,
    )
    return spec, phase_object_mean(phase_image(spec), acquisition=acquisition, dtype=np.float64)


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("name", CELLS)
def test_every_distance_on_weak_phase_data_within_a_tenth_of_a_picometre(
    name: str, method: str
) -> None:
    spec, frames = weak_data(CELLS[name])
    data = SOLVERS[method](frames)
    found = find_columns(data["phase"], haadf=haadf_image(spec))
    measured = measure_distances(fit_columns(data, found, options=SKEW))
    truth = spec.cell.distances()
    error = {n: 100 * abs(float(measured[n]) - truth[n]) for n in LONG_NAMES}
    # The promise of the method: 0.1 pm.
    assert max(error.values()) < 0.1, error


def test_without_skewness_unequal_atoms_shift_a_column() -> None:
    """The reason for the option above; 0.2 pm on O-O(M)."""
    spec, frames = weak_data(CELLS["literature"])
    data = ssb(frames)
    found = find_columns(data["phase"], haadf=haadf_image(spec))
    measured = measure_distances(fit_columns(data, found))
    error = abs(float(measured["o_o_m"]) - spec.cell.distances()["o_o_m"])
    assert 0.0013 < error < 0.0025


def test_strong_residuals_at_the_border_do_not_stop_the_fit() -> None:
    """Undamped, the steps leap to and fro across the minimum for 33 iterations."""
    spec, frames = weak_data(Cell(rotation=156), (76, 76))
    data = wdd(frames)
    found = find_columns(data["phase"], haadf=haadf_image(spec))
    options = SKEW.model_copy(update={"edge_amplitude_std": 0.1, "iterations": 22})
    assert fit_columns(data, found, options=options).attrs["iterations"] < 22


# --- from all sides -------------------------------------------------------------------------


def off(fitted: xr.Dataset, truth: xr.Dataset) -> Array:
    match = match_columns(fitted, truth)
    assert len(match.truth) > 20
    assert match.unmatched == 0
    dx, dy = (fitted[n].values[match.estimate] - truth[n].values[match.truth] for n in ("x", "y"))
    return np.asarray(np.hypot(dx, dy))


@settings(max_examples=6)
@given(st.floats(0, 360), st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_any_direction_and_place(rotation: float, origin: tuple[float, float]) -> None:
    spec = Field(
        cell=Cell(rotation=rotation, origin=origin, split=False), shape=(64, 72), dose=8.1e7
    )
    data = reconstruction(spec)
    fitted = fit_columns(data, find_columns(data["phase"], haadf=haadf_image(spec)))
    # Contamination from the border, strongest on faint Li: 0.15 pm at most in 14 directions.
    assert off(fitted, true_columns(spec)).max() < 0.003


@cache
def noisy(seed: int = 1) -> tuple[Field, xr.Dataset, xr.Dataset]:
    spec = Field(shape=(64, 72))
    data = reconstruction(spec, seed=seed)
    return spec, data, find_columns(data["phase"], haadf=haadf_image(spec, seed=seed))


@settings(max_examples=5)
@given(st.floats(-50, 50), st.floats(-50, 50))
def test_the_fit_moves_with_the_axes(x0: float, y0: float) -> None:
    _, data, found = noisy()
    axes = {"scan_x": data["scan_x"] + x0, "scan_y": data["scan_y"] + y0}
    moved = fit_columns(
        data.assign_coords(axes), found.assign(x=found["x"] + x0, y=found["y"] + y0)
    )
    fitted = fit_columns(data, found)
    # Converged to a hundredth of a standard deviation: 1e-5 Å.
    np.testing.assert_allclose(moved["x"] - x0, fitted["x"], atol=1e-5)
    np.testing.assert_allclose(moved["y"] - y0, fitted["y"], atol=1e-5)
    np.testing.assert_allclose(moved["x_std"], fitted["x_std"], rtol=1e-3)


def turned(data: xr.Dataset) -> xr.Dataset:
    """Exchange the axes of image and frequencies."""
    swap = {"scan_y": "scan_x", "scan_x": "scan_y", "q_y": "q_x", "q_x": "q_y"}
    coords = {new: data.coords[old].values for old, new in swap.items()}
    return xr.Dataset(
        {
            "phase": (("scan_y", "scan_x"), data["phase"].values.T),
            "weight": (("q_y", "q_x"), data["weight"].values.T),
        },
        coords=coords,
    )


@pytest.mark.parametrize("skewness", [0.0, 5e-4])
def test_the_fit_turns_with_the_image(skewness: float) -> None:
    _, data, found = noisy()
    options = FitOptions(skewness_std=skewness)
    fitted = fit_columns(data, found, options=options)
    other = fit_columns(turned(data), found.assign(x=found["y"], y=found["x"]), options=options)
    # Converged to a hundredth of a standard deviation (0.2 to 1 pm).
    for ours, theirs in (("x", "y"), ("y", "x"), ("amplitude", "amplitude")):
        far = (fitted[ours] - other[theirs]) / fitted[f"{ours}_std"]
        assert np.abs(far).max() < 0.02
    np.testing.assert_allclose(fitted["x_std"], other["y_std"], rtol=0.01)
    covariance = other["xy_covariance"].values[:, ::-1, ::-1]
    np.testing.assert_allclose(fitted["xy_covariance"], covariance, atol=1e-2 * covariance.max())


@pytest.mark.parametrize("seed", range(3))
def test_the_start_and_the_order_do_not_matter(seed: int) -> None:
    _, data, found = noisy()
    rng = np.random.default_rng(seed)
    order = rng.permutation(found.sizes["column"])
    away = rng.normal(0, 0.05, (2, found.sizes["column"])) * ~found["edge"].values
    start = found.assign(x=found["x"] + away[0], y=found["y"] + away[1]).isel(column=order)
    fitted, other = fit_columns(data, found), fit_columns(data, start)
    inner = ~fitted["edge"].values
    for name in ("x", "y", "amplitude"):
        back = np.empty(len(order))
        back[order] = other[name].values
        far = (back - fitted[name].values)[inner] / fitted[f"{name}_std"].values[inner]
        assert np.abs(far).max() < 0.03


# --- stated errors --------------------------------------------------------------------------


def near(spec: Field) -> xr.Dataset:
    columns = true_columns(spec)
    height, width = (n * spec.step for n in spec.shape)
    inside = ((columns["x"] > -1) & (columns["x"] < width + 1)).values
    inside &= ((columns["y"] > -1) & (columns["y"] < height + 1)).values
    return columns[["x", "y", "species"]].isel(column=inside)


@cache
def repeated(runs: int = 12) -> tuple[xr.Dataset, list[xr.Dataset]]:
    spec = Field(shape=(72, 76))
    start = near(spec)
    fits = [fit_columns(reconstruction(spec, seed=seed), start) for seed in range(runs)]
    x, y = start["x"].values, start["y"].values
    width, height = spec.step * 75, spec.step * 71
    # Columns that stay inside the margin, whatever the noise.
    deep = np.min([x, y, width - x, height - y], axis=0) > 2.05
    return start.isel(column=deep), [fit.isel(column=deep) for fit in fits]


def test_stated_covariances_are_those_of_repeated_experiments() -> None:
    _, fits = repeated()
    runs = len(fits)
    xy = np.stack([np.stack([f["x"].values, f["y"].values], axis=-1) for f in fits])
    left = xy - xy.mean(axis=0)
    inverse = np.linalg.inv([f["xy_covariance"].values for f in fits])
    squares = np.einsum("ski,skij,skj->k", left, inverse, left) / (2 * (runs - 1))
    count = len(squares)
    # Chi squared of 2 (runs - 1) numbers a column: 4.5 sigma, as if columns were independent.
    # Close to the margin the stated covariance is conservative, by 7 % there, 3 % on average.
    sigma = np.sqrt(2 / (2 * (runs - 1) * count))
    assert 1 - 4.5 * sigma - 0.03 < squares.mean() < 1 + 4.5 * sigma
    amplitude = np.stack([f["amplitude"].values for f in fits])
    std = np.stack([f["amplitude_std"].values for f in fits])
    ratio = amplitude.var(axis=0, ddof=1) / (std**2).mean(axis=0)
    sigma = np.sqrt(2 / ((runs - 1) * count))
    assert 1 - 4.5 * sigma - 0.03 < ratio.mean() < 1 + 4.5 * sigma
    for axis, name in enumerate(("x", "y")):
        np.testing.assert_allclose(
            fits[0][f"{name}_std"] ** 2, fits[0]["xy_covariance"].values[:, axis, axis]
        )


def test_fitted_columns_are_unbiased_within_their_errors() -> None:
    start, fits = repeated()
    for name in ("x", "y"):
        mean = np.mean([f[name].values for f in fits], axis=0)
        std = fits[0][f"{name}_std"].values / np.sqrt(len(fits))
        pull = (mean - start[name].values) / std
        # 0.25 pm of skewness left out, against 0.05 to 0.3 pm of standard error.
        allowed = 4.5 + 0.0025 / std
        assert (np.abs(pull) < allowed).all()
        assert np.mean(pull**2) < 4


def test_chi_squared_is_that_of_the_noise() -> None:
    _, fits = repeated()
    values = [f.attrs["reduced_chi_squared"] for f in fits]
    # About 1000 degrees of freedom: 4.5 %; 12 runs; and 1 % for the masked border.
    assert np.mean(values) == pytest.approx(1, abs=4.5 * 0.045 / np.sqrt(12) + 0.01)
    assert fits[0].attrs["noise"] == "weight"


def test_errors_of_distances_follow_from_the_covariance() -> None:
    _, fits = repeated()
    measured = [measure_distances(f) for f in fits]
    ratios = []
    for name in LONG_NAMES:
        spread = np.std([float(m[name]) for m in measured], ddof=1)
        ratios.append((spread / np.mean([float(m[f"{name}_fit_std"]) for m in measured])) ** 2)
    # Five degrees of freedom among the eight: 4.5 sigma of chi squared of 5 x 11 numbers.
    assert np.mean(ratios) == pytest.approx(1, abs=4.5 * np.sqrt(2 / 55))


def test_unknown_noise_is_read_from_the_residual() -> None:
    """White noise inside the support: errors without `weight` equal those with it."""
    spec = Field(shape=(72, 76))
    data = reconstruction(spec)
    level = 5e-4
    rng = np.random.default_rng(0)
    support = data["weight"].values > 0
    white = np.fft.fft2(rng.normal(size=spec.shape)) * level * np.sqrt(support.size)
    phase = data["phase"] + np.fft.ifft2(white * support).real
    weight = data["weight"].copy(data=np.where(support, 1 / level**2, 0))
    known = fit_columns(data.assign(phase=phase, weight=weight), near(spec))
    unknown = fit_columns(data[["phase"]].assign(phase=phase), near(spec))
    inner = ~known["edge"].values
    # The residual of 1000 numbers knows the noise to 2.2 %, but for the contamination in it.
    for name in ("x_std", "y_std", "amplitude_std"):
        ratio = unknown[name].values[inner] / known[name].values[inner]
        assert np.median(ratio) == pytest.approx(1, abs=4.5 * 0.022)
    moved = (unknown["x"].values - known["x"].values) / known["x_std"].values
    assert np.abs(moved[inner]).max() < 0.05
    assert unknown.attrs["noise"] == "residual"


# --- what is left ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [FitOptions(), SKEW])
def test_nothing_is_left_of_explained_columns(options: FitOptions) -> None:
    spec = Field()
    data = reconstruction(spec)
    fitted = fit_columns(data, find_columns(data["phase"]), options=options)
    inner = (slice(12, -12), slice(12, -12))
    left = residual_phase(data, fitted).values[inner]
    # Contamination from the border; the noise at 8.1e4 e/Å² is 20 mrad.
    assert left.std() < 0.006
    one_side = residual_phase(data, fitted.isel(column=np.flatnonzero(fitted["x"] > 8)))
    assert one_side.values[20:-20, 10:35].std() > 0.5 * data["phase"].values[inner].std()
    # The residual is that of the fit, odd terms of the profile included.
    whitening = Whitening.of(data)
    residual = whitening.whiten(whitening.spectrum(residual_phase(data, fitted).values))
    chi_squared = (residual[10:-10, 10:-10] ** 2).sum()
    assert chi_squared == pytest.approx(fitted.attrs["chi_squared"], rel=1e-6)


# --- bad input ------------------------------------------------------------------------------


def inner_column(columns: xr.Dataset) -> int:
    return int(np.hypot(columns["x"].values - 7, columns["y"].values - 6).argmin())


@pytest.mark.parametrize(
    ("change_data", "change_columns", "message"),
    [
        (lambda d: d.rename(phase="image"), lambda c: c, "but no 'phase'"),
        (lambda d: d, lambda c: c.drop_vars("x"), "missing: x"),
        (lambda d: d, lambda c: c.isel(column=slice(0)), "missing: every column"),
        (lambda d: d, lambda c: c.assign(x=c["x"] * np.nan), "values of x are not finite"),
        (lambda d: d.assign(phase=d["phase"] * np.inf), lambda c: c, "values of phase are not"),
        (lambda d: d.assign(weight=-d["weight"]), lambda c: c, "expected finite values >= 0"),
        (lambda d: d.isel(q_x=slice(9)), lambda c: c, "weight of shape"),
        (lambda d: d.assign(weight=0 * d["weight"]), lambda c: c, "zero at every frequency"),
        (lambda d: d, lambda c: c.assign(species="M " + c["species"]), "has no scattering factor"),
        (
            lambda d: d,
            lambda c: xr.concat([c, c.isel(column=[inner_column(c)])], dim="column"),
            "two columns lie on one another",
        ),
    ],
)
def test_bad_input_is_refused(change_data: Any, change_columns: Any, message: str) -> None:
    _, data, found = noisy()
    start = found[["x", "y", "species"]]
    with pytest.raises(BadInputError, match=message):
        fit_columns(change_data(data), change_columns(start))


def test_options_that_leave_nothing_are_refused() -> None:
    _, data, found = noisy()
    with pytest.raises(BadInputError, match=r"lower FitOptions\.margin"):
        fit_columns(data, found, options=FitOptions(margin=7))
    with pytest.raises(BadInputError, match="did not converge in 1 iterations"):
        fit_columns(data, found, options=FitOptions(iterations=1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"M": {}}, "expected positive fractions"),
        ({"M": {"Mn": -1.0}}, "expected positive fractions"),
        ({"M": {"Qq": 1.0}}, "is not an element"),
    ],
)
def test_impossible_contents_are_refused(
    content: dict[str, dict[str, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scattering(content=content)
