"""Virtual detectors conserve electrons, and directions come out in the scan frame."""

from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    Aberrations,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    rotate,
)
from echolith.inverse.virtual_images import (
    Annulus,
    Edges,
    VirtualDetector,
    annular_bright_field,
    annular_dark_field,
    bright_field,
    center_of_mass,
    differential_phase_contrast,
    incoherent_bright_field,
    integrated_differential_phase_contrast,
    virtual_images,
)

Array = npt.NDArray[Any]
ROTATIONS = st.sampled_from([0.0, 17.0, 90.0, -133.0])


def acquisition(
    scan: tuple[int, int] = (3, 4),
    frame: tuple[int, int] = (48, 40),
    *,
    rotation: float = 0.0,
    transpose: bool = False,
    **beam: Any,
) -> StemAcquisition:
    return StemAcquisition(
        beam=Beam(semiangle=10, **beam),
        scan=Scan(shape=scan, step=(0.3, 0.4), rotation=rotation),
        detector=PixelDetector(shape=frame, pixel_size=(0.7, 0.8), transpose=transpose),
        haadf=None,
    )


def measurement(frames: Array, taken: StemAcquisition) -> xr.Dataset:
    """Frames (y, x, ky, kx) before any transpose."""
    if taken.detector.transpose:
        frames = frames.swapaxes(2, 3)
    ny, nx = taken.scan.shape
    return xr.Dataset(
        {"counts": (("scan_y", "scan_x", "detector_y", "detector_x"), frames)},
        coords={
            "scan_y": ("scan_y", np.arange(ny) * taken.scan.step[0], {"units": "Å"}),
            "scan_x": ("scan_x", np.arange(nx) * taken.scan.step[1], {"units": "Å"}),
        },
        attrs={"acquisition": taken.model_dump_json()},
    )


def discs(shift: Array, taken: StemAcquisition, *, radius: float = 10.0) -> Array:
    """Discs moved by shift (..., xy) in mrad, specimen frame, edges drawn to 1/8 of a pixel."""
    rows, columns = taken.detector.angles()
    size = taken.detector.pixel_size
    fine = (np.arange(8) - 3.5) / 8
    y = (rows[:, None] + fine * size[0]).ravel()
    x = (columns[:, None] + fine * size[1]).ravel()
    far = np.hypot(y[:, None] - shift[..., 1, None, None], x - shift[..., 0, None, None])
    inside = (far <= radius).reshape(*shift.shape[:-1], len(rows), 8, len(columns), 8)
    return np.asarray(inside.mean(axis=(-3, -1)))


def random_counts(seed: int, taken: StemAcquisition) -> xr.Dataset:
    shape = (*taken.scan.shape, *taken.detector.shape)
    counts = np.random.default_rng(seed).poisson(1.5, shape).astype(np.uint16)
    return measurement(counts, taken)


# --- conservation ---------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.5, 25), max_size=5, unique=True),
    st.integers(0, 2**32),
    st.booleans(),
    ROTATIONS,
)
def test_annuli_share_out_all_electrons(
    edges: list[float], seed: int, transpose: bool, rotation: float
) -> None:
    data = random_counts(seed, acquisition(transpose=transpose, rotation=rotation))
    bounds = [0.0, *sorted(edges), np.inf]
    rings: dict[str, VirtualDetector] = {
        # The offset is lost in the sum; it is there as detectors without a pixel are refused.
        str(low): lambda x, y, low=low, high=high: Annulus(inner=low, outer=high)(x, y) + 1e-300
        for low, high in pairwise(bounds)
    }
    images = virtual_images(data, rings)
    total = data["counts"].sum(dim=["detector_y", "detector_x"])
    # Whole numbers below 2**53 add up exactly.
    np.testing.assert_array_equal(sum(images.values()), total)


@given(st.integers(0, 2**32))
def test_bright_and_dark_fields_complement_each_other(seed: int) -> None:
    data = random_counts(seed, acquisition())
    bright = bright_field(data) + annular_bright_field(data)
    np.testing.assert_array_equal(bright, incoherent_bright_field(data))
    total = data["counts"].sum(dim=["detector_y", "detector_x"])
    np.testing.assert_array_equal(bright + annular_dark_field(data), total)
    named = annular_dark_field(data, inner=12.0, outer=15.0)
    slow = data["counts"].values * (Annulus(inner=12, outer=15)(*angles(data))[None, None])
    np.testing.assert_array_equal(named, slow.sum(axis=(2, 3)))
    assert named.attrs == {"units": "e", "long_name": "annular dark field"}


def angles(data: xr.Dataset) -> tuple[Array, Array]:
    rows, columns = acquisition().detector.angles()
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return x, y


def test_equal_frames_make_constant_images() -> None:
    taken = acquisition()
    data = measurement(np.ones((3, 4, 48, 40), np.float32) * discs(np.zeros(2), taken), taken)
    for image in (
        bright_field(data),
        annular_bright_field(data),
        incoherent_bright_field(data),
        annular_dark_field(data, inner=9),
        *center_of_mass(data),
        *differential_phase_contrast(data),
        integrated_differential_phase_contrast(data),
    ):
        np.testing.assert_allclose(image, image[0, 0], rtol=1e-12, atol=1e-12)
        assert image.dims == ("scan_y", "scan_x")
        assert set(image.coords) >= {"scan_y", "scan_x"}


@given(st.integers(1, 3), st.integers(1, 4), st.integers(5, 48), st.integers(0, 2**32))
def test_lazy_is_the_same_and_stays_lazy(rows: int, columns: int, part: int, seed: int) -> None:
    data = random_counts(seed, acquisition())
    lazy = data.chunk(scan_y=rows, scan_x=columns, detector_y=part)
    for function in (
        bright_field,
        center_of_mass,
        differential_phase_contrast,
        integrated_differential_phase_contrast,
    ):
        image = function(lazy)
        assert isinstance(image.data, da.Array)
        # Sums over other numbers of frames at once round differently.
        xr.testing.assert_allclose(image.compute(), function(data), rtol=0, atol=1e-11)


def test_one_pass_reads_every_frame_once() -> None:
    taken, reads = acquisition(), []

    def block(block_info: Any = None) -> Array:
        reads.append(block_info[None]["chunk-location"][0])
        return np.ones((1, 4, 48, 40), np.uint16)

    map_blocks: Any = da.map_blocks
    frames = map_blocks(block, chunks=((1,) * 3, 4, 48, 40), dtype=np.uint16)
    data = measurement(frames, taken)
    virtual_images(data, {"a": Annulus(outer=5), "b": Annulus(inner=5)}).compute()
    integrated_differential_phase_contrast(data).compute()
    assert sorted(reads) == [0, 0, 1, 1, 2, 2]


# --- directions -----------------------------------------------------------------------------


@given(st.floats(-2, 2), st.floats(-2, 2), ROTATIONS, st.booleans())
def test_a_shift_of_the_beam_is_the_centre_of_mass(
    x: float, y: float, rotation: float, transpose: bool
) -> None:
    taken = acquisition(rotation=rotation, transpose=transpose)
    shift = np.broadcast_to(np.array([x, y]), (3, 4, 2))
    data = measurement(discs(shift, taken), taken)
    expected = rotate(np.array([x, y]), -rotation)
    moment = center_of_mass(data)
    assert moment.attrs["units"] == "mrad"
    for component, value in zip(("x", "y"), expected, strict=True):
        # The drawn edge is good to about a subpixel (0.1 mrad) over the root of its length in
        # subpixels (600): 0.004 mrad.
        np.testing.assert_allclose(moment.sel(component=component), value, atol=0.02)


@given(ROTATIONS, st.booleans(), st.sampled_from([0.0, 4.0]))
def test_split_detector_reads_a_small_shift_in_mrad(
    rotation: float, transpose: bool, inner: float
) -> None:
    taken = acquisition(rotation=rotation, transpose=transpose, frame=(96, 90))
    shift = np.broadcast_to(np.array([0.9, -0.6]), (3, 4, 2))
    contrast = differential_phase_contrast(
        measurement(discs(shift, taken), taken), inner=inner
    ).isel(scan_y=0, scan_x=0)
    # Pixels on a slanted split count to one side by their centres: of 30 along the split, each
    # with 0.8 mrad / sqrt(12) of error, 0.23 / sqrt(30) = 0.04 mrad remain; 3 sigma.
    np.testing.assert_allclose(contrast, rotate(np.array([0.9, -0.6]), -rotation), atol=0.12)


@given(st.integers(0, 2**32), ROTATIONS)
def test_turning_the_scan_turns_the_vectors_only(seed: int, rotation: float) -> None:
    plain, turned = (random_counts(seed, acquisition(rotation=r)) for r in (0.0, rotation))
    one, other = (np.moveaxis(center_of_mass(data).values, 0, -1) for data in (plain, turned))
    np.testing.assert_allclose(other, rotate(one, -rotation), atol=1e-12)
    np.testing.assert_array_equal(bright_field(plain), bright_field(turned))


@given(st.integers(0, 2**32), ROTATIONS)
def test_a_transposed_detector_changes_nothing(seed: int, rotation: float) -> None:
    plain, turned = (
        random_counts(seed, acquisition(rotation=rotation, transpose=t)) for t in (False, True)
    )
    assert plain["counts"].shape != turned["counts"].shape
    for function in (bright_field, center_of_mass, differential_phase_contrast):
        np.testing.assert_allclose(function(turned), function(plain), rtol=1e-12, atol=1e-12)


def test_dark_frames_have_no_direction() -> None:
    taken = acquisition()
    frames = discs(np.full((3, 4, 2), 1.0), taken)
    frames[1, 2] = 0
    data = measurement(frames, taken)
    for function in (center_of_mass, differential_phase_contrast):
        vector = function(data)
        assert not vector[:, 1, 2].any()
        assert vector[:, 0, 0].all()


# --- physics --------------------------------------------------------------------------------


def phase_object_data(phase: Array, taken: StemAcquisition) -> tuple[xr.Dataset, Array]:
    """Frames of a periodic phase object exp(i phase), by direct sums; and the probe's intensity.

    The phase is given on the scan's own grid (rotation 0); detector pixels are the frequencies of
    the scanned field, all of them, so that every electron is caught.
    """
    (ny, nx), (dy, dx) = taken.scan.shape, taken.scan.step
    k_y, k_x = np.fft.fftfreq(ny, dy)[:, None], np.fft.fftfreq(nx, dx)
    radius = np.hypot(k_x, k_y) * taken.beam.wavelength
    aberration = taken.beam.aberrations
    chi = 2 * np.pi / taken.beam.wavelength * 0.5 * aberration.C10 * radius**2
    aperture = (radius <= taken.beam.semiangle * 1e-3) * np.exp(-1j * chi)
    aperture = aperture / np.sqrt((abs(aperture) ** 2).sum())
    frames = np.empty((ny, nx, ny, nx))
    for iy in range(ny):
        for ix in range(nx):
            probe = np.fft.ifft2(aperture * np.exp(-2j * np.pi * (k_y * iy * dy + k_x * ix * dx)))
            wave = np.fft.fft2(probe * np.exp(1j * phase))
            frames[iy, ix] = np.fft.fftshift(abs(wave) ** 2)
    intensity = abs(np.fft.ifft2(aperture)) ** 2
    return measurement(1e4 * frames, taken), intensity / intensity.sum()


def periodic(shape: tuple[int, int], *, C10: float = 0.0) -> StemAcquisition:
    """A scan whose own frequencies are the detector's pixels."""
    step = (0.3, 0.25)
    beam = Beam(semiangle=18, aberrations=Aberrations(C10=C10))
    pixel = tuple(beam.wavelength * 1e3 / (n * d) for n, d in zip(shape, step, strict=True))
    return StemAcquisition(
        beam=beam,
        scan=Scan(shape=shape, step=step),
        detector=PixelDetector(shape=shape, pixel_size=pixel),
        haadf=None,
    )


def smooth_phase(taken: StemAcquisition) -> Array:
    """An uneven phase without symmetry, of low frequencies."""
    ny, nx = taken.scan.shape
    y, x = np.arange(ny)[:, None] / ny, np.arange(nx) / nx
    turns = 2 * np.pi
    return np.asarray(
        0.05 * np.cos(turns * x)
        + 0.04 * np.sin(turns * (2 * y - x))
        + 0.03 * np.cos(turns * (x + y) + 0.7)
    )


@pytest.mark.parametrize("C10", [0.0, 60.0])
@pytest.mark.parametrize("shape", [(24, 30), (25, 27)])
def test_idpc_is_the_phase_blurred_by_the_probe(shape: tuple[int, int], C10: float) -> None:
    """For a phase object this holds at any strength and aberration (Lazić et al. 2016, eq. 20)."""
    taken = periodic(shape, C10=C10)
    phase = smooth_phase(taken)
    data, intensity = phase_object_data(phase, taken)
    # Cross-correlation: sum over r of phase(r) intensity(r - R).
    blurred = np.fft.ifft2(np.fft.fft2(phase) * np.fft.fft2(intensity).conj()).real
    image = integrated_differential_phase_contrast(data)
    assert image.attrs["units"] == "rad"
    # The wave is sampled on the scan's grid: its frequencies end there, and so does the theorem,
    # to the electrons scattered beyond (1e-6 here).
    np.testing.assert_allclose(image, blurred - blurred.mean(), atol=1e-4 * np.ptp(blurred))


def test_centre_of_mass_is_the_gradient_of_the_blurred_phase() -> None:
    taken = periodic((24, 30))
    data, intensity = phase_object_data(smooth_phase(taken), taken)
    spectrum = np.fft.fft2(smooth_phase(taken)) * np.fft.fft2(intensity).conj()
    (dy, dx), lam = taken.scan.step, taken.beam.wavelength
    for component, frequency in (
        ("x", np.fft.fftfreq(30, dx)),
        ("y", np.fft.fftfreq(24, dy)[:, None]),
    ):
        gradient = np.fft.ifft2(2j * np.pi * frequency * spectrum).real
        expected = gradient / (2 * np.pi) * lam * 1e3
        moment = center_of_mass(data).sel(component=component)
        np.testing.assert_allclose(moment, expected, atol=1e-4 * np.ptp(expected))


def test_a_linear_phase_deflects_every_frame_alike() -> None:
    """exp(2 pi i s r) moves the disc by s: two pixels along x, minus one along y."""
    taken = periodic((24, 30))
    (ny, nx), (px_y, px_x) = taken.scan.shape, taken.detector.pixel_size
    y, x = np.arange(ny)[:, None] / ny, np.arange(nx) / nx
    data, _ = phase_object_data(2 * np.pi * (2 * x - y), taken)
    moment = center_of_mass(data)
    np.testing.assert_allclose(moment.sel(component="x"), 2 * px_x, atol=1e-9)
    np.testing.assert_allclose(moment.sel(component="y"), -px_y, atol=1e-9)


def test_edges_can_be_mirrored() -> None:
    """A field that does not repeat: mirroring keeps it, repetition bends it at the edges."""
    taken = acquisition((40, 50))
    y, x = np.meshgrid(np.arange(40) * 0.3, np.arange(50) * 0.4, indexing="ij")
    phase = 0.02 * x**2 - 0.03 * x * y + 0.2 * y
    gradient = np.stack([0.04 * x - 0.03 * y, -0.03 * x + 0.2], axis=-1) / (2 * np.pi)
    moment = gradient * taken.beam.wavelength * 1e3
    # Frames of five pixels with that centre of mass.
    (size_y, size_x), (row, column) = taken.detector.pixel_size, (24, 20)
    frames = np.zeros((40, 50, 48, 40))
    frames[..., row, column] = 0.2
    for sign in (-1, 1):
        frames[..., row, column + 10 * sign] = 0.2 + sign * moment[..., 0] / (20 * size_x)
        frames[..., row + 10 * sign, column] = 0.2 + sign * moment[..., 1] / (20 * size_y)
    data = measurement(frames, taken)
    expected = phase - phase.mean()
    error = {
        edges: np.std(integrated_differential_phase_contrast(data, edges=edges) - expected)
        / np.std(expected)
        for edges in Edges
    }
    # Sampling a gradient that jumps at the mirror costs a pixel's worth: 1 in 40.
    assert error[Edges.MIRROR] < 1 / 40 < 1 / 4 < error[Edges.PERIODIC], error


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_bad_counts_are_refused(bad: float) -> None:
    data = random_counts(0, acquisition()).astype(np.float32)
    data["counts"][1, 1, 20, 20] = bad
    with pytest.raises(BadInputError, match="expected finite numbers of 0"):
        bright_field(data)
    lazy = bright_field(data.chunk(scan_y=1))
    with pytest.raises(BadInputError, match="expected finite numbers of 0"):
        lazy.compute()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_attrs(), "no attribute 'acquisition'"),
        (lambda d: d.rename(counts="intensity"), "no variable 'counts'"),
        (lambda d: d.isel(scan_y=0), "a frame per scan position"),
        (lambda d: d.isel(detector_y=slice(3)), "but the acquisition says"),
        (lambda d: d.astype(complex), "expected real numbers"),
    ],
)
def test_bad_measurements_are_refused(change: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        bright_field(change(random_counts(0, acquisition())))


def test_bad_detectors_are_refused() -> None:
    data = random_counts(0, acquisition())
    with pytest.raises(BadInputError, match="0 <= inner < outer"):
        annular_dark_field(data, inner=5, outer=5)
    with pytest.raises(BadInputError, match="catches no pixel"):
        annular_dark_field(data, inner=500, outer=600)
    with pytest.raises(BadInputError, match="less than the semiangle"):
        differential_phase_contrast(data, inner=10)
    with pytest.raises(BadInputError, match="returns weights of shape"):
        virtual_images(data, {"odd": lambda x, y: x[0]})
