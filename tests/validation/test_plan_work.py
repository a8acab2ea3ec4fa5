"""Nothing is computed before it is told what it takes, and nothing beyond the budget."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError
from echolith.validation.plan import Budget, plan
from echolith.validation.plan_axes import Range
from echolith.validation.plan_points import Spent
from echolith.validation.plan_search import REFINEMENTS
from echolith.validation.plan_work import Forecast, TrialClock, Work, trial_line, work_line
from tests.validation.plan_scenario import AXIS, Peaks, PeakSettings

WIDTHS = [1.0, 2.0, 3.0]


def planned(peaks: Peaks, store: Path | None, budget: Budget | None = None) -> list[Work]:
    told: list[Work] = []

    def tell(work: Work) -> None:
        if not told:
            assert peaks.asked == []
        told.append(work)

    plan(
        peaks(PeakSettings()),
        over={"electrons": [1e3, 1e4], "width": WIDTHS, "focus": Range(0.5, 2.0)},
        target={"place": 0.05},
        budget=budget,
        make=peaks,
        store=store,
        tell=tell,
    )
    return told


def test_what_is_to_be_computed_is_told_before_anything_is(tmp_path: Path) -> None:
    peaks = Peaks()
    first, then = planned(peaks, tmp_path)
    assert (first.points, first.bounds, first.refinements) == (30, 15, REFINEMENTS)
    assert first.seconds is None
    assert first.memory == 8 * len(AXIS)
    assert then.seconds is not None
    assert 15 <= len(peaks.asked) <= 15 + REFINEMENTS
    assert "15 bounds to compute" in work_line(first)
    again = Peaks()
    assert planned(again, tmp_path)[0].bounds == 0
    assert again.asked == []


@pytest.mark.parametrize("name", ["memory", "disk", "compute_seconds"])
def test_nothing_is_computed_beyond_a_budget(name: str, tmp_path: Path) -> None:
    peaks = Peaks()
    with pytest.raises(BadInputError, match=f"{name} = .* more than the 1e-06 of the budget"):
        planned(peaks, tmp_path, Budget(**{name: 1e-6}))
    assert peaks.asked == []


@given(
    dear=st.integers(1, 5),
    cheap=st.integers(0, 50),
    times=st.tuples(st.floats(1, 100), st.floats(0.01, 1)),
)
def test_the_time_left_counts_dear_and_cheap_bounds_apart(
    dear: int, cheap: int, times: tuple[float, float]
) -> None:
    forecast = Forecast(
        points=1, bounds=dear + cheap, dear=dear, refinements=0, values=1, kept=False
    )
    start = Spent(dear=True, seconds=1e3)  # loads and compiles
    one_each = [start, Spent(dear=False, seconds=times[1]), Spent(dear=True, seconds=times[0])]
    assert forecast.left([]).seconds is None
    expected = max(0, dear - 2) * times[0] + max(0, cheap - 1) * times[1]
    assert forecast.left(one_each).seconds == pytest.approx(expected)


def test_the_first_case_of_a_trial_tells_what_the_others_take() -> None:
    heard: list[str] = []
    told: list[str] = []
    clock = TrialClock(announce=heard.append, cases=30, budget=Budget(), tell=told.append)
    for name in ("trial 1", "case 1 of 30", "case 2 of 30", "trial 2", "case 1 of 30"):
        clock(name)
    assert heard[-1] == "case 1 of 30"
    assert len(told) == 2
    tight = TrialClock(
        announce=heard.append, cases=30, budget=Budget(compute_seconds=1e-9), tell=told.append
    )
    tight("trial 1")
    with pytest.raises(BadInputError, match="try fewer cases"):
        tight("case 1 of 30")


def test_a_trial_is_told_before_its_first_case() -> None:
    scenario = el.scenario("li-rich-oxide", thickness=8.6, scan={"shape": (20, 20), "step": 0.2})
    assert "s to simulate" in trial_line(scenario, cases=30, budget=Budget())
    assert scenario.exposure is not None
    with pytest.raises(BadInputError, match="memory"):
        trial_line(scenario, cases=30, budget=Budget(memory=8.0 * scenario.exposure.values - 1))
    peak = Peaks()(PeakSettings())
    assert "the first one tells" in trial_line(peak, cases=30, budget=Budget())
