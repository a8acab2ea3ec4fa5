"""Waves of iterative ptychography: against plain sums, the adjoint's dot test, its gradient."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.optics import aperture
from echolith.inverse.iterative_ptychography_descent import Problem, State, batches, slope
from echolith.inverse.iterative_ptychography_frames import Frames
from echolith.inverse.iterative_ptychography_kernels import detect
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from tests.inverse.phase_sets import acquisition, noise_set

seeds = st.integers(0, 99)
OPTIONS = PtychographyOptions(thickness=60, slice_thickness=20)


def small(**changes: object) -> StemAcquisition:
    settings = {"scan": Scan(shape=(3, 4), step=(0.3, 0.28), rotation=20), "dose": 1e4}
    return acquisition(**(settings | changes))


def problem_with_phase(seed: int, taken: StemAcquisition) -> tuple[Problem, State]:
    problem = Problem.of(Frames.of(noise_set(taken, seed=seed)), OPTIONS)
    state = problem.start()
    phase = 0.3 * np.random.default_rng(seed).normal(size=state.phase.shape)
    return problem, State(**(vars(state) | {"phase": phase.astype(np.float32)}))


def waves_like(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.complex64]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@given(seeds)
def test_the_adjoint_is_the_adjoint(seed: int) -> None:
    problem, state = problem_with_phase(seed, small())
    specimen = problem.specimen(state.phase)
    corners, _ = problem.grid.windows(state.positions)
    shape = (len(corners), *problem.grid.box.gpts)
    x, y = waves_like(shape, seed + 1), waves_like(shape, seed + 2)
    forth, kept = specimen.forward(x.copy(), corners)
    back = specimen.back(y.copy(), kept, corners, np.zeros_like(state.phase))
    gap = abs(np.vdot(y, forth) - np.vdot(back, x))
    # Waves are float32 and transforms unitary: rounding of some 1e-7 of the norms.
    assert gap < 1e-6 * np.linalg.norm(x) * np.linalg.norm(y)
    assert np.linalg.norm(forth) == pytest.approx(np.linalg.norm(x), rel=1e-5)


@pytest.mark.parametrize("amplitudes", [True, False])
@given(seeds)
def test_the_gradient_is_that_of_finite_differences(amplitudes: bool, seed: int) -> None:
    problem, state = problem_with_phase(seed, small())
    chosen = np.arange(len(problem.frames))
    direction = np.random.default_rng(seed + 5).normal(size=state.phase.shape)
    with ThreadPoolExecutor(1) as pool:
        found = slope(problem, state, chosen, amplitudes=amplitudes, pool=pool)
    expected = (
        plain_loss(problem, state, state.phase + 1e-4 * direction, amplitudes)
        - plain_loss(problem, state, state.phase - 1e-4 * direction, amplitudes)
    ) / 2e-4
    size = np.linalg.norm(found.gradient) * np.linalg.norm(direction)
    # Float32 gradient; the plain loss is in double precision.
    assert abs(float((found.gradient * direction).sum()) - expected) < 1e-5 * size


def plain_loss(
    problem: Problem, state: State, phase: npt.NDArray[np.floating], amplitudes: bool
) -> float:
    n = problem.frames.counts.astype(float)
    m = plain_frames(problem, state, phase) + OPTIONS.background
    if amplitudes:
        return float(2 * ((np.sqrt(m) - np.sqrt(n)) ** 2).sum())
    return float((m - n * np.log(m)).sum())


def plain_frames(
    problem: Problem, state: State, phase: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Sum the equations of the model plainly, in double precision, one position after another."""
    box, grid, taken = problem.grid.box, problem.grid, problem.frames.acquisition
    kx, ky = box.frequencies(1)[None], box.frequencies(0)[:, None]
    probe = aperture(kx, ky, beam=taken.beam)
    probe = probe / np.sqrt((np.abs(probe) ** 2).sum())
    fresnel = np.exp(-1j * np.pi * box.wavelength * OPTIONS.distance * (kx**2 + ky**2))
    frames = []
    for x, y in state.positions:
        top, left = (
            round((at - origin) / step) - n // 2
            for at, origin, step, n in zip((y, x), grid.origin, box.sampling, box.gpts, strict=True)
        )
        dy = y - grid.origin[0] - top * box.sampling[0]
        dx = x - grid.origin[1] - left * box.sampling[1]
        wave = np.fft.ifft2(probe * np.exp(-2j * np.pi * (kx * dx + ky * dy)), norm="ortho")
        for n, layer in enumerate(phase):
            if n:
                wave = np.fft.ifft2(fresnel * np.fft.fft2(wave))
            window = layer[top : top + box.gpts[0], left : left + box.gpts[1]]
            wave = wave * np.exp(1j * window)
        intensity = np.abs(np.fft.fft2(wave, norm="ortho")) ** 2
        samples = intensity[grid.rows.ravel()[:, None], grid.columns.ravel()[None]]
        (dy_, sy), (dx_, sx) = grid.rows.shape, grid.columns.shape
        frames.append(samples.reshape(dy_, sy, dx_, sx).sum(axis=(1, 3)))
    return state.scale * np.array(frames)


@pytest.mark.parametrize("subpixels", [(1, 1), (2, 1), (1, 3)])
def test_frames_are_those_of_the_plain_sums(subpixels: tuple[int, int]) -> None:
    detector = PixelDetector(shape=(20, 22), pixel_size=(2.6, 2.5), subpixels=subpixels)
    problem, state = problem_with_phase(3, small(detector=detector))
    specimen = problem.specimen(state.phase)
    spectra, corners = specimen.incident(problem.probe(state.aberrations), state.positions)
    waves, _ = specimen.forward(spectra, corners)
    frames = np.empty(problem.frames.counts.shape, np.float32)
    detect(waves, problem.grid.rows, problem.grid.columns, state.scale, frames)
    expected = plain_frames(problem, state, state.phase)
    np.testing.assert_allclose(frames, expected, atol=1e-5 * expected.max())


@given(
    st.tuples(st.integers(3, 20), st.integers(3, 20)), st.floats(0.1, 3), seeds, st.integers(0, 9)
)
def test_batches_hold_every_position_once_and_are_spread(
    shape: tuple[int, int], spacing: float, seed: int, iteration: int
) -> None:
    scan = Scan(shape=shape, step=(0.3, 0.25))
    parts = batches(scan, spacing, seed, iteration)
    assert sorted(np.concatenate(parts).tolist()) == list(range(shape[0] * shape[1]))
    side = [max(1, round(spacing / step)) for step in scan.step]
    for part in parts:
        y, x = np.divmod(part, shape[1])
        squares = set(zip((y // side[0]).tolist(), (x // side[1]).tolist(), strict=True))
        assert len(squares) == len(part)
