import io

import dask.array as da
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.progress import Progress, plain_line, remaining, show_progress


@given(st.integers(1, 100), st.integers(0, 100), st.floats(0.1, 1e4))
def test_the_time_left_is_in_proportion(done: int, more: int, elapsed: float) -> None:
    left = remaining(done, done + more, elapsed)
    assert left is not None
    assert abs(left * done - elapsed * more) <= 1e-9 * elapsed * max(done, more)


def test_nothing_done_gives_no_estimate() -> None:
    assert remaining(0, 10, 5.0) is None
    assert "left" not in plain_line("simulate", 0, 10, 5.0)


def test_a_stage_is_one_plain_line_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with show_progress(stream) as progress:
        progress.announce("simulate")
        assert da.ones((4, 4), chunks=2).sum().compute() == 16
    assert stream.getvalue() == "simulate ...\n"


def test_every_task_of_a_computation_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Watched(Progress):
        def update(self, done: int, total: int) -> None:
            seen.append((done, total))

    monkeypatch.setattr("echolith.progress.Progress", Watched)
    with show_progress(io.StringIO()):
        (da.ones(8, chunks=1) + 1).compute(scheduler="threads")
    assert seen[-1][0] == seen[-1][1] == len(seen)
