"""Far-field ptychography: probe and frames as optics say, and the object back from them."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.far_field import FarField, far_field_mean, incoherent_background
from echolith.forward.noise import PoissonCounting
from echolith.forward.xray_probe import ZonePlate, zone_plate_probe
from echolith.inverse.far_field_options import Engine, FarFieldSolver
from echolith.inverse.far_field_ptychography import far_field_ptychography

SMALL = FarField(
    plate=ZonePlate(defocus=4e4),
    shape=(8, 8),
    step=500.0,
    jitter=80.0,
    pixels=48,
    pixel_size=100.0,
    photons=2e5,
    oversampling=2,
)


def shape_f(acquisition: FarField = SMALL, *, strength: float = 0.5) -> xr.DataArray:
    """An F that no flip, transpose or rotation leaves alone, as absorption and phase."""
    fine = acquisition.pixel_size / acquisition.oversampling
    count = 2 * int((4.5 * acquisition.step + 30 * acquisition.pixel_size) / fine)
    axis = (np.arange(count) - (count - 1) / 2) * fine
    y, x = np.meshgrid(axis, axis, indexing="ij")
    stem = (np.abs(x + 500) < 200) & (np.abs(y) < 1100)
    arms = ((np.abs(y + 900) < 200) | (np.abs(y + 100) < 200)) & (x > -500) & (x < 900 - y / 4)
    values = np.exp((-0.5 + 0.8j) * strength * (stem | arms))
    return xr.DataArray(values, dims=("y", "x"), coords={"y": axis, "x": axis})


def error_of(estimate: xr.Dataset, truth: xr.DataArray, *, within: float = 1500.0) -> float:
    """Relative error where the scan went, best constant phase taken out."""
    inner = estimate["transmission"].sel(y=slice(-within, within), x=slice(-within, within))
    axes = {"y": inner.y, "x": inner.x}
    fine = float(truth.x[1] - truth.x[0])
    blurred = truth.rolling(y=2, x=2, center=True).mean()
    moved = blurred.assign_coords(y=truth.y - fine / 2, x=truth.x - fine / 2)
    expected = moved.real.interp(axes).values + 1j * moved.imag.interp(axes).values
    turn = np.vdot(inner.values, expected)
    return float(
        np.linalg.norm(inner.values * turn / abs(turn) - expected) / np.linalg.norm(expected)
    )


@given(
    width=st.floats(800, 2000),
    stop=st.floats(0, 0.7),
    defocus=st.floats(-5e4, 5e4),
    energy=st.floats(600, 1200),
)
def test_probe_is_normalised_and_within_its_aperture(
    width: float, stop: float, defocus: float, energy: float
) -> None:
    plate = ZonePlate(outer_zone_width=width, central_stop=stop, defocus=defocus)
    probe = zone_plate_probe(plate, energy=energy, shape=(96, 96), pixel_size=100.0)
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(1)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(96, 100.0), np.fft.fftfreq(96, 100.0)))
    outside = k > 1 / (2 * width) + 1 / (96 * 100)
    assert np.abs(np.fft.fft2(probe)[outside]).max() < 1e-12


def test_focus_is_airy_with_the_first_zero_as_in_print() -> None:
    """Attwood (1999): the first dark ring of a zone plate is 1.22 outer zone widths away."""
    plate = ZonePlate(outer_zone_width=1000.0, central_stop=0.0)
    probe = zone_plate_probe(plate, energy=708.2, shape=(256, 256), pixel_size=50.0)
    profile = np.abs(probe[128, 128:]) ** 2
    assert np.argmin(profile[:35]) * 50.0 == pytest.approx(1220, abs=50)


@pytest.mark.parametrize(
    ("plate", "pixel", "message"),
    [
        (ZonePlate(), 1500.0, "pixels of at most"),
        (ZonePlate(), 10.0, "resolves no pupil"),
        (ZonePlate(defocus=1e7), 100.0, "spreads the probe"),
    ],
)
def test_probe_that_does_not_fit_is_refused(plate: ZonePlate, pixel: float, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        zone_plate_probe(plate, energy=708.2, shape=(64, 64), pixel_size=pixel)


@settings(max_examples=10)
@given(background=st.floats(0, 0.3), spread=st.floats(0, 200), seed=st.integers(0, 1000))
def test_photons_are_conserved_without_absorption(
    background: float, spread: float, seed: int
) -> None:
    """A weak phase scatters photons, but loses none within the frame."""
    acquisition = SMALL.model_copy(
        update={"background": background, "source_spread": spread, "shape": (2, 2)}
    )
    phase = shape_f(acquisition) * 0 + np.exp(0.3j)
    mean = far_field_mean(phase, settings=acquisition, seed=seed)
    total = mean["counts"].sum(("detector_y", "detector_x")).values
    assert total == pytest.approx(SMALL.photons * (1 + background), rel=1e-4)


def test_scan_beyond_the_object_is_refused() -> None:
    with pytest.raises(BadInputError, match="reach beyond the object"):
        far_field_mean(shape_f(), settings=SMALL.model_copy(update={"step": 900.0}))
    with pytest.raises(BadInputError, match="oversampling"):
        far_field_mean(shape_f(), settings=SMALL.model_copy(update={"oversampling": 1}))


@pytest.mark.parametrize(
    ("engine", "refinement"), [(Engine.RPIE, 0), (Engine.RPIE, 15), (Engine.RAAR, 10)]
)
def test_an_f_comes_back_as_an_f(engine: Engine, refinement: int) -> None:
    """With counting noise; an F turned or mirrored would be wrong by 0.3."""
    truth = shape_f()
    frames = PoissonCounting().sample(far_field_mean(truth, settings=SMALL), seed=3)
    options = FarFieldSolver(engine=engine, iterations=25, refinement=refinement)
    estimate = far_field_ptychography(frames, options=options)
    assert error_of(estimate, truth) < 0.06
    turned = truth.copy(data=truth.values[::-1])
    assert error_of(estimate, turned) > 0.15
    power = np.abs(estimate["probe"].values) ** 2
    assert power.sum() == pytest.approx(SMALL.photons, rel=1e-3)


def test_background_is_retrieved_and_more_iterations_do_not_lose_it() -> None:
    acquisition = SMALL.model_copy(update={"background": 0.05})
    frames = PoissonCounting().sample(far_field_mean(shape_f(), settings=acquisition), seed=4)
    estimate = far_field_ptychography(frames, options=FarFieldSolver(background=True))
    share = float(estimate["background"].sum()) / acquisition.photons
    assert share == pytest.approx(0.05, rel=0.1)
    expected = acquisition.photons * incoherent_background(acquisition)
    distance = np.linalg.norm(estimate["background"].values - expected)
    assert distance < 0.15 * np.linalg.norm(expected)


def test_deviance_falls_to_what_counting_leaves() -> None:
    """Freeman and Tukey's deviance is 1 a pixel for many counts and less for few."""
    frames = PoissonCounting().sample(far_field_mean(shape_f(), settings=SMALL), seed=5)
    options = FarFieldSolver(iterations=10, refinement=20)
    deviance = far_field_ptychography(frames, options=options)["deviance"].values
    assert deviance[-1] < deviance[0]
    assert deviance[-1] < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(counts=d.counts - 1e9), "negative"),
        (lambda d: d.assign_attrs(saturation=1.0), "saturation"),
        (lambda d: d.isel(position=slice(0, 2)), "2 frames"),
        (lambda d: d.assign_coords(position_y=d.position_y * 1e6), "pm or m"),
        (lambda d: d.drop_vars("counts"), "lacks counts"),
        (lambda d: d.isel(detector_x=slice(0, 40)), "square"),
    ],
)
def test_bad_frames_are_refused(change: object, message: str) -> None:
    small = SMALL.model_copy(update={"shape": (2, 2)})
    frames = far_field_mean(shape_f(), settings=small)
    with pytest.raises(BadInputError, match=message):
        far_field_ptychography(change(frames))  # type: ignore[operator]
