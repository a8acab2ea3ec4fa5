import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import AnnularDetector, PixelDetector, StemAcquisition
from echolith.forward.diffraction_box import (
    ANTIALIAS_CUTOFF,
    UNATTENUATED,
    DiffractionBox,
    Readout,
    antialias,
    diffraction_box,
    fast_length,
    largest_angle,
    sample_angles,
    wave_sampling,
)
from echolith.forward.optics import aperture
from echolith.forward.simulation import Simulation
from echolith.validation.strategies import acquisitions
from tests.forward.small_specimen import BEAM, PIXEL, acquisition

boxes = st.floats(3, 12)
reaches = st.tuples(st.floats(0, 20), st.floats(0, 20))
subpixels = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def sampled(draw: st.DrawFn) -> StemAcquisition:
    """Acquisitions with subpixels and, half of them, an annular detector."""
    taken = draw(acquisitions(pixels=8))
    detector = taken.detector.model_copy(update={"subpixels": draw(subpixels)})
    haadf = AnnularDetector(inner=40, outer=60) if draw(st.booleans()) else None
    return taken.model_copy(update={"detector": detector, "haadf": haadf})


@given(taken=sampled(), minimum=boxes, reach=reaches)
def test_every_sample_of_the_detector_is_a_point_of_the_reciprocal_grid(
    taken: StemAcquisition, minimum: float, reach: tuple[float, float]
) -> None:
    box = diffraction_box(taken, Simulation(minimum_box=minimum), reach=reach)
    readout = Readout(acquisition=taken, box=box)
    found = box.angles(0)[readout.rows], box.angles(1)[readout.columns]
    for ours, wanted in zip(found, sample_angles(taken), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-9)


@given(taken=sampled(), minimum=boxes, reach=reaches)
def test_the_box_is_large_and_fine_enough_and_not_larger_than_need_be(
    taken: StemAcquisition, minimum: float, reach: tuple[float, float]
) -> None:
    asked = Simulation(minimum_box=minimum)
    box = diffraction_box(taken, asked, reach=reach)
    sampling = wave_sampling(taken, asked)
    sizes = np.array(taken.detector.pixel_size) / np.array(taken.detector.subpixels)
    native = taken.beam.wavelength / sizes * 1e3
    wanted = minimum + np.array(reach)
    assert (np.array(box.side) >= wanted - 1e-6).all()
    assert (np.array(box.side) < wanted + native + 1e-6).all()
    assert (np.array(box.sampling) <= sampling * (1 + 1e-9)).all()
    # Waves pass unchanged up to the largest angle any detector collects.
    passed = UNATTENUATED / np.array(box.sampling) * taken.beam.wavelength * 1e3
    assert (passed >= largest_angle(taken) * (1 - 1e-9)).all()


@given(n=st.integers(2, 3000))
def test_grid_lengths_are_even_with_small_prime_factors(n: int) -> None:
    length = fast_length(n)
    assert length >= n
    assert length % 2 == 0
    assert length <= max(1.2 * n, n + 4)
    for prime in (2, 3, 5, 7, 11):
        while length % prime == 0:
            length //= prime
    assert length == 1


@settings(max_examples=10)
@given(ny=st.integers(12, 60), nx=st.integers(12, 60), dy=st.floats(0.05, 0.3))
def test_the_antialias_aperture_is_that_of_abtem(ny: int, nx: int, dy: float) -> None:
    import abtem
    from abtem.antialias import AntialiasAperture

    dx = 0.1
    wave = abtem.PlaneWave(extent=(nx * dx, ny * dy), gpts=(nx, ny), energy=1e5).build(lazy=False)
    theirs = np.asarray(AntialiasAperture().get_array(wave)).T
    ours = antialias(np.fft.fftfreq(ny, dy), np.fft.fftfreq(nx, dx), max(dy, dx))
    # abTEM's is in single precision, and its edge falls by pi/2 per 0.01 cycles: 1.6e2 x 6e-8 x 2.
    np.testing.assert_allclose(ours, theirs, atol=3e-5)


@given(taken=sampled(), minimum=boxes)
def test_outside_the_band_nothing_passes(taken: StemAcquisition, minimum: float) -> None:
    box = diffraction_box(taken, Simulation(minimum_box=minimum))
    outside = np.ones(box.gpts[0], dtype=bool)
    outside[box.band()] = False
    assert (box.antialias()[outside] == 0).all()
    assert len(box.band()) <= 2 * np.ceil(box.gpts[0] * ANTIALIAS_CUTOFF / 2) + 1


@settings(max_examples=10)
@given(taken=sampled(), minimum=boxes, seed=st.integers(0, 1000))
def test_detectors_sum_the_points_of_the_spectrum_they_cover(
    taken: StemAcquisition, minimum: float, seed: int
) -> None:
    box = diffraction_box(taken, Simulation(minimum_box=minimum))
    readout = Readout(acquisition=taken, box=box)
    band = box.band()
    spectrum = np.zeros((2, *box.gpts), dtype=np.float32)
    spectrum[:, band] = np.random.default_rng(seed).random((2, len(band), box.gpts[1]))
    frames, haadf = readout.read(spectrum[:, band])
    slow, ring = _slowly(taken, box, spectrum[1].astype(float))
    np.testing.assert_allclose(frames[1], slow * readout.scale, rtol=1e-4)
    assert haadf[1] == pytest.approx(ring * readout.scale, rel=1e-4)


def _slowly(
    taken: StemAcquisition, box: DiffractionBox, spectrum: np.ndarray
) -> tuple[np.ndarray, float]:
    """Point by point: which pixel a point lies at the sample of, and whether in the ring."""
    detector = taken.detector
    frame = np.zeros(detector.shape)
    ring = 0.0
    pitch = [size / s for size, s in zip(detector.pixel_size, detector.subpixels, strict=True)]
    rows, columns = box.angles(0), box.angles(1)
    lattice = []
    for axis, angles in enumerate((rows, columns)):
        steps = angles / pitch[axis] + (detector.subpixels[axis] - 1) / 2
        lattice.append(np.where(np.abs(steps - np.rint(steps)) < 1e-6, np.rint(steps), np.nan))
    for y, x in np.argwhere(~np.isnan(lattice[0])[:, None] & ~np.isnan(lattice[1])[None]):
        pixel = [
            int(lattice[axis][n] // detector.subpixels[axis]) + detector.shape[axis] // 2
            for axis, n in enumerate((y, x))
        ]
        if 0 <= pixel[0] < detector.shape[0] and 0 <= pixel[1] < detector.shape[1]:
            frame[pixel[0], pixel[1]] += spectrum[y, x]
        if taken.haadf and taken.haadf.inner <= np.hypot(rows[y], columns[x]) < taken.haadf.outer:
            ring += spectrum[y, x]
    return (frame.T if detector.transpose else frame), ring


@given(taken=sampled(), minimum=boxes)
def test_in_vacuum_a_frame_holds_the_electrons_of_the_position(
    taken: StemAcquisition, minimum: float
) -> None:
    box = diffraction_box(taken, Simulation(minimum_box=minimum))
    readout = Readout(acquisition=taken, box=box)
    ky, kx = box.frequencies(0), box.frequencies(1)
    probe = np.abs(aperture(kx[None], ky[:, None], beam=taken.beam)) ** 2
    intensity = np.stack([probe / probe.sum()])[:, box.band()].astype(np.float32)
    frames, haadf = readout.read(intensity)
    assert frames.sum() == pytest.approx(taken.electrons_per_position, rel=1e-4)
    assert haadf[0] == 0


def test_a_box_knows_the_crystals_it_holds() -> None:
    box = diffraction_box(acquisition(), Simulation(minimum_box=8.0))
    height, width = box.side
    assert box.holds_whole_cells(np.diag([width / 2, height / 3]))
    assert box.holds_whole_cells(np.array([[width / 2, 0], [width / 4, height / 3]])) is False
    assert box.holds_whole_cells(np.array([[width / 2, 0], [width / 2, height / 3]]))
    assert not box.holds_whole_cells(np.diag([width / 2 + 0.01, height]))


def test_a_sampling_that_would_alias_is_refused_with_the_one_needed() -> None:
    taken = acquisition()
    with pytest.raises(BadInputError, match=r"use 0\.1351 Å or less") as refused:
        wave_sampling(taken, Simulation(sampling=0.2))
    assert "up to 40.54 mrad" in str(refused.value)
    assert wave_sampling(taken, Simulation(sampling=0.1351)) == 0.1351
    assert UNATTENUATED * BEAM.wavelength / 0.1351 * 1e3 == pytest.approx(60, rel=1e-3)


def test_a_wide_annulus_needs_a_fine_grid() -> None:
    wide = acquisition(haadf=AnnularDetector(inner=72.8, outer=271))
    box = diffraction_box(wide, Simulation())
    assert max(box.sampling) <= 0.3233 * BEAM.wavelength / 0.271


def test_even_subpixels_shift_the_reciprocal_grid_by_half() -> None:
    two = acquisition(
        detector=PixelDetector(shape=(20, 24), pixel_size=PIXEL, subpixels=(2, 1)), haadf=None
    )
    box = diffraction_box(two, Simulation(minimum_box=8.0))
    assert box.offset == (0.5, 0.0)
    rows, columns = sample_angles(two)
    assert rows[20:22].tolist() == pytest.approx([-PIXEL / 4, PIXEL / 4])
    assert columns[12] == 0
