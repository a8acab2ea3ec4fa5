"""Stages kept on disk: same bits, nothing done twice, nothing of other settings taken."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Settings
from echolith.inverse.staged_solver import Stage, StagedSolver
from echolith.validation.stage_store import solve


class Factor(Settings):
    """What a stage multiplies by."""

    factor: int = 2


def chain(factors: list[int], calls: list[int], *, broken: int | None = None) -> StagedSolver:
    def stage(position: int, factor: int) -> Stage:
        def run(data: xr.Dataset) -> xr.Dataset:
            if position == broken:
                raise KeyboardInterrupt
            calls.append(position)
            return data * factor + 0.1

        return Stage(name=f"times {position}", run=run, settings=(Factor(factor=factor),))

    return StagedSolver(stages=tuple(stage(*at) for at in enumerate(factors)))


@pytest.fixture
def measurement() -> xr.Dataset:
    return xr.Dataset({"counts": (("y", "x"), np.arange(6).reshape(2, 3))}, attrs={"unit": "1"})


factors = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def folders() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@given(first=factors, changed=st.data())
def test_only_what_changed_and_what_follows_is_done_again(
    first: list[int], changed: st.DataObject
) -> None:
    counts = xr.Dataset({"counts": ("x", np.arange(3))})
    at = changed.draw(st.integers(0, len(first) - 1))
    second = [f + (i == at) for i, f in enumerate(first)]
    for folder in folders():
        calls: list[int] = []
        kept = solve(chain(first, calls), counts, folder=folder)
        assert kept.identical(chain(first, [])(counts))
        again: list[int] = []
        assert solve(chain(first, again), counts, folder=folder).identical(kept)
        assert again == []
        later: list[int] = []
        found = solve(chain(second, later), counts, folder=folder)
        assert found.identical(chain(second, [])(counts))
        assert later == list(range(at, len(first)))
        assert len(list(folder.iterdir())) == len(first)


def test_a_break_costs_the_stage_it_falls_in(measurement: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        solve(chain([2, 3, 4], [], broken=2), measurement, folder=tmp_path / "new")
    calls: list[int] = []
    told: list[str] = []
    found = solve(
        chain([2, 3, 4], calls), measurement, folder=tmp_path / "new", announce=told.append
    )
    assert calls == [2]
    assert told == ["times 0", "times 1", "times 2"]
    assert found.identical(chain([2, 3, 4], [])(measurement))


def test_other_data_and_damaged_files_are_not_taken(
    measurement: xr.Dataset, tmp_path: Path
) -> None:
    solve(chain([2], []), measurement, folder=tmp_path)
    other: list[int] = []
    solve(chain([2], other), measurement + 1, folder=tmp_path)
    assert other == [0]
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    damaged: list[int] = []
    solve(chain([2], damaged), measurement + 1, folder=tmp_path)
    assert damaged == [0]
