"""What is free in ptychography is taken out; unknown pixels and noisy detectors do no harm."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.far_field import FarField, far_field_mean
from echolith.forward.far_field_detector import CentralAttenuator
from echolith.forward.far_field_views import far_field_scans, true_positions
from echolith.forward.xray_probe import ZonePlate
from echolith.inverse.far_field_options import FarFieldSolver, Saturated
from echolith.inverse.far_field_ptychography import far_field_ptychography
from echolith.inverse.transmission_alignment import align_transmission, shifted
from echolith.inverse.transmission_map import TransmissionMap, recover_transmission
from echolith.validation.far_field_strategies import small_scans, smooth_transmission

SCAN = FarField(
    plate=ZonePlate(defocus=4e4),
    shape=(7, 7),
    step=350.0,
    jitter=60.0,
    pixels=48,
    pixel_size=100.0,
    photons=4e5,
)


def on_pixels(wave: xr.DataArray, field: int = 21) -> xr.DataArray:
    """A smooth wave read off at the whole multiples of 100 Å."""
    axis = 100.0 * (np.arange(field) - field // 2)
    found = wave.real.interp(y=axis, x=axis) + 1j * wave.imag.interp(y=axis, x=axis)
    return found.astype(complex)


def recovered(frames: xr.Dataset, **options: object) -> xr.DataArray:
    solver = FarFieldSolver(**{"iterations": 25, **options})
    found = far_field_ptychography(frames, options=solver)["transmission"]
    inner = found.sel(y=slice(-1001, 1001), x=slice(-1001, 1001))
    return inner.assign_coords(y=np.rint(inner.y), x=np.rint(inner.x))


def error(found: xr.DataArray, truth: xr.DataArray) -> float:
    aligned = align_transmission(found, truth)
    return float(np.linalg.norm(aligned - truth) / np.linalg.norm(truth - truth.mean()))


@given(
    seed=st.integers(0, 1000),
    shift=st.tuples(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8)),
    phase=st.floats(-3, 3),
    plane=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
)
def test_what_is_free_is_taken_out(
    seed: int, shift: tuple[float, float], phase: float, plane: tuple[float, float]
) -> None:
    truth = on_pixels(smooth_transmission(SCAN, seed=seed), 41)
    y, x = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41), indexing="ij")
    turned = np.exp(1j * (phase + plane[0] * y + plane[1] * x))
    moving = truth.copy(data=shifted(truth.values, np.array(shift)) * turned)
    aligned = align_transmission(moving, truth)
    inner = (slice(4, -4), slice(4, -4))
    # Borders are mirrored when an image is moved: what comes in from there is wrong, and rings.
    contrast = np.abs(truth.values - truth.values.mean()).max()
    assert np.abs(aligned.values - truth.values)[inner].max() < 0.06 * contrast
    told = [aligned.attrs["shift_y"], aligned.attrs["shift_x"]]
    assert told == pytest.approx(-100 * np.array(shift), abs=4)


@settings(max_examples=10)
@given(scan=small_scans(), seed=st.integers(0, 1000))
def test_an_attenuator_takes_its_share_of_the_frame_and_nothing_else(
    scan: FarField, seed: int
) -> None:
    wave = smooth_transmission(scan, seed=seed)
    bare = far_field_mean(wave, settings=scan.model_copy(update={"attenuator": None}), seed=seed)
    behind = far_field_mean(wave, settings=scan, seed=seed)
    share = behind.coords.get("detector_transmission", xr.DataArray(1.0))
    assert np.allclose(behind["counts"], bare["counts"] * share, rtol=1e-5)
    assert behind["position_y"].equals(bare["position_y"])


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {}),
        ({"attenuator": CentralAttenuator(radius=0.15, transmission=0.1)}, {}),
        ({"attenuator": CentralAttenuator(radius=0.04, transmission=0.0)}, {}),
        ({"readout": 0.5}, {}),
        ({}, {"saturated": Saturated.LEAVE_OUT}),
    ],
)
def test_detectors_that_lose_something_still_show_the_specimen(
    change: dict[str, object], options: dict[str, object]
) -> None:
    """Noise of 3000 photons a pixel is 0.01; the contrast here is 0.15."""
    scan = SCAN.model_copy(update=change)
    wave = smooth_transmission(scan, seed=3)
    mean = far_field_mean(wave, settings=scan, seed=1)
    full = int(0.8 * float(mean["counts"].max())) if options else None
    noise = DetectorNoise(readout=scan.readout, saturation=full)
    frames = noise.sample(mean.assign_attrs({"saturation": full} if full else {}), seed=2)
    assert error(recovered(frames, **options), on_pixels(wave)) < 0.2


def test_positions_are_found_and_their_uncertainty_told() -> None:
    """60 Å of unrecorded error; a shift of all is free."""
    scan = SCAN.model_copy(update={"position_error": 60.0, "photons": 1e6, "step": 300.0})
    wave = smooth_transmission(scan, seed=4, strength=1.0)
    scans = far_field_scans(wave.expand_dims(energy=[708.2]), settings=scan, scans=1, seed=5).isel(
        energy=0, scan=0
    )
    counts = DetectorNoise().sample(scans, seed=6)
    options = FarFieldSolver(iterations=25, positions_after=3, position_spread=60.0)
    found = far_field_ptychography(counts, options=options)
    truth = true_positions(scan, energies=1, scans=1, seed=5).isel(energy=0, scan=0)
    for axis in "yx":
        name = f"position_{axis}"
        before = float((counts[name] - truth[name]).std())
        error = (found[name] - truth[name]).values
        assert abs(error.mean()) < 1e-6
        assert error.std() < 0.3 * before
        assert (found[f"{name}_std"].values > 0).all()
        assert float(found[f"{name}_std"].max()) < 60


def test_positions_of_an_empty_specimen_stay_where_they_were_recorded() -> None:
    """No frame tells its position: the uncertainty is that of the prior, no noise is believed."""
    scan = SCAN.model_copy(update={"shape": (5, 5)})
    wave = smooth_transmission(scan, seed=1) * 0 + 1
    frames = DetectorNoise().sample(far_field_mean(wave, settings=scan), seed=2)
    options = FarFieldSolver(iterations=15, positions_after=3, position_spread=60.0)
    found = far_field_ptychography(frames, options=options)
    moved = (found["position_y"] - frames["position_y"]).values
    assert moved.std() < 20
    assert float(found["position_y_std"].median()) > 20


def test_frames_that_do_not_fit_are_refused() -> None:
    scan = SCAN.model_copy(update={"shape": (3, 3), "saturation": 50})
    wave = smooth_transmission(scan, seed=3).expand_dims(energy=[708.2])
    means = far_field_scans(wave, settings=scan, scans=2)
    counts = DetectorNoise(saturation=50).sample(means, seed=1)
    with pytest.raises(BadInputError, match="use an attenuator, or leave these pixels out"):
        recover_transmission(counts, field=(9, 9))
    one = counts.isel(energy=0, scan=0)
    with pytest.raises(BadInputError, match=r"expected \(energy, scan, position"):
        recover_transmission(one, field=(9, 9))
    with pytest.raises(BadInputError, match="two odd numbers"):
        recover_transmission(means, field=(8, 9))
    quick = TransmissionMap(ptychography=FarFieldSolver(iterations=1))
    plain = means.drop_attrs(deep=False).assign_attrs(
        {name: value for name, value in means.attrs.items() if name != "saturation"}
    )
    with pytest.raises(BadInputError, match="reaches beyond the scan"):
        recover_transmission(plain, field=(301, 9), options=quick)
    flooded = far_field_mean(wave.isel(energy=0, drop=True), settings=scan)
    flooded = flooded.assign(counts=flooded["counts"] * 0 + 50)
    with pytest.raises(BadInputError, match="100% of the pixels are saturated"):
        far_field_ptychography(flooded, options=FarFieldSolver(saturated=Saturated.LEAVE_OUT))
