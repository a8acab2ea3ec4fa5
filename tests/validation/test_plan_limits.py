"""What limits a plan, against a peak whose bounds are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.validation.damage import useful_dose
from echolith.validation.plan import Budget, Plan, plan
from echolith.validation.plan_effects import effects
from echolith.validation.plan_limits import Limit, limits
from echolith.validation.plan_summary import plan_summary
from echolith.validation.plan_text import plan_table
from tests.validation.plan_scenario import PUBLISHED, Peaks, PeakSettings


def planned(peaks: Peaks, *, electrons: float = 1e4, budget: Budget | None = None) -> Plan:
    return plan(
        peaks(PeakSettings(electrons=electrons)),
        over={"width": [1.0, 2.0, 3.0], "idle": [0.0, 1.0]},
        target={"place": 0.5},
        budget=budget,
        make=peaks,
    )


def by_cause(found: Plan) -> dict[str, Limit]:
    return {limit.cause: limit for limit in limits(found)}


@given(correlation=st.floats(-0.99, 0.99))
def test_what_another_unknown_costs_is_that_of_its_correlation(correlation: float) -> None:
    told = by_cause(planned(Peaks(correlation=correlation)))
    gain = 1 - np.sqrt(1 - correlation**2)
    if gain > 0.011:
        assert told["unknowns"].gain == pytest.approx(gain)
        assert "'tail'" in told["unknowns"].text
    elif gain < 0.009:
        assert "unknowns" not in told


@given(dose=st.floats(1, 0.9 * PUBLISHED), critical=st.floats(10, 1e7))
def test_twice_the_dose_helps_as_much_as_its_useful_part(dose: float, critical: float) -> None:
    plain = by_cause(planned(Peaks(), electrons=dose))["counts"]
    assert plain.gain == pytest.approx(1 - 2**-0.5)
    assert "no more dose" not in plain.text
    faded = by_cause(planned(Peaks(), electrons=dose, budget=Budget(critical_dose=critical)))
    ratio = useful_dose(dose, critical=critical) / useful_dose(2 * dose, critical=critical)
    assert faded["counts"].gain == pytest.approx(1 - ratio**0.5)
    assert ("widen" in faded["counts"].text) == (ratio > 1)


def test_what_a_plan_does_not_tell_is_said() -> None:
    peaks = Peaks()
    told = by_cause(planned(peaks, electrons=PUBLISHED))
    assert told["thickness"].gain is None
    assert "does not go through thickness" in told["thickness"].text
    assert told["counts"].text.endswith("no more dose is allowed")
    assert told["model"].text == "of a peak alone"
    gone_through = plan(
        peaks(PeakSettings()), over={"thickness": [1.0, 2.0]}, target={"place": 0.5}, make=peaks
    )
    assert "thickness" not in by_cause(gone_through)


def test_sensitivities_are_told_in_words() -> None:
    found = planned(Peaks())
    assert found.recommended is not None
    width, idle = effects(found, found.recommended)
    assert width.power == pytest.approx(1)
    assert idle.power == 0.0 or idle.power is None
    text = plan_table(plan_summary(found, limits=limits(found)))
    assert "width: halving it would narrow the spread by 50%" in text
    assert "counts: twice the dose would narrow the spread by 29%" in text
