"""Iterative ptychography of thin objects, simulated by other code; input, output, bits."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.iterative_ptychography_options import Likelihood, PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography, scan_thickness
from echolith.inverse.multislice_ptychography_columns import (
    MultisliceColumnSolver,
    recover_columns_multislice,
)
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from tests.inverse.phase_sets import Array, acquisition, correlation, frequencies, noise_set, slope

INSIDE = (slice(5, -5), slice(5, -5))
"""Away from the border: the simulated object goes on periodically, the solver's does not."""
QUICK = PtychographyOptions(iterations=2)


def smooth_phase(taken: StemAcquisition, *, seed: int, rms: float, limit: float = 0.6) -> Array:
    """Return a random phase without what is finer than a part of the limit of transfer."""
    qy, qx = frequencies(taken)
    radius = limit * 2e-3 * taken.beam.semiangle / taken.beam.wavelength
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=taken.scan.shape))
    spectrum *= np.hypot(qy, qx) < radius
    spectrum[0, 0] = 0
    image = np.fft.ifft2(spectrum).real
    return np.asarray(image * rms / image.std())


def taken_with(rotation: float = 0.0, *, transpose: bool = False) -> StemAcquisition:
    return acquisition(
        scan=Scan(shape=(20, 24), step=(0.29, 0.26), rotation=rotation),
        detector=PixelDetector(shape=(20, 22), pixel_size=(2.6, 2.5), transpose=transpose),
        dose=1e6,
    )


@pytest.mark.parametrize("likelihood", Likelihood)
@pytest.mark.parametrize(("rotation", "transpose"), [(0, False), (-30, True), (90, False)])
def test_a_weak_object_comes_back_as_by_ssb(
    rotation: float, transpose: bool, likelihood: Likelihood
) -> None:
    taken = taken_with(rotation, transpose=transpose)
    phase = smooth_phase(taken, seed=1, rms=0.1)
    frames = phase_object_mean(phase, acquisition=taken)
    found = multislice_ptychography(
        frames, options=PtychographyOptions(iterations=15, likelihood=likelihood)
    )
    direct = ssb(frames)
    # A box of 10 Å cuts off 2 % of the probe: 0.9994 and 0.985 seen.
    assert correlation(found["phase"][INSIDE], phase[INSIDE]) > 0.999
    assert correlation(found["phase"][INSIDE], direct["phase"][INSIDE]) > 0.999
    assert 0.97 < slope(found["phase"][INSIDE], phase[INSIDE]) < 1.03
    for wrong in (phase[::-1], phase[:, ::-1], -phase):
        assert correlation(found["phase"][INSIDE], wrong[INSIDE]) < 0.6


def test_layout() -> None:
    taken = taken_with()
    options = PtychographyOptions(iterations=2, thickness=30, slice_thickness=12)
    found = multislice_ptychography(noise_set(taken, seed=0), options=options)
    assert found["phase"].dims == ("scan_y", "scan_x")
    assert found["slice_phase"].shape == (3, 20, 24)
    np.testing.assert_allclose(found["depth"], [0, 10, 20])
    np.testing.assert_allclose(found["scan_x"], np.arange(24) * 0.26)
    np.testing.assert_allclose(found["slice_phase"].sum("depth"), found["phase"], atol=1e-12)
    assert abs(float(found["phase"].mean())) < 1e-12
    assert found["deviance"].shape == (2,)
    assert found["phase"].attrs["units"] == "rad"
    assert StemAcquisition.model_validate_json(found.attrs["acquisition"]) == taken


def test_bits_depend_neither_on_workers_nor_on_storage() -> None:
    recorded = noise_set(taken_with(), seed=3)
    options = PtychographyOptions(iterations=2, thickness=20, slice_thickness=10)
    one = multislice_ptychography(recorded, options=options, streaming=Streaming(workers=1))
    lazy = recorded.chunk(scan_y=7)
    two = multislice_ptychography(lazy, options=options, streaming=Streaming(workers=3))
    assert one.identical(two)
    other = options.model_copy(update={"seed": 1})
    assert not np.array_equal(
        multislice_ptychography(recorded, options=other)["phase"], one["phase"]
    )


def test_the_measurement_is_left_alone() -> None:
    recorded = noise_set(taken_with(), seed=4)
    before = recorded.copy(deep=True)
    recorded["counts"].values.setflags(write=False)
    multislice_ptychography(recorded, options=QUICK)
    assert recorded.identical(before)


def test_no_spread_along_depth_makes_slices_equal() -> None:
    options = PtychographyOptions(iterations=3, thickness=40, slice_thickness=10, depth_spread=0)
    slices = multislice_ptychography(noise_set(taken_with(), seed=5), options=options)
    values = slices["slice_phase"].values
    # Float32 sums along depth.
    np.testing.assert_allclose(values, values[:1].repeat(4, axis=0), atol=1e-5 * values.max())
    assert values.max() > 0


def with_count(value: float) -> xr.Dataset:
    recorded = noise_set(taken_with(), seed=0).astype(np.float32)
    recorded["counts"].values[3, 9, 0, 1] = value
    return recorded


def scanned(rows: int) -> xr.Dataset:
    taken = taken_with().model_copy(update={"scan": Scan(shape=(rows, 24), step=(0.29, 0.26))})
    return noise_set(taken, seed=0)


BAD_INPUT: dict[str, tuple[Callable[[], xr.Dataset], str]] = {
    "NaN": (lambda: with_count(float("nan")), r"position \(3, 9\) contain NaN; expected counts"),
    "negative": (lambda: with_count(-2.5), r"contain -2\.5 electrons; .* dark level"),
    "infinite": (lambda: with_count(float("inf")), "contain inf electrons"),
    "no metadata": (
        lambda: noise_set(taken_with(), seed=0).drop_attrs(),
        "has no attribute 'acquisition'",
    ),
    "empty": (lambda: noise_set(taken_with(), seed=0) * 0, "all frames are empty"),
    "too few": (lambda: scanned(2), "2 × 24 scan positions; .* from 3 × 3 positions or more"),
}


@pytest.mark.parametrize(("make", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_measurements_are_refused(make: Callable[[], xr.Dataset], message: str) -> None:
    with (
        xr.set_options(keep_attrs=True),  # type: ignore[no-untyped-call, unused-ignore]
        pytest.raises(BadInputError, match=message),
    ):
        multislice_ptychography(make(), options=QUICK)


def test_a_frame_without_electrons_is_refused() -> None:
    recorded = noise_set(taken_with(), seed=0)
    recorded["counts"].values[2, 3] = 0
    with pytest.raises(BadInputError, match=r"1 of 480 frames are empty, .* \(2, 3\)"):
        multislice_ptychography(recorded, options=QUICK)


def test_slices_need_the_dark_field() -> None:
    taken = acquisition(
        beam=Beam(semiangle=20.7), detector=PixelDetector(shape=(17, 19), pixel_size=(2.6, 2.4))
    )
    frames = noise_set(taken, seed=0)
    with pytest.raises(BadInputError, match=r"several slices need the dark field, 1\.1 times"):
        multislice_ptychography(frames, options=PtychographyOptions(thickness=50))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thickness": 2000, "slice_thickness": 1}, "make 2000 slices; expected 200 at most"),
        ({"slices": 5}, "Extra inputs are not permitted"),
        ({"iterations": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PtychographyOptions.model_validate(options)


@pytest.mark.filterwarnings("ignore:scan step")
def test_the_likelihood_tells_a_thick_specimen_from_a_thin_one() -> None:
    # Two screens 300 Å apart, as of two slices of 300 Å each, by the plain equations of free
    # space between thin objects.
    frames = two_screens(300.0)
    options = PtychographyOptions(
        iterations=12, slice_thickness=300, depth_spread=10, minimum_box=15
    )
    found = scan_thickness(frames, [0.0, 600.0], options=options)
    assert float(found["thickness_of_most"]) == 600
    with pytest.raises(BadInputError, match="1 thicknesses in Å; expected two or more"):
        scan_thickness(frames, [10.0])


def two_screens(distance: float) -> xr.Dataset:
    """Return frames of two phase screens, each position on a periodic field of its own grid."""
    taken = acquisition(scan=Scan(shape=(16, 16), step=(0.4, 0.4)), dose=1e6).model_copy(
        update={"detector": PixelDetector(shape=(24, 24), pixel_size=2.0)}
    )
    n, side = 64, taken.beam.wavelength / 2e-3
    k = np.fft.fftfreq(n, side / n)
    kx, ky = k[None], k[:, None]
    rng = np.random.default_rng(0)
    smooth = np.hypot(kx, ky) < 0.9
    screens = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, n))) * smooth).real for _ in range(2)]
    first, second = (np.exp(0.4j * s / s.std()) for s in screens)
    probe = np.hypot(kx, ky) <= taken.beam.semiangle * 1e-3 / taken.beam.wavelength
    fresnel = np.exp(-1j * np.pi * taken.beam.wavelength * distance * (kx**2 + ky**2))
    middle = np.array([3.0, 3.0])
    counts = np.empty((*taken.scan.shape, 24, 24))
    index = np.arange(-12, 12)
    for iy, ix in np.ndindex(taken.scan.shape):
        y, x = iy * 0.4 + middle[0], ix * 0.4 + middle[1]
        wave = first * np.fft.ifft2(probe * np.exp(-2j * np.pi * (kx * x + ky * y)))
        wave = second * np.fft.ifft2(fresnel * np.fft.fft2(wave))
        intensity = np.abs(np.fft.fft2(wave)) ** 2
        counts[iy, ix] = intensity[np.ix_(index, index)]
    counts *= taken.electrons_per_position / probe.sum()
    dims = ("scan_y", "scan_x", "detector_y", "detector_x")
    return xr.Dataset({"counts": (dims, counts)}, attrs={"acquisition": taken.model_dump_json()})


def test_solver_options_are_read_from_json() -> None:
    text = json.dumps({"ptychography": {"thickness": 100}, "mode": "line"})
    options = MultisliceColumnSolver.model_validate_json(text)
    assert options.ptychography.slices == 10
    thin = MultisliceColumnSolver(ptychography=QUICK.model_copy(update={"thickness": 0.0}))
    noise = noise_set(taken_with(), seed=0)
    dark = noise["counts"].sum(("detector_y", "detector_x"))
    with pytest.raises(BadInputError, match="no columns found"):
        recover_columns_multislice(noise.assign(haadf=dark), options=thin)
