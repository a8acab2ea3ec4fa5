"""Thickness from energy-filtered images: exact ones come back, noise as told, gaps, bad input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.energy_filtered import FilteredCase, energy_filtered_mean
from echolith.forward.filtered_acquisition import EnergyWindow, FilteredAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.forward.plural_scattering import LossModel
from echolith.inverse.filtered_registration import moved_back, relative_shift, sampling_matrix
from echolith.inverse.thickness import recover_thickness
from echolith.inverse.thickness_model import ThicknessOptions
from echolith.structures.coated_body import CoatedBody, hexagonal_prism, ray_lengths

EXACT = ThicknessOptions(
    oxide=0.0, oxide_std=0.0, path_error=0.0, spectrum_error=0.0, slit_error=0.0
)
SHARP: dict[str, Any] = {"shape": (36, 20), "response": {}}


def whisker(width: float, **changes: Any) -> tuple[FilteredCase, FilteredAcquisition]:
    """A bare prism that runs across the field along x, and its acquisition."""
    acquisition = FilteredAcquisition(**{**SHARP, "pixel": width / 20, **changes})
    core = hexagonal_prism(width, 20 * width)
    body = CoatedBody(core=core, support=100.0)
    losses = LossModel(energy=acquisition.energy, semiangle=acquisition.semiangle)
    return FilteredCase(body=body, losses=losses), acquisition


def truth_of(case: FilteredCase, acquisition: FilteredAcquisition) -> tuple[np.ndarray, np.ndarray]:
    lengths = ray_lengths(case.body, shape=acquisition.shape, pixel=acquisition.pixel, points=3)
    mean = lengths.mean(axis=1)
    return (
        np.tensordot(1 / case.losses.paths, mean, axes=1),
        np.tensordot(case.losses.lithium, mean, axes=1),
    )


@settings(max_examples=6)
@given(width=st.floats(300, 3000), half=st.floats(1.5, 6))
def test_exact_images_come_back_whatever_the_slit(width: float, half: float) -> None:
    """To 0.4 % of t/lambda and 1 % of lithium: slopes inside a pixel are taken for steps."""
    slit = EnergyWindow(low=-half, high=half, dose=100.0)
    case, acquisition = whisker(width, zero_loss=slit)
    mean = energy_filtered_mean(case, acquisition=acquisition)
    found = recover_thickness(mean, options=EXACT)
    tau, atoms = truth_of(case, acquisition)
    inside = np.isfinite(found["areal_density"].values) & (atoms > 0)
    assert inside.sum() > 150
    assert found["t_over_lambda"].values[inside] == pytest.approx(tau[inside], rel=4e-3)
    assert found["areal_density"].values[inside] == pytest.approx(atoms[inside], rel=1e-2)
    # Single losses assumed, less is seen: what met plasmons too has left the window.
    ratio = found["areal_density_uncorrected"].values[inside] / atoms[inside]
    assert (ratio < np.exp(-0.5 * tau[inside])).all()
    assert float(found["support"]) == pytest.approx(100 / case.losses.paths[2], rel=1e-3)


@settings(max_examples=6)
@given(gain=st.floats(0.1, 50), seed=st.integers(0, 99))
def test_units_of_the_counts_do_not_matter(gain: float, seed: int) -> None:
    case, acquisition = whisker(800.0)
    mean = energy_filtered_mean(case, acquisition=acquisition)
    counts = PoissonCounting().sample(mean, seed=seed)
    scaled = counts.assign(counts=gain * counts["counts"])
    one = recover_thickness(counts, options=EXACT)
    other = recover_thickness(scaled, options=EXACT.model_copy(update={"gain": gain}))
    for name in ("t_over_lambda", "t_over_lambda_std", "areal_density", "volume_std", "lithium"):
        assert other[name].values == pytest.approx(one[name].values, rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("binning", [1, 4])
def test_pulls_are_one_with_many_and_with_few_electrons(binning: int) -> None:
    """60 electrons in a pixel; pulls of n pixels to 5 / sqrt(2 n), their mean to 5 / sqrt(n)."""
    low = 60 / 40.0**2
    windows = {
        "unfiltered_dose": low,
        "zero_loss": EnergyWindow(low=-3.0, high=3.0, dose=low),
    }
    case, acquisition = whisker(800.0, pixel=40.0, shape=(64, 64), **windows)
    case = replace(case, shifts=((11.0, -7.0), *((0.0, 0.0),) * 4))
    mean = energy_filtered_mean(case, acquisition=acquisition)
    tau, _ = truth_of(case, acquisition)
    coarse = tau.reshape(64 // binning, binning, -1, binning).mean(axis=(1, 3))
    pulls = []
    for seed in range(3):
        found = recover_thickness(
            PoissonCounting().sample(mean, seed=seed),
            options=EXACT.model_copy(update={"binning": binning}),
        )
        pull = ((found["t_over_lambda"] - coarse) / found["t_over_lambda_std"]).values
        pulls.append(pull[np.isfinite(pull)])
    every = np.concatenate(pulls)
    # The outline's own doubt makes pulls smaller there: one part in ten of the pixels.
    assert abs(every.mean()) < 5 / np.sqrt(len(every)) + 0.05
    assert every.std() == pytest.approx(1, abs=5 / np.sqrt(2 * len(every)) + 0.05)


def test_too_few_electrons_tell_nothing() -> None:
    poor = EnergyWindow(low=-3.0, high=3.0, dose=4 / 40.0**2)
    case, acquisition = whisker(800.0, pixel=40.0, zero_loss=poor)
    mean = energy_filtered_mean(case, acquisition=acquisition)
    found = recover_thickness(PoissonCounting().sample(mean, seed=1), options=EXACT)
    assert np.isnan(found["t_over_lambda"]).mean() > 0.9
    assert np.isinf(found["t_over_lambda_std"].values[np.isnan(found["t_over_lambda"])]).all()
    assert "volume" not in found
    assert any("fewer than 10 electrons" in one for one in found.attrs["undetermined"])


def test_a_film_alone_has_a_level_and_no_shift() -> None:
    case, acquisition = whisker(800.0, pixel=40.0)
    away = replace(case.body, centre=(1e5, 0.0))
    mean = energy_filtered_mean(replace(case, body=away), acquisition=acquisition)
    found = recover_thickness(PoissonCounting().sample(mean, seed=2), options=EXACT)
    true = 100 / case.losses.paths[2]
    assert abs(float(found["support"]) - true) < 4 * float(found["support_std"])
    assert "lithium" not in found
    assert np.isinf(found["shift_y_std"].values[0])
    assert any("nothing stands out" in one for one in found.attrs["undetermined"])


def smooth_image(shape: tuple[int, int], shift: tuple[float, float]) -> np.ndarray:
    """Two blobs, wide enough for their samples to be all of them."""
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    image = np.zeros(shape)
    for (py, px), width, height in (((18, 22), 5.0, 1.0), ((30, 30), 4.0, -0.5)):
        image += height * np.exp(
            -((y - py - shift[0]) ** 2 + (x - px - shift[1]) ** 2) / 2 / width**2
        )
    return image


@settings(max_examples=20)
@given(shift=st.tuples(st.floats(-4, 4), st.floats(-4, 4)), seed=st.integers(0, 999))
def test_shifts_are_found_between_images_of_other_contrast(
    shift: tuple[float, float], seed: int
) -> None:
    reference = 1e4 * np.exp(-smooth_image((48, 52), (0.0, 0.0)))
    other = 2000 * (1 + smooth_image((48, 52), shift))
    random = np.random.default_rng(seed)
    seen = random.poisson(other).astype(float)
    found = relative_shift(
        seen, random.poisson(reference).astype(float), variance=seen, largest=8.0
    )
    assert (found.std < 0.2).all()
    assert (np.abs(found.shift - shift) < 5.5 * found.std).all()


@given(shift=st.floats(-6, 6), binning=st.integers(1, 5))
def test_images_are_moved_without_loss_of_counts(shift: float, binning: int) -> None:
    matrix = sampling_matrix(40, shift, binning=binning)
    seen = np.isfinite(matrix).all(axis=1)
    assert matrix[seen].sum(axis=1) == pytest.approx(binning)
    line = np.arange(40.0)
    places = binning * np.arange(40 // binning) + (binning - 1) / 2 + shift
    assert (matrix @ line)[seen] / binning == pytest.approx(places[seen])
    assert (sampling_matrix(40, 0.0) == np.eye(40)).all()


def test_the_variance_of_a_moved_image_is_that_of_its_weights() -> None:
    random = np.random.default_rng(3)
    draws = random.poisson(50.0, (4000, 8, 8)).astype(float)
    flat = np.full((8, 8), 50.0)
    shift = np.array([0.3, -0.6])
    moved = np.stack([moved_back(one, flat, shift, binning=2).values for one in draws])
    told = moved_back(flat, flat, shift, binning=2).variance
    known = np.isfinite(told)
    assert known.sum() >= 4
    assert moved.var(axis=0)[known] == pytest.approx(told[known], rel=5 * np.sqrt(2 / 4000))


def test_bad_input_is_refused() -> None:
    case, acquisition = whisker(800.0)
    mean = energy_filtered_mean(case, acquisition=acquisition)
    with pytest.raises(BadInputError, match="no attribute 'energy_filtered'"):
        recover_thickness(mean.drop_attrs())
    with pytest.raises(BadInputError, match="cannot be read"):
        recover_thickness(mean.assign_attrs(energy_filtered="{}1"))
    with pytest.raises(BadInputError, match="image post_edge is missing"):
        recover_thickness(mean.isel(image=slice(4)))
    with pytest.raises(BadInputError, match=r"images of \(36, 12\) pixels"):
        recover_thickness(mean.isel(x=slice(12)))
    with pytest.raises(BadInputError, match="the least is -1"):
        recover_thickness(mean.assign(counts=mean["counts"] * 0 - 1))
    with pytest.raises(BadInputError, match=r"expected a variable counts \(image, y, x\)"):
        recover_thickness(xr.Dataset(attrs=mean.attrs))
    other = replace(case, losses=LossModel(energy=80e3, semiangle=10.0))
    with pytest.raises(BadInputError, match="losses are of 80000 eV"):
        energy_filtered_mean(other, acquisition=acquisition)
    with pytest.raises(BadInputError, match="3 positions of the slit"):
        replace(case, slit=(0.0,) * 3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"zero_loss": {"low": 1, "high": 3, "dose": 1}}, "does not hold 0 eV"),
        ({"zero_loss": {"low": 3, "high": 1, "dose": 1}}, "expected low < high"),
        ({"post_edge": {"low": 53, "high": 54, "dose": 1}}, "reaches beyond Li K"),
        (
            {"pre_edge": [{"low": 38, "high": 44, "dose": 1}, {"low": 50, "high": 60, "dose": 1}]},
            "below 55 eV",
        ),
        ({"energy": 200}, "did you mean 200e3 eV"),
    ],
)
def test_windows_where_they_do_not_belong_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FilteredAcquisition(**changes)
