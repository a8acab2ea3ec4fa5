"""What a dose tells of a specimen that fades, against a sum over its electrons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.validation.damage import OPTIMUM, dose_for, share_left, useful_dose

DOSES = st.floats(1e-3, 1e6)
CRITICAL = st.floats(1e-1, 1e6)


@given(dose=DOSES, critical=CRITICAL)
def test_information_is_that_of_the_mean_contrast(dose: float, critical: float) -> None:
    """Of N counts with mean contrast f the information about the fresh contrast is N f^2."""
    middles = (np.arange(20000) + 0.5) / 20000 * dose
    contrast = np.exp(-middles / (2 * critical)).mean()
    faded = dose / critical
    if faded < 1e3:  # the sum resolves the fading
        assert useful_dose(dose, critical=critical) == pytest.approx(dose * contrast**2, rel=1e-3)


@given(dose=DOSES, critical=CRITICAL, unit=st.floats(1e-6, 1e6))
def test_units_of_dose_do_not_matter(dose: float, critical: float, unit: float) -> None:
    there = useful_dose(dose * unit, critical=critical * unit)
    assert there == pytest.approx(unit * useful_dose(dose, critical=critical), rel=1e-9)


@given(dose=DOSES, critical=CRITICAL)
def test_a_small_dose_does_no_harm(dose: float, critical: float) -> None:
    left = share_left(dose, critical=critical)
    assert 1 - dose / (2 * critical) <= left * (1 + 1e-12)
    assert left <= 1
    assert share_left(dose, critical=np.inf) == 1


@given(critical=CRITICAL, shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_more_dose_tells_more_up_to_the_optimum_and_less_beyond(
    critical: float, shares: tuple[float, float]
) -> None:
    assert pytest.approx(2.5, abs=0.02) == OPTIMUM  # Hayward and Glaeser (1979)
    less, more = sorted(shares)
    most = OPTIMUM * critical
    below = [useful_dose(share * most, critical=critical) for share in (less, more)]
    beyond = [useful_dose(most / share, critical=critical) for share in (more, less)]
    assert below == sorted(below)
    assert beyond == sorted(beyond, reverse=True)


@given(critical=CRITICAL, share=st.floats(1e-6, 1))
def test_the_dose_that_is_asked_for_is_found(critical: float, share: float) -> None:
    dose = share * OPTIMUM * critical
    useful = useful_dose(dose, critical=critical)
    # The optimum is flat: there the dose is known to the root of the rounding.
    assert dose_for(useful, critical=critical) == pytest.approx(dose, rel=1e-6)
    beyond = 1.001 * useful_dose(OPTIMUM * critical, critical=critical)
    assert dose_for(beyond, critical=critical) == pytest.approx(OPTIMUM * critical)
