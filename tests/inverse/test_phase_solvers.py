"""What holds for SSB and WDD alike: linearity, shifts, limits of transfer, noise."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echolith.errors import BadInputWarning
from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import (
    BEAM,
    acquisition,
    acquisitions,
    noise_set,
    random_phase,
    spectrum,
)

Solver = Callable[..., xr.Dataset]
SOLVERS: dict[str, Solver] = {"ssb": ssb, "wdd": wdd}
both = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
ABERRATED = BEAM.model_copy(update={"aberrations": Aberrations(C10=50, C12=30, phi12=0.7)})
seeds = st.integers(0, 1000)


@both
def test_layout(solver: Solver) -> None:
    taken = acquisition()
    result = solver(noise_set(taken, seed=0))
    assert result["phase"].dims == ("scan_y", "scan_x")
    assert result["phase"].shape == taken.scan.shape
    np.testing.assert_allclose(result["scan_y"], np.arange(12) * 0.29)
    np.testing.assert_allclose(result["scan_x"], np.arange(15) * 0.26)
    np.testing.assert_allclose(result["q_x"], np.fft.fftfreq(15, 0.26))
    units = {name: result[name].attrs["units"] for name in result.variables}
    assert units == {
        "phase": "rad", "transfer": "1", "weight": "1/rad²",
        "scan_y": "Å", "scan_x": "Å", "q_y": "1/Å", "q_x": "1/Å",
    }  # fmt: skip
    assert result.attrs["method"] == solver.__name__
    assert StemAcquisition.model_validate_json(result.attrs["acquisition"]) == taken
    assert abs(float(result["phase"].mean())) < 1e-15


@both
@given(acquisitions(), seeds)
def test_linear_in_the_counts(solver: Solver, taken: StemAcquisition, seed: int) -> None:
    one, other = (noise_set(taken, seed=seed + i, mean=10 * (i + 1)) for i in range(2))
    electrons = [float(m["counts"].sum()) for m in (one, other)]
    added = solver(one.assign(counts=one["counts"] + other["counts"]))
    parts = [solver(m) for m in (one, other)]
    expected = sum(n * p["phase"] for n, p in zip(electrons, parts, strict=True)) / sum(electrons)
    np.testing.assert_allclose(added["phase"], expected, atol=1e-5 * float(np.abs(expected).max()))
    # Inverse variances: n² / noise, and the noise adds as the electrons do.
    kept = added["weight"].values > 0
    variances = [p["weight"].values[kept] for p in parts]
    noise = sum(n**2 / w for n, w in zip(electrons, variances, strict=True))
    np.testing.assert_allclose(added["weight"].values[kept] * noise, sum(electrons) ** 2, rtol=1e-4)


@both
@given(acquisitions(), seeds, st.integers(-9, 9), st.integers(-9, 9))
def test_moving_the_frames_moves_the_image(
    solver: Solver, taken: StemAcquisition, seed: int, dy: int, dx: int
) -> None:
    recorded = noise_set(taken, seed=seed)
    here = solver(recorded)["phase"]
    there = solver(recorded.roll(scan_y=dy, scan_x=dx))["phase"]
    expected = here.roll(scan_y=dy, scan_x=dx)
    np.testing.assert_allclose(there, expected, atol=1e-5 * float(np.abs(here).max()))


@both
@given(seeds)
def test_twice_the_electrons_are_the_same_phase_with_twice_the_weight(
    solver: Solver, seed: int
) -> None:
    recorded = noise_set(acquisition(), seed=seed)
    one, two = solver(recorded), solver(recorded.assign(counts=2 * recorded["counts"]))
    # A power of two changes no digit.
    assert np.array_equal(one["phase"], two["phase"])
    assert np.array_equal(2 * one["weight"], two["weight"])


@pytest.mark.parametrize("beam", [BEAM, ABERRATED], ids=["", "aberrated"])
@both
def test_stated_noise_is_that_of_poisson_counts(solver: Solver, beam: Beam) -> None:
    taken = acquisition(beam=beam, dose=2e3)
    mean = phase_object_mean(random_phase(taken, seed=1, rms=0.1), acquisition=taken)
    expected = solver(mean)
    kept = expected["weight"].values > 0
    rng = np.random.default_rng(12)
    noisy = [
        solver(mean.assign(counts=(mean["counts"].dims, rng.poisson(mean["counts"].values))))
        for _ in range(60)
    ]
    errors = np.stack([(n["phase"] - expected["phase"]).values for n in noisy])
    # |delta phi(Q)|² weight has the exponential distribution; Q and -Q are one.
    half = kept & (np.fft.fftfreq(15)[None] >= 0)
    half[7:, 0] = False
    power = np.abs(np.stack([spectrum(e) for e in errors])[:, half]) ** 2
    values = power * expected["weight"].values[half]
    assert values.mean() == pytest.approx(1, abs=4 / np.sqrt(values.size))
    assert stats.kstest(values.ravel(), "expon").pvalue > 1e-3
    # Per Q too: chi-squared with 2 degrees of freedom per draw; no Q out of 1e-4 by chance.
    per_q = stats.chi2.sf(2 * values.sum(axis=0), 2 * len(noisy))
    assert 1e-4 / half.sum() < per_q.min()
    assert per_q.max() < 1 - 1e-4 / half.sum()
    # The variance of a pixel is the sum over the plane of Q.
    variance = (1 / expected["weight"].values[kept]).sum()
    assert errors.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / (60 * kept.sum())))
    # And every noisy set states the same noise.
    stated = np.stack([n["weight"].values[kept] for n in noisy])
    np.testing.assert_allclose(stated.mean(axis=0), expected["weight"].values[kept], rtol=0.05)


def test_objects_beyond_the_limit_leave_no_trace() -> None:
    # To first order, what is finer than wavelength / (2 semiangle) does not reach the detector.
    taken = acquisition()
    coarse = np.fft.fft2(random_phase(taken, seed=3))
    spectrum_of_all = np.zeros((36, 45), complex)
    rows, columns = (np.fft.fftfreq(n, 1 / n).astype(int) for n in coarse.shape)
    spectrum_of_all[np.ix_(rows, columns)] = coarse
    smooth = np.fft.ifft2(spectrum_of_all).real * 9
    y, x = np.indices(smooth.shape)
    # On the scan both waves look like ones of a fourteenth and a thirteenth of the frequency.
    waves = 0.01 * np.cos(2 * np.pi * 14 * x / 45) + 0.01 * np.sin(2 * np.pi * 13 * y / 36)
    for solver in SOLVERS.values():
        with_waves, without = (
            solver(phase_object_mean(p, acquisition=taken, weak=True))["phase"]
            for p in (smooth + waves, smooth)
        )
        np.testing.assert_allclose(with_waves, without, atol=1e-7)
        assert float(without.std()) > 5e-3


@both
def test_a_coarse_step_warns_with_the_transfer_lost(solver: Solver) -> None:
    taken = acquisition(scan=Scan(shape=(9, 10), step=(0.45, 0.26)))
    recorded = noise_set(taken, seed=0)
    lost = f"{taken.sampling_loss():.0%} of the transfer to twice the semiangle is lost"
    with pytest.warns(BadInputWarning, match=f"scan step 0.45 Å is beyond .* 0.303 Å: {lost}"):
        result = solver(recorded)
    reach = result["transfer"].max("q_x")
    assert float(np.abs(reach["q_y"][reach > 0]).max()) < 1 / (2 * 0.45)


def test_a_detector_may_be_as_small_as_the_disc() -> None:
    detector = PixelDetector(shape=(16, 18), pixel_size=(2.77, 2.5))
    taken = acquisition(detector=detector)
    phase = random_phase(taken, seed=2)
    recorded = phase_object_mean(phase, acquisition=taken, weak=True)
    for solver in SOLVERS.values():
        result = solver(recorded)
        kept = result["weight"].values > 0
        assert np.abs(spectrum(result["phase"]) - spectrum(phase))[kept].max() < 1e-6
