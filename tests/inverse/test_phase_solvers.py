"""What holds for SSB and WDD alike: linearity, shifts, bits, memory, noise and bad input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echolith.dataset import load, save
from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Aberrations, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import (
    BEAM,
    acquisition,
    acquisitions,
    band_limited,
    noise_set,
    random_phase,
    spectrum,
)

Solver = Callable[..., xr.Dataset]
SOLVERS: dict[str, Solver] = {"ssb": ssb, "wdd": wdd}
both = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
ABERRATED = BEAM.model_copy(update={"aberrations": Aberrations(C10=50, C12=30, phi12=0.7)})
seeds = st.integers(0, 1000)


def identical(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Say whether all bits of the results agree."""
    return all(np.array_equal(one[name], other[name]) for name in ("phase", "transfer", "weight"))


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


@both
@pytest.mark.parametrize("rows", [1, 7, -1])
@pytest.mark.parametrize("workers", [1, 2])
def test_bits_do_not_depend_on_chunks_or_workers(solver: Solver, rows: int, workers: int) -> None:
    recorded = noise_set(acquisition(beam=ABERRATED), seed=4)
    expected = solver(recorded, streaming=Streaming(workers=1))
    chunked = recorded.chunk(scan_y=rows, scan_x=-1)
    assert identical(solver(chunked, streaming=Streaming(workers=workers)), expected)


@both
def test_bits_do_not_depend_on_how_frames_are_cut(solver: Solver) -> None:
    recorded = noise_set(acquisition(), seed=5)
    cut = recorded.chunk(scan_y=5, scan_x=4, detector_y=7, detector_x=9)
    assert identical(solver(cut), solver(recorded))


@both
def test_a_stored_measurement_gives_the_same_bits(solver: Solver, tmp_path: Path) -> None:
    recorded = noise_set(acquisition(), seed=6)
    save(recorded, tmp_path / "counts.h5")
    stored = load(tmp_path / "counts.h5")
    assert stored["counts"].chunks is not None
    assert identical(solver(stored), solver(recorded))


LAYOUTS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "uint8": lambda m: m.astype(np.uint8),
    "int64": lambda m: m.astype(np.int64),
    "big-endian": lambda m: m.astype(">u2"),
    "float16": lambda m: m.astype(np.float16),
    "float32": lambda m: m.astype(np.float32),
    "float64": lambda m: m.astype(np.float64),
    "other order of dims": lambda m: m.transpose("detector_x", "scan_x", "detector_y", "scan_y"),
    "Fortran order": lambda m: m.copy(data={"counts": np.asfortranarray(m["counts"].values)}),
}


@both
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_bits_do_not_depend_on_type_or_layout(
    solver: Solver, layout: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    recorded = noise_set(acquisition(), seed=7)
    changed = layout(recorded).assign_attrs(recorded.attrs)
    assert identical(solver(changed), solver(recorded))


@both
def test_little_memory_changes_rounding_only(solver: Solver) -> None:
    recorded = noise_set(acquisition(), seed=8)
    whole = solver(recorded)
    for lazy in (recorded, recorded.chunk(scan_y=5)):
        pieces = solver(lazy, streaming=Streaming(memory=1))
        np.testing.assert_allclose(
            pieces["phase"], whole["phase"], atol=1e-6 * float(np.abs(whole["phase"]).max())
        )


@both
def test_every_chunk_is_read_once(solver: Solver) -> None:
    recorded = noise_set(acquisition(), seed=9)
    reads: list[int] = []

    def counted(block: Any) -> Any:
        if block.size:
            reads.append(1)
        return block

    lazy = recorded["counts"].chunk(scan_y=3).data
    watched = lazy.map_blocks(counted, dtype=lazy.dtype, meta=np.empty((0,) * 4, lazy.dtype))
    solver(recorded.assign(counts=(recorded["counts"].dims, watched)))
    assert len(reads) == 4


@both
def test_the_measurement_is_left_alone(solver: Solver) -> None:
    recorded = noise_set(acquisition(beam=ABERRATED), seed=10)
    before = recorded.copy(deep=True)
    recorded["counts"].values.setflags(write=False)
    solver(recorded)
    assert recorded.identical(before)
    lazy = before.chunk(scan_y=5)
    solver(lazy)
    assert isinstance(lazy["counts"].data, da.Array)


@pytest.mark.parametrize("beam", [BEAM, ABERRATED], ids=["", "aberrated"])
@both
def test_stated_noise_is_that_of_poisson_counts(solver: Solver, beam: Any) -> None:
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
    fine = (36, 45)
    y, x = np.indices(fine)
    coarse = random_phase(taken, seed=3)
    padded = np.fft.fft2(coarse)
    grown = np.zeros(fine, complex)
    index = [np.fft.fftfreq(n, 1 / n).astype(int) for n in coarse.shape]
    grown[np.ix_(*index)] = padded
    smooth = np.fft.ifft2(grown).real * 9
    waves = smooth + 0.01 * np.cos(2 * np.pi * 14 * x / 45) + 0.01 * np.sin(2 * np.pi * 13 * y / 36)
    for solver in SOLVERS.values():
        with_waves, without = (
            solver(phase_object_mean(p, acquisition=taken, weak=True))["phase"]
            for p in (waves, smooth)
        )
        np.testing.assert_allclose(with_waves, without, atol=1e-7)
        np.testing.assert_allclose(without, band_limited(coarse, taken), atol=1e-6)


@both
def test_a_coarse_step_warns_with_the_transfer_lost(solver: Solver) -> None:
    taken = acquisition(scan=Scan(shape=(9, 10), step=(0.45, 0.26)))
    recorded = noise_set(taken, seed=0)
    lost = f"{taken.sampling_loss():.0%} of the transfer to twice the semiangle is lost"
    with pytest.warns(BadInputWarning, match=f"scan step 0.45 Å is beyond .* 0.303 Å: {lost}"):
        result = solver(recorded)
    reach = result["transfer"].max("q_x")
    assert float(np.abs(reach["q_y"][reach > 0]).max()) < 1 / (2 * 0.45)


def with_count(value: float, *, at: tuple[int, int, int, int] = (3, 9, 0, 1)) -> xr.Dataset:
    """Counts with one bad value, far from the disc."""
    recorded = noise_set(acquisition(), seed=0).astype(np.float32)
    recorded["counts"].values[at] = value
    return recorded.assign_attrs(acquisition=acquisition().model_dump_json())


BAD_COUNTS: dict[str, tuple[float, str]] = {
    "NaN": (float("nan"), r"scan position \(3, 9\) contain NaN; expected counts of 0 or more"),
    "negative": (-2.5, r"scan position \(3, 9\) contain -2\.5 electrons; .* dark level"),
    "infinite": (float("inf"), "contain infinite values; expected counts of 0 or more"),
}


@both
@pytest.mark.parametrize("lazy", [False, True], ids=["", "lazy"])
@pytest.mark.parametrize(("value", "message"), BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_bad_counts_are_refused_with_their_position(
    solver: Solver, value: float, message: str, lazy: bool
) -> None:
    recorded = with_count(value)
    with pytest.raises(BadInputError, match=message):
        solver(recorded.chunk(scan_y=2) if lazy else recorded)


def empty_frames(recorded: xr.Dataset, *positions: tuple[int, int]) -> xr.Dataset:
    for position in positions:
        recorded["counts"].values[position] = 0
    return recorded


NO_DISC = (
    acquisition().model_dump_json().replace('"pixel_size":[2.6,2.5]', '"pixel_size":[2.6,1.5]')
)
BAD_INPUT: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "no metadata": (lambda m: m.drop_attrs(), "no attribute 'acquisition' .* cannot be inverted"),
    "broken metadata": (
        lambda m: m.assign_attrs(acquisition='{"beam": {"energy": 200}}'),
        r"energy = 200 eV; expected 10e3 to 3e6 eV; did you mean 200e3 eV\?",
    ),
    "a detector that cuts the disc": (
        lambda m: m.assign_attrs(acquisition=NO_DISC),
        "the detector reaches 15.75 mrad along x and cuts the bright-field disc of 20.7 mrad",
    ),
    "no counts": (lambda m: m.rename(counts="haadf"), r"no variable 'counts' \(it has: haadf\)"),
    "a missing dim": (lambda m: m.isel(scan_y=0), r"counts have dims .*; expected .*scan_y"),
    "other dims": (lambda m: m.rename(scan_y="y"), r"counts have dims \('y', .*rename them"),
    "another scan": (
        lambda m: m.isel(scan_x=slice(14)),
        r"shape \(12, 14, 20, 22\), but the acquisition says \(12, 15, 20, 22\)",
    ),
    "a transposed frame": (
        lambda m: m.rename(detector_x="detector_y", detector_y="detector_x"),
        r"shape \(12, 15, 22, 20\), but the acquisition says \(12, 15, 20, 22\)",
    ),
    "complex counts": (lambda m: m.astype(complex), "of type complex128; expected integers or"),
    "no electrons": (lambda m: 0 * m, r"all frames are empty \(0 electrons\)"),
    "dropped frames": (
        lambda m: empty_frames(m, (2, 3), (7, 1)),
        r"2 of 180 frames are empty, the first at scan position \(2, 3\), where 8\d+ electrons",
    ),
    "a single position": (
        lambda m: m.isel(scan_y=[0], scan_x=[0]).assign_attrs(
            acquisition=acquisition(scan=Scan(shape=(1, 1))).model_dump_json()
        ),
        "1 × 1 scan positions over 0.2 × 0.2 Å: no spatial frequency of this field is transferred",
    ),
}


@both
@pytest.mark.parametrize(("change", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_measurements_are_refused(
    solver: Solver, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    recorded = noise_set(acquisition(), seed=0)
    changed = change(recorded)
    if not changed.attrs and message.startswith("no attribute") is False:
        changed = changed.assign_attrs(recorded.attrs)
    with pytest.raises(BadInputError, match=message):
        solver(changed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory = 0 bytes; expected 1 or more"),
        ({"workers": 0}, "workers = 0 threads; expected 1 or more, or None"),
        ({"workers": -2}, "workers = -2 threads"),
    ],
)
def test_no_memory_and_no_workers_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Streaming(**options)


@both
def test_few_electrons_may_leave_frames_empty(solver: Solver) -> None:
    # At one electron per position every third frame is empty; that is no fault.
    recorded = noise_set(acquisition(), seed=0, mean=1 / 440)
    assert (recorded["counts"].sum(["detector_y", "detector_x"]) == 0).any()
    assert np.isfinite(solver(recorded)["phase"]).all()


def test_threads_follow_dasks_setting() -> None:
    import dask

    with dask.config.set(num_workers=3):
        assert Streaming().threads() == 3
        assert Streaming(workers=2).threads() == 2
    assert Streaming().threads() >= 1


def test_a_detector_may_be_as_small_as_the_disc() -> None:
    detector = PixelDetector(shape=(16, 18), pixel_size=(2.77, 2.5))
    taken = acquisition(detector=detector)
    phase = random_phase(taken, seed=2)
    recorded = phase_object_mean(phase, acquisition=taken, weak=True)
    for solver in SOLVERS.values():
        result = solver(recorded)
        kept = result["weight"].values > 0
        assert np.abs(spectrum(result["phase"]) - spectrum(phase))[kept].max() < 1e-6
