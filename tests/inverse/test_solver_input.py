"""SSB and WDD on any input: the same bits however counts are stored, or one clear refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from echolith.dataset import load, save
from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Scan
from echolith.inverse import scan_transform
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import BEAM, acquisition, noise_set

Solver = Callable[..., xr.Dataset]
SOLVERS: dict[str, Solver] = {"ssb": ssb, "wdd": wdd}
both = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
ABERRATED = BEAM.model_copy(update={"aberrations": Aberrations(C10=50, C12=30, phi12=0.7)})


def identical(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Say whether all bits of the results agree."""
    return all(np.array_equal(one[name], other[name]) for name in ("phase", "transfer", "weight"))


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
    assert identical(solver(layout(recorded)), solver(recorded))


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
@pytest.mark.parametrize("block", [1, 3, 31])
def test_pixels_are_transformed_in_blocks_of_any_size(
    solver: Solver, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = noise_set(acquisition(), seed=8)
    whole = solver(recorded)["phase"]
    monkeypatch.setattr(scan_transform, "BLOCK_BYTES", 4 * 180 * block)
    pieces = solver(recorded)["phase"]
    np.testing.assert_allclose(pieces, whole, atol=1e-6 * float(np.abs(whole).max()))


@both
def test_arrays_in_memory_are_converted_a_few_rows_at_a_time(
    solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = noise_set(acquisition(), seed=8)
    monkeypatch.setattr(scan_transform, "ROWS_READ_BYTES", 5 * 15 * 440 * 2)
    assert identical(solver(LAYOUTS["big-endian"](recorded)), solver(recorded))


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


def with_count(value: float, *, at: tuple[int, int, int, int] = (3, 9, 0, 1)) -> xr.Dataset:
    """Counts with one bad value, far from the disc."""
    recorded = noise_set(acquisition(), seed=0).astype(np.float32)
    recorded["counts"].values[at] = value
    return recorded


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
    with xr.set_options(keep_attrs=True):  # type: ignore[no-untyped-call, unused-ignore]
        changed = change(recorded)
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
