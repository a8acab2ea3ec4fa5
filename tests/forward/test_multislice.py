import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward.acquisition import AnnularDetector, PixelDetector, Scan
from echolith.forward.diffraction_box import diffraction_box
from echolith.forward.multislice import Propagation, Slices, probe_of
from echolith.forward.projected_potential import Region
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import stem_mean
from tests.forward.abtem_oracle import abtem_frames
from tests.forward.small_specimen import BEAM, PIXEL, SIMULATION, acquisition, specimen

BOX = diffraction_box(
    acquisition(detector=PixelDetector(shape=(20, 24), pixel_size=(PIXEL, 1.25 * PIXEL))),
    SIMULATION,
)
"""Not square."""


def slices(*, count: int, seed: int, wraps: bool = False) -> Slices:
    """Random transmission functions, on a region a little larger than the box."""
    shape = (BOX.gpts[0] + 10, BOX.gpts[1] + 6)
    rng = np.random.default_rng(seed)
    slabs = rng.normal(size=(count, *shape)) + 1j * rng.normal(size=(count, *shape))
    region = Region(origin=(0.0, 0.0), shape=shape, sampling=BOX.sampling, wraps=wraps)
    return Slices(region=region, transmission=slabs.astype(np.complex64), thickness=2.5, box=BOX)


@settings(max_examples=10)
@given(
    count=st.integers(1, 4),
    seed=st.integers(0, 99),
    corner=st.tuples(st.integers(0, 10), st.integers(0, 6)),
)
def test_propagation_is_the_textbook_loop_on_the_full_grid(
    count: int, seed: int, corner: tuple[int, int]
) -> None:
    medium = slices(count=count, seed=seed)
    rng = np.random.default_rng(seed + 1)
    ny, nx = BOX.gpts
    spectra = np.zeros((2, ny, nx), dtype=np.complex64)
    spectra[:, medium.rows] = rng.normal(size=(2, len(medium.rows), nx))
    corners = np.array([corner, (0, 0)])
    ours = Propagation(medium)(spectra[:, medium.rows], corners)
    ky, kx = BOX.frequencies(0), BOX.frequencies(1)
    k2 = ky[:, None] ** 2 + kx[None] ** 2
    kernel = np.exp(-1j * np.pi * BOX.wavelength * 2.5 * k2) * BOX.antialias()
    for n, (y, x) in enumerate(corners):
        spectrum = spectra[n].astype(np.complex128)
        for index, slab in enumerate(medium.transmission):
            if index:
                spectrum = spectrum * kernel
            spectrum = np.fft.fft2(np.fft.ifft2(spectrum) * slab[y : y + ny, x : x + nx])
        wanted = spectrum[medium.rows]
        assert np.abs(ours[n] - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_waves_are_left_alone() -> None:
    medium = slices(count=2, seed=0)
    spectra = np.ones((1, len(medium.rows), BOX.gpts[1]), dtype=np.complex64)
    Propagation(medium)(spectra, np.zeros((1, 2), dtype=np.int64))
    assert (spectra == 1).all()


@given(y=st.floats(-3, 3), x=st.floats(-3, 3))
def test_a_probe_is_a_normalised_sum_of_shifted_waves(y: float, x: float) -> None:
    medium = slices(count=1, seed=0)
    probe = probe_of(BEAM, medium)
    centred, moved = probe.at(np.array([[0.0, 0.0], [y, x]]), (len(medium.rows), BOX.gpts[1]))
    assert (np.abs(centred) ** 2).sum() == pytest.approx(1, rel=1e-5)
    ky, kx = BOX.frequencies(0)[medium.rows], BOX.frequencies(1)
    ramp = np.exp(-2j * np.pi * (y * ky[:, None] + x * kx[None]))
    np.testing.assert_allclose(moved, centred * ramp, atol=1e-6)


def test_a_wrapping_region_continues_itself() -> None:
    medium = slices(count=2, seed=3, wraps=True)
    (ny, nx), (py, px) = BOX.gpts, medium.region.shape
    continued = medium.continued
    assert continued.shape == (2, py + ny, px + nx)
    for y, x in ((0, 0), (py - 1, px - 3)):
        rows, columns = (y + np.arange(ny)) % py, (x + np.arange(nx)) % px
        expected = medium.transmission[:, rows][:, :, columns]
        np.testing.assert_array_equal(continued[:, y : y + ny, x : x + nx], expected)
    # A position a period further begins at the same pixel.
    step = np.array([px * BOX.sampling[1], py * BOX.sampling[0]])
    where = np.array([[1.03, 2.07]])
    np.testing.assert_array_equal(medium.corners(where + step), medium.corners(where))
    np.testing.assert_allclose(medium.offsets(where + step), medium.offsets(where), atol=1e-9)


def test_electrons_are_conserved() -> None:
    # Everything up to the antialias aperture on the annular detector, from the axis outwards.
    atoms = specimen()
    taken = acquisition(
        scan=Scan(shape=(2, 2), step=0.25), haadf=AnnularDetector(inner=0, outer=190)
    )
    fine = Simulation(minimum_box=8, slice_thickness=2.0, sampling=0.042, engine=Engine.MULTISLICE)
    mean = stem_mean(atoms, acquisition=taken, simulation=fine).compute(scheduler="synchronous")
    kept = mean.haadf.values / taken.electrons_per_position
    assert (kept < 1 + 1e-5).all()
    # Lobato's atoms scatter some 1e-4 of these electrons beyond 190 mrad: the same as in abTEM.
    gpts = diffraction_box(taken, fine).gpts
    _, total = abtem_frames(atoms, taken, gpts=gpts, slice_thickness=2.0)
    np.testing.assert_allclose(mean.haadf.values, total, rtol=2e-4)
    assert (kept > 1 - 1e-3).all()
    frames = mean.counts.sum(("detector_y", "detector_x")) / taken.electrons_per_position
    beyond = kept - frames.values
    assert (beyond > 0).all()
    # What the frame misses is what a second detector finds around it.
    y, x = np.meshgrid(np.arange(20) - 10, np.arange(24) - 12, indexing="ij")
    inscribed = PIXEL * np.hypot(y, x) < 25.1
    inner = (mean.counts.values * inscribed).sum(axis=(2, 3))
    ring = acquisition(scan=taken.scan, haadf=AnnularDetector(inner=25.1, outer=190))
    around = stem_mean(atoms, acquisition=ring, simulation=fine).compute(scheduler="synchronous")
    whole = (inner + around.haadf.values) / taken.electrons_per_position
    np.testing.assert_allclose(whole, kept, rtol=1e-5)
