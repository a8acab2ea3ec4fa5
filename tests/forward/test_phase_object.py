"""A thin phase object against slow sums and against abTEM's multislice of one slice."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
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
from echolith.forward.optics import aberration_phase
from echolith.forward.phase_object import phase_object_mean
from echolith.validation.strategies import acquisitions

FloatArray = npt.NDArray[np.float64]
ABERRATIONS = Aberrations(C10=-60, C12=30, phi12=0.5, C21=300, phi21=1.0)


def f_shape(shape: tuple[int, int], height: float = 0.4) -> FloatArray:
    """An F: it equals none of its flips, turns and transposes."""
    phase = np.zeros(shape)
    ny, nx = shape
    phase[ny // 8 : 7 * ny // 8, nx // 6 : nx // 3] = height
    phase[ny // 8 : ny // 4, nx // 6 : 5 * nx // 6] = height
    phase[ny // 2 : 5 * ny // 8, nx // 6 : 2 * nx // 3] = height
    return phase


def slow_frame(phase: FloatArray, taken: StemAcquisition, iy: int, ix: int) -> FloatArray:
    """|sum_r O(r) psi(r - R) exp(-2 pi i K.r)|² for every pixel, psi summed over plane waves.

    One period of the object holds one period of the probe: plane waves of the object's reciprocal
    lattice, shifted to the detector's sample.
    """
    beam, scan, lam = taken.beam, taken.scan, taken.beam.wavelength
    my, mx = phase.shape
    y, x = np.meshgrid(
        np.arange(my) * scan.extent[0] / my, np.arange(mx) * scan.extent[1] / mx, indexing="ij"
    )
    points = rotate(np.stack([x, y], axis=-1), scan.rotation)
    where = scan.positions()[iy, ix]
    objekt = np.exp(1j * phase)
    limit = beam.semiangle * 1e-3 / lam
    rows, columns = taken.detector.angles()
    frame = np.zeros(taken.detector.shape)
    reach = int(2 * np.ceil(limit * max(scan.extent))) + 2
    steps = np.arange(-reach, reach + 1)
    qy, qx = np.meshgrid(steps / scan.extent[0], steps / scan.extent[1], indexing="ij")
    lattice = rotate(np.stack([qx, qy], axis=-1).reshape(-1, 2), scan.rotation)
    for n, ty in enumerate(rows):
        for m, tx in enumerate(columns):
            k_out = np.array([tx, ty]) * 1e-3 / lam
            waves = k_out + lattice
            waves = waves[np.hypot(*waves.T) <= limit * (1 + 1e-9)]
            chi = aberration_phase(
                waves[:, 0], waves[:, 1], aberrations=beam.aberrations, energy=beam.energy
            )
            phases = np.einsum("yxd,kd->yxk", points - where, waves)
            probe = (np.exp(-1j * chi) * np.exp(2j * np.pi * phases)).sum(axis=-1)
            kernel = np.exp(-2j * np.pi * points @ k_out)
            frame[n, m] = np.abs((objekt * probe * kernel).mean()) ** 2
    return frame


@pytest.mark.parametrize("rotation", [0, 30])
@pytest.mark.parametrize("transpose", [False, True])
def test_equals_a_slow_sum(rotation: float, transpose: bool) -> None:
    taken = StemAcquisition(
        beam=Beam(semiangle=15, aberrations=ABERRATIONS),
        scan=Scan(shape=(4, 5), step=(0.4, 0.35), rotation=rotation),
        detector=PixelDetector(shape=(9, 11), pixel_size=(4.0, 3.3), transpose=transpose),
        haadf=None,
    )
    phase = f_shape((24, 24))
    counts = phase_object_mean(phase, acquisition=taken, dtype=np.float64).counts.values
    if transpose:
        counts = counts.swapaxes(2, 3)
    rows, columns = taken.detector.angles()
    inside = (np.hypot(rows[:, None], columns[None]) <= taken.beam.semiangle).sum()
    for iy, ix in ((0, 0), (1, 3), (3, 2)):
        frame = slow_frame(phase, taken, iy, ix) * taken.electrons_per_position / inside
        np.testing.assert_allclose(counts[iy, ix], frame, atol=1e-9 * frame.max())


def test_equals_one_slice_of_abtem() -> None:
    import abtem

    from echolith.forward.optics import interaction_constant

    beam = Beam(semiangle=20, aberrations=ABERRATIONS)
    side, n = beam.wavelength / 2.5e-3, 90
    taken = StemAcquisition(
        beam=beam,
        scan=Scan(shape=(40, 40), step=side / 40),
        detector=PixelDetector(shape=(20, 24), pixel_size=2.5),
        haadf=None,
    )
    smooth = np.fft.fft2(f_shape((n, n)))
    k = np.fft.fftfreq(n, 1 / n)
    smooth[np.hypot(k[:, None], k[None]) > 8] = 0
    phase = np.fft.ifft2(smooth).real
    ours = phase_object_mean(phase, acquisition=taken).counts.values
    positions = taken.scan.positions()[::9, ::13].reshape(-1, 2)
    with abtem.config.set({"fft": "numpy", "precision": "float32"}):
        slab = abtem.PotentialArray(
            phase.T[None].astype(np.float32) / interaction_constant(beam.energy),
            slice_thickness=1.0,
            extent=side,
        )
        probe = abtem.Probe(
            energy=beam.energy,
            semiangle_cutoff=20,
            soft=False,
            extent=side,
            gpts=n,
            aberrations={key: v for key, v in beam.aberrations.model_dump().items() if v},
        ).build(scan=abtem.CustomScan(positions), lazy=False)
        leaving = probe.multislice(slab)
    spectra = np.abs(np.fft.fft2(np.asarray(leaving.array))) ** 2  # type: ignore[union-attr]
    spectra /= (np.abs(np.fft.fft2(np.asarray(probe.array))) ** 2).sum(axis=(1, 2), keepdims=True)
    rows, columns = np.arange(20) - 10, np.arange(24) - 12
    frames = spectra.transpose(0, 2, 1)[:, rows[:, None], columns[None]]
    wanted = frames.reshape(5, 4, 20, 24) * taken.electrons_per_position
    assert np.abs(ours[::9, ::13] - wanted).max() < 2e-5 * wanted.max()


@settings(max_examples=10)
@given(taken=acquisitions(largest_scan=6), seed=st.integers(0, 999))
def test_vacuum_and_a_constant_phase_are_the_same_disc(taken: StemAcquisition, seed: int) -> None:
    level = np.random.default_rng(seed).uniform(-3, 3)
    flat = phase_object_mean(np.full((8, 8), level), acquisition=taken).counts
    vacuum = phase_object_mean(np.zeros((5, 7)), acquisition=taken).counts
    np.testing.assert_allclose(flat, vacuum, rtol=1e-5, atol=1e-6 * float(vacuum.max()))
    total = vacuum.sum(("detector_y", "detector_x"))
    np.testing.assert_allclose(total, taken.electrons_per_position, rtol=1e-5)


@settings(max_examples=10)
@given(shift=st.tuples(st.integers(-7, 7), st.integers(-7, 7)))
def test_a_shift_of_the_object_is_a_shift_of_the_scan(shift: tuple[int, int]) -> None:
    taken = StemAcquisition(
        beam=Beam(semiangle=15),
        scan=Scan(shape=(8, 6), step=(0.4, 0.5), rotation=20),
        detector=PixelDetector(shape=(9, 9), pixel_size=4.0),
        haadf=None,
    )
    phase = f_shape((32, 24))
    one = phase_object_mean(phase, acquisition=taken).counts.values
    rolled = np.roll(phase, (4 * shift[0], 4 * shift[1]), axis=(0, 1))
    other = phase_object_mean(rolled, acquisition=taken).counts.values
    np.testing.assert_allclose(other, np.roll(one, shift, axis=(0, 1)), rtol=1e-5, atol=1e-5)


def test_weak_is_the_derivative_with_the_phase() -> None:
    taken = StemAcquisition(
        beam=Beam(semiangle=15, aberrations=ABERRATIONS),
        scan=Scan(shape=(5, 6), step=0.4),
        detector=PixelDetector(shape=(10, 10), pixel_size=4.0, subpixels=(2, 1)),
        haadf=None,
    )
    phase = f_shape((20, 24))

    def mean(scale: float, *, weak: bool) -> FloatArray:
        lit = phase_object_mean(scale * phase, acquisition=taken, weak=weak, dtype=np.float64)
        return np.asarray(lit.counts.values)

    tiny = 1e-4
    slope = (mean(tiny, weak=False) - mean(-tiny, weak=False)) / (2 * tiny)
    vacuum = mean(0.0, weak=True)
    linear = mean(1.0, weak=True) - vacuum
    bright = vacuum > 0
    np.testing.assert_allclose(slope[bright], linear[bright], atol=1e-6 * np.abs(linear).max())
    np.testing.assert_allclose(mean(3.0, weak=True) - vacuum, 3 * linear, atol=1e-9)


@pytest.mark.parametrize(
    ("phase", "changes", "pixel_size", "message"),
    [
        (np.zeros((4, 4, 2)), {}, None, "not a finite image"),
        (np.full((4, 4), np.nan), {}, None, "not a finite image"),
        (np.zeros((0, 4)), {}, None, "not a finite image"),
        (np.zeros((4, 4)), {"focal_spread": 5.0}, None, "set both to 0"),
        (np.zeros((4, 4)), {"source_spread": 0.5}, None, "set both to 0"),
        (np.zeros((4, 4)), {}, 0.3, "covers 1.2 × 1.2 Å, the scan 1.6 × 2 Å"),
        (np.zeros((4, 4)), {}, (0.5, 0.4), "covers 2 × 1.6 Å, the scan 1.6 × 2 Å"),
    ],
)
def test_bad_input_is_refused(
    phase: FloatArray, changes: dict[str, float], pixel_size: float | None, message: str
) -> None:
    taken = StemAcquisition(
        beam=Beam(semiangle=15).model_copy(update=changes),
        scan=Scan(shape=(4, 5), step=0.4),
        detector=PixelDetector(shape=(9, 9), pixel_size=4.0),
        haadf=None,
    )
    with pytest.raises(BadInputError, match=message):
        phase_object_mean(phase, acquisition=taken, pixel_size=pixel_size)
    phase_object_mean(
        np.zeros((4, 4)),
        acquisition=taken.model_copy(update={"beam": Beam(semiangle=15)}),
        pixel_size=(0.4, 0.5),
    )
